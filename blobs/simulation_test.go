package blobs_test

import (
	"fmt"
	"math"
	"runtime"
	"sync"
	"testing"

	"malla/blobs"
)

// A simulation is a mesh on paper: 1,000 nodes in 3 zones, with disks of four
// sizes, and 1,000,000 chunks; a tenth of the chunks where the time is short.
type simulation struct {
	nodes  []blobs.Holder
	chunks int
}

const simCopies = 3

func newSimulation() simulation {
	s := simulation{chunks: 1_000_000}
	if raceEnabled || testing.Short() {
		s.chunks = 100_000
	}
	s.nodes = someNodes(1000, func(i int, h *blobs.Holder) {
		h.Weight = 4e12 * float64(2+i%4) / 2
		h.Zone = fmt.Sprint("zone-", i%3)
	})
	return s
}

// place calls each with the holders of every chunk before and after a change of
// the nodes, on all processors, and waits. Each gets the counts of its own part
// to write in.
func (s simulation) place(t *testing.T, before, after []blobs.Holder, each func(c *counts, was, is []int)) counts {
	t.Helper()
	refs := someRefs(s.chunks)
	old, fresh := blobs.NewPlacement(before), blobs.NewPlacement(after)
	parts := make([]counts, runtime.GOMAXPROCS(0))
	var wg sync.WaitGroup
	for k := range parts {
		parts[k].on = make([]int, len(after))
		wg.Go(func() {
			var was, is []int
			for i := k; i < len(refs); i += len(parts) {
				was = old.First(was[:0], refs[i], simCopies, nil)
				is = was
				if len(after) != len(before) {
					is = fresh.First(nil, refs[i], simCopies, nil)
				}
				each(&parts[k], was, is)
			}
		})
	}
	wg.Wait()
	sum := counts{on: make([]int, len(after))}
	for _, p := range parts {
		for i, n := range p.on {
			sum.on[i] += n
		}
		sum.moved += p.moved
		sum.shared += p.shared
	}
	return sum
}

type counts struct {
	on     []int // node -> chunks that it holds
	moved  int   // copies that are where none was
	shared int   // chunks of which two copies stand in one zone
}

func TestSimulationLoadFollowsTheWeightsAndZones(t *testing.T) {
	s := newSimulation()
	got := s.place(t, s.nodes, s.nodes, func(c *counts, was, _ []int) {
		zones := map[string]bool{}
		for _, i := range was {
			c.on[i]++
			zones[s.nodes[i].Zone] = true
		}
		if len(zones) != simCopies {
			c.shared++
		}
	})
	if got.shared > 0 {
		t.Errorf("%d chunks have two copies in one zone", got.shared)
	}
	inZone := map[string]float64{}
	for _, h := range s.nodes {
		inZone[h.Zone] += h.Weight
	}
	worst := 0.0
	for i, h := range s.nodes {
		want := float64(s.chunks) * h.Weight / inZone[h.Zone] // one copy in each zone
		worst = max(worst, math.Abs(float64(got.on[i])-want)/want)
	}
	// Chance alone makes a tenth of the chunks deviate three times as much.
	limit := 0.10 * math.Sqrt(1_000_000/float64(s.chunks))
	if t.Logf("%d chunks: the worst load is %.1f %% off", s.chunks, 100*worst); worst > limit {
		t.Errorf("a node's load is %.1f %% off its weight's, want at most %.0f %%", 100*worst, 100*limit)
	}
}

func TestSimulationANewNodeMovesItsShare(t *testing.T) {
	s := newSimulation()
	newcomer := len(s.nodes)
	after := append(s.nodes[:newcomer:newcomer], blobs.Holder{ID: "newcomer", Weight: 8e12, Zone: "zone-1"})
	got := s.place(t, s.nodes, after, func(c *counts, was, is []int) {
		for _, i := range is {
			c.on[i]++
			if !contains(was, i) {
				c.moved++
			}
		}
	})
	if got.moved != got.on[newcomer] {
		t.Errorf("%d copies moved, of which %d to the newcomer", got.moved, got.on[newcomer])
	}
	zone := 0.0
	for _, h := range after {
		if h.Zone == "zone-1" {
			zone += h.Weight
		}
	}
	share := float64(s.chunks) * 8e12 / zone
	limit := 1 + 0.05*math.Sqrt(1_000_000/float64(s.chunks))
	if t.Logf("%d copies moved, %.3f of its share", got.moved, float64(got.moved)/share); float64(got.moved) > limit*share {
		t.Errorf("%d copies moved, want at most %.2f of the share %.0f", got.moved, limit, share)
	}
}

func contains(all []int, x int) bool {
	for _, y := range all {
		if x == y {
			return true
		}
	}
	return false
}
