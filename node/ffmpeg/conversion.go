package ffmpeg

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// A conversion is one call of [Runner.Convert]: one child or several, one after
// another, under common bounds.
type conversion struct {
	runner  *Runner
	p       Params
	carried Carriage
	tell    func(Progress)

	dir    string   // the children's working folder; empty: none of their own
	report Report   // of all children so far
	last   Progress // as it was told
}

// run makes the output: in one go, or after an analysis, and again where its
// size is not what the user wants.
func (c *conversion) run(ctx context.Context, s settings) error {
	begin := 0.0
	if look := analysisArgs(c.p, s, c.carried); look != nil {
		if s.twoPass(c.carried) {
			dir, err := os.MkdirTemp(filepath.Dir(c.p.Output), "passes-")
			if err != nil {
				return fmt.Errorf("folder for two passes: %w", err)
			}
			defer os.RemoveAll(dir)
			c.dir, s.pass = dir, 2
		}
		begin = s.lookingShare(c.carried)
		res, err := c.pass(ctx, s, look, func(now Progress) Progress {
			return Progress{Fraction: begin * now.Fraction, Speed: now.Speed}
		})
		if err != nil {
			return err
		}
		s.heard = map[int]loudness{}
		for _, sound := range c.carried.Sounds {
			if heard, ok := parseLoudness(res.stderr, sound); ok { // silence stays silence
				s.heard[sound.Index] = heard
			}
		}
	}
	if err := c.encode(ctx, s, begin); err != nil || s.sizeMB == 0 {
		return err
	}
	return c.refit(ctx, s, begin)
}

// refit makes the output again until its size is what the user wants.
func (c *conversion) refit(ctx context.Context, s settings, begin float64) error {
	if more, ok := s.larger(c.p.Info, c.report.Bytes); ok {
		s = more
		if err := c.encode(ctx, s, begin); err != nil {
			return err
		}
	}
	for range shrinkTries {
		if c.report.Bytes <= s.limit() {
			return nil
		}
		less, ok := s.smaller(c.p.Info, c.report.Bytes)
		if !ok {
			break
		}
		s = less
		if err := c.encode(ctx, s, begin); err != nil {
			return err
		}
	}
	if c.report.Bytes > s.limit() {
		return s.tooLarge(c.report.Bytes)
	}
	return nil
}

// encode makes the output, whose share of all the work starts at begin.
func (c *conversion) encode(ctx context.Context, s settings, begin float64) error {
	_, err := c.pass(ctx, s, outputArgs(c.p, s, c.carried), func(now Progress) Progress {
		now.Fraction = begin + (1-begin)*now.Fraction
		return now
	})
	if err != nil {
		return err
	}
	c.report.Bytes, err = finish(c.p, c.report.Log, c.last)
	return err
}

// pass runs one child to a good end. What the child tells of its progress is
// told on as place makes it.
func (c *conversion) pass(ctx context.Context, s settings, args []string, place func(Progress) Progress) (outcome, error) {
	reader := &progressReader{duration: expected(c.p.Info, s), report: func(now Progress) {
		now = place(now)
		now.Fraction = max(now.Fraction, c.last.Fraction)
		c.last = now
		c.tell(now)
	}}
	limits := c.limits()
	res, err := runChild(ctx, child{
		path:   c.runner.tools.FFmpeg,
		env:    c.runner.tools.env,
		args:   args,
		dir:    c.dir,
		stdout: reader,
		alive:  reader.advance.Load,
		limits: limits,
	})
	c.report.Wall += res.wall
	c.report.CPU += res.cpu
	c.report.PeakRSS = max(c.report.PeakRSS, res.peakRSS)
	c.report.OutTime, c.report.Frames = c.last.OutTime, c.last.Frame
	said := res
	if talks(args) {
		said.stderr = complaints(res.stderr)
	}
	c.report.Log = logText(said.stderr, c.p.Input, c.p.Output)
	switch {
	case err != nil:
		return res, stopped(ctx, err, c.report.Log)
	case !res.ok:
		return res, failure(said, c.report.Log, reader.last, limits.cpu)
	}
	return res, nil
}

// limits are those of the next child: what is left of the whole conversion's.
func (c *conversion) limits() childLimits {
	left := max(c.runner.limits.Wall-c.report.Wall, time.Millisecond)
	return childLimits{
		wall:   left,
		stall:  c.runner.limits.Stall,
		cpu:    left * time.Duration(c.p.Threads),
		memory: c.runner.memoryOf(c.p),
		file:   uint64(c.p.MaxBytes) + headroom,
	}
}
