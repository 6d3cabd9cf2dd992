package schedule

import (
	"cmp"
	"container/heap"
	"fmt"
	"hash/fnv"
	"slices"
	"testing"
	"time"

	"malla/blobs"
	"malla/cluster/state"
)

// Measured on small meshes of real nodes, and taken for constants here.
const (
	overhead  = 60 * time.Millisecond // of a task beside its encoding: input, output, report
	agreement = 10 * time.Millisecond // of a plan: planning, the log, and its worker noticing
	detection = 10 * time.Second      // of a death: the gossip, then the grace time
	spread    = 0.25                  // encoding takes so much more or less than expected
)

// A simulation runs a mesh of many nodes in no time: real state, real plans,
// and events in the order of a clock of its own.
type simulation struct {
	*mesh
	nodes    []*simNode
	turns    Turns
	events   events
	planned  bool // a plan is on its way
	began    map[state.TaskID]time.Time
	lost     time.Duration // of encoding that was thrown away
	inHand   int           // tasks that a dead node had begun
	released []state.Release
}

// simNode is a node that keeps to the worker's part of the lanes.
type simNode struct {
	Node
	slow    float64 // takes so many times as long
	dead    bool
	running map[state.TaskID]*simTask
	queue   []*simTask // quick ones that have not begun
}

type simTask struct {
	id      state.TaskID
	attempt int
	lane    state.Lane
	began   time.Time
	takes   time.Duration
}

func newSimulation(t testing.TB, nodes, slots int) *simulation {
	s := &simulation{mesh: newMesh(t), began: map[state.TaskID]time.Time{}}
	for i := range nodes {
		id := fmt.Sprintf("n%02d", i)
		s.do(state.RegisterNode{ID: state.NodeID(id), Name: id, At: now})
		s.nodes = append(s.nodes, &simNode{Node: Node{ID: state.NodeID(id), Slots: slots}, slow: 1, running: map[state.TaskID]*simTask{}})
	}
	return s
}

type event struct {
	at    time.Time
	order int
	do    func()
}

type events []event

func (h events) Len() int      { return len(h) }
func (h events) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h events) Less(i, j int) bool {
	return cmp.Or(h[i].at.Compare(h[j].at), cmp.Compare(h[i].order, h[j].order)) < 0
}
func (h *events) Push(x any) { *h = append(*h, x.(event)) }
func (h *events) Pop() any {
	last := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return last
}

func (s *simulation) after(d time.Duration, do func()) {
	s.index++ // orders what happens at the same time; the log may have gaps
	heap.Push(&s.events, event{s.at.Add(d), int(s.index), do})
}

// run goes on until nothing happens any more or the time is over, and returns
// how long that took on the mesh's clock.
func (s *simulation) run(most time.Duration) time.Duration {
	s.change()
	s.after(tickOfWatch, s.watch)
	for len(s.events) > 0 {
		e := heap.Pop(&s.events).(event)
		if e.at.Sub(now) > most {
			break
		}
		s.at = e.at
		e.do()
		if s.over() {
			break
		}
	}
	return s.at.Sub(now)
}

const tickOfWatch = 2 * time.Second

func (s *simulation) over() bool {
	for _, st := range []state.JobState{state.Queued, state.Running} {
		for range s.s.View().JobsIn(st) {
			return false
		}
	}
	return true
}

// fleet is the mesh as its leader sees it.
func (s *simulation) fleet() Mesh {
	m := Mesh{Turns: &s.turns}
	for _, n := range s.nodes {
		if !n.dead {
			m.Nodes = append(m.Nodes, n.Node)
		}
	}
	return m
}

// change has the leader plan, as after every change of the state.
func (s *simulation) change() {
	if s.planned {
		return
	}
	s.planned = true
	s.after(agreement, func() {
		s.planned = false
		v := s.s.View()
		plan := Plan(v, s.fleet(), s.at)
		if len(plan) == 0 {
			return
		}
		s.do(state.AssignTasks{Assignments: plan, At: s.at})
		s.turns.Note(v, plan, s.at)
		for _, a := range plan {
			s.receive(a)
		}
		s.change()
	})
}

func (s *simulation) node(id state.NodeID) *simNode {
	i := slices.IndexFunc(s.nodes, func(n *simNode) bool { return n.ID == id })
	return s.nodes[i]
}

