package main

import (
	"errors"

	"malla/examples/internal/mesh"
)

// A fault is what befalls one node of a mesh, and how it comes back.
type fault struct {
	name   string
	apart  bool // needs nodes that stand apart
	strike func(*mesh.Mesh, int) error
	undo   func(*mesh.Mesh, int) error
}

var faults = []fault{
	{"kill -9", false, (*mesh.Mesh).Kill, (*mesh.Mesh).Restart},
	{"SIGSTOP", false,
		func(m *mesh.Mesh, i int) error { m.Pause(i); return nil },
		func(m *mesh.Mesh, i int) error { m.Continue(i); return nil }},
	{"partition", true, (*mesh.Mesh).Partition, (*mesh.Mesh).Heal},
}

// possible returns the faults that this machine can make, and why not the others.
func possible() (all []fault, missing error) {
	missing = mesh.CanStandApart()
	for _, f := range faults {
		if !f.apart || missing == nil {
			all = append(all, f)
		}
	}
	return all, missing
}

// A role is which node is struck.
type role string

const (
	worker role = "worker" // one that has a segment in hand, but does not lead
	leader role = "leader"
)

var errNoVictim = errors.New("no such node works on the job")
