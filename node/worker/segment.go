package worker

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"malla/blobs"
	"malla/node/ffmpeg"
)

// segment encodes a range of the film. Its input is a file in which only what
// the range needs is filled; where that was not enough, the whole is.
func (w *Worker) segment(ctx context.Context, t *try) (product, error) {
	index, err := w.index(ctx, t)
	if err != nil {
		return product{}, err
	}
	seg := ffmpeg.Segment{From: t.task.From, To: t.task.To}
	report, out, err := w.fromPart(ctx, t, index, seg)
	if errors.Is(err, errHole) && ctx.Err() == nil {
		w.log.Info("a segment needs more of its input than foreseen: the whole is read", "job", t.job.ID, "task", t.task.ID, "err", logText(err))
		var in []string
		if in, err = w.input(ctx, t, "whole"); err != nil {
			return product{}, err
		}
		report, out, err = w.encode(ctx, t, index, seg, in...)
	}
	if err != nil {
		return product{}, err
	}
	return w.keepPart(ctx, t, out, report, seg.Units(t.info, t.options))
}

// errHole tells that bytes were missed that the file has, but not here.
var errHole = errors.New("bytes beside the range were read")

// fromPart encodes a range from a file that has only what the range should
// need. Where anything else was read the error is errHole.
func (w *Worker) fromPart(ctx context.Context, t *try, index ffmpeg.Index, seg ffmpeg.Segment) (ffmpeg.Report, string, error) {
	blob := t.job.Input.Content.Blob
	if blobs.ChunkCount(blob.Size) == 1 {
		in, err := w.input(ctx, t, "in") // another name of a chunk that is fetched as a whole anyway
		if err != nil {
			return ffmpeg.Report{}, "", err
		}
		return w.encode(ctx, t, index, seg, in...)
	}
	in, err := fillSparse(ctx, w.cfg.Blobs, blob.Ref, filepath.Join(t.dir, "part"), index.Needs(seg))
	if err != nil {
		return ffmpeg.Report{}, "", fmt.Errorf("read input %s: %w", blob.Ref.Short(), err)
	}
	report, out, err := w.encode(ctx, t, index, seg, in.path)
	if ctx.Err() == nil && (err != nil || in.readOutside()) {
		return report, out, errors.Join(errHole, err)
	}
	return report, out, err
}

// encode runs the encoder over a range of the input.
func (w *Worker) encode(ctx context.Context, t *try, index ffmpeg.Index, seg ffmpeg.Segment, in ...string) (ffmpeg.Report, string, error) {
	p := w.params(t, "segment", in...)
	p.Threads = 1
	report, err := w.run(ctx, t, func(progress func(ffmpeg.Progress)) (ffmpeg.Report, error) {
		return w.cfg.FFmpeg.Segment(ctx, p, index, seg, progress)
	})
	return report, p.Output, err
}

// index reads where the film's pictures are.
func (w *Worker) index(ctx context.Context, t *try) (ffmpeg.Index, error) {
	ref := t.job.Input.Content.Index.Ref
	r, err := w.cfg.Blobs.Open(ctx, ref)
	if err != nil {
		return ffmpeg.Index{}, fmt.Errorf("read index %s: %w", ref.Short(), err)
	}
	defer r.Close()
	x, err := ffmpeg.ReadIndex(r)
	if err != nil {
		return ffmpeg.Index{}, fmt.Errorf("read index %s: %w", ref.Short(), err)
	}
	return x, nil
}
