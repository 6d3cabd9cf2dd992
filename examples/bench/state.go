package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"time"

	"malla/examples/internal/mesh"
	"malla/httpapi"
)

const (
	writeLimit  = 100.0 // ms that a write may take while a snapshot is written
	answerLimit = 20.0  // ms for a list or a search, 99th percentile
	ownItems    = 10_000
	stateReads  = 500 // of each kind
	writers     = 4
)

// statePart has one node with a large state: how long it takes to start, how
// fast lists and searches are, and what a snapshot does to writes.
func statePart(ctx context.Context, s settings, out *report) (err error) {
	dir := filepath.Join(s.dir, "state")
	began := time.Now()
	var started time.Time
	m, err := mesh.Start(ctx, mesh.Config{
		Program: s.program, Nodes: 1, Dir: dir, Flags: []string{"--reserve", "64MB", "--slots", "0"},
		Prepare: func(data string) error {
			err := populate(data, s.items)
			started = time.Now()
			return err
		},
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.Close()) }()
	restored := time.Since(started)
	say("made in %.0f s, read by the node in %.1f s", started.Sub(began).Seconds(), restored.Seconds())
	client := &httpapi.Client{Base: m.URL(0)}
	if _, err := client.Login(ctx, stateUser, statePassword); err != nil {
		return err
	}
	reads, err := readAll(ctx, client)
	if err != nil {
		return err
	}
	memory, err := peakMemory(m.PID(0))
	if err != nil {
		return err
	}
	snapshots := filepath.Join(dir, m.Name(0), "raft", "raft", "snapshots")
	w := &writing{client: client, snapshots: snapshots}
	if err := w.untilSnapshot(ctx); err != nil {
		return err
	}
	peak, err := peakMemory(m.PID(0))
	if err != nil {
		return err
	}
	size, err := newestSnapshot(snapshots)
	if err != nil {
		return err
	}
	out.title("%d items and as many finished jobs on one node, %d users, one of them with %d items", s.items, users(s.items), min(ownItems, s.items/2))
	out.table([][]string{
		{"start until ready", "memory after it, at most", "after the snapshot, at most", "snapshot", "written in"},
		{seconds(restored.Seconds()), megabytes(float64(memory)), megabytes(float64(peak)), megabytes(float64(size)), seconds(w.took.Seconds())},
	})
	out.title("Lists and searches of the user with many items, %d of each, one after another", stateReads)
	rows := [][]string{{"GET /media", "p50", "p99", "limit", "verdict"}}
	for i, q := range stateQueries {
		p99 := quantile(reads[i], 0.99)
		rows = append(rows, []string{q.name, ms(quantile(reads[i], 0.5)), ms(p99), ms(answerLimit), out.atMost(p99, answerLimit)})
	}
	out.table(rows)
	out.title("Writes by %d clients", writers)
	out.table([][]string{
		{"", "writes", "a second", "p50", "p99", "longest", "limit", "verdict"},
		w.row("before the snapshot", w.before, w.calm, "", ""),
		w.row("during it", w.during, w.took, ms(writeLimit), out.atMost(quantile(w.during, 1), writeLimit)),
		w.row("a second behind it", w.behind, afterSnapshot, ms(writeLimit), out.atMost(quantile(w.behind, 1), writeLimit)),
	})
	return nil
}

func ms(x float64) string          { return fmt.Sprintf("%.1f ms", x) }
func took(since time.Time) float64 { return float64(time.Since(since).Microseconds()) / 1e3 }

// stateQueries are the lists and searches that are measured.
var stateQueries = []struct{ name, query string }{
	{"all", ""},
	{"?limit=100", "?limit=100"},
	{"?limit=100&sort=-created", "?limit=100&sort=-created"},
	{"?q=, one is found", "?q=" + url.QueryEscape("number 777")},
	{"?q=, many are found", "?limit=100&q=" + url.QueryEscape("film director")},
}

