package ffmpeg

import (
	"context"
	"errors"
	"time"
)

// Convert makes p.Output out of p.Input and tells progress, if it is not nil,
// about twice a second from one goroutine; the last call has Fraction 1 and
// comes only after success. Where copying does not work it encodes, where a
// chip fails it encodes in software, and where subtitles, fonts or a cover
// stand in the way it does without them; the report says so. It blocks until
// ffmpeg is gone: within a second of the end of ctx. The policy is asked again. Nothing is left at p.Output after an
// error, which is an [*Error], an [*OptionError], or the context's.
func (r *Runner) Convert(ctx context.Context, p Params, progress func(Progress)) (Report, error) {
	if err := r.CanConvert(p.Format, p.Options); err != nil {
		return Report{}, err
	}
	if s, err := resolve(p.Format, p.Options); err == nil && s.encoder == hardware {
		p.Hardware = r.hardwareFor(s.video.codec)
	}
	return r.encode(ctx, p, progress)
}

// encode makes p.Output, of all streams or of everything but the film.
func (r *Runner) encode(ctx context.Context, p Params, progress func(Progress)) (Report, error) {
	p, err := r.admit(p)
	if err != nil {
		return Report{}, err
	}
	rising := &risingProgress{to: progress}
	report, err := r.convertOrRetreat(ctx, p, rising.report)
	if err != nil {
		r.discard(p.Output)
		return report, err
	}
	done := rising.last
	done.Fraction, done.Bytes = 1, report.Bytes
	rising.report(done)
	return report, nil
}

// admit asks the policy again and bounds the output's duration by it.
func (r *Runner) admit(p Params) (Params, error) {
	if p.MaxSeconds <= 0 {
		p.MaxSeconds = (r.policy.MaxDuration + time.Minute).Seconds()
	}
	return p, r.policy.Check(p.Info)
}

// convertOrRetreat tries with less and less until a conversion works or there
// is no less.
func (r *Runner) convertOrRetreat(ctx context.Context, p Params, progress func(Progress)) (Report, error) {
	var retreats []string
	for {
		whole, s, err := prepare(p)
		if err != nil {
			return Report{}, err
		}
		work := conversion{runner: r, p: whole, carried: whole.carriage(s), tell: progress}
		err = work.run(ctx, s)
		c, report := work.carried, work.report
		if err == nil && c.Copied != (Copying{}) && !p.rest {
			err = r.checkCopied(ctx, p, c.Copied, &report)
		}
		report.Copied, report.Notes = c.Copied, append(c.Notes, retreats...)
		less, note := retreat(p, c, err)
		if note == "" || ctx.Err() != nil {
			return report, err
		}
		r.log.Info("conversion is tried with less", "err", err, "why", note)
		p, retreats = less, append(retreats, note)
	}
}

// checkCopied looks at an output that is a copy.
func (r *Runner) checkCopied(ctx context.Context, p Params, copied Copying, report *Report) error {
	made, err := r.Describe(ctx, p, *report)
	if err != nil {
		return err
	}
	report.made = &made
	return checkCopy(p.Info, made, p.Format, p.Options, copied, report.Frames)
}

// retreat is what to try after an error, and what to tell the user about it;
// without a note there is nothing left to try.
func retreat(p Params, c Carriage, err error) (Params, string) {
	var told *Error
	if !errors.As(err, &told) {
		return p, ""
	}
	switch told.Kind {
	case TooLarge, DiskFull, TimeLimit, Stalled, NoEncoder, Memory:
		return p, ""
	}
	if c.Copied != (Copying{}) {
		p.Options.Copy = copyNever
		return p, "Copying without encoding did not work, so everything was encoded."
	}
	if p.Hardware != "" {
		p.Hardware, p.Options.Encoder = "", ""
		return p, "The hardware encoder did not work, so the film was encoded in software."
	}
	if extras := len(c.Subtitles)+len(c.Fonts) > 0 || c.Cover != nil; extras && !p.Bare {
		p.Bare = true
		return p, "With its subtitles, fonts and cover picture the file could not be converted, so they were left out."
	}
	return p, ""
}

// A risingProgress passes progress on that never falls, over several tries.
type risingProgress struct {
	to   func(Progress) // may be nil
	last Progress
}

func (r *risingProgress) report(p Progress) {
	p.Fraction = max(p.Fraction, r.last.Fraction)
	r.last = p
	if r.to != nil {
		r.to(p)
	}
}
