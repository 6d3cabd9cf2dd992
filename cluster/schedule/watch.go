package schedule

import (
	"fmt"
	"time"

	"malla/cluster/state"
)

// Figures are what a node says of a task that is assigned to it.
type Figures struct {
	Fraction float64 // that is done, 0..1
	Speed    float64 // seconds of media a second
	Waiting  bool    // it has not begun, since others run before it
	Moved    int64   // bytes fetched, written and stored
}

// Heard is what the nodes that answered say of their tasks. A node that did not
// answer is missing.
type Heard map[state.NodeID]map[state.TaskID]Figures

// A Watch tells which tasks make no progress. The zero value has seen nothing
// yet.
type Watch struct {
	tasks map[state.TaskID]sighting
	last  time.Time // it looked
}

// A sighting is what was last heard of an attempt.
type sighting struct {
	attempt  int
	figures  Figures
	begun    bool      // its node has told of it
	answered time.Time // the node did
	moved    time.Time // the figures did
}

// Stalled notes what was heard and returns the releases of attempts that have
// not moved for that long. Time counts from when this watch saw the attempt
// first: a new leader takes nothing away for what it has not seen, nor does one
// that was paused.
func (w *Watch) Stalled(v *state.View, heard Heard, after time.Duration, now time.Time) []state.Release {
	slept := now.Sub(w.last) > after/2
	w.last = now
	next := map[state.TaskID]sighting{}
	var stalled []state.Release
	for k := range v.TasksAssigned() {
		s, seen := w.tasks[k.ID]
		if !seen || s.attempt != k.Attempt || slept {
			s = sighting{attempt: k.Attempt, answered: now, moved: now}
		}
		s.hear(heard, k, now)
		next[k.ID] = s
		if now.Sub(s.moved) >= after {
			stalled = append(stalled, state.Release{Task: k.ID, Attempt: k.Attempt, Cause: state.Stalled, Reason: s.why(after, now)})
		}
	}
	w.tasks = next
	return stalled
}

func (s *sighting) hear(heard Heard, k *state.Task, now time.Time) {
	theirs, answers := heard[k.Node]
	if !answers {
		return
	}
	s.answered = now
	f, begun := theirs[k.ID]
	if !begun {
		return
	}
	if f != s.figures || f.Waiting || !s.begun {
		s.figures, s.begun, s.moved = f, true, now
	}
}

// why is the reason for people.
func (s *sighting) why(after time.Duration, now time.Time) string {
	after = after.Round(time.Second)
	switch {
	case now.Sub(s.answered) >= after/2:
		return fmt.Sprintf("its node did not answer for %v", after)
	case !s.begun:
		return fmt.Sprintf("its node did not begin it within %v", after)
	}
	return fmt.Sprintf("it made no progress for %v", after)
}

// Fraction is how much of a task was done when its node last answered; 0 where
// nothing is known.
func (w *Watch) Fraction(id state.TaskID) float64 { return w.tasks[id].figures.Fraction }
