package schedule

import (
	"fmt"
	"testing"

	"malla/cluster/state"
)

// BenchmarkPlan plans for 1,000 nodes while 100,000 tasks wait.
func BenchmarkPlan(b *testing.B) {
	for _, row := range []struct {
		name string
		busy bool // nothing is free, but for one slot
		fill func(*mesh)
	}{
		{"films of one user", false, func(m *mesh) { films(m, 1, 250, 400) }},
		{"films of 1000 users", false, func(m *mesh) { films(m, 1000, 1, 100) }},
		{"songs of one user", false, func(m *mesh) { songs(m, 1, 100_000) }},
		{"songs of 1000 users", false, func(m *mesh) { songs(m, 1000, 100) }},
		{"songs of 100000 users", false, func(m *mesh) { songs(m, 100_000, 1) }},
		{"one free slot", true, func(m *mesh) { films(m, 1000, 1, 100) }},
		{"what no node can do", false, func(m *mesh) { impossible(m, 100_000) }},
	} {
		b.Run(row.name, func(b *testing.B) {
			m := newMesh(b)
			row.fill(m)
			fleet := Mesh{Nodes: make([]Node, 1000)}
			for i := range fleet.Nodes {
				fleet.Nodes[i] = Node{ID: state.NodeID(fmt.Sprintf("%032d", i)), Slots: 2, MemoryFree: 4 * gib, Encoders: 1}
				m.do(state.RegisterNode{ID: fleet.Nodes[i].ID, Name: fmt.Sprint("n", i), At: now})
			}
			if row.busy {
				m.occupy(fleet)
			}
			v := m.s.View()
			b.ReportAllocs()
			placed := 0
			for b.Loop() {
				placed = len(Plan(v, fleet, now))
			}
			b.ReportMetric(float64(placed), "placed/op")
		})
	}
}

// occupy assigns long tasks until one slot is left.
func (m *mesh) occupy(fleet Mesh) {
	for {
		plan := Plan(m.s.View(), fleet, now)
		if len(plan) < Most/2 {
			m.t.Fatal("nothing is left to assign")
		}
		if m.freeSlots(fleet) == len(plan) {
			m.do(state.AssignTasks{Assignments: plan[1:], At: now})
			return
		}
		m.do(state.AssignTasks{Assignments: plan, At: now})
	}
}

func (m *mesh) freeSlots(fleet Mesh) int {
	n := 0
	for _, c := range newPlanner(m.s.View(), fleet, now).nodes {
		n += c.Slots - c.tasks[state.LongLane]
	}
	return n
}

func films(m *mesh, users, each, segments int) {
	for u := range users {
		user := fmt.Sprint("user", u)
		m.user(user)
		for i := range each {
			m.film(user, fmt.Sprint("f", u, "x", i), segments)
		}
	}
}

func songs(m *mesh, users, each int) {
	for u := range users {
		user := fmt.Sprint("user", u)
		m.user(user)
		for i := range each {
			m.quick(user, fmt.Sprint("s", u, "x", i), 1)
		}
	}
}

func impossible(m *mesh, n int) {
	for i := range n / 100 {
		var tasks []state.NewTask
		for k := range 100 {
			tasks = append(tasks, state.NewTask{ID: state.TaskID(fmt.Sprint("x", i, "x", k)), Kind: state.Segment, Cost: 9, Needs: 2})
		}
		m.add("ana", fmt.Sprint("j", i), tasks...)
	}
}
