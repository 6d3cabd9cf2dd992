// Package state is what the nodes of a mesh agree on: users, media, jobs and
// their tasks, shares, and the nodes themselves.
//
// It changes only by commands that arrive in the order of the replicated log,
// through [State.Apply]; every node that has applied the same entries has the
// same state. It is read through a [View], which never changes and tells by
// [View.Changed] when there is a newer one.
//
// # Invariants
//
//   - Applying is deterministic: no clock, no randomness, no order of maps.
//     Times, ids and salts come in the command.
//   - A refused command leaves no trace.
//   - Records are never changed in place: a View may hold them for ever.
//   - A node that cannot apply an entry as the others do applies nothing any more:
//     it stops, and says so.
//
// # Levels
//
// During an upgrade old and new nodes run side by side, and must come to the same
// state, byte for byte. So whatever is added to the state has a level, a number
// that only grows; a node's record tells the newest one that it knows, [Level],
// and the leader has the mesh agree on what all nodes know ([RaiseLevel]). A
// command of a later level is refused as Busy, on old nodes and new ones alike;
// a node that knows less than what was agreed on is not let in, and stops if it
// was. Dead nodes count until they are forgotten. Who changes the state raises
// Level by one, once a release, and then
//
//   - adds a command, with a method level that returns it;
//   - or adds a field to a command, left out of the JSON while it is zero: its
//     method level returns the new one only where the field is set. Callers look at
//     [View.Level] where the command shall work without it meanwhile;
//   - or adds a field to a record, left out of the JSON while it is zero, which
//     nothing but commands of that level sets: an older node would drop it;
//   - or adds a table, to those of that level: nothing but commands of that level
//     writes to it, and snapshots do not name it before;
//   - never changes what an existing command does to an existing state, what a
//     field means or how it is written, nor the order of the tables: that is a new
//     command, beside the old one, which stays for the logs that have it. A fault
//     in a command can be mended only in this way.
//
// # Concurrency
//
// Apply and Restore are called by one goroutine; everything else by any.
package state

import (
	"context"
	"fmt"
	"slices"
	"sync"
)

// State is the agreed state of a mesh, as far as this node has heard of it.
type State struct {
	mu   sync.RWMutex // guards view
	view *View
}

// New returns an empty state at index 0.
func New() *State {
	return &State{view: &View{records: newRecords(), changed: make(chan struct{})}}
}

// A Result is the answer to a command.
type Result struct {
	Index uint64 `json:"index"`        // of the log entry: a state at least that new shows the effect
	ID    string `json:"id,omitempty"` // of what was made or found
}

// An Outcome is what became of one command of an entry.
type Outcome struct {
	Result
	Refusal *Error // the same on every node
}

// Apply carries out an entry of one command: see [State.ApplyAll].
func (s *State) Apply(index uint64, data []byte) (Result, error) {
	outcomes, err := s.ApplyAll(index, data)
	if err != nil {
		return Result{}, err
	}
	if refusal := outcomes[0].Refusal; refusal != nil {
		return outcomes[0].Result, refusal
	}
	return outcomes[0].Result, nil
}

// ApplyAll carries out the entry at index, written by [Encode] or [Join], and
// returns what became of each of its commands. An error means that this node
// cannot come to the same state as the others and must stop: the entry is
// damaged here ([ErrDamaged]), or of a later version ([ErrTooOld]).
func (s *State) ApplyAll(index uint64, data []byte) ([]Outcome, error) {
	items, err := decode(data)
	if err != nil {
		return nil, fmt.Errorf("entry %d: %w", index, err)
	}
	after, outcomes, err := carryOut(s.View().records, index, items)
	if err != nil {
		return nil, fmt.Errorf("entry %d: %w", index, err)
	}
	s.publish(after, index)
	return outcomes, nil
}

// Skip makes the state's index n larger without an entry, for a state that
// goes on in another log.
func (s *State) Skip(n uint64) {
	v := s.View()
	s.publish(v.records, v.index+n)
}

// publish makes r the current view, at index. They must not change any more.
func (s *State) publish(r *records, index uint64) {
	r.own = nil
	next := &View{records: r, index: index, changed: make(chan struct{})}
	s.mu.Lock()
	old := s.view
	s.view = next
	s.mu.Unlock()
	close(old.changed)
}

// View returns the state as it is now.
func (s *State) View() *View {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.view
}

// Index is the index of the last entry applied.
func (s *State) Index() uint64 { return s.View().index }

// WaitIndex returns when the state is at least that new, or with the error of ctx.
func (s *State) WaitIndex(ctx context.Context, index uint64) error {
	for {
		v := s.View()
		if v.index >= index {
			return nil
		}
		select {
		case <-v.changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// A View is the state at one index. It may be kept and read by many.
type View struct {
	records *records
	index   uint64
	changed chan struct{} // closed when there is a newer view
}

// Index is the index of the last entry that the view contains.
func (v *View) Index() uint64 { return v.index }

// Len is how many records there are, of all kinds.
func (v *View) Len() int {
	n := 0
	for _, tb := range slices.Concat(tables...) {
		n += tb.len(v.records)
	}
	return n
}

// Changed is closed when there is a newer view. To watch without losing a
// change: take a view, act on it, wait for that view's Changed, begin again.
func (v *View) Changed() <-chan struct{} { return v.changed }
