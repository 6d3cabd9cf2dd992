package blobs_test

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"testing"

	"malla/blobs"
)

func someRefs(n int) []blobs.Ref {
	refs := make([]blobs.Ref, n)
	for i := range refs {
		refs[i] = blobs.RefOf(binary.BigEndian.AppendUint64(nil, uint64(i)))
	}
	return refs
}

func someNodes(n int, shape func(i int, h *blobs.Holder)) []blobs.Holder {
	nodes := make([]blobs.Holder, n)
	for i := range nodes {
		nodes[i] = blobs.Holder{ID: fmt.Sprintf("node-%d", i), Weight: 1}
		if shape != nil {
			shape(i, &nodes[i])
		}
	}
	return nodes
}

func ids(order []blobs.Holder) []string {
	var ids []string
	for _, h := range order {
		ids = append(ids, h.ID)
	}
	return ids
}

func TestPlaceFollowsTheWeights(t *testing.T) {
	for _, c := range []struct {
		name   string
		nodes  []blobs.Holder
		copies int
	}{
		{"equal nodes", someNodes(10, nil), 1},
		{"equal nodes, three copies", someNodes(10, nil), 3},
		{"one to four", someNodes(8, func(i int, h *blobs.Holder) { h.Weight = float64(1 + i%4) }), 1},
		{"weights in bytes", someNodes(5, func(i int, h *blobs.Holder) { h.Weight = float64(1+i) * 1e12 }), 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			const chunks = 20_000
			got := map[string]int{}
			for _, ref := range someRefs(chunks) {
				for _, h := range blobs.Place(ref, c.nodes, c.copies)[:c.copies] {
					got[h.ID]++
				}
			}
			sum := 0.0
			for _, h := range c.nodes {
				sum += h.Weight
			}
			for _, h := range c.nodes {
				want := h.Weight / sum * chunks * float64(c.copies)
				if off := math.Abs(float64(got[h.ID])-want) / want; off > 0.1 {
					t.Errorf("%s has %d chunks, want about %.0f", h.ID, got[h.ID], want)
				}
			}
		})
	}
}

func TestPlaceMovesNoMoreThanItMust(t *testing.T) {
	const copies = 3
	refs := someRefs(5000)
	nodes := someNodes(10, nil)
	more := append(slices.Clone(nodes), blobs.Holder{ID: "newcomer", Weight: 1})
	moved, share := 0, 0
	for _, ref := range refs {
		before := ids(blobs.Place(ref, nodes, copies)[:copies])
		after := ids(blobs.Place(ref, more, copies)[:copies])
		for _, id := range after {
			if !slices.Contains(before, id) {
				moved++
				if id != "newcomer" {
					t.Fatalf("%s moved to %s when a node came", ref.Short(), id)
				}
			}
			if id == "newcomer" {
				share++
			}
		}
	}
	if moved != share {
		t.Errorf("%d copies moved, the newcomer's share is %d", moved, share)
	}
	want := float64(len(refs)*copies) / 11
	if off := math.Abs(float64(share)-want) / want; off > 0.1 {
		t.Errorf("the newcomer has %d copies, want about %.0f", share, want)
	}
}

func TestPlaceSpreadsOverZones(t *testing.T) {
	zone := func(of int) func(int, *blobs.Holder) {
		return func(i int, h *blobs.Holder) { h.Zone = fmt.Sprintf("zone-%d", i%of) }
	}
	for _, c := range []struct {
		name   string
		nodes  []blobs.Holder
		copies int
		want   int // distinct zones among the holders
	}{
		{"three zones, three copies", someNodes(9, zone(3)), 3, 3},
		{"two zones, three copies", someNodes(9, zone(2)), 3, 2},
		{"five zones, three copies", someNodes(9, zone(5)), 3, 3},
		{"one zone", someNodes(9, zone(1)), 3, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, ref := range someRefs(2000) {
				zones := map[string]bool{}
				for _, h := range blobs.Place(ref, c.nodes, c.copies)[:c.copies] {
					zones[h.Zone] = true
				}
				if len(zones) != c.want {
					t.Fatalf("%s lies in %d zones, want %d", ref.Short(), len(zones), c.want)
				}
			}
		})
	}
}

