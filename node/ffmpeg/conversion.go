package ffmpeg

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
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
		m := c.runner.making(c.p, look)
		m.output = ""
		res, err := c.pass(ctx, s, m, func(now Progress) Progress {
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
	m := c.runner.making(c.p, outputArgs(c.p, s, c.carried))
	_, err := c.pass(ctx, s, m, func(now Progress) Progress {
		now.Fraction = begin + (1-begin)*now.Fraction
		return now
	})
	if err == nil {
		c.report.Bytes, err = finish(m, c.report)
	}
	return err
}

// pass runs one child to a good end. What the child tells of its progress is
// told on as place makes it.
func (c *conversion) pass(ctx context.Context, s settings, m making, place func(Progress) Progress) (outcome, error) {
	m.dir, m.duration, m.spent = c.dir, expected(c.p.Info, s), c.report.Wall
	report, res, err := c.runner.run(ctx, m, func(now Progress) {
		now = place(now)
		now.Fraction = max(now.Fraction, c.last.Fraction)
		c.last = now
		c.tell(now)
	})
	c.report.Wall += report.Wall
	c.report.CPU += report.CPU
	c.report.PeakRSS = max(c.report.PeakRSS, report.PeakRSS)
	c.report.OutTime, c.report.Frames, c.report.Log = report.OutTime, report.Frames, report.Log
	return res, err
}
