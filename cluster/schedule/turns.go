package schedule

import (
	"cmp"
	"container/heap"
	"math"
	"time"

	"malla/cluster/state"
)

// Turns remembers how much of the mesh each user had of late, so that users whose
// tasks take one after another the only free slot get it in turn. The zero value
// remembers nothing. A new leader begins anew: that costs a user one turn.
type Turns struct {
	used map[state.UserID]float64 // user -> expected processor seconds, fading
	at   time.Time                // until when they have faded
}

// fading is how long it takes until what a user had counts half.
const fading = 10 * time.Minute

// Note adds what a plan gave.
func (t *Turns) Note(v *state.View, plan []state.Assignment, now time.Time) {
	if t.used == nil {
		t.used, t.at = map[state.UserID]float64{}, now
	}
	fade := math.Exp2(-float64(now.Sub(t.at)) / float64(fading))
	t.at = now
	for u := range t.used {
		if t.used[u] *= fade; t.used[u] < 0.01 {
			delete(t.used, u)
		}
	}
	for _, a := range plan {
		if k, ok := v.Task(a.Task); ok {
			t.used[k.Owner] += cost(&k)
		}
	}
}

func (t *Turns) of(u state.UserID) float64 {
	if t == nil {
		return 0
	}
	return t.used[u]
}

// Costs in processor seconds of tasks of which nothing is known, and the least
// that one is taken for: agreeing on it costs something, too.
const (
	unknownQuick = 1
	unknownLong  = 10
	leastCost    = 0.1
)

// cost is what a task is expected to take, in processor seconds.
func cost(k *state.Task) float64 {
	switch {
	case k.Cost > 0:
		return max(k.Cost, leastCost)
	case k.Quick():
		return unknownQuick
	}
	return unknownLong
}

// weight is how much a task under way counts when users are compared: a long
// one is a slot; of quick ones many stand on a node, of which few run.
func weight(k *state.Task) float64 {
	if k.Quick() {
		return cost(k)
	}
	return 1
}

// How much is looked at of what cannot be placed.
const (
	missesOfJob  = 32  // one after another; then the rest of the job is passed over
	missesOfUser = 512 // then the user is, until the next plan
)

// A turn is a user who waits, while a plan is made.
type turn struct {
	view   *state.View
	head   *state.Task // the next one; nil at the end
	queue  *state.Queue
	busy   float64 // weight of the tasks under way in this lane
	used   float64
	misses int
	inJob  int // misses since the last task that was placed, or the last job
}

// turnsOf are the users who wait with that priority in that lane, as a heap.
func (p *planner) turnsOf(priority state.Priority, lane state.Lane) turns {
	var all turns
	for k := range p.view.FirstWaiting(priority, lane) {
		all = append(all, turn{view: p.view, head: k, busy: p.busy[lane][k.Owner], used: p.turns.of(k.Owner)})
	}
	heap.Init(&all)
	return all
}

// took moves on from a task that got a node.
func (t *turn) took() {
	t.busy += weight(t.head)
	t.used += cost(t.head)
	t.inJob = 0
	t.next()
}

// miss moves on from a task that got none.
func (t *turn) miss() {
	job := t.head.Job
	t.misses++
	t.inJob++
	if t.misses == missesOfUser {
		t.head = nil
		return
	}
	if t.inJob == missesOfJob {
		t.open()
		t.queue.SkipJob(t.head)
	}
	t.next()
	if t.head != nil && t.head.Job != job {
		t.inJob = 0
	}
}

func (t *turn) open() {
	if t.queue == nil {
		t.queue = t.view.QueueOf(t.head)
		t.queue.Next() // is the head
	}
}

func (t *turn) next() {
	t.open()
	t.head = t.queue.Next()
}

// turns is a heap of users: the one whose turn it is comes first.
type turns []turn

func (h turns) Len() int      { return len(h) }
func (h turns) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h turns) Less(i, j int) bool {
	a, b := &h[i], &h[j]
	return cmp.Or(cmp.Compare(a.busy, b.busy), cmp.Compare(a.used, b.used),
		cmp.Compare(a.head.Created, b.head.Created), cmp.Compare(a.head.Owner, b.head.Owner)) < 0
}
func (h *turns) Push(x any) { *h = append(*h, x.(turn)) }
func (h *turns) Pop() any {
	last := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return last
}
