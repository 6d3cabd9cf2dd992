package worker

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"malla/cluster/state"
	"malla/node/ffmpeg"
)

// input makes files of the job's whole input.
func (w *Worker) input(ctx context.Context, t *try, name string) ([]string, error) {
	ref := t.job.Input.Content.Blob.Ref
	paths, err := w.cfg.Blobs.FillFiles(ctx, ref, filepath.Join(t.dir, name), ffmpeg.MaxFiles)
	if err != nil {
		return nil, fmt.Errorf("read input %s: %w", ref.Short(), err)
	}
	return paths, nil
}

// params are those of a conversion to the named file; without files of the
// input it is not read.
func (w *Worker) params(t *try, output string, input ...string) ffmpeg.Params {
	p := ffmpeg.Params{Output: filepath.Join(t.dir, output), Info: t.info, Format: t.job.Format, Options: t.options, Threads: w.cfg.Threads}
	if len(input) > 0 {
		p.Input, p.More = input[0], input[1:]
	}
	return p
}

// convert makes the whole output of the job.
func (w *Worker) convert(ctx context.Context, t *try) (product, error) {
	in, err := w.input(ctx, t, "in")
	if err != nil {
		return product{}, err
	}
	p := w.params(t, "out", in...)
	report, err := w.run(ctx, t, func(progress func(ffmpeg.Progress)) (ffmpeg.Report, error) {
		return w.cfg.FFmpeg.Convert(ctx, p, progress)
	})
	if err != nil {
		return product{}, err
	}
	return w.keep(ctx, t, p, report)
}

// keep checks the whole output of a job, and stores it.
func (w *Worker) keep(ctx context.Context, t *try, p ffmpeg.Params, report ffmpeg.Report) (product, error) {
	info, err := w.cfg.FFmpeg.Describe(ctx, p, report)
	if err != nil {
		return product{}, fmt.Errorf("look at the output: %w", err)
	}
	err = ffmpeg.CheckOutput(t.info, info, p.Format, p.Options)
	switch {
	case errors.Is(err, ffmpeg.ErrShort): // a damaged input gives what there is of it, and the user hears so
		report.Notes = append(report.Notes, err.Error())
	case err != nil:
		return product{}, err
	}
	blob, err := w.store(ctx, t, p.Output)
	if err != nil {
		return product{}, err
	}
	return product{content: w.cfg.Describe(blob, info), report: report, units: ffmpeg.Units(t.info, p.Format, p.Options)}, nil
}

// audio makes everything of the output but the film.
func (w *Worker) audio(ctx context.Context, t *try) (product, error) {
	in, err := w.input(ctx, t, "in")
	if err != nil {
		return product{}, err
	}
	p := w.params(t, "rest", in...)
	report, err := w.run(ctx, t, func(progress func(ffmpeg.Progress)) (ffmpeg.Report, error) {
		return w.cfg.FFmpeg.Audio(ctx, p, progress)
	})
	if err != nil {
		return product{}, err
	}
	return w.keepPart(ctx, t, p.Output, report, 0)
}

// keepPart stores what becomes a part of the output.
func (w *Worker) keepPart(ctx context.Context, t *try, path string, report ffmpeg.Report, units int64) (product, error) {
	blob, err := w.store(ctx, t, path)
	if err != nil {
		return product{}, err
	}
	return product{content: state.Content{Blob: blob}, report: report, units: units}, nil
}
