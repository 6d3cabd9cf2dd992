package main

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"malla/examples/internal/footage"
)

// TestConversionBearsTheLossOfANode strikes a node in the middle of a film that
// is converted in segments: a worker that is killed, a leader that is halted, a
// worker that is cut off. Each comes back later. What comes out is one film, the
// right one, and no more is done again than the node had in hand.
func TestConversionBearsTheLossOfANode(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a minute; the whole suite does it")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	dir := t.TempDir()
	program := build(t, dir)
	scene := footage.Scene{Width: 320, Height: 180, Seconds: 64, Seed: 4}
	src, err := newSource(ctx, filepath.Join(dir, "film.mp4"), "webm", scene)
	if err != nil {
		t.Fatal(err)
	}
	can, missing := possible()
	l := lab{settings: settings{program: program, nodes: 3, cores: 0.65}, dir: dir, src: src, apart: missing == nil, away: 10 * time.Second}
	roles := []role{worker, leader, worker}
	for i, f := range can {
		t.Run(f.name+" of a "+string(roles[i]), func(t *testing.T) {
			o, err := l.ordeal(ctx, f, roles[i])
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("struck after %s, %d in hand; done after %s, %d done again: %q", o.blow.after, o.blow.inHand, o.took, o.again, o.why)
			if o.again > o.blow.inHand {
				t.Errorf("%d tries were for nothing, the node had %d tasks in hand: %q", o.again, o.blow.inHand, o.why)
			}
		})
	}
	if missing != nil {
		t.Skip("a worker that is cut off: ", missing)
	}
}
