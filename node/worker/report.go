package worker

import (
	"context"
	"crypto/rand"
	"errors"
	"time"

	"malla/blobs"
	"malla/cluster/state"
	"malla/node/ffmpeg"
)

// retryProposal is how long a report waits for the mesh to have a leader again.
const retryProposal = time.Second

// finish reports what a try made. What is not wanted any more is dropped.
func (w *Worker) finish(ctx context.Context, t *try, made product) {
	log := w.log.With("job", t.job.ID, "task", t.task.ID, "attempt", t.number)
	err := w.report(ctx, state.FinishTask{
		Task: t.task.ID, Attempt: t.number, Output: made.content, Media: state.MediaID(rand.Text()), At: time.Now().UTC(),
		Began: t.began.UTC(), Usage: state.Usage{CPU: int64(made.report.CPU), Memory: made.report.PeakRSS, Units: made.units}, Notes: made.report.Notes, Log: made.report.Log,
	})
	switch {
	case err == nil:
	case errors.Is(err, state.ErrStale) || errors.Is(err, state.ErrNotFound):
		w.discard(ctx, t.output)
		log.Info("task's result was not wanted", "err", err)
		return
	case refused(err):
		w.discard(ctx, t.output)
		w.fail(ctx, t.attempt, err) // else it would be taken for being under way for ever
		log.Error("task's result was refused", "err", err)
		return
	default:
		// It may be agreed on all the same, so the bytes stay until they expire.
		log.Warn("task's report came to no answer", "err", err)
		return
	}
	if err := w.cfg.Intake.Forget(t.output); err != nil {
		log.Warn("task's output is still held", "err", err)
	}
}

// refused tells whether the mesh answered a report, with no.
func refused(err error) bool {
	var refusal *state.Error
	return errors.As(err, &refusal) && refusal.Kind != state.NoLeader && refusal.Kind != state.Busy
}

// asksForWhole tells whether an error means that the parts of the job do not
// make the whole.
func (t *try) asksForWhole(err error) bool {
	if errors.Is(err, ffmpeg.ErrStarved) {
		return len(t.task.Tries) > 0 // once it may be this node's FFmpeg that cannot
	}
	if errors.Is(err, ffmpeg.ErrMismatch) {
		return true
	}
	return t.task.Kind == state.Assembly && (errors.Is(err, ffmpeg.ErrBadOutput) || t.partsLost(err))
}

// convertWhole reports that the parts of a job do not fit together.
func (w *Worker) convertWhole(ctx context.Context, t *try, why error) {
	cost, needs := 0.0, uint64(0)
	class := ""
	for k := range w.cfg.State.View().TasksOf(t.job.ID) {
		cost += k.Cost
		needs |= k.Needs
		if k.Kind == state.Segment {
			class = k.Class
		}
	}
	reason, log := "parts that were done are lost with the nodes that had them", ""
	var told *ffmpeg.Error
	if errors.As(why, &told) {
		reason, log = told.Msg, told.Log
	}
	err := w.report(ctx, state.ConvertWhole{Task: t.task.ID, Attempt: t.number, Reason: reason, Log: log, At: time.Now().UTC(),
		New: state.NewTask{ID: state.TaskID(rand.Text()), Kind: state.Convert, Cost: cost, Class: class, Needs: needs}})
	if err != nil {
		w.log.Info("task's report was not wanted", "task", t.task.ID, "attempt", t.number, "err", err)
		return
	}
	w.cfg.Metrics.Redone()
}

// fail reports why an attempt did not work, in words that may be shown.
func (w *Worker) fail(ctx context.Context, a attempt, err error) {
	c := state.FailTask{Task: a.task, Attempt: a.number, Cause: state.Broke, Reason: "the conversion did not work on this node", At: time.Now().UTC()}
	var told *ffmpeg.Error
	var refusal *state.Error
	err = blobs.OfDisk(err)
	switch {
	case errors.As(err, &told):
		c.Reason, c.Log, c.Final = told.Error(), told.Log, told.Permanent()
		if told.Crash() {
			c.Cause = state.Crashed
		}
		if told.Kind == ffmpeg.Stalled {
			c.Cause = state.Stalled
		}
	case errors.Is(err, blobs.ErrFull):
		c.Reason = "there is no room left on the disk of the node"
	case errors.Is(err, blobs.ErrBroken):
		c.Reason = "the disk of the node does not work"
	case errors.Is(err, errNoFFmpeg):
		c.Reason = errNoFFmpeg.Error()
	case errors.Is(err, errTooOld):
		c.Reason = errTooOld.Error()
	case errors.As(err, &refusal):
		c.Reason, c.Final = refusal.Error(), true
	}
	if err := w.report(ctx, c); err != nil {
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

// logText is the text of an error for the log: with what FFmpeg said.
func logText(err error) string {
	var told *ffmpeg.Error
	if errors.As(err, &told) && told.Log != "" {
		return err.Error() + ": " + told.Log
	}
	return err.Error()
}
