package schedule

import (
	"cmp"
	"container/heap"
	"math"
	"time"

	"malla/cluster/state"
)

// saturated is the share of memory in use above which a node gets no new task.
const saturated = 0.95

// shown is how long after its start a task is in the figures that its node
// reports.
const shown = 15 * time.Second

// How many quick tasks may stand on a node for each of its slots.
const (
	aheadSeconds = 2 // of expected work
	aheadTasks   = 8
)

// A candidate is a node while a plan is made.
type candidate struct {
	Node
	aside bool
	tasks [len(state.Lanes)]int // assigned, by lane
	ahead float64               // expected processor seconds of the quick ones
	room  float64               // bytes of memory that nothing has been promised
	score float64               // for any task, in the lane that is being filled
	at    int                   // place in the heap; -1: not in it
}

// open tells whether the lane takes another task.
func (c *candidate) open(lane state.Lane) bool {
	if c.Slots <= 0 || c.Memory >= saturated {
		return false
	}
	n := c.tasks[lane]
	if n < c.Slots {
		return true
	}
	return lane == state.QuickLane && n < aheadTasks*c.Slots && c.ahead < aheadSeconds*float64(c.Slots)
}

// able tells whether the node can do tasks with those needs at all.
func (c *candidate) able(needs uint64) bool {
	return c.Slots > 0 && c.Memory < saturated && (c.Encoders == 0 || needs&^c.Encoders == 0)
}

// total is the node's memory in bytes.
func (c *candidate) total() float64 {
	if c.MemoryFree == 0 {
		return math.Inf(1)
	}
	return float64(c.MemoryFree) / (1 - min(c.Memory, 0.99))
}

// add counts a task that is on the node. Only what runs takes memory.
func (c *candidate) add(k *state.Task, memory float64) {
	lane := k.Lane()
	c.tasks[lane]++
	if lane == state.QuickLane {
		c.ahead += cost(k)
	}
	if c.tasks[lane] <= c.Slots {
		c.room -= memory
	}
}

// Weights of what makes a node fit for a task. Free slots come first: a node
// with an idle slot at a busy disk beats a queue at a near one.
const (
	foreignWeight = 0.2
	memoryWeight  = 0.1
	besideWeight  = 0.25 // what runs in the other lane
	localWeight   = 0.4

	crampedPenalty = 4 // an idle node whose memory is in use by others
	movedPenalty   = 6 // it was taken from there
	failedPenalty  = 10
)

// rate computes the score for any task of that lane: of a long one the share of
// free slots, of a quick one the seconds until it begins.
func (c *candidate) rate(lane state.Lane) {
	slots := float64(max(1, c.Slots))
	long, ahead := float64(c.tasks[state.LongLane])/slots, c.ahead/slots
	// What the node's own tasks explain of the load does not make it busy:
	// they are of low priority, and counted already.
	own := min(1, (float64(c.tasks[state.LongLane])+float64(min(c.Slots, c.tasks[state.QuickLane])))/slots)
	c.score = memoryWeight*(1-c.Memory) - foreignWeight*max(0, c.CPU-own)
	if lane == state.LongLane {
		c.score += 1 - long - besideWeight*min(1, ahead)
	} else {
		c.score -= ahead + besideWeight*long
	}
}

// fleet is a heap of open nodes: the best one comes first.
type fleet struct{ nodes []*candidate }

func (f *fleet) Len() int { return len(f.nodes) }
func (f *fleet) Less(i, j int) bool {
	a, b := f.nodes[i], f.nodes[j]
	return cmp.Or(cmp.Compare(b.score, a.score), cmp.Compare(a.ID, b.ID)) < 0
}
func (f *fleet) Swap(i, j int) {
	f.nodes[i], f.nodes[j] = f.nodes[j], f.nodes[i]
	f.nodes[i].at, f.nodes[j].at = i, j
}
func (f *fleet) Push(x any) {
	c := x.(*candidate)
	c.at = len(f.nodes)
	f.nodes = append(f.nodes, c)
}
func (f *fleet) Pop() any {
	last := f.nodes[len(f.nodes)-1]
	f.nodes = f.nodes[:len(f.nodes)-1]
	last.at = -1
	return last
}

// update puts a node where it belongs after it took a task.
func (f *fleet) update(c *candidate, lane state.Lane) {
	if c.at < 0 {
		return
	}
	if !c.open(lane) {
		heap.Remove(f, c.at)
		return
	}
	c.rate(lane)
	heap.Fix(f, c.at)
}
