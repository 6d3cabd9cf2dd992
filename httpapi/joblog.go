package httpapi

import (
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"

	"malla/cluster/state"
)

// jobLog tells the owner in words what a job was to do, what became of it, and
// why: the reasons of every attempt, and FFmpeg's last lines.
func (c *call) jobLog() error {
	j, err := c.findJob()
	if err != nil {
		return err
	}
	look := c.api.look(c.r.Context(), c.view, []*state.Job{&j})
	var text strings.Builder
	look.writeLog(&text, &j)
	h := c.w.Header()
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	io.WriteString(c.w, text.String()) // the caller may be gone; nobody else hears of it
	return nil
}

// writeLog writes the log of a job.
func (l jobLook) writeLog(w *strings.Builder, j *state.Job) {
	wire := l.job(j)
	line := func(name, format string, args ...any) {
		fmt.Fprintf(w, "%-10s %s\n", name, printable(fmt.Sprintf(format, args...)))
	}
	fmt.Fprintf(w, "%s to %s\n\n", printable(j.Input.Name), printable(j.Format))
	line("Job", "%s of %s", j.ID, wire.Owner)
	line("Asked", "%s, priority %s", logTime(j.CreatedAt), wire.Priority)
	line("Options", "%s", wire.Options)
	if j.Recipe != "" {
		line("Recipe", "%s", strings.Join(strings.Fields(j.Recipe), " "))
	}
	line("Input", "%d bytes, %s, sha256 %s", j.Input.Content.Blob.Size, seconds(j.Input.Content.Duration), j.Input.Content.Blob.SHA256)
	line("State", "%s", stateText(wire, l.now))
	if !j.RetriedAt.IsZero() {
		line("Retried", "%s", logTime(j.RetriedAt))
	}
	line("Cut", "%s", cutText(wire))
	for _, note := range j.Notes {
		line("Note", "%s", note)
	}
	fmt.Fprintln(w)
	for k := range l.view.TasksOf(j.ID) {
		l.writeTask(w, k)
	}
}

// stateText is how the job stands, and why.
func stateText(j Job, now time.Time) string {
	switch {
	case j.Reused:
		return fmt.Sprintf("done at once: the mesh had %s already", j.OutputFile)
	case j.Status == Completed:
		return fmt.Sprintf("done %s, after %s: %s, %d bytes", logTime(j.CompletedAt), seconds(*j.Duration), j.OutputFile, j.OutputSize)
	case j.Canceled:
		return "canceled " + logTime(j.CompletedAt)
	case j.Status == Failed:
		return fmt.Sprintf("failed %s: %s", logTime(j.CompletedAt), j.Error)
	case j.Status == Pending && j.QueuePosition > 0:
		return fmt.Sprintf("waits, number %d in the queue", j.QueuePosition)
	case j.Status == Pending:
		return "waits"
	}
	text := fmt.Sprintf("%.0f %% done, since %s", j.Progress, seconds(now.Sub(j.StartedAt).Seconds()))
	if j.Speed > 0 {
		text += fmt.Sprintf(", %.1f times as fast as it plays", j.Speed)
	}
	if j.ETA != nil {
		text += fmt.Sprintf(", about %s left", seconds(*j.ETA))
	}
	return text
}

// cutText is whether the film is cut, and why not.
func cutText(j Job) string {
	switch {
	case j.Redone != "":
		return "done again in one piece, since its segments did not fit together: " + j.Redone
	case j.Segments > 0:
		return fmt.Sprintf("into %d segments, %d of them done", j.Segments, j.SegmentsDone)
	case j.Whole != "":
		return "not cut: " + j.Whole
	}
	return "not cut"
}

// writeTask writes one task and its tries: a line where there is no more to say.
func (l jobLook) writeTask(w *strings.Builder, k *state.Task) {
	wire := l.task(k)
	fmt.Fprintf(w, "%4d %-9s %s\n", k.Seq+1, k.Kind, taskText(wire, l.now))
	for i, try := range k.Tries {
		told := wire.Attempts[i]
		fmt.Fprintf(w, "     attempt %d on %s: %s %s, after %s: %s\n", told.Number, printable(told.Node), told.Cause, logTime(told.Ended),
			seconds(told.Ended.Sub(told.Began).Seconds()), printable(told.Reason))
		writeIndented(w, try.Log)
	}
	writeIndented(w, k.Log)
}

// taskText is how a task stands.
func taskText(k Task, now time.Time) string {
	node := printable(k.Node)
	switch state.TaskState(k.State) {
	case state.Finished:
		text := fmt.Sprintf("done on %s, attempt %d, in %s", node, k.Attempt, seconds(k.Took))
		if k.CPU > 0 {
			text += fmt.Sprintf(", %s of processor", seconds(k.CPU))
		}
		if k.Memory > 0 {
			text += fmt.Sprintf(", %d MB of memory", (k.Memory+1e6-1)/1e6)
		}
		return text
	case state.Assigned:
		return fmt.Sprintf("on %s, attempt %d, %.0f %% done, since %s", node, k.Attempt, k.Progress, seconds(now.Sub(k.AssignedAt).Seconds()))
	case state.Blocked:
		return "waits for the others"
	case state.Waiting:
		return "waits for a node"
	case state.Dropped:
		return "thrown away"
	}
	return "given up"
}

// writeIndented writes FFmpeg's last lines, marked as such.
func writeIndented(w *strings.Builder, log string) {
	for line := range strings.Lines(log) {
		if line = strings.TrimRight(printable(line), " "); line != "" {
			fmt.Fprintf(w, "       | %s\n", line)
		}
	}
}

// printable keeps what moves the cursor of a terminal, or turns the order of
// letters around, out of a line.
func printable(line string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\t':
			return ' '
		case unicode.IsControl(r), unicode.Is(unicode.Bidi_Control, r):
			return -1
		}
		return r
	}, strings.ToValidUTF8(line, "?"))
}

// seconds is a span of time, short.
func seconds(s float64) string {
	if s < 60 {
		return fmt.Sprintf("%.1f s", max(0, s))
	}
	return time.Duration(s * float64(time.Second)).Round(time.Second).String()
}

func logTime(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05Z") }
