package schedule

import (
	"container/heap"
	"slices"
	"time"

	"malla/cluster/state"
)

// patience is how long a task waits for a node on which it has not failed
// before it is tried again on one where it has.
const patience = 30 * time.Second

// looked is how many nodes are looked at for a better one than was found.
const looked = 64

// A need is what a task asks of a node. In one plan nodes only fill up: what
// fits nowhere once fits nowhere later.
type need struct {
	encoders uint64
	memory   float64 // bytes
}

type planner struct {
	view  *state.View
	now   time.Time
	local Local
	turns *Turns
	nodes []*candidate
	byID  map[state.NodeID]*candidate
	busy  [len(state.Lanes)]map[state.UserID]float64 // user -> weight under way, by lane
	plan  []state.Assignment

	lane     state.Lane // being filled
	heap     fleet      // its open nodes
	hopeless map[need]bool

	memory  map[string]float64 // class -> bytes
	largest float64            // memory of a node, bytes
	steady  map[uint64]int     // needs -> able nodes that are not set aside
	shares  map[state.JobID][]Share
}

// newPlanner counts what is under way from the agreed state: what nodes report
// of themselves is older than the last plan.
func newPlanner(v *state.View, m Mesh, now time.Time) *planner {
	p := &planner{
		view: v, now: now, local: m.Local, turns: m.Turns, byID: make(map[state.NodeID]*candidate, len(m.Nodes)),
		memory: map[string]float64{}, steady: map[uint64]int{}, shares: map[state.JobID][]Share{},
	}
	for _, n := range m.Nodes {
		c := &candidate{Node: n, at: -1}
		c.room = c.total() * (1 - n.Memory)
		p.largest = max(p.largest, c.total())
		p.nodes = append(p.nodes, c)
		p.byID[n.ID] = c
	}
	for _, n := range v.Nodes() {
		if c := p.byID[n.ID]; c != nil {
			c.aside = n.AsideUntil.After(now)
		}
	}
	for lane := range p.busy {
		p.busy[lane] = map[state.UserID]float64{}
	}
	for k := range v.TasksAssigned() {
		p.busy[k.Lane()][k.Owner] += weight(k)
		if c := p.byID[k.Node]; c != nil {
			memory := 0.0
			if now.Sub(k.AssignedAt) < shown {
				memory = p.memoryOf(k.Class)
			}
			c.add(k, memory)
		}
	}
	return p
}

// openLane makes the heap of the nodes that take tasks of that lane.
func (p *planner) openLane(lane state.Lane) {
	p.lane, p.heap, p.hopeless = lane, fleet{}, map[need]bool{}
	for _, c := range p.nodes {
		c.at = -1
		if c.open(lane) {
			c.rate(lane)
			p.heap.Push(c)
		}
	}
	heap.Init(&p.heap)
}

// memoryOf is what a task of that class took before, in bytes.
func (p *planner) memoryOf(class string) float64 {
	m, known := p.memory[class]
	if !known {
		rate, _ := p.view.Rate(class)
		m = float64(rate.Memory)
		p.memory[class] = m
	}
	return m
}

// place finds the open node that is best for a task, or nil.
func (p *planner) place(k *state.Task) *candidate {
	need := need{k.Needs, p.memoryOf(k.Class)}
	if p.hopeless[need] {
		return nil
	}
	rule := p.rule(k)
	var best *candidate
	var most float64
	consider := func(c *candidate, share float64) {
		score, fits := p.score(c, rule, need)
		score += localWeight * share
		if fits && (best == nil || score > most || score == most && c.ID < best.ID) {
			best, most = c, score
		}
	}
	for _, s := range p.sharesOf(k) {
		if c := p.byID[s.Node]; c != nil && c.at >= 0 {
			consider(c, s.Share)
		}
	}
	// Nothing adds to the score of the others, so the search ends where the
	// best of those that are left is no better.
	var popped []*candidate
	for len(p.heap.nodes) > 0 && (best == nil || p.heap.nodes[0].score > most && len(popped) < looked) {
		c := heap.Pop(&p.heap).(*candidate)
		popped = append(popped, c)
		consider(c, 0)
	}
	for _, c := range popped {
		heap.Push(&p.heap, c)
	}
	if best == nil && !rule.strict {
		p.hopeless[need] = true
	}
	return best
}

// take gives a task to a node.
func (p *planner) take(c *candidate, k *state.Task) {
	c.add(k, p.memoryOf(k.Class))
	p.heap.update(c, p.lane)
}

// sharesOf asks once for each job who has its input.
func (p *planner) sharesOf(k *state.Task) []Share {
	if p.local == nil {
		return nil
	}
	shares, known := p.shares[k.Job]
	if !known {
		if j, ok := p.view.Job(k.Job); ok {
			shares = p.local(j.Input)
		}
		p.shares[k.Job] = shares
	}
	return shares
}

// A rule is which nodes a task may go to.
type rule struct {
	failed []state.NodeID // it did not work there
	moved  []state.NodeID // it was taken from there
	strict bool           // not to those where it did not work
	aside  bool           // also to those that are set aside
}

func (p *planner) rule(k *state.Task) rule {
	steady := p.steadyFor(k.Needs)
	r := rule{aside: steady == 0}
	if len(k.Tries) == 0 {
		return r
	}
	for _, a := range k.Tries {
		switch {
		case a.Cause == state.Moved:
			r.moved = append(r.moved, a.Node)
		case !slices.Contains(r.failed, a.Node):
			r.failed = append(r.failed, a.Node)
			if c := p.byID[a.Node]; c != nil && c.able(k.Needs) && !c.aside {
				steady--
			}
		}
	}
	r.strict = len(r.failed) > 0 && steady > 0 && p.now.Sub(k.NotBefore) < patience
	return r
}

// steadyFor counts the nodes that can do tasks with those needs and are not
// set aside.
func (p *planner) steadyFor(needs uint64) int {
	n, known := p.steady[needs]
	if !known {
		for _, c := range p.nodes {
			if !c.aside && c.able(needs) {
				n++
			}
		}
		p.steady[needs] = n
	}
	return n
}

// score is how fit an open node is for a task, and whether it may have it.
func (p *planner) score(c *candidate, r rule, n need) (float64, bool) {
	if !c.able(n.encoders) || c.aside && !r.aside {
		return 0, false
	}
	s := c.score
	if c.room < n.memory {
		if !p.bears(c, n) {
			return 0, false
		}
		s -= crampedPenalty
	}
	if slices.Contains(r.failed, c.ID) {
		if r.strict {
			return 0, false
		}
		s -= failedPenalty
	}
	if slices.Contains(r.moved, c.ID) {
		s -= movedPenalty
	}
	return s, true
}

// bears tells whether a node takes a task for which its memory is short at the
// moment: if it does nothing else, waiting changes nothing. A task that is too
// large for any node is tried all the same: memory is more elastic than it looks.
func (p *planner) bears(c *candidate, n need) bool {
	for _, tasks := range c.tasks {
		if tasks > 0 {
			return false
		}
	}
	return n.memory <= c.total() || n.memory > p.largest
}
