package schedule

import (
	"cmp"
	"slices"
	"time"

	"malla/cluster/state"
)

// When work moves off a node.
const (
	saturatedFor = 5 * time.Second  // so long it must have been saturated
	reliefPause  = 30 * time.Second // between two tasks that are moved for it
)

// A Relief takes work off nodes whose memory runs short. The zero value has seen
// nothing yet.
type Relief struct {
	since map[state.NodeID]time.Time // node -> since when it is saturated
	last  time.Time                  // a task was moved
}

// Saturated returns the release of the youngest long task of a node that has
// been saturated for several seconds, runs more than one task, and could leave
// it to another node now. It is one at the most, and the next one is later: it
// takes a while until a node feels the difference.
func (r *Relief) Saturated(v *state.View, m Mesh, now time.Time) []state.Release {
	ripe := r.look(m.Nodes, now)
	if len(ripe) == 0 || !r.last.IsZero() && now.Sub(r.last) < reliefPause {
		return nil
	}
	p := newPlanner(v, m, now)
	p.openLane(state.LongLane)
	for _, id := range ripe {
		if k := p.movable(id); k != nil {
			r.last = now
			return []state.Release{{Task: k.ID, Attempt: k.Attempt, Cause: state.Moved, Reason: "the memory of its node ran short, so it was moved to another one"}}
		}
	}
	return nil
}

// look notes which nodes are saturated and returns those that have been so for
// long enough, by id.
func (r *Relief) look(nodes []Node, now time.Time) []state.NodeID {
	since := map[state.NodeID]time.Time{}
	var ripe []state.NodeID
	for _, n := range nodes {
		if n.Memory < saturated {
			continue
		}
		at, seen := r.since[n.ID]
		if !seen {
			at = now
		}
		since[n.ID] = at
		if now.Sub(at) >= saturatedFor {
			ripe = append(ripe, n.ID)
		}
	}
	r.since = since
	slices.Sort(ripe)
	return ripe
}

// movable is the youngest long task on a node that another one would take, if
// it is not all that the node does.
func (p *planner) movable(id state.NodeID) *state.Task {
	var long []*state.Task
	tasks := 0
	for k := range p.view.TasksOn(id) {
		if tasks++; !k.Quick() {
			long = append(long, k)
		}
	}
	if tasks < 2 {
		return nil
	}
	slices.SortFunc(long, func(a, b *state.Task) int {
		return cmp.Or(b.AssignedAt.Compare(a.AssignedAt), cmp.Compare(a.ID, b.ID))
	})
	for _, k := range long {
		if c := p.place(k); c != nil && c.ID != id {
			return k
		}
	}
	return nil
}

// When a segment is a straggler.
const (
	stragglerFactor = 4               // so many times as long as the others of its film took
	stragglerLeast  = 5 * time.Second // shorter ones are not worth the move
	stragglerPeers  = 3               // so many others must be finished
	stragglerWorth  = 1.5             // what is left must take so many times as long as all of it elsewhere
)

// Stragglers returns the releases of segments that take far longer than those
// of the same film did, while another node idles and nothing that waits could
// use it. Each is moved once. The fraction of a task that is done is 0 where it
// is not known.
func Stragglers(v *state.View, m Mesh, fraction func(state.TaskID) float64, now time.Time) []state.Release {
	if len(Plan(v, m, now)) > 0 {
		return nil
	}
	p := newPlanner(v, m, now)
	p.openLane(state.LongLane)
	usual := map[state.JobID]time.Duration{}
	var moves []state.Release
	for k := range v.TasksAssigned() {
		elapsed := now.Sub(k.AssignedAt)
		if k.Kind != state.Segment || elapsed < stragglerLeast || len(p.heap.nodes) == 0 || wasMoved(k) {
			continue
		}
		took, known := usual[k.Job]
		if !known {
			took = usualTime(v, k.Job)
			usual[k.Job] = took
		}
		if took == 0 || elapsed <= stragglerFactor*took || !worthMoving(elapsed, took, fraction(k.ID)) {
			continue
		}
		if c := p.elsewhere(k); c != nil {
			p.take(c, k)
			moves = append(moves, state.Release{Task: k.ID, Attempt: k.Attempt, Cause: state.Moved, Reason: "it took far longer than the other segments, so it was moved to another node"})
		}
	}
	return moves
}

func wasMoved(k *state.Task) bool {
	return slices.ContainsFunc(k.Tries, func(a state.Attempt) bool { return a.Cause == state.Moved })
}

// usualTime is the median of what the finished segments of a job took; 0 while
// they are too few.
func usualTime(v *state.View, job state.JobID) time.Duration {
	var took []time.Duration
	for k := range v.TasksOf(job) {
		if k.Kind == state.Segment && k.State == state.Finished {
			took = append(took, k.FinishedAt.Sub(k.AssignedAt))
		}
	}
	if len(took) < stragglerPeers {
		return 0
	}
	slices.Sort(took)
	return max(0, took[len(took)/2]) // clocks of nodes differ
}

// worthMoving tells whether a segment is done sooner if it begins anew.
func worthMoving(elapsed, usual time.Duration, done float64) bool {
	if done <= 0 {
		return true
	}
	left := float64(elapsed) * (1 - done) / done
	return left > stragglerWorth*float64(usual)
}

// elsewhere is the idle node that would get the task if it were taken from its
// own, or nil.
func (p *planner) elsewhere(k *state.Task) *candidate {
	moved := *k
	moved.Tries = append(slices.Clone(k.Tries), state.Attempt{Node: k.Node, Cause: state.Moved})
	c := p.place(&moved)
	if c == nil || c.ID == k.Node || c.tasks[state.LongLane] > 0 {
		return nil
	}
	return c
}
