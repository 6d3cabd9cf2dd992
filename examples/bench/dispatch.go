package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"time"

	"malla/examples/internal/footage"
	"malla/examples/internal/mesh"
	"malla/httpapi"
)

const (
	dispatched    = 100  // jobs
	dispatchLimit = 50.0 // milliseconds of the median
)

// dispatch asks three idle nodes for one job after another, and looks each time
// how long it takes until ffmpeg runs.
func dispatch(ctx context.Context, s settings, out *report) (err error) {
	if _, err := os.Stat("/proc/self/stat"); err != nil {
		return fmt.Errorf("processes can be watched only on Linux: %w", err)
	}
	nodes, err := startRig(ctx, s, mesh.Config{Nodes: 3})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, nodes.Close()) }()
	for i := range dispatched {
		if err := nodes.user.put(ctx, fmt.Sprintf("jingle-%03d.wav", i), footage.Jingle(i, 1)); err != nil {
			return err
		}
	}
	var assigned, running, done []float64 // milliseconds from the request
	parents := map[int]bool{}
	for i := range nodes.Len() {
		parents[nodes.PID(i)] = true
	}
	for i := range dispatched {
		// Each node takes its share of the requests: two of three forward them.
		u := &user{nodes.user.At(nodes.URL(i % nodes.Len()))}
		t, err := u.dispatched(ctx, parents, fmt.Sprintf("jingle-%03d.wav", i))
		if err != nil {
			return err
		}
		assigned, running, done = append(assigned, t[0]), append(running, t[1]), append(done, t[2])
	}
	out.title("From POST /convert on, three idle nodes, %d jobs of a one-second song one after another", dispatched)
	row := func(what string, of []float64) []string {
		return []string{what, fmt.Sprintf("%.0f ms", quantile(of, 0.5)), fmt.Sprintf("%.0f ms", quantile(of, 0.99)), "", ""}
	}
	runs := row("ffmpeg runs", running)
	runs[3], runs[4] = fmt.Sprintf("p50 %.0f ms", dispatchLimit), out.atMost(quantile(running, 0.5), dispatchLimit)
	out.table([][]string{{"until", "p50", "p99", "limit", "verdict"}, row("assigned", assigned), runs, row("done", done)})
	return nil
}

// dispatched asks for one job, and returns after how many milliseconds it was
// assigned, ffmpeg ran, and it was done.
func (u *user) dispatched(ctx context.Context, parents map[int]bool, file string) (t [3]float64, err error) {
	l, err := u.listen(ctx)
	if err != nil {
		return t, err
	}
	defer l.stop()
	watching, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	seen := make(chan time.Time, 1)
	looking := make(chan struct{})
	go func() {
		defer close(seen)
		watchFor(watching, "ffmpeg", parents, looking, seen)
	}()
	<-looking
	began := time.Now()
	asked, err := u.Convert(ctx, httpapi.ConvertRequest{InputFile: file, OutputFormat: "mp3"})
	if err != nil {
		return t, err
	}
	if err := l.wait(asked.JobID); err != nil {
		return t, err
	}
	t[2] = time.Since(began).Seconds() * 1000
	at, saw := <-seen
	if !saw {
		return t, errors.New("the job is done, but no ffmpeg was seen")
	}
	t[1] = at.Sub(began).Seconds() * 1000
	job, err := u.Job(ctx, asked.JobID)
	if err == nil && len(job.Tasks) > 0 {
		t[0] = max(0, job.Tasks[0].AssignedAt.Sub(began).Seconds()*1000)
	}
	return t, err
}

// watchFor looks every millisecond for a new process of that name whose parent
// is one of those, and sends when it saw the first.
func watchFor(ctx context.Context, name string, parents map[int]bool, looking chan<- struct{}, seen chan<- time.Time) {
	known := map[string]bool{}
	for _, pid := range numbers() {
		known[pid] = true
	}
	close(looking)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		for _, pid := range numbers() {
			if known[pid] {
				continue
			}
			is, child := looksLike(pid, parents)
			if is == name && child {
				seen <- time.Now()
				return
			}
			known[pid] = !child // which may become another program yet
		}
	}
}

// numbers lists the processes, unsorted.
func numbers() []string {
	dir, err := os.Open("/proc")
	if err != nil {
		return nil
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(-1) // what was read until an error will do
	var pids []string
	for _, name := range names {
		if name[0] >= '1' && name[0] <= '9' {
			pids = append(pids, name)
		}
	}
	return pids
}

// looksLike returns the name of a process, and whether one of those is its parent.
func looksLike(pid string, parents map[int]bool) (name string, child bool) {
	text, err := fs.ReadFile(os.DirFS("/proc"), pid+"/stat")
	if err != nil {
		return "", false // it ended
	}
	_, rest, _ := strings.Cut(string(text), "(")
	end := strings.LastIndexByte(rest, ')')
	fields := strings.Fields(rest[max(0, end)+1:])
	if end < 0 || len(fields) < 2 {
		return "", false
	}
	parent, _ := strconv.Atoi(fields[1]) // 0 is nobody's
	return rest[:end], parents[parent]
}
