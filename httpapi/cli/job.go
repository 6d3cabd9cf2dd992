package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"malla/httpapi"
)

// JobCmd shows one conversion.
type JobCmd struct {
	Remote
	Job   string `arg:"" help:"Id of a job, as malla jobs shows it."`
	Watch bool   `short:"w" help:"Go on showing it until it has ended; with --json a line for every change."`
}

// Help is shown by --help.
func (JobCmd) Help() string {
	return `How a conversion is, why, and its pieces with the node, the attempt and the time
of each. While watching, pieces that are done are not listed.

    malla job 4KZ7QJ
    malla job 4KZ7QJ --watch
    malla job 4KZ7QJ --json | jq '.tasks[] | select(.attempt > 1)'`
}

// Run prints it once, or until it has ended.
func (c JobCmd) Run(env *Env) error {
	s, err := c.signedIn(env)
	if err != nil {
		return err
	}
	if c.Watch {
		return c.watch(env, s)
	}
	job, err := s.Job(env.ctx, c.Job)
	if err != nil {
		return err
	}
	if c.JSON {
		return env.printJSON(job)
	}
	return printJob(env.Stdout, job, job.Tasks)
}

// watch shows the job whenever it changed, in its place on a terminal and else a
// line for each change. An interrupt ends the watching, not the job.
func (c JobCmd) watch(env *Env, s *session) error {
	shown := ""
	redraw := interactive(env.Stdout) && !c.JSON
	for {
		job, err := s.Job(env.ctx, c.Job)
		if env.ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		text, err := json.Marshal(job)
		if err != nil {
			return err
		}
		if string(text) != shown {
			shown = string(text)
			if err := c.show(env, job, redraw); err != nil {
				return err
			}
		}
		if job.Ended() || !pause(env.ctx, watchEvery) {
			return nil
		}
	}
}

func (c JobCmd) show(env *Env, job httpapi.Job, redraw bool) error {
	switch {
	case c.JSON:
		return env.printJSON(job)
	case redraw:
		fmt.Fprint(env.Stdout, "\x1b[H\x1b[2J") // to the top, and clear
		return printJob(env.Stdout, job, underWay(job.Tasks))
	}
	_, err := fmt.Fprintln(env.Stdout, plain(jobLine(job)))
	return err
}

// underWay are the tasks that a node works on.
func underWay(tasks []httpapi.Task) []httpapi.Task {
	var now []httpapi.Task
	for _, k := range tasks {
		if k.State == "assigned" {
			now = append(now, k)
		}
	}
	return now
}

// jobLine is how a job is, on one line.
func jobLine(j httpapi.Job) string {
	words := append([]string{statusText(j), fmt.Sprintf("%.0f%%", j.Progress)}, how(j)...)
	if j.Error != "" && !j.Canceled {
		words = append(words, j.Error)
	}
	return strings.Join(words, ", ")
}

// printJob prints a job, and those of its tasks.
func printJob(w io.Writer, j httpapi.Job, tasks []httpapi.Task) error {
	if err := aligned(w, jobFacts(j)); err != nil || len(tasks) == 0 {
		return err
	}
	fmt.Fprintln(w)
	rows := [][]string{{"PIECE", "KIND", "STATE", "DONE", "NODE", "ATTEMPT", "TOOK", "REMARKS"}}
	for _, k := range tasks {
		rows = append(rows, taskRow(k))
	}
	return table(w, rows)
}

// jobFacts are the facts about a job that there are, by name.
func jobFacts(j httpapi.Job) [][]string {
	facts := [][]string{{"Job", j.ID}, {"File", j.InputFile + " to " + j.OutputFormat}, {"Options", string(j.Options)}, {"Status", jobLine(j)}, {"Priority", j.Priority}}
	add := func(name, value string) {
		if value != "" {
			facts = append(facts, []string{name, value})
		}
	}
	if j.Segments > 0 {
		add("Segments", fmt.Sprintf("%d of %d done", j.SegmentsDone, j.Segments))
	}
	add("In one piece", j.Whole)
	add("Done again", j.Redone)
	if j.Reused {
		add("Reused", "the mesh had the output already")
	}
	for _, note := range j.Notes {
		add("Note", note)
	}
	add("Asked", when(j.CreatedAt))
	if j.Duration != nil {
		add("Took", spent(*j.Duration))
	}
	add("Output", j.OutputFile)
	return facts
}

// aligned prints names and values; the values of one column begin at one place.
func aligned(w io.Writer, rows [][]string) error {
	out := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	for _, row := range rows {
		fmt.Fprintf(out, "%s\t%s\n", row[0], plain(row[1]))
	}
	return out.Flush()
}

// taskRow is a task as a row of the table.
func taskRow(k httpapi.Task) []string {
	var remarks []string
	if k.Speed > 0 {
		remarks = append(remarks, fmt.Sprintf("%.1fx", k.Speed))
	}
	for _, try := range k.Attempts {
		remarks = append(remarks, fmt.Sprintf("attempt %d on %s %s: %s", try.Number, try.Node, try.Cause, try.Reason))
	}
	return []string{fmt.Sprint(k.Seq + 1), k.Kind, k.State, fmt.Sprintf("%.0f%%", k.Progress), k.Node, fmt.Sprint(k.Attempt), spent(k.Took), strings.Join(remarks, "; ")}
}

// LogCmd prints the log of a conversion.
type LogCmd struct {
	Remote
	Job string `arg:"" help:"Id of a job, as malla jobs shows it."`
}

// Help is shown by --help.
func (LogCmd) Help() string {
	return `In words: what was asked, how it was done and why, every attempt, and FFmpeg's last
lines where something went wrong.

    malla log 4KZ7QJ`
}

// Run prints it.
func (c LogCmd) Run(env *Env) error {
	s, err := c.signedIn(env)
	if err != nil {
		return err
	}
	text, err := s.JobLog(env.ctx, c.Job)
	if err != nil {
		return err
	}
	if c.JSON {
		return env.printJSON(map[string]string{"job_id": c.Job, "log": text})
	}
	for line := range strings.Lines(text) {
		fmt.Fprintln(env.Stdout, plain(strings.TrimRight(line, "\n")))
	}
	return nil
}