func TestPlaceRules(t *testing.T) {
	ref := blobs.RefOf([]byte("a chunk"))
	nodes := someNodes(6, nil)
	order := ids(blobs.Place(ref, nodes, 3))
	if len(order) != 6 {
		t.Errorf("the order has %d of 6 nodes", len(order))
	}
	mixed := slices.Clone(nodes)
	slices.Reverse(mixed)
	if got := ids(blobs.Place(ref, mixed, 3)); !slices.Equal(got, order) {
		t.Errorf("the order depends on the order of the nodes: %v and %v", got, order)
	}
	without := slices.DeleteFunc(slices.Clone(nodes), func(h blobs.Holder) bool { return h.ID == order[0] })
	if got := ids(blobs.Place(ref, without, 3)); !slices.Equal(got, order[1:]) {
		t.Errorf("without its first holder: %v, want %v", got, order[1:])
	}
	none := someNodes(3, func(i int, h *blobs.Holder) { h.Weight = float64(i - 1) })
	if got := ids(blobs.Place(ref, none, 3)); !slices.Equal(got, []string{"node-2"}) {
		t.Errorf("with weights -1, 0 and 1: %v", got)
	}
	if got := blobs.Place(ref, nil, 3); len(got) != 0 {
		t.Errorf("without nodes: %v", got)
	}
}

// The order is part of the format: were it to change, every chunk would move.
func TestPlaceIsTheSameForEver(t *testing.T) {
	nodes := someNodes(5, func(i int, h *blobs.Holder) { h.Weight = float64(1 + i) })
	got := ids(blobs.Place(blobs.RefOf([]byte("malla")), nodes, 3))
	if want := []string{"node-3", "node-2", "node-4", "node-1", "node-0"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func BenchmarkPlace(b *testing.B) {
	for _, n := range []int{3, 100, 1000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			nodes := someNodes(n, nil)
			ref := blobs.RefOf([]byte("malla"))
			b.ReportAllocs()
			for b.Loop() {
				blobs.Place(ref, nodes, 3)
			}
		})
	}
}

func BenchmarkFirst(b *testing.B) {
	for _, n := range []int{3, 100, 1000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			p := blobs.NewPlacement(someNodes(n, func(i int, h *blobs.Holder) { h.Zone = fmt.Sprint(i % 3) }))
			refs := someRefs(1000)
			var dst []int
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				dst = p.First(dst[:0], refs[i%len(refs)], 3, nil)
			}
		})
	}
}

func TestFirstIsTheBeginningOfTheOrder(t *testing.T) {
	for _, c := range []struct {
		name  string
		nodes []blobs.Holder
	}{
		{"no zones", someNodes(40, nil)},
		{"two zones", someNodes(40, func(i int, h *blobs.Holder) { h.Zone = fmt.Sprint(i % 2) })},
		{"zones of many sizes, some nodes without", someNodes(40, func(i int, h *blobs.Holder) {
			h.Weight = float64(i % 5)
			if i%7 > 0 {
				h.Zone = fmt.Sprint(min(i%11, 4))
			}
		})},
		{"fewer nodes than copies", someNodes(2, nil)},
	} {
		p := blobs.NewPlacement(c.nodes)
		odd := func(i int) bool { return i%3 == 1 }
		for _, ref := range someRefs(2000) {
			for _, skip := range []func(int) bool{nil, odd} {
				order := p.Order(ref, 3, skip)
				if got, want := p.First(nil, ref, 3, skip), order[:min(3, len(order))]; !slices.Equal(got, want) {
					t.Fatalf("%s: the first of %s are %v, the order begins with %v", c.name, ref.Short(), got, want)
				}
			}
		}
	}
}
