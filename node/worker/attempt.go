package worker

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"malla/blobs"
	"malla/cluster/state"
	"malla/node/ffmpeg"
)

// retryProposal is how long a report waits for the mesh to have a leader again.
const retryProposal = time.Second

// attempt runs one try to its end and reports it.
func (w *Worker) attempt(ctx context.Context, a attempt) {
	view := w.cfg.State.View()
	task, ok := view.Task(a.task)
	if !ok {
		return
	}
	job, ok := view.Job(task.Job)
	if !ok {
		return
	}
	log := w.log.With("job", job.ID, "task", a.task, "attempt", a.number)
	log.Info("task started", "input", job.Input.Content.Blob.Ref.Short(), "format", job.Format)
	began := time.Now()
	id := rand.Text() // of the output on its way in
	made, err := w.convert(ctx, a, job, id)
	if ctx.Err() != nil {
		if !made.Blob.Ref.IsZero() {
			w.discard(ctx, id) // it was never reported, so nothing can name it
		}
		log.Info("task stopped", "took", time.Since(began))
		return
	}
	w.cfg.Metrics.Ended(err == nil, time.Since(began), job.Input.Content.Blob.Size, made.Blob.Size)
	if err != nil {
		w.fail(ctx, a, err)
		log.Warn("task failed", "took", time.Since(began), "err", logText(err))
		return
	}
	err = w.report(ctx, state.FinishTask{Task: a.task, Attempt: a.number, Output: made, Media: state.MediaID(rand.Text()), At: time.Now().UTC()})
	switch {
	case err == nil:
	case errors.Is(err, state.ErrStale) || errors.Is(err, state.ErrNotFound):
		w.discard(ctx, id)
		log.Info("task's result was not wanted", "took", time.Since(began), "err", err)
		return
	case refused(err):
		w.discard(ctx, id)
		w.fail(ctx, a, err) // else it would be taken for being under way for ever
		log.Error("task's result was refused", "took", time.Since(began), "err", err)
		return
	default:
		// It may be agreed on all the same, so the bytes stay until they expire.
		log.Warn("task's report came to no answer", "took", time.Since(began), "err", err)
		return
	}
	if err := w.cfg.Intake.Forget(id); err != nil {
		log.Warn("task's output is still held", "err", err)
	}
	log.Info("task finished", "took", time.Since(began), "output", made.Blob.Ref.Short(), "bytes", made.Blob.Size)
}

var errNoFFmpeg = errors.New("the node has no FFmpeg")

// refused tells whether the mesh answered a report, with no.
func refused(err error) bool {
	var refusal *state.Error
	return errors.As(err, &refusal) && refusal.Kind != state.NoLeader && refusal.Kind != state.Busy
}

// discard drops an output that nobody wants, also when ctx has ended.
func (w *Worker) discard(ctx context.Context, id string) {
	if err := w.cfg.Intake.Discard(context.WithoutCancel(ctx), id); err != nil {
		w.log.Warn("task's output is left to the collector", "err", err)
	}
}

// convert makes the output of the job and stores it under id.
func (w *Worker) convert(ctx context.Context, a attempt, job state.Job, id string) (state.Content, error) {
	if w.cfg.FFmpeg == nil {
		return state.Content{}, errNoFFmpeg
	}
	// Input and output lie on this disk for a while; what they become is not
	// known, but seldom more than what they are made of.
	release, err := w.cfg.Blobs.Reserve(2 * job.Input.Content.Blob.Size)
	if err != nil {
		return state.Content{}, fmt.Errorf("room for input and output: %w", err)
	}
	defer release()
	dir, err := os.MkdirTemp(w.cfg.Scratch, "task-")
	if err != nil {
		return state.Content{}, fmt.Errorf("scratch folder: %w", err)
	}
	defer os.RemoveAll(dir)
	in := filepath.Join(dir, "in")
	if err := w.cfg.Blobs.Fill(ctx, job.Input.Content.Blob.Ref, in); err != nil {
		return state.Content{}, fmt.Errorf("read input %s: %w", job.Input.Content.Blob.Ref.Short(), err)
	}
	info, err := w.cfg.FFmpeg.Probe(ctx, in)
	if err != nil {
		return state.Content{}, err
	}
	options, err := ffmpeg.ParseOptions(job.Format, job.Options)
	if err != nil {
		return state.Content{}, err
	}
	out := filepath.Join(dir, "out")
	params := ffmpeg.Params{Input: in, Output: out, Info: info, Format: job.Format, Options: options, Threads: w.cfg.Threads}
	if _, err := w.cfg.FFmpeg.Convert(ctx, params, func(p ffmpeg.Progress) { w.setProgress(a, p) }); err != nil {
		return state.Content{}, err
	}
	made, err := w.cfg.FFmpeg.Probe(ctx, out)
	if err != nil {
		return state.Content{}, fmt.Errorf("probe output: %w", err)
	}
	err = ffmpeg.CheckOutput(info, made, job.Format, options)
	if err != nil && !errors.Is(err, ffmpeg.ErrShort) { // a damaged input gives what there is of it
		return state.Content{}, err
	}
	return w.store(ctx, id, out, made)
}

// store puts the file at path onto enough nodes.
func (w *Worker) store(ctx context.Context, id, path string, info ffmpeg.Info) (state.Content, error) {
	f, err := os.Open(path)
	if err != nil {
		return state.Content{}, fmt.Errorf("store output: %w", err)
	}
	defer f.Close()
	blob, err := w.cfg.Intake.Write(ctx, id, f, blobs.MaxBlobSize)
	if err != nil {
		return state.Content{}, fmt.Errorf("store output: %w", err)
	}
	return w.cfg.Describe(blob, info), nil
}

// fail reports why an attempt did not work, in words that may be shown.
func (w *Worker) fail(ctx context.Context, a attempt, err error) {
	reason, final := "the conversion did not work on this node", false
	var told *ffmpeg.Error
	var refusal *state.Error
	switch {
	case errors.As(err, &told):
		reason, final = told.Error(), told.Permanent()
	case errors.Is(err, blobs.ErrFull):
		reason = "there is no room left on the disk of the node"
	case errors.Is(err, errNoFFmpeg):
		reason = errNoFFmpeg.Error()
	case errors.As(err, &refusal):
		reason, final = refusal.Error(), true
	}
	err = w.report(ctx, state.FailTask{Task: a.task, Attempt: a.number, Reason: reason, Final: final, At: time.Now().UTC()})
	if err != nil {
		w.log.Info("task's failure was not wanted", "task", a.task, "attempt", a.number, "err", err)
	}
}

// report proposes until the mesh answers: without a leader it waits, since a
// result must not be lost to an election.
func (w *Worker) report(ctx context.Context, cmd state.Command) error {
	for {
		_, err := w.cfg.Proposer.Propose(ctx, cmd)
		if !errors.Is(err, state.ErrNoLeader) && !errors.Is(err, state.ErrBusy) {
			return err
		}
		select {
		case <-time.After(retryProposal):
		case <-ctx.Done():
			return ctx.Err()
		}
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

// logText is the text of an error for the log: with what FFmpeg said.
func logText(err error) string {
	var told *ffmpeg.Error
	if errors.As(err, &told) && told.Log != "" {
		return err.Error() + ": " + told.Log
	}
	return err.Error()
}