// receive is a worker that sees a task of its own.
func (s *simulation) receive(a state.Assignment) {
	n := s.node(a.Node)
	k, _ := s.s.View().Task(a.Task)
	task := &simTask{id: k.ID, attempt: k.Attempt, lane: k.Lane(), takes: overhead + time.Duration(float64(encoding(&k))*n.slow)}
	if n.dead {
		return
	}
	if task.lane == state.QuickLane && n.count(state.QuickLane) >= n.Slots {
		n.queue = append(n.queue, task)
		return
	}
	if n.count(task.lane) >= n.Slots {
		s.t.Errorf("%v: %s runs %d long tasks and gets %s", s.at.Sub(now), n.ID, n.Slots, k.ID)
	}
	s.begin(n, task)
}

func (n *simNode) count(lane state.Lane) int {
	c := 0
	for _, k := range n.running {
		if k.lane == lane {
			c++
		}
	}
	return c
}

// encoding is how long a task really takes: what it was expected to, more or
// less, and the same at every try.
func encoding(k *state.Task) time.Duration {
	h := fnv.New32a()
	h.Write([]byte(k.ID))
	r := float64(h.Sum32()%1000)/999*2 - 1
	return time.Duration(cost(k) * (1 + spread*r) * float64(time.Second))
}

func (s *simulation) begin(n *simNode, task *simTask) {
	task.began = s.at
	n.running[task.id] = task
	if _, again := s.began[task.id]; !again {
		s.began[task.id] = s.at
	}
	s.after(task.takes, func() {
		if n.dead || n.running[task.id] != task {
			return
		}
		s.end(n, task)
		sum := blobs.RefOf([]byte(task.id))
		s.do(state.FinishTask{Task: task.id, Attempt: task.attempt, At: s.at, Media: "out-" + state.MediaID(task.id),
			Output: state.Content{Blob: blobs.Blob{Ref: sum, Size: 3, SHA256: sum}}})
		s.change()
	})
}

// end makes room for the next quick task.
func (s *simulation) end(n *simNode, task *simTask) {
	delete(n.running, task.id)
	if task.lane == state.QuickLane && len(n.queue) > 0 {
		next := n.queue[0]
		n.queue = n.queue[1:]
		s.begin(n, next)
	}
}

// kill ends a node without a word.
func (s *simulation) kill(n *simNode) {
	n.dead = true
	s.inHand += len(n.running)
	for _, k := range n.running {
		s.lost += s.at.Sub(k.began)
	}
	s.after(detection, func() {
		var lost []state.Release
		for k := range s.s.View().TasksOn(n.ID) {
			lost = append(lost, state.Release{Task: k.ID, Attempt: k.Attempt, Cause: state.Lost})
		}
		s.do(state.ReleaseTasks{Releases: lost, At: s.at})
		s.change()
	})
}

// watch moves stragglers, now and then.
func (s *simulation) watch() {
	fraction := func(id state.TaskID) float64 {
		k, _ := s.s.View().Task(id)
		if r := s.node(k.Node).running[id]; r != nil {
			return float64(s.at.Sub(r.began)) / float64(r.takes)
		}
		return 0
	}
	moves := Stragglers(s.s.View(), s.fleet(), fraction, s.at)
	for _, m := range moves {
		k, _ := s.s.View().Task(m.Task)
		n := s.node(k.Node)
		s.lost += s.at.Sub(n.running[m.Task].began)
		s.end(n, n.running[m.Task])
	}
	if len(moves) > 0 {
		s.released = append(s.released, moves...)
		s.do(state.ReleaseTasks{Releases: moves, At: s.at})
		s.change()
	}
	s.after(tickOfWatch, s.watch)
}

// twoHours queues a film of two hours in 720p, VP9: 24,000 processor seconds in
// so many segments, the audio first, and the assembly.
func (s *simulation) twoHours(user, job string, segments int) {
	s.t.Helper()
	tasks := []state.NewTask{{ID: state.TaskID(job + "-audio"), Kind: state.Audio, Cost: 60}}
	for i := range segments {
		tasks = append(tasks, state.NewTask{ID: state.TaskID(fmt.Sprint(job, "-", i)), Kind: state.Segment, Cost: 24000 / float64(segments), Class: "vp9"})
	}
	tasks = append(tasks, state.NewTask{ID: state.TaskID(job + "-join"), Kind: state.Assembly, Cost: 20})
	s.add(user, job, tasks...)
}
