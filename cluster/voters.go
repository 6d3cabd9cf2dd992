package cluster

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"malla/cluster/state"
)

// MaxVoters is the most nodes that may vote. Each further pair of voters bears
// one more loss and makes every write wait for one more disk.
const MaxVoters = 7

// CheckVoters returns why so many nodes cannot be the ones that vote, or nil.
func CheckVoters(n int) error {
	if n < 1 || n > MaxVoters || n%2 == 0 {
		return fmt.Errorf("%d: want 1, 3, 5 or 7; an even number bears no more losses than the odd one below it", n)
	}
	return nil
}

// A candidate is a node as far as it matters for its vote.
type candidate struct {
	id      state.NodeID
	zone    string
	votes   bool
	leads   bool
	well    bool          // it answers, hears the leader, and its log is close behind
	since   time.Duration // how long it has been well, or not
	willing bool          // it may vote: its disk works, it is not being emptied
}

// An electorate is the rules by which votes are given. They are looked at again
// and again; each look changes as little as it can.
type electorate struct {
	most   int           // how many vote where there are enough nodes; odd
	stable time.Duration // well for so long before a node votes
	lost   time.Duration // unwell for so long before a voter is replaced
}

// wanted is how many of so many nodes vote: an odd number from three on, since
// a fourth voter bears no more losses than three.
func (e electorate) wanted(nodes int) int {
	n := min(nodes, e.most)
	if n > 2 && n%2 == 0 {
		n--
	}
	return n
}

// changes returns who gets a vote and who loses it. Where both are named, one
// takes the place of the other. The number of voters becomes smaller only where
// nodes were removed from the mesh, or fewer are wanted: never because they
// failed. Autopilot takes the lost vote before it gives the other one, so a
// leader that ends in between leaves an even number with the same majority.
func (e electorate) changes(nodes []candidate) (promote, demote []state.NodeID) {
	voters, ready := e.split(nodes)
	want := e.wanted(len(nodes))
	goal := e.wanted(min(want, len(voters)+len(ready)))
	switch {
	case len(voters) < goal:
		return choose(ready, voters, goal-len(voters)), nil
	case len(voters) > want:
		return nil, surplus(voters)
	case len(ready) == 0:
		return nil, nil
	}
	for i, v := range voters {
		if !v.well && v.since >= e.lost {
			return choose(ready, slices.Delete(slices.Clone(voters), i, i+1), 1), []state.NodeID{v.id}
		}
	}
	// From here on the voter can wait until the other one votes too: then there
	// is one too many, and the next look demotes it as surplus.
	for i, v := range voters {
		if !v.willing {
			return choose(ready, slices.Delete(slices.Clone(voters), i, i+1), 1), nil
		}
	}
	return e.spread(voters, ready), nil
}

// split returns the voters and those that may become one, the best known first.
// The first three votes are given sooner: until then the mesh bears no loss.
func (e electorate) split(nodes []candidate) (voters, ready []candidate) {
	for _, n := range nodes {
		if n.votes {
			voters = append(voters, n)
		}
	}
	patience := e.stable
	if len(voters) < 3 {
		patience /= 5
	}
	for _, n := range nodes {
		if !n.votes && n.willing && n.well && n.since >= patience {
			ready = append(ready, n)
		}
	}
	slices.SortFunc(ready, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(b.since, a.since), cmp.Compare(a.id, b.id))
	})
	return voters, ready
}

// spread returns who should vote so that a zone with two votes more than
// another gives one away.
func (e electorate) spread(voters, ready []candidate) []state.NodeID {
	if slices.ContainsFunc(voters, func(v candidate) bool { return !v.well }) {
		return nil // first things first
	}
	crowd := crowds(voters)
	for _, r := range ready {
		for _, n := range crowd {
			if n-crowd[r.zone] >= 2 {
				return choose(ready, voters, 1)
			}
		}
	}
	return nil
}

// crowds counts the voters of each zone.
func crowds(voters []candidate) map[string]int {
	n := map[string]int{}
	for _, v := range voters {
		n[v.zone]++
	}
	return n
}

