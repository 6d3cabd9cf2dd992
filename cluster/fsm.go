package cluster

import (
	"errors"
	"fmt"
	"io"
	"sync/atomic"

	"github.com/hashicorp/raft"

	"malla/cluster/state"
)

// A machine applies the log to the state, for raft.
type machine struct {
	state      *state.State
	fail       func(error)
	committed  func(index, term uint64) // is told of each entry before it is applied
	configured func()                   // called when another configuration of the mesh is in force; must not wait
	pictured   func()                   // called when a snapshot is on the disk
	broken     atomic.Bool
	tooOld     error // why a snapshot was not restored
}

// applied is what became of an entry.
type applied struct {
	outcomes []state.Outcome // of its commands
	err      error           // why this node stopped
}

var errStopped = errors.New("this node stopped at an entry that it cannot apply")

// Apply implements raft.FSM. A refusal is a result like any other: every node
// comes to the same. An entry that cannot be read is this node's own damage, and
// one that it does not know is of a later version; applying what follows would
// make it differ from the others without a sign, so it applies nothing any more
// and says so.
func (m *machine) Apply(l *raft.Log) any {
	if m.broken.Load() {
		return applied{err: errStopped}
	}
	m.committed(l.Index, l.Term)
	outcomes, err := m.state.ApplyAll(l.Index, l.Data)
	if err != nil {
		m.broken.Store(true)
		m.fail(fmt.Errorf("apply the log: %w", err))
	}
	return applied{outcomes, err}
}

// StoreConfiguration implements raft.ConfigurationStore: raft tells nobody else
// on a follower.
func (m *machine) StoreConfiguration(uint64, raft.Configuration) { m.configured() }

// Snapshot implements raft.FSM. It costs nothing and stops nobody.
func (m *machine) Snapshot() (raft.FSMSnapshot, error) {
	if m.broken.Load() {
		return nil, errStopped // it would be a snapshot that lacks entries
	}
	return picture{m.state.Snapshot(), m.pictured}, nil
}

// Restore implements raft.FSM.
func (m *machine) Restore(r io.ReadCloser) error {
	defer r.Close()
	if m.tooOld != nil {
		return m.tooOld // an older snapshot, behind which the log may have a gap
	}
	err := restore(m.state, r)
	if errors.Is(err, state.ErrTooOld) {
		m.tooOld = err
		m.fail(err) // raft only asks the leader for the same one again
	}
	return err
}
