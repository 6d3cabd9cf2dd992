package blobs

import (
	"cmp"
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
// place. Nodes of weight zero are left out.
//
// The order is weighted rendezvous hashing (Thaler and Ravishankar 1998; the
// weights as in Resch 2015, score = -weight / ln(hash)): no table is kept, every
// node computes the same order, and a node that comes or goes moves only the
// chunks that are its own. The first n stand in distinct zones where there are
// that many.
func Place(ref Ref, nodes []Holder, n int) []Holder {
	type scored struct {
		Holder
		score float64
	}
	order := make([]scored, 0, len(nodes))
	for _, h := range nodes {
		if h.Weight > 0 {
			order = append(order, scored{h, score(ref, h)})
		}
	}
	slices.SortFunc(order, func(a, b scored) int {
		return cmp.Or(cmp.Compare(b.score, a.score), cmp.Compare(a.ID, b.ID))
	})
	picked := make([]Holder, 0, len(order))
	later := make([]Holder, 0, len(order))
	zones := map[string]bool{}
	for _, s := range order {
		fresh := s.Zone == "" || !zones[s.Zone]
		if len(picked) < n && fresh {
			zones[s.Zone] = true
			picked = append(picked, s.Holder)
		} else {
			later = append(later, s.Holder)
		}
	}
	return append(picked, later...)
}

func score(ref Ref, h Holder) float64 {
	f := fnv.New64a()
	f.Write([]byte(h.ID))
	f.Write(ref[:])
	// 53 bits make a float in (0,1); fnv alone is weak in its low bits, so mix.
	u := float64(mix(f.Sum64())>>11)/(1<<53) + 1.0/(1<<54)
	return -h.Weight / math.Log(u)
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
