package schedule

import (
	"fmt"
	"testing"
	"time"

	"malla/cluster/state"
)

const stallAfter = time.Minute

func TestStalled(t *testing.T) {
	says := func(f Figures) Heard { return Heard{"n1": {"t": f}} }
	half := Figures{Fraction: 0.5, Speed: 2}
	for _, row := range []struct {
		name  string
		heard func(second int) Heard
		want  string // reasons, by second
	}{
		{"it gets on", func(s int) Heard { return says(Figures{Fraction: float64(s) / 1000}) }, "map[]"},
		{"only its speed changes", func(s int) Heard { return says(Figures{Fraction: 0.5, Speed: float64(s)}) }, "map[]"},
		{"it waits on its node", func(int) Heard { return says(Figures{Waiting: true}) }, "map[]"},
		{"it stands still from the beginning", func(int) Heard { return says(half) }, "map[60:it made no progress for 1m0s]"},
		{"it stops", func(s int) Heard { return says(Figures{Fraction: float64(min(s, 30))}) }, "map[90:it made no progress for 1m0s]"},
		{"it waits, begins and stops", func(s int) Heard {
			if s < 30 {
				return says(Figures{Waiting: true})
			}
			return says(half)
		}, "map[90:it made no progress for 1m0s]"},
		{"its node does not know it", func(int) Heard { return Heard{"n1": {}} }, "map[60:its node did not begin it within 1m0s]"},
		{"its node does not answer", func(int) Heard { return Heard{"n2": {}} }, "map[60:its node did not answer for 1m0s]"},
		{"its node stops answering", func(s int) Heard {
			if s <= 20 {
				return says(Figures{Fraction: float64(s)})
			}
			return nil
		}, "map[80:its node did not answer for 1m0s]"},
		{"its node answers now and then", func(s int) Heard {
			if s%20 == 0 {
				return says(Figures{Fraction: float64(s)})
			}
			return nil
		}, "map[]"},
	} {
		m := newMesh(t)
		m.long("ana", "t")
		m.assign(now.Add(-time.Hour), "t", "n1") // under another leader
		var w Watch
		ended := map[int]string{}
		for s := 0; s <= 100 && len(ended) == 0; s += 2 {
			for _, r := range w.Stalled(m.s.View(), row.heard(s), stallAfter, now.Add(time.Duration(s)*time.Second)) {
				if r.Task != "t" || r.Attempt != 1 || r.Cause != state.Stalled {
					t.Errorf("%s: %+v", row.name, r)
				}
				ended[s] = r.Reason
			}
		}
		if fmt.Sprint(ended) != row.want {
			t.Errorf("%s: %v, want %s", row.name, ended, row.want)
		}
	}
}

func TestAWatchThatWasAwayBeginsAnew(t *testing.T) {
	m := newMesh(t)
	m.long("ana", "t")
	m.assign(now, "t", "n1")
	var w Watch
	heard := Heard{"n1": {"t": {Fraction: 0.5}}}
	w.Stalled(m.s.View(), heard, stallAfter, now)
	if r := w.Stalled(m.s.View(), heard, stallAfter, now.Add(time.Hour)); len(r) != 0 {
		t.Errorf("after a pause: %v", r)
	}
	if f := w.Fraction("t"); f != 0.5 {
		t.Errorf("fraction %v", f)
	}
}

func TestANewAttemptHasItsOwnTime(t *testing.T) {
	m := newMesh(t)
	m.long("ana", "t")
	m.moved("t")
	m.assign(now, "t", "n1")
	var w Watch
	stuck := Heard{"n1": {"t": {Fraction: 0.5}}}
	at := func(s int) []state.Release {
		return w.Stalled(m.s.View(), stuck, stallAfter, now.Add(time.Duration(s)*time.Second))
	}
	for s := 0; s < 60; s += 10 {
		if r := at(s); len(r) > 0 {
			t.Fatalf("after %d s: %v", s, r)
		}
	}
	m.do(state.ReleaseTasks{Releases: []state.Release{{Task: "t", Attempt: 2, Cause: state.Moved}}, At: now})
	m.assign(now, "t", "n1")
	for s := 60; s < 120; s += 10 {
		if r := at(s); len(r) > 0 {
			t.Fatalf("after %d s: %v", s, r)
		}
	}
	if r := at(120); len(r) != 1 || r[0].Attempt != 3 {
		t.Errorf("%v", r)
	}
}
