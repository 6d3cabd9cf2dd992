package replica

import (
	"cmp"
	"slices"
	"time"

	"malla/blobs"
)

// members is who is there at one moment, for one decision.
type members struct {
	self   string
	copies int // that should exist of a chunk, given how many nodes there are
	grace  time.Duration
	since  time.Time // when this node began to look; nobody is gone for longer
	nodes  []Peer
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
	return m
}

// majority is how many durable copies make an answer safe.
func (m members) majority() int { return m.copies/2 + 1 }

// place orders the nodes that pass the filter by [blobs.Place].
func (m members) place(ref blobs.Ref, pass func(Peer) bool) []string {
	candidates := make([]blobs.Holder, 0, len(m.nodes))
	for _, p := range m.nodes {
		if pass(p) {
			candidates = append(candidates, blobs.Holder{ID: p.ID, Weight: p.Weight, Zone: p.Zone})
		}
	}
	order := blobs.Place(ref, candidates, m.copies)
	ids := make([]string, len(order))
	for i, h := range order {
		ids[i] = h.ID
	}
	return ids
}

// holders returns the nodes that should keep the chunk. A node that vanished
// counts for the grace time: it may only be restarting. A full one counts for
// what it has already, else its chunks would move away and come back for ever.
func (m members) holders(ref blobs.Ref, lacks func(node string, ref blobs.Ref) bool) []string {
	order := m.place(ref, func(p Peer) bool {
		return m.counts(p) && !(p.Full && lacks(p.ID, ref))
	})
	return order[:min(m.copies, len(order))]
}

func (m members) counts(p Peer) bool {
	return !p.Draining && (p.Alive || time.Since(m.goneSince(p)) < m.grace)
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
	return m.place(ref, func(p Peer) bool { return p.Alive && !p.Full && !p.Draining })
}

// readers returns the other live nodes in the order in which they should be
// asked for the chunk: its holders, then everybody.
func (m members) readers(ref blobs.Ref) []string {
	order := m.place(ref, func(p Peer) bool { return p.Alive && p.ID != m.self })
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

func (m members) alive(node string) bool {
	for _, p := range m.nodes {
		if p.ID == node {
			return p.Alive
		}
	}
	return false
}

// differ tells whether chunks may belong elsewhere now than they did before.
func (m members) differ(before members) bool {
	return !slices.EqualFunc(m.nodes, before.nodes, func(a, b Peer) bool {
		a.Gone, b.Gone = time.Time{}, time.Time{}
		return a == b
	})
}

// graceEnds returns how long it is until the first vanished node no longer
// counts, or limit where that is sooner.
func (m members) graceEnds(limit time.Duration) time.Duration {
	for _, p := range m.nodes {
		if left := m.grace - time.Since(m.goneSince(p)); !p.Alive && !p.Draining && left > 0 {
			limit = min(limit, left)
		}
	}
	return limit
}
