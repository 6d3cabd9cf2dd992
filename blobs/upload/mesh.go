package upload

import (
	"cmp"
	"context"
	"net/http"

	"malla/blobs"
)

// Peers are the nodes of the mesh and the link to them.
type Peers interface {
	// Nodes returns all members, this node and dead ones too, until they are
	// removed for good. The caller may change the slice.
	Nodes() []Peer
	// Do sends the request, whose URL is only a path, to that node and to no
	// other.
	Do(ctx context.Context, node string, req *http.Request) (*http.Response, error)
}

// A Peer is a node as far as keeping records goes.
type Peer struct {
	blobs.Holder
	Alive bool // can be reached, as far as is known
	Takes bool // keeps new records: it has room and is not being emptied
}

// A token says which node goes on with an upload. The greater one is right: a
// node with a smaller one is fenced off by every keeper that knows of it.
type token struct {
	Gen  uint64 `json:"gen"`
	Node string `json:"node"`
}

func (t token) compare(o token) int {
	return cmp.Or(cmp.Compare(t.Gen, o.Gen), cmp.Compare(t.Node, o.Node))
}

// A taken entry says that a node goes on with the upload from here, and which
// nodes keep its record. A step counts when Need of the keepers have it.
type taken struct {
	token
	Keepers []string `json:"keepers,omitempty"` // the node itself is the first
	Need    int      `json:"need,omitempty"`
}

// fence is how many keepers have to promise before another node may go on:
// enough that one of them has every step that counted.
func (t taken) fence() int { return max(1, len(t.Keepers)-t.Need+1) }

// majority is how many of so many copies make a step count.
func majority(copies int) int { return copies/2 + 1 }

// members is who is there at one moment, for one decision.
type members struct {
	self  string
	nodes map[string]Peer // of others, by id
	takes int             // nodes that would keep records if they lived, this one counted
}

func (s *Store) members() members {
	m := members{self: s.cfg.Self, nodes: map[string]Peer{}, takes: 1}
	for _, p := range s.cfg.Peers.Nodes() {
		if p.ID == m.self {
			continue
		}
		m.nodes[p.ID] = p
		if p.Takes || !p.Alive {
			m.takes++
		}
	}
	return m
}

// keepers chooses who keeps the record of an upload that this node goes on
// with: this node, and the first others in the rendezvous order of the id.
func (m members) keepers(id string, copies int) taken {
	copies = max(1, min(copies, m.takes))
	order := m.order(id, copies-1, func(p Peer) bool { return p.Takes })
	return taken{Keepers: append([]string{m.self}, order[:min(copies-1, len(order))]...), Need: majority(copies)}
}

// order lists the other living nodes that pass the filter, as the id places them.
func (m members) order(id string, n int, pass func(Peer) bool) []string {
	var holders []blobs.Holder
	for _, p := range m.nodes {
		if p.Alive && pass(p) {
			h := p.Holder
			if h.Weight <= 0 {
				h.Weight = 1e-9 // asked last, but asked
			}
			holders = append(holders, h)
		}
	}
	order := blobs.Place(blobs.RefOf([]byte(id)), holders, n)
	ids := make([]string, len(order))
	for i, h := range order {
		ids[i] = h.ID
	}
	return ids
}

// dead tells whether the mesh has given the node up, for now or for good.
func (m members) dead(node string) bool { return node != m.self && !m.nodes[node].Alive }