// choose returns n of ready, each from the zone with the fewest voters so far.
func choose(ready, voters []candidate, n int) (ids []state.NodeID) {
	crowd, rest := crowds(voters), slices.Clone(ready)
	for range min(n, len(rest)) {
		best := 0
		for i, r := range rest {
			if crowd[r.zone] < crowd[rest[best].zone] {
				best = i
			}
		}
		crowd[rest[best].zone]++
		ids = append(ids, rest[best].id)
		rest = slices.Delete(rest, best, best+1)
	}
	return ids
}

// surplus returns the voter that is missed least, or none where those that are
// well would be no majority of the rest.
func surplus(voters []candidate) []state.NodeID {
	crowd := crowds(voters)
	rank := func(v candidate) int {
		switch {
		case !v.well:
			return 0
		case !v.willing:
			return 1
		case v.leads:
			return 3
		}
		return 2
	}
	out := slices.MinFunc(voters, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(crowd[b.zone], crowd[a.zone]), cmp.Compare(b.id, a.id))
	})
	well := 0
	for _, v := range voters {
		if v.well && v.id != out.id {
			well++
		}
	}
	if well < quorum(len(voters)-1) {
		return nil
	}
	return []state.NodeID{out.id}
}

func quorum(voters int) int { return voters/2 + 1 }

// mayVote tells whether a node with that load may have a vote: one whose disk
// does not take the log, or soon will not, can confirm nothing.
func mayVote(l Load) bool { return !l.Broken && !l.GivenUp && !l.LogLow && !l.LogHalted }

// agrees tells whether a voter can confirm what is proposed, as far as this node
// sees: it answers, and its log takes writes.
func (c *Cluster) agrees(id state.NodeID) bool {
	if id == c.cfg.ID {
		return c.Halted() == nil
	}
	p, _ := c.gossip.table.get(id)
	return p.state == Alive && !p.load.LogHalted
}

// Strength is what the agreement of a mesh bears.
type Strength struct {
	Voters   int // nodes whose votes count
	Alive    int // of them, those that answer and whose log takes writes
	Survives int // so many of those may be lost, whichever they are, and the mesh still agrees; negative: it does not now
	Nodes    int // of the mesh, dead ones too
}

// String says it in words for people, and what to do where it is little.
func (s Strength) String() string {
	switch {
	case s.Voters == 0:
		return "this node is not in a mesh yet"
	case s.Survives < 0:
		return fmt.Sprintf("only %d of %d voting nodes answer: nothing can be changed until %d do", s.Alive, s.Voters, quorum(s.Voters))
	case s.Nodes == 1:
		return "this mesh is one node and survives the loss of none: what is on its disk is nowhere else; two more nodes let any one of the three fail"
	case s.Nodes == 2:
		return "this mesh survives the loss of no node: while one of two is away nothing can be changed; a third node lets any one fail"
	case s.Survives == 0:
		return "this mesh survives the loss of no node: no further voting node may fail until one comes back or another takes its vote"
	case s.Survives == 1:
		return "this mesh survives the loss of 1 node"
	}
	return fmt.Sprintf("this mesh survives the loss of %d nodes", s.Survives)
}

// Strength tells what the agreement bears now, as this node sees it.
func (c *Cluster) Strength() Strength {
	var s Strength
	for id, role := range c.raft.roles() {
		s.Nodes++
		if role != Voter {
			continue
		}
		s.Voters++
		if c.agrees(id) {
			s.Alive++
		}
	}
	s.Survives = s.Alive - quorum(s.Voters)
	return s
}

// tellStrength logs what the mesh bears whenever that changes.
func (c *Cluster) tellStrength(ctx context.Context) {
	var told Strength
	for {
		changed := c.Changed()
		// What a node that has just started sees is not the mesh yet.
		if s := c.Strength(); s != told && (told != Strength{} || c.Ready() == nil) {
			level := c.log.Info
			if s.Survives < 1 {
				level = c.log.Warn
			}
			level(s.String(), "voters", s.Voters, "alive", s.Alive, "nodes", s.Nodes)
			told = s
		}
		select {
		case <-changed:
		case <-time.After(c.cfg.Timing.Meet):
		case <-ctx.Done():
			return
		}
	}
}
