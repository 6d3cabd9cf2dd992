package replica

import (
	"cmp"
	"slices"
	"time"

	"malla/blobs"
)

// members is who is there at one moment, for one decision.
type members struct {
	self     string
	copies   int // that should exist of a chunk, given how many nodes there are that are not being emptied
	grace    time.Duration
	since    time.Time // when this node began to look; nobody is gone for longer
	nodes    []Peer    // by id
	counting []bool    // node -> whether it counts as a holder
	places   *blobs.Placement
}

func (r *Replica) members() members {
	m := members{self: r.cfg.Self, grace: r.cfg.Grace, since: r.started, nodes: r.cfg.Peers.Nodes()}
	known := false
	takers := 0
	for i := range m.nodes {
		if m.nodes[i].ID == m.self {
			known = true
			m.nodes[i].Alive = true
		}
		if !m.nodes[i].Draining {
			takers++
		}
	}
	if !known {
		m.nodes = append(m.nodes, Peer{ID: m.self, Weight: 1, Alive: true})
		takers++
	}
	m.copies = min(r.cfg.Copies, max(1, takers))
	slices.SortFunc(m.nodes, func(a, b Peer) int { return cmp.Compare(a.ID, b.ID) })
	all := make([]blobs.Holder, len(m.nodes))
	m.counting = make([]bool, len(m.nodes))
	for i, p := range m.nodes {
		all[i] = blobs.Holder{ID: p.ID, Weight: p.Weight, Zone: p.Zone}
		m.counting[i] = m.counts(p)
	}
	m.places = blobs.NewPlacement(all)
	return m
}

// acks is how many durable copies make an answer safe.
func (m members) acks(ack Ack) int {
	if ack == AckAll {
		return m.copies
	}
	return m.copies/2 + 1
}

// draining tells whether this node's copies are to be elsewhere, because it is
// being emptied or its disk was given up: a copy here is none.
func (m members) draining() bool { return !m.nodes[m.index(m.self)].keeps() }

// emptying tells whether that is so on purpose.
func (m members) emptying() bool {
	p := m.nodes[m.index(m.self)]
	return p.Draining && !p.GivenUp
}

// index is where the node stands among nodes, or -1.
func (m members) index(node string) int {
	i, found := slices.BinarySearchFunc(m.nodes, node, func(p Peer, id string) int { return cmp.Compare(p.ID, id) })
	if !found {
		return -1
	}
	return i
}

// place orders the nodes that pass the filter by [blobs.Place].
func (m members) place(ref blobs.Ref, pass func(Peer) bool) []string {
	order := m.places.Order(ref, m.copies, func(i int) bool { return !pass(m.nodes[i]) })
	ids := make([]string, len(order))
	for i, k := range order {
		ids[i] = m.nodes[k].ID
	}
	return ids
}

// A lacking tells whether the full node, an index, lacks the chunk.
type lacking func(node int, ref blobs.Ref) bool

// holders appends to dst the nodes that should keep the chunk, as indexes of
// nodes, best first. A node that vanished counts for the grace time: it may only
// be restarting. A full one counts for what it has already, else its chunks
// would move away and come back for ever.
func (m members) holders(dst []int, ref blobs.Ref, lacks lacking) []int {
	return m.places.First(dst, ref, m.copies, func(i int) bool {
		return !m.counting[i] || m.nodes[i].Full && lacks(i, ref)
	})
}

// holds tells whether this node should keep the chunk, were it not full.
func (m members) holds(ref blobs.Ref) bool {
	return slices.Contains(m.holders(nil, ref, nobodyLacks), m.index(m.self))
}

func nobodyLacks(int, blobs.Ref) bool { return false }

func (m members) counts(p Peer) bool {
	return p.keeps() && (p.Alive || time.Since(m.goneSince(p)) < m.grace)
}

func (m members) goneSince(p Peer) time.Time {
	if p.Gone.Before(m.since) {
		return m.since
	}
	return p.Gone
}

// writers returns the nodes that would take the chunk now: its holders first,
// then those that would stand in for them.
func (m members) writers(ref blobs.Ref) []string {
	return m.place(ref, func(p Peer) bool { return p.Alive && !p.Full && p.keeps() })
}

// readers returns the other live nodes in the order in which they should be
// asked for the chunk: its holders, then those that keep what they had, then
// those whose copies do not count.
func (m members) readers(ref blobs.Ref) []string {
	order := m.place(ref, func(p Peer) bool { return p.Alive && p.ID != m.self && p.keeps() })
	listed := map[string]bool{m.self: true}
	for _, id := range order {
		listed[id] = true
	}
	for _, p := range m.nodes {
		if p.Alive && !listed[p.ID] {
			order = append(order, p.ID)
		}
	}
	return order
}

// others returns the live nodes that pass the filter, without this one.
func (m members) others(pass func(Peer) bool) []string {
	var ids []string
	for _, p := range m.nodes {
		if p.Alive && p.ID != m.self && pass(p) {
			ids = append(ids, p.ID)
		}
	}
	return ids
}

// differ tells whether chunks may belong elsewhere now than they did before.
func (m members) differ(before members) bool {
	return !slices.EqualFunc(m.nodes, before.nodes, func(a, b Peer) bool {
		a.Gone, b.Gone = time.Time{}, time.Time{}
		return a == b
	})
}

// full tells whether this node's disk is full.
func (m members) full() bool { return m.nodes[m.index(m.self)].Full }

// moved tells whether chunks belong elsewhere now than they did before, but for
// those that full nodes lack: which those are, askFull finds out.
func (m members) moved(now members) bool {
	return m.copies != now.copies || !slices.Equal(m.counting, now.counting) || !slices.EqualFunc(m.nodes, now.nodes, func(a, b Peer) bool {
		a.Gone, b.Gone, a.Alive, b.Alive, a.Full, b.Full = time.Time{}, time.Time{}, true, true, false, false
		return a == b
	})
}

// graceEnds returns how long it is until the first vanished node no longer
// counts, or limit where that is sooner.
func (m members) graceEnds(limit time.Duration) time.Duration {
	for _, p := range m.nodes {
		if left := m.grace - time.Since(m.goneSince(p)); !p.Alive && p.keeps() && left > 0 {
			limit = min(limit, left)
		}
	}
	return limit
}
