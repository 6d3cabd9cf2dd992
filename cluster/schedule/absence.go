package schedule

import (
	"time"

	"malla/cluster/state"
)

// A Presence is where a node is, as far as the leader can tell.
type Presence int

const (
	Gone     Presence = iota // it does not answer, or nobody knows it
	Departed                 // it said that it goes: what it ran has stopped
	Present                  // it answers, or is only slow to
)

// An Absence knows since when nodes are gone. The zero value has seen nothing
// yet.
type Absence struct {
	since map[state.NodeID]time.Time // node -> since when it is missed
}

// Lost returns the releases of the attempts of nodes that have been gone for the
// grace time, or have departed. Time counts from when this Absence missed a node
// first: a new leader knows nothing of before.
func (a *Absence) Lost(v *state.View, nodes map[state.NodeID]Presence, grace time.Duration, now time.Time) []state.Release {
	since := map[state.NodeID]time.Time{}
	var lost []state.Release
	for k := range v.TasksAssigned() {
		switch nodes[k.Node] {
		case Present:
			continue
		case Departed:
			lost = append(lost, state.Release{Task: k.ID, Attempt: k.Attempt, Cause: state.Moved, Reason: "its node was stopped"})
			continue
		}
		at, missed := a.since[k.Node]
		if !missed {
			at = now
		}
		since[k.Node] = at
		if now.Sub(at) >= grace {
			lost = append(lost, state.Release{Task: k.ID, Attempt: k.Attempt, Cause: state.Lost, Reason: "the node that ran it is gone"})
		}
	}
	a.since = since
	return lost
}