// readAll asks each of them many times, and returns how many ms each took.
func readAll(ctx context.Context, c *httpapi.Client) ([][]float64, error) {
	all := make([][]float64, len(stateQueries))
	for range stateReads {
		for i, q := range stateQueries {
			began := time.Now()
			if err := fetch(ctx, c, q.query); err != nil {
				return nil, err
			}
			all[i] = append(all[i], took(began))
		}
	}
	return all, nil
}

// fetch reads an answer to its end, without decoding it.
func fetch(ctx context.Context, c *httpapi.Client, query string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.Base+"/media"+query, nil)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+c.Token)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if _, err := io.Copy(io.Discard, res.Body); err != nil {
		return err
	}
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("GET /media%s: %s", query, res.Status)
	}
	return nil
}

// afterSnapshot is how long behind a snapshot its traces are looked for: the log
// is cut then.
const afterSnapshot = time.Second

// A writing is what writes took, before, during and behind a snapshot.
type writing struct {
	client    *httpapi.Client
	snapshots string // folder

	mu                     sync.Mutex // guards the fields below
	phase                  phase
	before, during, behind []float64 // ms
	calm, took             time.Duration
}

type phase int

const (
	beforeIt phase = iota
	duringIt
	behindIt
)

// untilSnapshot writes until the node has written a snapshot.
func (w *writing) untilSnapshot(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	errs := make([]error, writers)
	var all sync.WaitGroup
	for i := range writers {
		all.Go(func() { errs[i] = w.write(ctx, stop, i) })
	}
	began := time.Now()
	for !w.underWay() && ctx.Err() == nil {
		wait(ctx, 5*time.Millisecond)
	}
	w.calm = time.Since(began)
	w.enter(duringIt)
	began = time.Now()
	for w.underWay() && ctx.Err() == nil {
		wait(ctx, 5*time.Millisecond)
	}
	w.took = time.Since(began)
	w.enter(behindIt)
	wait(ctx, afterSnapshot)
	stop()
	all.Wait()
	return errors.Join(errs...)
}

func wait(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

func (w *writing) enter(p phase) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.phase = p
}

// write makes links to an item, one after another. One that fails is tried again,
// and took as long as all its tries; too long ends everything.
func (w *writing) write(ctx context.Context, stop func(), i int) error {
	began := time.Now()
	for ctx.Err() == nil {
		_, err := w.client.Share(ctx, itemName(i), 60)
		switch {
		case err == nil:
			w.note(took(began))
			began = time.Now()
		case ctx.Err() == nil && time.Since(began) > mostWait:
			stop()
			return fmt.Errorf("write: %w", err)
		}
	}
	return nil
}

const mostWait = 30 * time.Second

// note counts a write in the phase in which it ended.
func (w *writing) note(took float64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch w.phase {
	case beforeIt:
		w.before = append(w.before, took)
	case duringIt:
		w.during = append(w.during, took)
	case behindIt:
		w.behind = append(w.behind, took)
	}
}

// underWay tells whether a snapshot is being written.
func (w *writing) underWay() bool {
	found, _ := filepath.Glob(filepath.Join(w.snapshots, "*.tmp")) // the pattern is right
	return len(found) > 0
}

func (w *writing) row(name string, took []float64, in time.Duration, limit, verdict string) []string {
	return []string{name, fmt.Sprint(len(took)), fmt.Sprintf("%.0f", float64(len(took))/in.Seconds()), ms(quantile(took, 0.5)), ms(quantile(took, 0.99)), ms(quantile(took, 1)), limit, verdict}
}

// newestSnapshot is the size of the newest snapshot in bytes.
func newestSnapshot(dir string) (int64, error) {
	found, err := filepath.Glob(filepath.Join(dir, "*", "state.bin"))
	if err != nil {
		return 0, err
	}
	var newest os.FileInfo
	for _, path := range found {
		info, err := os.Stat(path)
		if err != nil {
			return 0, err
		}
		if newest == nil || info.ModTime().After(newest.ModTime()) {
			newest = info
		}
	}
	if newest == nil {
		return 0, fmt.Errorf("no snapshot in %s", dir)
	}
	return newest.Size(), nil
}
