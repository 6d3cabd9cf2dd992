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
//   - A command that a node does not know is refused, never a crash: during an
//     upgrade old and new nodes run side by side.
//
// # Concurrency
//
// Apply and Restore are called by one goroutine; everything else by any.
package state

import (
	"context"
	"fmt"
	"sync"

	"github.com/hashicorp/go-memdb"
)

// State is the agreed state of a mesh, as far as this node has heard of it.
type State struct {
	mu   sync.RWMutex // guards view
	view *View
	db   *memdb.MemDB // replaced by Restore, under mu
}

// New returns an empty state at index 0.
func New() *State {
	db := newDB()
	s := &State{db: db}
	s.view = &View{txn: db.Txn(false), changed: make(chan struct{})}
	return s
}

// A Result is the answer to a command.
type Result struct {
	Index uint64 `json:"index"`        // of the log entry: a state at least that new shows the effect
	ID    string `json:"id,omitempty"` // of what was made or found
}

// Apply carries out the entry at index, written by [Encode]. An error of type
// *Error is a refusal, the same on every node. Any other error means that the
// entry is damaged on this node, which must stop and be rebuilt.
func (s *State) Apply(index uint64, data []byte) (Result, error) {
	env, cmd, err := decode(data)
	if err != nil {
		return Result{}, fmt.Errorf("entry %d: %w", index, err)
	}
	if cmd == nil {
		s.publish(s.database(), index)
		return Result{Index: index}, Errorf(Invalid, "this node does not know the command %q: upgrade it", env.Name)
	}
	db := s.database()
	t := &tx{Txn: db.Txn(true), index: index}
	defer t.Abort()
	if id, done := t.answered(env.Request); done {
		s.publish(db, index)
		return Result{Index: index, ID: id}, nil
	}
	id, err := cmd.apply(t)
	if err != nil {
		s.publish(db, index)
		return Result{Index: index}, err
	}
	t.remember(env.Request, id)
	t.Commit()
	s.publish(db, index)
	return Result{Index: index, ID: id}, nil
}

func (s *State) database() *memdb.MemDB {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.db
}

// publish makes the newest records of db the current view, at index.
func (s *State) publish(db *memdb.MemDB, index uint64) {
	next := &View{txn: db.Txn(false), index: index, changed: make(chan struct{})}
	s.mu.Lock()
	old := s.view
	s.db, s.view = db, next
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
	txn     *memdb.Txn
	index   uint64
	changed chan struct{} // closed when there is a newer view
}

// Index is the index of the last entry that the view contains.
func (v *View) Index() uint64 { return v.index }

// Changed is closed when there is a newer view. To watch without losing a
// change: take a view, act on it, wait for that view's Changed, begin again.
func (v *View) Changed() <-chan struct{} { return v.changed }
