package schedule

import (
	"fmt"
	"testing"
	"time"

	"malla/cluster/state"
)

// short is two nodes, of which the memory of the first runs short.
func short() Mesh {
	return Mesh{Nodes: []Node{{ID: "n1", Slots: 2, Memory: 0.96}, {ID: "n2", Slots: 2}}}
}

func TestSaturated(t *testing.T) {
	for _, row := range []struct {
		name  string
		story func(*mesh)
		mesh  Mesh
		want  string
	}{
		{"the youngest long task leaves", func(m *mesh) {
			m.film("ana", "f", 2)
			m.quick("ana", "s", 1)
			m.assign(now, "f-1", "n1")
			m.assign(now.Add(time.Second), "f-2", "n1")
			m.assign(now.Add(2*time.Second), "s", "n1")
		}, short(), "f-2"},
		{"the only task stays", func(m *mesh) { m.film("ana", "f", 1); m.assign(now, "f-1", "n1") }, short(), ""},
		{"quick tasks stay", func(m *mesh) { m.quick("ana", "s", 1); m.quick("ana", "t", 1); m.assign(now, "s", "n1", "t", "n1") }, short(), ""},
		{"a node with memory keeps its tasks", func(m *mesh) { m.film("ana", "f", 2); m.assign(now, "f-1", "n1", "f-2", "n1") }, Mesh{Nodes: idle(2, 2)}, ""},
		{"it stays where no other node has a free slot", func(m *mesh) {
			m.film("ana", "f", 4)
			m.assign(now, "f-1", "n1", "f-2", "n1", "f-3", "n2", "f-4", "n2")
		}, short(), ""},
		{"it stays where the free node lacks the encoder", func(m *mesh) {
			m.add("ana", "j", state.NewTask{ID: "a", Kind: state.Segment, Needs: 2}, state.NewTask{ID: "b", Kind: state.Segment, Needs: 2})
			m.assign(now, "a", "n1", "b", "n1")
		}, Mesh{Nodes: []Node{{ID: "n1", Slots: 2, Memory: 0.96}, {ID: "n2", Slots: 2, Encoders: 1}}}, ""},
	} {
		m := newMesh(t)
		row.story(m)
		var r Relief
		if moves := r.Saturated(m.s.View(), row.mesh, now); len(moves) != 0 {
			t.Errorf("%s: at once: %v", row.name, moves)
		}
		if got := names(r.Saturated(m.s.View(), row.mesh, now.Add(saturatedFor))); got != row.want {
			t.Errorf("%s: %q, want %q", row.name, got, row.want)
		}
	}
}

func names(all []state.Release) string {
	text := ""
	for i, r := range all {
		if i > 0 {
			text += " "
		}
		text += string(r.Task)
	}
	return text
}

func TestReliefIsSlow(t *testing.T) {
	m := newMesh(t)
	m.film("ana", "f", 3)
	m.assign(now, "f-1", "n1", "f-2", "n1", "f-3", "n1")
	fleet := short()
	var r Relief
	moved := map[time.Duration]string{}
	for at := time.Duration(0); at <= 40*time.Second; at += time.Second {
		if moves := r.Saturated(m.s.View(), fleet, now.Add(at)); len(moves) > 0 {
			if moves[0].Cause != state.Moved || moves[0].Reason == "" {
				t.Errorf("%+v", moves[0])
			}
			m.do(state.ReleaseTasks{Releases: moves, At: now})
			m.assign(now, string(moves[0].Task), "n2")
			moved[at] = names(moves)
		}
		if at == 7*time.Second {
			fleet.Nodes[0].Memory = 0.5
		}
		if at == 10*time.Second {
			fleet.Nodes[0].Memory = 0.96
		}
	}
	if fmt.Sprint(moved) != "map[5s:f-1 35s:f-2]" {
		t.Errorf("moved at %v", moved)
	}
}

func TestStragglers(t *testing.T) {
	finished := func(m *mesh) {
		for i := range 3 {
			m.finish(fmt.Sprint("f-", i+1), "n2", 10*time.Second, 0)
		}
	}
	for _, row := range []struct {
		name  string
		story func(*mesh)
		nodes []Node
		done  float64
		want  string
	}{
		{"it is moved to an idle node", func(m *mesh) { finished(m); m.assign(now.Add(-41*time.Second), "f-4", "n1") }, idle(1, 1), 0.2, "f-4"},
		{"not yet", func(m *mesh) { finished(m); m.assign(now.Add(-39*time.Second), "f-4", "n1") }, idle(1, 1), 0.2, ""},
		{"it is nearly done", func(m *mesh) { finished(m); m.assign(now.Add(-41*time.Second), "f-4", "n1") }, idle(1, 1), 0.9, ""},
		{"nothing is known of how far it is", func(m *mesh) { finished(m); m.assign(now.Add(-41*time.Second), "f-4", "n1") }, idle(1, 1), 0, "f-4"},
		{"too few are finished to tell", func(m *mesh) {
			m.finish("f-1", "n2", 10*time.Second, 0)
			m.finish("f-2", "n2", 10*time.Second, 0)
			m.assign(now.Add(-time.Hour), "f-4", "n1")
			m.assign(now, "f-3", "n3")
		}, idle(1, 1, 1), 0.2, ""},
		{"no other node idles", func(m *mesh) {
			finished(m)
			m.assign(now.Add(-41*time.Second), "f-4", "n1")
			m.long("bob", "t")
			m.assign(now, "t", "n2")
		}, idle(1, 1), 0.2, ""},
		{"the other node has a free slot, but does not idle", func(m *mesh) {
			finished(m)
			m.assign(now.Add(-41*time.Second), "f-4", "n1")
			m.long("bob", "t")
			m.assign(now, "t", "n2")
		}, idle(1, 2), 0.2, ""},
		{"its own node idles, but that does not help", func(m *mesh) { finished(m); m.assign(now.Add(-41*time.Second), "f-4", "n1") }, idle(4), 0.2, ""},
		{"something that waits could use the idle node", func(m *mesh) {
			finished(m)
			m.assign(now.Add(-41*time.Second), "f-4", "n1")
			m.long("bob", "t")
		}, idle(1, 1), 0.2, ""},
		{"it is moved once", func(m *mesh) { finished(m); m.moved("f-4"); m.assign(now.Add(-41*time.Second), "f-4", "n2") }, idle(1, 1), 0.2, ""},
		{"one idle node is for one straggler", func(m *mesh) {
			finished(m)
			m.film("ana", "g", 4)
			for i := range 3 {
				m.finish(fmt.Sprint("g-", i+1), "n2", 10*time.Second, 0)
			}
			m.assign(now.Add(-41*time.Second), "f-4", "n1", "g-4", "n3")
		}, idle(1, 1, 1), 0.2, "f-4"},
	} {
		m := newMesh(t)
		m.film("ana", "f", 4)
		row.story(m)
		moves := Stragglers(m.s.View(), Mesh{Nodes: row.nodes}, func(state.TaskID) float64 { return row.done }, now)
		if got := names(moves); got != row.want {
			t.Errorf("%s: %q, want %q", row.name, got, row.want)
		}
		if len(moves) == 0 {
			continue
		}
		m.do(state.ReleaseTasks{Releases: moves, At: now})
		if got := written(Plan(m.s.View(), Mesh{Nodes: row.nodes}, now)); got != row.want+">n2" {
			t.Errorf("%s: then %q", row.name, got)
		}
	}
}
