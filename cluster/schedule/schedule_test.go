package schedule

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"malla/blobs"
	"malla/cluster/state"
)

var now = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// mesh is a state with three users and an item each.
type mesh struct {
	t     testing.TB
	s     *state.State
	at    time.Time // of what is queued
	index uint64
}

func newMesh(t testing.TB) *mesh {
	m := &mesh{t: t, s: state.New(), at: now}
	m.user("ana")
	m.user("bob")
	m.user("eve")
	return m
}

func (m *mesh) user(user string) {
	m.t.Helper()
	m.do(state.AddUser{ID: state.UserID(user), Name: user, Password: "phc", At: now})
	sum := blobs.RefOf([]byte(user))
	m.do(state.AddMedia{ID: state.MediaID("of-" + user), Owner: state.UserID(user), Name: "a.mp3", At: now,
		Content: state.Content{Blob: blobs.Blob{Ref: sum, Size: 3, SHA256: sum}}})
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

// add queues a job of that name with those tasks.
func (m *mesh) add(user, job string, tasks ...state.NewTask) {
	m.t.Helper()
	m.do(state.AddJob{ID: state.JobID(job), Owner: state.UserID(user), Media: state.MediaID("of-" + user), Format: "mp3", Tasks: tasks, At: m.at})
}

func (m *mesh) long(user, task string) {
	m.t.Helper()
	m.add(user, "job-"+task, state.NewTask{ID: state.TaskID(task), Kind: state.Convert, Cost: 100})
}

func (m *mesh) quick(user, task string, cost float64) {
	m.t.Helper()
	m.add(user, "job-"+task, state.NewTask{ID: state.TaskID(task), Kind: state.Convert, Cost: cost})
}

// film queues a job of n segments, named after it.
func (m *mesh) film(user, job string, n int) {
	m.t.Helper()
	var tasks []state.NewTask
	for i := range n {
		tasks = append(tasks, state.NewTask{ID: state.TaskID(fmt.Sprint(job, "-", i+1)), Kind: state.Segment, Cost: 60, Class: "vp9"})
	}
	m.add(user, job, tasks...)
}

func (m *mesh) assign(at time.Time, pairs ...string) {
	m.t.Helper()
	var all []state.Assignment
	for i := 0; i < len(pairs); i += 2 {
		all = append(all, state.Assignment{Task: state.TaskID(pairs[i]), Node: state.NodeID(pairs[i+1])})
	}
	m.do(state.AssignTasks{Assignments: all, At: at})
}

func (m *mesh) attempt(task string) int {
	k, _ := m.s.View().Task(state.TaskID(task))
	return k.Attempt
}

// failed makes a task that failed on n1 at that time and waits again.
func (m *mesh) failed(task string, at time.Time) {
	m.t.Helper()
	m.assign(at, task, "n1")
	m.do(state.FailTask{Task: state.TaskID(task), Attempt: m.attempt(task), Reason: "boom", At: at})
}

// moved makes a task that was taken from n1.
func (m *mesh) moved(task string) {
	m.t.Helper()
	m.assign(now, task, "n1")
	m.do(state.ReleaseTasks{Releases: []state.Release{{Task: state.TaskID(task), Attempt: m.attempt(task), Cause: state.Moved}}, At: now})
}

// finish makes a task that ran for so long, until now, and took so much memory.
func (m *mesh) finish(task, node string, took time.Duration, memory int64) {
	m.t.Helper()
	m.assign(now.Add(-took), task, node)
	sum := blobs.RefOf([]byte(task))
	m.do(state.FinishTask{Task: state.TaskID(task), Attempt: m.attempt(task), At: now, Media: state.MediaID("out-" + task),
		Output: state.Content{Blob: blobs.Blob{Ref: sum, Size: 3, SHA256: sum}}, Usage: state.Usage{CPU: 1, Units: 1, Memory: memory}})
}

// aside has n2 set aside, since attempts fail there and work on n1.
func (m *mesh) aside() {
	m.t.Helper()
	for _, id := range []string{"n1", "n2"} {
		m.do(state.RegisterNode{ID: state.NodeID(id), Name: id, At: now})
	}
	for i := range 3 {
		task := fmt.Sprint("bad", i)
		m.quick("eve", task, 1)
		m.assign(now, task, "n2")
		m.do(state.FailTask{Task: state.TaskID(task), Attempt: 1, Reason: "boom", At: now})
		m.finish(task, "n1", 0, 0)
	}
	m.quick("eve", "worse", 1)
	m.assign(now, "worse", "n2")
	m.do(state.FailTask{Task: "worse", Attempt: 1, Reason: "boom", At: now})
	m.finish("worse", "n1", 0, 0)
	if n, _ := m.s.View().Node("n2"); !n.AsideUntil.After(now) {
		m.t.Fatalf("n2 is not set aside: %+v", n)
	}
}

func idle(slots ...int) []Node {
	var nodes []Node
	for i, n := range slots {
		nodes = append(nodes, Node{ID: state.NodeID(fmt.Sprint("n", i+1)), Slots: n})
	}
	return nodes
}

// written is a plan as rows say it.
func written(plan []state.Assignment) string {
	var all []string
	for _, a := range plan {
		all = append(all, string(a.Task)+">"+string(a.Node))
	}
	return strings.Join(all, " ")
}

const gib = 1 << 30

func TestPlan(t *testing.T) {
	for _, row := range []struct {
		name  string
		story func(*mesh)
		mesh  Mesh
		want  string
	}{
		{"nothing waits", func(*mesh) {}, Mesh{Nodes: idle(2)}, ""},
		{"no node can convert", func(m *mesh) { m.long("ana", "t1") }, Mesh{Nodes: idle(0)}, ""},
		{"no node is there", func(m *mesh) { m.long("ana", "t1") }, Mesh{}, ""},
		{"no more long tasks than there are slots", func(m *mesh) { m.long("ana", "t1"); m.long("ana", "t2"); m.long("ana", "t3") }, Mesh{Nodes: idle(1, 1)}, "t1>n1 t2>n2"},
		{"work spreads over idle nodes", func(m *mesh) { m.long("ana", "t1"); m.long("ana", "t2") }, Mesh{Nodes: idle(4, 4)}, "t1>n1 t2>n2"},
		{"the node with more free slots gets more", func(m *mesh) { m.film("ana", "f", 4) }, Mesh{Nodes: idle(1, 3)}, "f-1>n1 f-2>n2 f-3>n2 f-4>n2"},
		{"users take turns", func(m *mesh) { m.long("ana", "t1"); m.long("ana", "t2"); m.long("bob", "t3") }, Mesh{Nodes: idle(2)}, "t1>n1 t3>n1"},
		{"whoever has work under way waits for the others", func(m *mesh) {
			m.long("ana", "t0")
			m.assign(now, "t0", "n1")
			m.long("ana", "t1")
			m.long("bob", "t2")
		}, Mesh{Nodes: idle(2)}, "t2>n1"},
		{"whoever had much of late waits for the others", func(m *mesh) { m.long("ana", "t1"); m.long("bob", "t2") },
			Mesh{Nodes: idle(1), Turns: &Turns{used: map[state.UserID]float64{"ana": 50, "bob": 40}}}, "t2>n1"},
		{"the higher priority goes first, whoever has work under way", func(m *mesh) {
			m.long("ana", "t1")
			m.long("bob", "t2")
			m.long("bob", "t3")
			m.do(state.SetPriority{ID: "job-t1", Owner: "ana", Priority: state.Low})
			m.do(state.SetPriority{ID: "job-t3", Owner: "bob", Priority: state.High})
		}, Mesh{Nodes: idle(2)}, "t3>n1 t2>n1"},
		{"the oldest job of a user goes first", func(m *mesh) { m.film("ana", "f", 2); m.film("ana", "g", 2) }, Mesh{Nodes: idle(3)}, "f-1>n1 f-2>n1 g-1>n1"},
		{"songs do not wait for the films of their user", func(m *mesh) { m.film("ana", "f", 40); m.quick("ana", "song", 1) }, Mesh{Nodes: idle(1)}, "song>n1 f-1>n1"},
		{"songs are sent ahead, 2 s for a slot", func(m *mesh) {
			for i := range 9 {
				m.quick("ana", fmt.Sprint("s", i), 0.5)
			}
		}, Mesh{Nodes: idle(1, 1)}, "s0>n1 s1>n2 s2>n1 s3>n2 s4>n1 s5>n2 s6>n1 s7>n2"},
		{"not more than 8 for a slot are sent ahead", func(m *mesh) {
			for i := range 9 {
				m.quick("ana", fmt.Sprint("s", i), 0.001)
			}
		}, Mesh{Nodes: idle(1)}, "s0>n1 s1>n1 s2>n1 s3>n1 s4>n1 s5>n1 s6>n1 s7>n1"},
		{"songs of unknown cost are taken for a second", func(m *mesh) { m.quick("ana", "s1", 0); m.quick("ana", "s2", 0); m.quick("ana", "s3", 0) },
			Mesh{Nodes: idle(1)}, "s1>n1 s2>n1"},
		{"a song goes where it begins first", func(m *mesh) {
			m.quick("ana", "album", 9)
			m.assign(now, "album", "n1")
			m.quick("ana", "s1", 1)
			m.quick("ana", "s2", 1)
		}, Mesh{Nodes: idle(1, 1)}, "s1>n2 s2>n2"},
		{"users take turns with songs by what they take", func(m *mesh) {
			m.quick("ana", "a1", 2)
			m.quick("ana", "a2", 2)
			m.quick("bob", "b1", 0.5)
			m.quick("bob", "b2", 0.5)
		}, Mesh{Nodes: idle(2)}, "a1>n1 b1>n1 b2>n1 a2>n1"},
		{"the busy node is passed by", func(m *mesh) { m.long("ana", "t1") }, Mesh{Nodes: []Node{{ID: "n1", Slots: 2, CPU: 0.9}, {ID: "n2", Slots: 2, CPU: 0.1}}}, "t1>n2"},
		{"its own tasks do not make a node look busy", func(m *mesh) {
			m.film("ana", "f", 3)
			m.assign(now, "f-1", "n1", "f-2", "n2")
		}, Mesh{Nodes: []Node{{ID: "n1", Slots: 2, CPU: 0.5}, {ID: "n2", Slots: 2, CPU: 0.4}}}, "f-3>n1"},
		{"a free slot counts more than an idle processor", func(m *mesh) {
			m.film("ana", "f", 2)
			m.assign(now, "f-1", "n2")
		}, Mesh{Nodes: []Node{{ID: "n1", Slots: 2, CPU: 0.9}, {ID: "n2", Slots: 2, CPU: 0.1}}}, "f-2>n1"},
		{"the node without memory gets nothing", func(m *mesh) { m.long("ana", "t1"); m.quick("ana", "t2", 1) }, Mesh{Nodes: []Node{{ID: "n1", Slots: 2, Memory: 0.97}}}, ""},
		{"what takes more memory than is free goes elsewhere", func(m *mesh) {
			m.film("ana", "f", 4)
			m.finish("f-1", "n2", time.Minute, 2*gib)
			m.assign(now.Add(-time.Minute), "f-2", "n1")
		}, Mesh{Nodes: []Node{{ID: "n1", Slots: 9, Memory: 0.5, MemoryFree: gib}, {ID: "n2", Slots: 2, Memory: 0.5, MemoryFree: 8 * gib}}}, "f-3>n2 f-4>n2"},
		{"what was promised to a new task is not free", func(m *mesh) {
			m.film("ana", "f", 3)
			m.finish("f-1", "n1", time.Minute, 2*gib)
			m.assign(now.Add(-time.Second), "f-2", "n1")
		}, Mesh{Nodes: []Node{{ID: "n1", Slots: 2, Memory: 0.5, MemoryFree: 3 * gib}}}, ""},
		{"what an old task takes is in the report already", func(m *mesh) {
			m.film("ana", "f", 3)
			m.finish("f-1", "n1", time.Minute, 2*gib)
			m.assign(now.Add(-time.Minute), "f-2", "n1")
		}, Mesh{Nodes: []Node{{ID: "n1", Slots: 2, Memory: 0.5, MemoryFree: 3 * gib}}}, "f-3>n1"},
		{"an idle node takes what hardly fits", func(m *mesh) { m.film("ana", "f", 3); m.finish("f-1", "n1", time.Minute, 2*gib) },
			Mesh{Nodes: []Node{{ID: "n1", Slots: 2, Memory: 0.5, MemoryFree: 3 * gib / 2}}}, "f-2>n1"},
		{"a small node takes nothing that only a large one can", func(m *mesh) { m.film("ana", "f", 2); m.finish("f-1", "n1", time.Minute, 4*gib) },
			Mesh{Nodes: []Node{{ID: "n1", Slots: 2, Memory: 0.5, MemoryFree: gib}, {ID: "n2", Slots: 0, Memory: 0.5, MemoryFree: 8 * gib}}}, ""},
		{"a node with room is preferred to an idle one where it hardly fits", func(m *mesh) {
			m.film("ana", "f", 3)
			m.finish("f-1", "n2", time.Minute, 2*gib)
			m.assign(now.Add(-time.Minute), "f-2", "n2")
		}, Mesh{Nodes: []Node{{ID: "n1", Slots: 2, Memory: 0.5, MemoryFree: 3 * gib / 2}, {ID: "n2", Slots: 2, Memory: 0.5, MemoryFree: 8 * gib}}}, "f-3>n2"},
		{"what waits on a node takes no memory yet", func(m *mesh) {
			for _, job := range []string{"s0", "s1", "s2", "s3"} {
				m.add("ana", "job-"+job, state.NewTask{ID: state.TaskID(job), Kind: state.Convert, Cost: 0.1, Class: "flac"})
			}
			m.finish("s0", "n1", time.Second, 2*gib)
			m.assign(now, "s1", "n1", "s2", "n1")
		}, Mesh{Nodes: []Node{{ID: "n1", Slots: 1, Memory: 0.5, MemoryFree: 5 * gib}}}, "s3>n1"},
		{"a long task goes where fewer songs are", func(m *mesh) { m.quick("ana", "s", 2); m.assign(now, "s", "n1"); m.long("ana", "t1") }, Mesh{Nodes: idle(1, 1)}, "t1>n2"},
		{"a song goes where no long task is", func(m *mesh) { m.long("ana", "t1"); m.assign(now, "t1", "n1"); m.quick("ana", "s", 1) }, Mesh{Nodes: idle(1, 1)}, "s>n2"},
		{"slots count more than what was had of late", func(m *mesh) { m.film("ana", "f", 2); m.long("bob", "t") },
			Mesh{Nodes: idle(2), Turns: &Turns{used: map[state.UserID]float64{"bob": 1000}}}, "f-1>n1 t>n1"},
		{"with as many slots, whoever got less goes first", func(m *mesh) { m.film("ana", "f", 2); m.quick("bob", "b1", 11); m.quick("bob", "b2", 11) }, Mesh{Nodes: idle(3)}, "f-1>n1 b1>n1 b2>n1"},
		{"the node with the encoder gets it", func(m *mesh) {
			m.add("ana", "j", state.NewTask{ID: "t1", Kind: state.Convert, Needs: 0b100}, state.NewTask{ID: "t2", Kind: state.Convert, Needs: 0b1000})
		}, Mesh{Nodes: []Node{{ID: "n1", Slots: 9, Encoders: 0b1011}, {ID: "n2", Slots: 1, Encoders: 0b0111}}}, "t1>n2 t2>n1"},
		{"a node that does not tell its encoders has them all", func(m *mesh) { m.add("ana", "j", state.NewTask{ID: "t1", Kind: state.Convert, Needs: 0b100}) }, Mesh{Nodes: idle(1)}, "t1>n1"},
		{"what no node can encode does not hold up the rest", func(m *mesh) {
			var tasks []state.NewTask
			for i := range 900 {
				tasks = append(tasks, state.NewTask{ID: state.TaskID(fmt.Sprint("x", i)), Kind: state.Segment, Needs: 0b100})
			}
			m.add("ana", "j", tasks...)
			m.film("ana", "f", 1)
		}, Mesh{Nodes: []Node{{ID: "n1", Slots: 2, Encoders: 1}}}, "f-1>n1"},
		{"the node with the input is preferred", func(m *mesh) { m.long("ana", "t1") },
			Mesh{Nodes: idle(2, 2, 2), Local: func(state.Input) []Share { return []Share{{"n9", 1}, {"n3", 1}} }}, "t1>n3"},
		{"an idle node is preferred to a busy one with the input", func(m *mesh) { m.long("ana", "t0"); m.assign(now, "t0", "n2"); m.long("ana", "t1") },
			Mesh{Nodes: idle(2, 2), Local: func(state.Input) []Share { return []Share{{"n2", 1}} }}, "t1>n1"},
		{"not where it failed before", func(m *mesh) { m.long("ana", "t1"); m.failed("t1", now.Add(-time.Hour)) }, Mesh{Nodes: idle(2, 2)}, "t1>n2"},
		{"where it failed before if there is no other", func(m *mesh) { m.long("ana", "t1"); m.failed("t1", now.Add(-5*time.Second)) }, Mesh{Nodes: idle(2)}, "t1>n1"},
		{"it waits a while for a node where it did not fail", func(m *mesh) {
			m.long("ana", "t1")
			m.failed("t1", now.Add(-5*time.Second))
			m.long("bob", "t2")
			m.assign(now, "t2", "n2")
		}, Mesh{Nodes: idle(1, 1)}, ""},
		{"but not for ever", func(m *mesh) {
			m.long("ana", "t1")
			m.failed("t1", now.Add(-time.Minute))
			m.long("bob", "t2")
			m.assign(now, "t2", "n2")
		}, Mesh{Nodes: idle(1, 1)}, "t1>n1"},
		{"rather not where it was taken from", func(m *mesh) { m.long("ana", "t1"); m.moved("t1"); m.long("bob", "t2"); m.assign(now, "t2", "n2") },
			Mesh{Nodes: idle(2, 2)}, "t1>n2"},
		{"where it was taken from if there is no other", func(m *mesh) { m.long("ana", "t1"); m.moved("t1") }, Mesh{Nodes: idle(2)}, "t1>n1"},
		{"not before its time", func(m *mesh) { m.long("ana", "t1"); m.failed("t1", now) }, Mesh{Nodes: idle(2)}, ""},
		{"what is not due does not hold up what is behind it", func(m *mesh) { m.long("ana", "t1"); m.failed("t1", now); m.long("ana", "t2") }, Mesh{Nodes: idle(2)}, "t2>n1"},
		{"a node that is set aside gets nothing", func(m *mesh) { m.aside(); m.long("ana", "t1") }, Mesh{Nodes: idle(2, 2)}, "t1>n1"},
		{"not even when the others are busy", func(m *mesh) { m.aside(); m.long("ana", "t1"); m.assign(now, "t1", "n1"); m.long("ana", "t2") }, Mesh{Nodes: idle(1, 1)}, ""},
		{"unless there is no other", func(m *mesh) { m.aside(); m.long("ana", "t1") }, Mesh{Nodes: []Node{{ID: "n1", Slots: 1, Memory: 1}, {ID: "n2", Slots: 1}}}, "t1>n2"},
	} {
		m := newMesh(t)
		row.story(m)
		if got := written(Plan(m.s.View(), row.mesh, now)); got != row.want {
			t.Errorf("%s: %q, want %q", row.name, got, row.want)
		}
	}
}

func TestPlanIsBounded(t *testing.T) {
	m := newMesh(t)
	for i := range 2 {
		m.film("ana", fmt.Sprint("f", i), 400)
		m.film("bob", fmt.Sprint("g", i), 400)
	}
	for i := range 600 {
		m.quick("ana", fmt.Sprint("s", i), 1)
	}
	plan := Plan(m.s.View(), Mesh{Nodes: idle(slices.Repeat([]int{8}, 200)...)}, now)
	lanes := map[state.Lane]int{}
	for _, a := range plan {
		k, _ := m.s.View().Task(a.Task)
		lanes[k.Lane()]++
	}
	if lanes[state.QuickLane] != Most/2 || lanes[state.LongLane] != Most/2 {
		t.Errorf("%v, want half of %d each", lanes, Most)
	}
	m.do(state.AssignTasks{Assignments: plan, At: now})
	if next := Plan(m.s.View(), Mesh{Nodes: idle(slices.Repeat([]int{8}, 200)...)}, now); len(next) != Most {
		t.Errorf("the next plan has %d", len(next))
	}
	for i := range plan { // ids as long as real ones
		plan[i] = state.Assignment{Task: state.TaskID(strings.Repeat("T", 26)), Node: state.NodeID(strings.Repeat("n", 32))}
	}
	if entry, err := state.Encode("request", state.AssignTasks{Assignments: plan, At: now}); err != nil || len(entry) > 64<<10 {
		t.Errorf("a plan makes an entry of %d bytes: %v", len(entry), err)
	}
}

func TestTurns(t *testing.T) {
	m := newMesh(t)
	m.film("ana", "f", 9)
	m.quick("bob", "s", 2)
	v := m.s.View()
	var turns Turns
	turns.Note(v, []state.Assignment{{Task: "f-1", Node: "n1"}, {Task: "s", Node: "n1"}, {Task: "gone", Node: "n1"}}, now)
	if turns.of("ana") != 60 || turns.of("bob") != 2 || turns.of("eve") != 0 {
		t.Errorf("%+v", turns)
	}
	turns.Note(v, nil, now.Add(fading))
	if turns.of("ana") != 30 || turns.of("bob") != 1 {
		t.Errorf("after some time: %+v", turns)
	}
	turns.Note(v, nil, now.Add(20*fading))
	if len(turns.used) != 0 {
		t.Errorf("after a long time: %+v", turns)
	}
}
