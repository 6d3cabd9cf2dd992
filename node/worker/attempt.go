package worker

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"malla/blobs"
	"malla/cluster/state"
	"malla/node/ffmpeg"
)

// A try is one attempt at a task while it runs.
type try struct {
	attempt
	task    state.Task
	job     state.Job
	options ffmpeg.Options
	info    ffmpeg.Info // of the job's input
	dir     string      // scratch folder of its own
	output  string      // id under which what it makes is on its way in
	began   time.Time   // when its converter was started the last time
}

// A product is what a try made.
type product struct {
	content state.Content
	report  ffmpeg.Report
	units   int64 // of work, for learning what such work costs
}

// attempt runs one try to its end and reports it.
func (w *Worker) attempt(ctx context.Context, a attempt) {
	t, ok := w.open(a)
	if !ok {
		return
	}
	log := w.log.With("job", t.job.ID, "task", a.task, "kind", t.task.Kind, "attempt", a.number)
	log.Info("task started", "input", t.job.Input.Content.Blob.Ref.Short(), "format", t.job.Format)
	began := time.Now()
	made, err := w.make(ctx, t)
	if ctx.Err() != nil {
		if !made.content.Blob.Ref.IsZero() {
			w.discard(ctx, t.output) // it was never reported, so nothing can name it
		}
		log.Info("task stopped", "took", time.Since(began))
		return
	}
	w.cfg.Metrics.Ended(err == nil, time.Since(began), t.job.Input.Content.Blob.Size, made.content.Blob.Size)
	if t.asksForWhole(err) {
		w.convertWhole(ctx, t, err)
		log.Warn("the parts do not make the whole, which is converted in one piece", "took", time.Since(began), "err", logText(err))
		return
	}
	if err != nil {
		w.fail(ctx, a, err)
		log.Warn("task failed", "took", time.Since(began), "err", logText(err))
		return
	}
	w.finish(ctx, t, made)
	log.Info("task finished", "took", time.Since(began), "cpu", made.report.CPU, "output", made.content.Blob.Ref.Short(), "bytes", made.content.Blob.Size)
}

// open gathers what a try needs to know from the state.
func (w *Worker) open(a attempt) (*try, bool) {
	view := w.cfg.State.View()
	task, ok := view.Task(a.task)
	if !ok {
		return nil, false
	}
	job, ok := view.Job(task.Job)
	if !ok {
		return nil, false
	}
	return &try{attempt: a, task: task, job: job, info: w.cfg.Recall(job.Input.Content), output: rand.Text()}, true
}

var (
	errNoFFmpeg = errors.New("the node has no FFmpeg")
	errTooOld   = errors.New("the node is too old for this work: upgrade it")
)

// make does the work of a try in a folder of its own.
func (w *Worker) make(ctx context.Context, t *try) (made product, err error) {
	if w.cfg.FFmpeg == nil {
		return product{}, errNoFFmpeg
	}
	if t.options, err = ffmpeg.ParseOptions(t.job.Format, t.job.Options); err != nil {
		return product{}, err
	}
	release, err := w.cfg.Blobs.Reserve(w.room(t))
	if err != nil {
		return product{}, fmt.Errorf("room for input and output: %w", err)
	}
	defer release()
	if t.dir, err = os.MkdirTemp(w.cfg.Scratch, "task-"); err != nil {
		return product{}, fmt.Errorf("scratch folder: %w", err)
	}
	defer os.RemoveAll(t.dir)
	w.note(t.attempt, func(r *running) { r.dir = t.dir })
	make, known := makers[t.task.Kind]
	if !known {
		return product{}, fmt.Errorf("%w: tasks of kind %s", errTooOld, t.task.Kind)
	}
	return make(w, ctx, t)
}

// makers: kind of a task -> how it is done.
var makers = map[state.TaskKind]func(*Worker, context.Context, *try) (product, error){
	state.Convert:  (*Worker).convert,
	state.Segment:  (*Worker).segment,
	state.Audio:    (*Worker).audio,
	state.Assembly: (*Worker).assemble,
}

// room is how many bytes the files of a try may take on this disk. What input
// becomes is not known, but it is seldom more than what it is made of.
func (w *Worker) room(t *try) int64 {
	size := t.job.Input.Content.Blob.Size
	if t.task.Kind != state.Segment {
		return 2 * size
	}
	all := 0
	for k := range w.cfg.State.View().TasksOf(t.job.ID) {
		if k.Kind == state.Segment {
			all = max(all, k.To)
		}
	}
	part := float64(t.task.To-t.task.From) / float64(max(1, all))
	return int64(2*part*float64(size)) + 8<<20
}

// run calls a converter when there is a place for it, under the limits and with
// the progress of the try.
func (w *Worker) run(ctx context.Context, t *try, convert func(progress func(ffmpeg.Progress)) (ffmpeg.Report, error)) (ffmpeg.Report, error) {
	w.note(t.attempt, func(r *running) { r.waiting = true })
	leave, err := w.lanes.enter(ctx, t.task)
	if err != nil {
		return ffmpeg.Report{}, err
	}
	defer leave()
	t.began = time.Now()
	w.note(t.attempt, func(r *running) { r.waiting = false })
	return convert(func(p ffmpeg.Progress) { w.note(t.attempt, func(r *running) { r.progress = p }) })
}

// store puts the file at path onto enough nodes.
func (w *Worker) store(ctx context.Context, t *try, path string) (blobs.Blob, error) {
	f, err := os.Open(path)
	if err != nil {
		return blobs.Blob{}, fmt.Errorf("store output: %w", err)
	}
	defer f.Close()
	counted := counter{f, func(n int) { w.note(t.attempt, func(r *running) { r.stored += int64(n) }) }}
	blob, err := w.cfg.Intake.Write(ctx, t.output, counted, blobs.MaxBlobSize)
	if err != nil {
		return blobs.Blob{}, fmt.Errorf("store output: %w", err)
	}
	return blob, nil
}

// A counter tells how much is read through it.
type counter struct {
	io.Reader
	tell func(n int)
}

func (c counter) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.tell(n)
	return n, err
}

// discard drops an output that nobody wants, also when ctx has ended.
func (w *Worker) discard(ctx context.Context, id string) {
	if err := w.cfg.Intake.Discard(context.WithoutCancel(ctx), id); err != nil {
		w.log.Warn("task's output is left to the collector", "err", err)
	}
}

// emptyScratch removes what an earlier process left.
func (w *Worker) emptyScratch() error {
	if err := os.RemoveAll(w.cfg.Scratch); err != nil {
		return fmt.Errorf("empty scratch folder: %w", err)
	}
	if err := os.MkdirAll(w.cfg.Scratch, 0o700); err != nil {
		return fmt.Errorf("make scratch folder: %w", err)
	}
	return nil
}
