// Package worker runs the tasks that the agreed state assigned to this node.
//
// Nobody tells a worker to begin or to stop: it watches the state, runs what is
// its own there, and stops what is not any more. What it reports names the
// attempt, so the report of a worker that was given up on changes nothing.
//
// # Concurrency
//
// Run is called once; the other methods by anybody.
package worker

import (
	"context"
	"io"
	"log/slog"
	"os"
	"sync"
	"time"

	"malla/blobs"
	"malla/cluster/state"
	"malla/node/ffmpeg"
)

// Config is what a worker needs.
type Config struct {
	Node     state.NodeID
	State    States
	Proposer Proposer
	Blobs    Blobs
	Intake   Intake
	FFmpeg   Converter                                   // nil where this node has none: its tasks go back
	Describe func(blobs.Blob, ffmpeg.Info) state.Content // what a probe says of a blob, as the state keeps it
	Recall   func(state.Content) ffmpeg.Info             // the probe again, of what the state keeps
	Scratch  string                                      // directory for files under way; emptied at start
	Threads  int                                         // that one whole conversion may use
	Slots    int                                         // long tasks at once; as many quick ones beside them
	Metrics  Metrics
	Logger   *slog.Logger
}

// States gives the agreed state.
type States interface {
	View() *state.View
}

// Proposer puts commands into the log.
type Proposer interface {
	Propose(ctx context.Context, cmd state.Command) (state.Result, error)
}

// Blobs gives a task its input, and room for its files.
type Blobs interface {
	// Reserve sets room for n bytes aside on this node's disk until release is
	// called, or returns blobs.ErrFull.
	Reserve(n int64) (release func(), err error)
	// Fill makes a file of the blob at path.
	Fill(ctx context.Context, ref blobs.Ref, path string) error
	// FillFiles makes at most so many files, path being the first, that have
	// the blob's bytes in a row. Nobody may write to them.
	FillFiles(ctx context.Context, ref blobs.Ref, path string, most int) ([]string, error)
	// Open reads any part of the blob.
	Open(ctx context.Context, ref blobs.Ref) (blobs.Reader, error)
}

// Intake takes a task's output.
type Intake interface {
	// Write stores the bytes on enough nodes, under an id of the writer.
	Write(ctx context.Context, id string, r io.Reader, limit int64) (blobs.Blob, error)
	// Forget ends that id: a record names the bytes now.
	Forget(id string) error
	// Discard drops what was written under that id and nothing will ever name.
	Discard(ctx context.Context, id string) error
}

// Converter runs FFmpeg.
type Converter interface {
	Convert(ctx context.Context, p ffmpeg.Params, progress func(ffmpeg.Progress)) (ffmpeg.Report, error)
	Segment(ctx context.Context, p ffmpeg.Params, x ffmpeg.Index, s ffmpeg.Segment, progress func(ffmpeg.Progress)) (ffmpeg.Report, error)
	Audio(ctx context.Context, p ffmpeg.Params, progress func(ffmpeg.Progress)) (ffmpeg.Report, error)
	Assemble(ctx context.Context, p ffmpeg.Params, x ffmpeg.Index, j ffmpeg.Join, progress func(ffmpeg.Progress)) (ffmpeg.Report, error)
	// Describe tells what the output of a conversion is.
	Describe(ctx context.Context, p ffmpeg.Params, done ffmpeg.Report) (ffmpeg.Info, error)
}

// Metrics hears how attempts ended.
type Metrics interface {
	Ended(ok bool, took time.Duration, in, out int64)
	Redone() // parts did not fit: a job is done again whole
}

// attempt names one try at one task.
type attempt struct {
	task   state.TaskID
	number int
}

// running is an attempt under way on this node.
type running struct {
	stop     context.CancelFunc
	waiting  bool // for a place in its lane
	progress ffmpeg.Progress
	dir      string // where its files grow; empty until there is one
	stored   int64  // bytes of what it made that are on their way to other nodes
}

// Worker runs tasks. The zero value is not usable; see New.
type Worker struct {
	cfg   Config
	log   *slog.Logger
	lanes lanes

	mu      sync.Mutex           // guards the field below
	running map[attempt]*running // attempts under way
	loops   sync.WaitGroup
}

// New returns a worker that does nothing until Run.
func New(cfg Config) *Worker {
	return &Worker{cfg: cfg, log: cfg.Logger, lanes: newLanes(cfg.Slots), running: map[attempt]*running{}}
}

// Run obeys the state until ctx ends, and returns when every attempt has
// stopped.
func (w *Worker) Run(ctx context.Context) error {
	if err := w.emptyScratch(); err != nil {
		return err
	}
	defer w.loops.Wait()
	done := map[attempt]bool{} // ended here, but not yet so in the state
	ended := make(chan attempt)
	for {
		view := w.cfg.State.View()
		mine := map[attempt]bool{}
		for t := range view.TasksOn(w.cfg.Node) {
			mine[attempt{t.ID, t.Attempt}] = true
		}
		w.stopOthers(mine)
		for a := range done {
			if !mine[a] {
				delete(done, a)
			}
		}
		for a := range mine {
			if !done[a] {
				w.start(ctx, a, ended)
			}
		}
		select {
		case <-view.Changed():
		case a := <-ended:
			done[a] = true
			w.forget(a)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// stopOthers stops the attempts that the state does not give to this node.
func (w *Worker) stopOthers(mine map[attempt]bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for a, r := range w.running {
		if !mine[a] {
			r.stop()
		}
	}
}

// start begins an attempt unless it is under way.
func (w *Worker) start(ctx context.Context, a attempt, ended chan<- attempt) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.running[a] != nil {
		return
	}
	run, stop := context.WithCancel(ctx)
	w.running[a] = &running{stop: stop}
	w.loops.Go(func() {
		defer stop()
		w.attempt(run, a)
		select {
		case ended <- a:
		case <-ctx.Done():
		}
	})
}

func (w *Worker) forget(a attempt) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.running, a)
}

// note changes what is known of an attempt under way.
func (w *Worker) note(a attempt, change func(*running)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if r := w.running[a]; r != nil {
		change(r)
	}
}

// A Progress is how far a task under way is.
type Progress struct {
	ffmpeg.Progress
	Waiting bool  // for a place among the others of its lane
	Moved   int64 // bytes that were fetched, written and stored so far
}

// Progress tells how far the tasks under way here are.
func (w *Worker) Progress() map[state.TaskID]Progress {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := make(map[state.TaskID]Progress, len(w.running))
	for a, r := range w.running {
		all[a.task] = Progress{r.progress, r.waiting, sizeOf(r.dir) + r.stored}
	}
	return all
}

// sizeOf is how many bytes the files of a folder have.
func sizeOf(dir string) int64 {
	if dir == "" {
		return 0
	}
	var sum int64
	entries, _ := os.ReadDir(dir) // it may be gone by now
	for _, e := range entries {
		if info, err := e.Info(); err == nil {
			sum += info.Size()
		}
	}
	return sum
}

// Busy is the number of attempts under way.
func (w *Worker) Busy() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.running)
}
