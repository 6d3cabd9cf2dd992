package main

import (
	"errors"
	"slices"

	"malla/examples/internal/mesh"
)

// A nemesis is what befalls nodes while clients look on, and how it ends.
type nemesis struct {
	name   string
	apart  bool // needs nodes that stand apart
	halts  bool // the victims do nothing meanwhile; requests wait for them
	strike func(m *mesh.Mesh, victims []int) error
	undo   func(m *mesh.Mesh, victims []int) error
}

// apartNemeses is how many of the last nemeses need nodes that stand apart.
const apartNemeses = 4

var nemeses = []nemesis{
	{"kill -9", false, false, each((*mesh.Mesh).Kill), each((*mesh.Mesh).Restart)},
	{"SIGTERM", false, false, each((*mesh.Mesh).End), each((*mesh.Mesh).Restart)},
	{"SIGSTOP", false, true, each(paused), each(continued)},
	{"SIGSTOP", false, true, each(paused), each(continued)}, // twice as often: it is what finds stale reads
	{"cut off", true, false, func(m *mesh.Mesh, v []int) error { return errors.Join(m.Cut(v, others(m, v)), m.Cut(others(m, v), v)) }, mended},
	{"not heard:", true, false, func(m *mesh.Mesh, v []int) error { return m.Cut(v, others(m, v)) }, mended},
	{"hears nobody:", true, false, func(m *mesh.Mesh, v []int) error { return m.Cut(others(m, v), v) }, mended},
	{"cut off, then stopped:", true, true, func(m *mesh.Mesh, v []int) error {
		return errors.Join(m.Cut(v, others(m, v)), m.Cut(others(m, v), v), each(paused)(m, v))
	}, func(m *mesh.Mesh, v []int) error { return errors.Join(each(continued)(m, v), mended(m, v)) }},
}

func each(do func(m *mesh.Mesh, i int) error) func(*mesh.Mesh, []int) error {
	return func(m *mesh.Mesh, victims []int) error {
		for _, i := range victims {
			if err := do(m, i); err != nil {
				return err
			}
		}
		return nil
	}
}

func paused(m *mesh.Mesh, i int) error {
	m.Pause(i)
	return nil
}

func continued(m *mesh.Mesh, i int) error {
	m.Continue(i)
	return nil
}

func mended(m *mesh.Mesh, _ []int) error { return m.Mend() }

// others are the nodes of a mesh but those.
func others(m *mesh.Mesh, not []int) (rest []int) {
	for i := range m.Len() {
		if !slices.Contains(not, i) {
			rest = append(rest, i)
		}
	}
	return rest
}
