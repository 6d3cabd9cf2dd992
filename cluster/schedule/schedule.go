// Package schedule decides which node runs which task. It is pure: the same
// view, loads and time give the same plan, so it is tested with tables and run
// by whichever node leads.
package schedule

import (
	"cmp"
	"slices"
	"time"

	"malla/cluster/state"
)

// A Node is a member that may be given work, as its last report told.
type Node struct {
	ID     state.NodeID
	Slots  int     // tasks it runs at once; 0 where it cannot convert
	CPU    float64 // busy share of its processors, 0..1
	Memory float64 // used share of its memory, 0..1
}

// Local tells which share of a job's input (0..1) a node has on its own disk.
type Local func(input state.Input, node state.NodeID) float64

// saturated is the share of memory in use above which a node gets no new task.
const saturated = 0.95

// Weights of what makes a node fit for a task. Free slots come first: a node
// with an idle slot at a busy disk beats a queue at a near one.
const (
	freeWeight  = 1.0
	idleWeight  = 0.5
	localWeight = 0.4
)

// Plan gives the waiting tasks that are due to the nodes with free slots. Users
// take turns: the next task is that of the user with the fewest tasks under
// way, the oldest of theirs first. A task goes to a node where it failed
// before only if there is no other.
func Plan(v *state.View, nodes []Node, local Local, now time.Time) []state.Assignment {
	p := newPlanner(v, nodes, local)
	if p.free == 0 {
		return nil
	}
	queues, owners := p.waiting(now)
	var plan []state.Assignment
	for p.free > 0 && len(owners) > 0 {
		owner := slices.MinFunc(owners, func(a, b state.UserID) int {
			return cmp.Or(cmp.Compare(p.underWay[a], p.underWay[b]), cmp.Compare(queues[a][0].task.Created, queues[b][0].task.Created))
		})
		next := queues[owner][0]
		if queues[owner] = queues[owner][1:]; len(queues[owner]) == 0 {
			owners = slices.DeleteFunc(owners, func(o state.UserID) bool { return o == owner })
		}
		if best := p.best(next); best != nil {
			best.busy++
			p.free--
			p.underWay[owner]++
			plan = append(plan, state.Assignment{Task: next.task.ID, Node: best.ID})
		}
	}
	return plan
}

// candidate is a node while a plan is made.
type candidate struct {
	Node
	busy int
}

func (c candidate) open() bool { return c.busy < c.Slots && c.Memory < saturated }

// work is a waiting task and its job.
type work struct {
	task *state.Task
	job  state.Job
}

type planner struct {
	view     *state.View
	nodes    []candidate
	local    Local
	free     int                  // open slots in the mesh
	underWay map[state.UserID]int // user -> tasks assigned
}

// newPlanner counts what is under way from the agreed state: what nodes report
// of themselves is older than the last plan.
func newPlanner(v *state.View, nodes []Node, local Local) *planner {
	p := &planner{view: v, local: local, underWay: map[state.UserID]int{}}
	busy := map[state.NodeID]int{}
	for t := range v.TasksAssigned() {
		busy[t.Node]++
		if j, ok := v.Job(t.Job); ok {
			p.underWay[j.Owner]++
		}
	}
	for _, n := range nodes {
		c := candidate{n, busy[n.ID]}
		p.nodes = append(p.nodes, c)
		if c.open() {
			p.free += c.Slots - c.busy
		}
	}
	return p
}

// waiting lists the due tasks by owner, and the owners in the order of their
// oldest task. Of each owner no more are listed than there are free slots.
func (p *planner) waiting(now time.Time) (map[state.UserID][]work, []state.UserID) {
	queues := map[state.UserID][]work{}
	var owners []state.UserID
	for t := range p.view.TasksWaiting() {
		j, ok := p.view.Job(t.Job)
		if !ok || t.NotBefore.After(now) || len(queues[j.Owner]) == p.free {
			continue
		}
		if queues[j.Owner] == nil {
			owners = append(owners, j.Owner)
		}
		queues[j.Owner] = append(queues[j.Owner], work{t, j})
	}
	return queues, owners
}

// best returns the open node with the highest score, or nil.
func (p *planner) best(w work) *candidate {
	var best *candidate
	var most float64
	for i := range p.nodes {
		c := &p.nodes[i]
		if !c.open() {
			continue
		}
		s := p.score(c, w)
		if best == nil || s > most || s == most && c.ID < best.ID {
			best, most = c, s
		}
	}
	return best
}

func (p *planner) score(c *candidate, w work) float64 {
	s := freeWeight*float64(c.Slots-c.busy)/float64(c.Slots) + idleWeight*(1-c.CPU)
	if p.local != nil {
		s += localWeight * p.local(w.job.Input, c.ID)
	}
	for _, try := range w.task.Tries {
		if try.Node == c.ID {
			s -= 10 // behind every node where it has not failed
		}
	}
	return s
}
