package worker

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"

	"malla/blobs"
	"malla/cluster/state"
	"malla/node/ffmpeg"
)

// fetches is how many parts are fetched at once.
const fetches = 4

// assemble joins what the other tasks of the job made, and verifies the result
// against the index of the input.
func (w *Worker) assemble(ctx context.Context, t *try) (product, error) {
	index, err := w.index(ctx, t)
	if err != nil {
		return product{}, err
	}
	join, err := w.fetchParts(ctx, t)
	if err != nil {
		return product{}, err
	}
	p := w.params(t, "out")
	report, err := w.run(ctx, t, func(progress func(ffmpeg.Progress)) (ffmpeg.Report, error) {
		return w.cfg.FFmpeg.Assemble(ctx, p, index, join, progress)
	})
	if err != nil {
		return product{}, err
	}
	made, err := w.keep(ctx, t, p, report)
	made.units = 0
	return made, err
}

// errPart tells that a part of a job that is done cannot be read.
var errPart = errors.New("read part")

// partTries are how many attempts must have missed a part before it is taken
// for lost: a node that holds it may only be away.
const partTries = 2

// partsLost tells whether an assembly cannot work any more, since parts that
// were done are gone with all their copies.
func (t *try) partsLost(err error) bool {
	return errors.Is(err, errPart) && !blobs.TakesNone(blobs.OfDisk(err)) && len(t.task.Tries) >= partTries
}

// fetchParts makes files of the outputs of the job's other tasks.
func (w *Worker) fetchParts(ctx context.Context, t *try) (ffmpeg.Join, error) {
	var join ffmpeg.Join
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	places := make(chan struct{}, fetches)
	var wg sync.WaitGroup
	var mu sync.Mutex // guards the field below
	var failed error
	for k := range w.cfg.State.View().TasksOf(t.job.ID) {
		if k.State != state.Finished || k.Output == nil {
			continue
		}
		path := filepath.Join(t.dir, fmt.Sprintf("part-%d", k.Seq))
		if k.Kind == state.Segment {
			join.Segments = append(join.Segments, ffmpeg.Segment{From: k.From, To: k.To})
			join.Parts = append(join.Parts, path)
		} else {
			join.Rest = path
		}
		wg.Go(func() {
			places <- struct{}{}
			defer func() { <-places }()
			if err := w.cfg.Blobs.Fill(ctx, k.Output.Blob.Ref, path); err != nil {
				mu.Lock()
				defer mu.Unlock()
				failed = errors.Join(failed, fmt.Errorf("%w %d: %w", errPart, k.Seq, err))
				cancel()
			}
		})
	}
	wg.Wait()
	return join, failed
}
