package schedule

import (
	"fmt"
	"testing"
	"time"

	"malla/blobs"
	"malla/cluster/state"
)

var now = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// mesh is a state with two users and an item each.
type mesh struct {
	t     testing.TB
	s     *state.State
	index uint64
}

func newMesh(t testing.TB) *mesh {
	m := &mesh{t: t, s: state.New()}
	for _, user := range []string{"ana", "bob"} {
		m.do(state.AddUser{ID: state.UserID(user), Name: user, Password: "phc", At: now})
		sum := blobs.RefOf([]byte(user))
		m.do(state.AddMedia{ID: state.MediaID("of-" + user), Owner: state.UserID(user), Name: "a.mp3", At: now,
			Content: state.Content{Blob: blobs.Blob{Ref: sum, Size: 3, SHA256: sum}}})
	}
	return m
}

func (m *mesh) do(cmd state.Command) {
	m.t.Helper()
	m.index++
	data, err := state.Encode("", cmd)
	if err != nil {
		m.t.Fatal(err)
	}
	if _, err := m.s.Apply(m.index, data); err != nil {
		m.t.Fatal(err)
	}
}

func (m *mesh) queue(user, task string) {
	m.t.Helper()
	m.do(state.AddJob{ID: state.JobID("job-" + task), Owner: state.UserID(user), Media: state.MediaID("of-" + user), Format: "mp3",
		Tasks: []state.NewTask{{ID: state.TaskID(task), Kind: state.Convert}}, At: now})
}

func idle(slots ...int) []Node {
	var nodes []Node
	for i, n := range slots {
		nodes = append(nodes, Node{ID: state.NodeID(fmt.Sprint("n", i+1)), Slots: n})
	}
	return nodes
}

func TestPlan(t *testing.T) {
	for _, row := range []struct {
		name  string
		story func(*mesh)
		nodes []Node
		local Local
		want  string
	}{
		{"nothing waits", func(*mesh) {}, idle(2), nil, ""},
		{"no node can convert", func(m *mesh) { m.queue("ana", "t1") }, idle(0), nil, ""},
		{"no node is there", func(m *mesh) { m.queue("ana", "t1") }, nil, nil, ""},
		{"no more than there are slots", func(m *mesh) { m.queue("ana", "t1"); m.queue("ana", "t2"); m.queue("ana", "t3") }, idle(1, 1), nil, "t1>n1 t2>n2"},
		{"work spreads over idle nodes", func(m *mesh) { m.queue("ana", "t1"); m.queue("ana", "t2") }, idle(4, 4), nil, "t1>n1 t2>n2"},
		{"users take turns", func(m *mesh) { m.queue("ana", "t1"); m.queue("ana", "t2"); m.queue("bob", "t3") }, idle(2), nil, "t1>n1 t3>n1"},
		{"whoever has work under way waits for the others", func(m *mesh) {
			m.queue("ana", "t0")
			m.do(state.AssignTasks{Assignments: []state.Assignment{{Task: "t0", Node: "n1"}}, At: now})
			m.queue("ana", "t1")
			m.queue("bob", "t2")
		}, idle(2), nil, "t2>n1"},
		{"the busy node is passed by", func(m *mesh) { m.queue("ana", "t1") }, []Node{{ID: "n1", Slots: 2, CPU: 0.9}, {ID: "n2", Slots: 2, CPU: 0.1}}, nil, "t1>n2"},
		{"the node without memory gets nothing", func(m *mesh) { m.queue("ana", "t1") }, []Node{{ID: "n1", Slots: 2, Memory: 0.97}}, nil, ""},
		{"the node with the input is preferred", func(m *mesh) { m.queue("ana", "t1") }, idle(2, 2, 2),
			func(_ state.Input, n state.NodeID) float64 {
				if n == "n3" {
					return 1
				}
				return 0
			}, "t1>n3"},
		{"not where it failed before", func(m *mesh) { failed(m, now.Add(-time.Hour)) }, idle(2, 2), nil, "t1>n2"},
		{"where it failed before if there is no other", func(m *mesh) { failed(m, now.Add(-time.Hour)) }, idle(2), nil, "t1>n1"},
		{"not before its time", func(m *mesh) { failed(m, now) }, idle(2), nil, ""},
	} {
		m := newMesh(t)
		row.story(m)
		got := ""
		for i, a := range Plan(m.s.View(), row.nodes, row.local, now) {
			if i > 0 {
				got += " "
			}
			got += string(a.Task) + ">" + string(a.Node)
		}
		if got != row.want {
			t.Errorf("%s: %q, want %q", row.name, got, row.want)
		}
	}
}

// failed makes a task that failed on n1 at that time and waits again.
func failed(m *mesh, at time.Time) {
	m.queue("ana", "t1")
	m.do(state.AssignTasks{Assignments: []state.Assignment{{Task: "t1", Node: "n1"}}, At: at})
	m.do(state.FailTask{Task: "t1", Attempt: 1, Reason: "boom", At: at})
}

func BenchmarkPlan(b *testing.B) {
	m := newMesh(b)
	for i := range 10_000 {
		m.queue([]string{"ana", "bob"}[i%2], fmt.Sprint("t", i))
	}
	nodes := make([]Node, 1000)
	for i := range nodes {
		nodes[i] = Node{ID: state.NodeID(fmt.Sprint("n", i)), Slots: 2}
	}
	v := m.s.View()
	for b.Loop() {
		Plan(v, nodes, nil, now)
	}
}
