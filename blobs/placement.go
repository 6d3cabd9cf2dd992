package blobs

import (
	"cmp"
	"encoding/binary"
	"hash/fnv"
	"math"
	"slices"
)

// A Holder is a node that may keep chunks.
type Holder struct {
	ID     string  // of the node
	Weight float64 // its capacity beside the others'; 0 or less passes it by
	Zone   string  // copies go to distinct zones while there are some; "" is a zone of its own
}

// Place orders the nodes by how much they should keep the chunk: the first n
// are its holders, and where one of them is missing the next ones take its
// place. Nodes of weight zero are left out. Who asks about many chunks makes a
// [Placement] once.
func Place(ref Ref, nodes []Holder, n int) []Holder {
	p := NewPlacement(nodes)
	order := p.Order(ref, n, nil)
	out := make([]Holder, len(order))
	for i, k := range order {
		out[i] = nodes[k]
	}
	return out
}

// A Placement says where chunks belong among given nodes.
//
// The order is weighted rendezvous hashing (Thaler and Ravishankar 1998; the
// weights as in Resch 2015: the smallest -ln(hash)/weight comes first): no
// table is kept, every node computes the same order, and a node that comes or
// goes moves only the chunks that are its own. The first n stand in distinct
// zones where there are that many.
//
// It does not change, and may be used by many at once.
type Placement struct {
	nodes []candidate
}

// A candidate is a holder as the inner loop wants it.
type candidate struct {
	seed    uint64  // of the id
	inverse float64 // 1/weight; 0: passed by
	zone    int     // equal numbers are one zone; -1 is a zone of its own
	id      string
}

// NewPlacement returns where chunks belong among the nodes.
func NewPlacement(nodes []Holder) *Placement {
	p := &Placement{nodes: make([]candidate, len(nodes))}
	zones := map[string]int{"": -1}
	for i, h := range nodes {
		if _, known := zones[h.Zone]; !known {
			zones[h.Zone] = len(zones)
		}
		c := candidate{seed: seed(h.ID), zone: zones[h.Zone], id: h.ID}
		if h.Weight > 0 {
			c.inverse = 1 / h.Weight
		}
		p.nodes[i] = c
	}
	return p
}

// A ranked is a node with its rank for one chunk: the smaller the better.
type ranked struct {
	rank float64
	node int // index
}

// First appends to dst the holders of the chunk, as indexes of the nodes that
// the placement was made of: the first n of [Placement.Order], without sorting
// all. Nodes that skip names, which may be nil, count as not there.
func (p *Placement) First(dst []int, ref Ref, n int, skip func(node int) bool) []int {
	var space [8]ranked
	best := space[:0] // the best of its zone, each; sorted
	key := binary.BigEndian.Uint64(ref[:8])
	worst := math.Inf(1) // what a node must beat
	for i := range p.nodes {
		c := &p.nodes[i]
		u := draw(c.seed, key)
		// -ln(u) is at least 1-u: most nodes are out without a logarithm.
		if c.inverse == 0 || (1-u)*c.inverse > worst || skip != nil && skip(i) {
			continue
		}
		rank := -math.Log(u) * c.inverse
		if best = p.insert(best, ranked{rank, i}, n); len(best) == n {
			worst = best[n-1].rank
		}
	}
	if len(best) < n {
		// Fewer zones than copies: the others follow in their order.
		order := p.Order(ref, n, skip)
		return append(dst, order[:min(n, len(order))]...)
	}
	for _, r := range best {
		dst = append(dst, r.node)
	}
	return dst
}

// insert puts r into the best n, unless its zone or enough others are better.
func (p *Placement) insert(best []ranked, r ranked, n int) []ranked {
	if zone := p.nodes[r.node].zone; zone >= 0 {
		for i, b := range best {
			if p.nodes[b.node].zone != zone {
				continue
			}
			if p.compare(b, r) < 0 {
				return best
			}
			best = slices.Delete(best, i, i+1)
			break
		}
	}
	at := len(best)
	for at > 0 && p.compare(r, best[at-1]) < 0 {
		at--
	}
	if at >= n {
		return best
	}
	if len(best) == n {
		best = best[:n-1]
	}
	return slices.Insert(best, at, r)
}

// Order is all nodes but those that skip names, which may be nil: the first n
// as [Placement.First] gives them, then the others, best first.
func (p *Placement) Order(ref Ref, n int, skip func(node int) bool) []int {
	key := binary.BigEndian.Uint64(ref[:8])
	order := make([]ranked, 0, len(p.nodes))
	for i, c := range p.nodes {
		if c.inverse != 0 && (skip == nil || !skip(i)) {
			order = append(order, ranked{-math.Log(draw(c.seed, key)) * c.inverse, i})
		}
	}
	slices.SortFunc(order, p.compare)
	picked := make([]int, 0, len(order))
	later := make([]int, 0, len(order))
	zones := map[int]bool{}
	for _, r := range order {
		zone := p.nodes[r.node].zone
		if len(picked) < n && !zones[zone] {
			zones[zone] = zone >= 0
			picked = append(picked, r.node)
		} else {
			later = append(later, r.node)
		}
	}
	return append(picked, later...)
}

func (p *Placement) compare(a, b ranked) int {
	return cmp.Or(cmp.Compare(a.rank, b.rank), cmp.Compare(p.nodes[a.node].id, p.nodes[b.node].id))
}

func seed(id string) uint64 {
	f := fnv.New64a()
	f.Write([]byte(id))
	return mix(f.Sum64())
}

// draw is a number in (0,1) for the node and the chunk. A ref is a hash
// already: eight bytes of it are as good as all.
func draw(seed, key uint64) float64 {
	return float64(mix(seed^key)>>11)/(1<<53) + 1.0/(1<<54)
}

// mix is the finaliser of MurmurHash3 (Appleby), which spreads every bit.
func mix(x uint64) uint64 {
	x ^= x >> 33
	x *= 0xff51afd7ed558ccd
	x ^= x >> 33
	x *= 0xc4ceb9fe1a85ec53
	x ^= x >> 33
	return x
}
