// Package schedule decides which node runs which task, which tasks are taken
// from their nodes again, and whose turn it is. It is pure: the same view, nodes
// and time give the same answer, so it is tested with tables and run by
// whichever node leads.
//
// # Lanes
//
// A node runs tasks in two lanes, and its worker keeps to the same rules:
//
//   - Long tasks (not [state.Task.Quick]): at most Slots are assigned, and all
//     that are assigned run.
//   - Quick tasks: at most Slots run, beside the long ones. More may be assigned,
//     so that a node does not idle between songs of a second while the mesh agrees
//     on the next: as long as those assigned are expected to take less than 2 s for
//     each slot, and at most 8 for each slot. The worker starts them by priority,
//     then in the order in which they were assigned, and says of the others that
//     they wait.
//
// # Order
//
// In each lane the higher priority goes first, then the user with the least
// under way there, of those the one who had the least of late ([Turns]). Of a
// user the oldest job goes first, in the order of its tasks. What is not due or
// fits nowhere is passed over.
package schedule

import (
	"container/heap"
	"time"

	"malla/cluster/state"
)

// A Node is a member that may be given work, as its last report told.
type Node struct {
	ID         state.NodeID
	Slots      int     // tasks that each lane runs at once; 0 where it cannot convert
	CPU        float64 // busy share of its processors, 0..1
	Memory     float64 // used share of its memory, 0..1
	MemoryFree uint64  // bytes; 0 where nothing is known of its memory
	Encoders   uint64  // bits, as in [state.Task.Needs]; 0: not known, taken for all
}

// A Share is how much of an input a node has on its own disk, 0..1.
type Share struct {
	Node  state.NodeID
	Share float64
}

// Local tells which nodes have more of an input than the others.
type Local func(input state.Input) []Share

// A Mesh is what a plan is made for.
type Mesh struct {
	Nodes []Node
	Local Local  // nil: the input is equally far from all
	Turns *Turns // nil: nobody had anything of late
}

// Most is how many assignments a plan has at the most, so that the entry that
// carries them stays small; the next plan goes on.
const Most = 500

// Plan gives waiting tasks that are due to nodes with room for them. Its cost
// grows with the nodes, the tasks on them, the users who wait and the tasks that
// it places, not with those that wait.
func Plan(v *state.View, m Mesh, now time.Time) []state.Assignment {
	p := newPlanner(v, m, now)
	p.fill(state.QuickLane, Most/2)
	p.fill(state.LongLane, Most/2)
	return p.plan
}

// fill gives at most so many tasks of a lane to nodes.
func (p *planner) fill(lane state.Lane, most int) {
	p.openLane(lane)
	most += len(p.plan)
	for priority := state.High; priority >= state.Low; priority-- {
		if len(p.heap.nodes) == 0 {
			return
		}
		turns := p.turnsOf(priority, lane)
		for len(turns) > 0 && len(p.heap.nodes) > 0 && len(p.plan) < most {
			t := &turns[0]
			if c := p.placeDue(t.head); c != nil {
				p.take(c, t.head)
				p.plan = append(p.plan, state.Assignment{Task: t.head.ID, Node: c.ID})
				t.took()
			} else {
				t.miss()
			}
			if t.head != nil {
				heap.Fix(&turns, 0)
			} else {
				heap.Pop(&turns)
			}
		}
	}
}

func (p *planner) placeDue(k *state.Task) *candidate {
	if k.NotBefore.After(p.now) {
		return nil
	}
	return p.place(k)
}
