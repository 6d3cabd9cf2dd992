package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"malla/examples/internal/footage"
	"malla/examples/internal/mesh"
	"malla/httpapi"
)

// speedups: nodes -> how many times as fast as one they must be.
var speedups = []struct {
	nodes int
	least float64
}{{1, 0}, {2, 1.9}, {4, 3.6}}

// forty is the length in seconds of a film that a new mesh cuts into about 40
// segments for x264.
const forty = 350

// speedup converts one film on one, two and four nodes that are each held to a
// share of a core, so that four of them are slower than this machine.
func speedup(ctx context.Context, s settings, out *report) error {
	scene := footage.Scene{Width: 640, Height: 360, Seconds: forty, Seed: 3}
	switch s.film {
	case "light":
	case "full":
		scene.Grain = 12
	default:
		return fmt.Errorf("-film %q: light or full", s.film)
	}
	film := filepath.Join(s.cache, "film-forty-"+s.film+".mp4")
	if err := footage.Cached(ctx, film, scene.Write); err != nil {
		return err
	}
	rows := [][]string{{"nodes", "time", "speed-up", "limit", "verdict", "segments", "CPU a segment", "longest gap", "assembly"}}
	var one time.Duration
	for _, step := range speedups {
		d, took, err := s.held(ctx, film, step.nodes)
		if err != nil {
			return fmt.Errorf("%d nodes: %w", step.nodes, err)
		}
		say("  %d nodes: %.1f s", step.nodes, took.Seconds())
		if step.nodes == 1 {
			one = took
		}
		faster := one.Seconds() / took.Seconds()
		row := []string{fmt.Sprint(step.nodes), seconds(took.Seconds()), ratio(faster), "", "", "1", "", "", ""}
		if step.least > 0 {
			row[3], row[4] = ratio(step.least), out.atLeast(faster, step.least)
		}
		if cells := d.where(""); cells != nil {
			row[5], row[6], row[7], row[8] = cells[1], cells[2], cells[5], cells[6]
		}
		rows = append(rows, row)
	}
	out.title("One film on nodes of %g of a core each (%s), mp4", s.cores, mesh.ThrottleKind())
	out.table(rows)
	return nil
}

// held converts the film on so many nodes.
func (s settings) held(ctx context.Context, film string, nodes int) (d *duel, took time.Duration, err error) {
	m, err := startRig(ctx, s, mesh.Config{Nodes: nodes, Cores: s.cores, Flags: []string{"--slots", "1"}})
	if err != nil {
		return nil, 0, err
	}
	defer func() { err = errors.Join(err, m.Close()) }()
	if err := m.user.putFile(ctx, film); err != nil {
		return nil, 0, err
	}
	d = &duel{asked: time.Now()}
	d.last, took, err = m.user.convert(ctx, httpapi.ConvertRequest{InputFile: filepath.Base(film), OutputFormat: "mp4", Options: afresh(true)})
	return d, took, err
}
