package node

import (
	"testing"

	"malla/cluster/state"
)

func TestCapacityComesInCoarseSteps(t *testing.T) {
	for _, c := range []struct{ in, want uint64 }{
		{0, 0}, {7, 7}, {15, 15}, {16, 16}, {17, 16}, {1000, 960}, {1 << 42, 1 << 42}, {1<<42 + 1<<30, 1 << 42}, {4_000_787_030_016, 14 << 38},
	} {
		if got := coarse(c.in); got != c.want {
			t.Errorf("coarse(%d) = %d, want %d", c.in, got, c.want)
		}
	}
}

func TestANodeWithoutACapacityCountsAsAnAverageOne(t *testing.T) {
	known := []state.Node{{Capacity: 1e12}, {Capacity: 3e12}, {}}
	if w := weigh(known).of(known[2]); w != 2e12 {
		t.Errorf("its weight is %v, want the average", w)
	}
	if w := weigh(known).of(known[1]); w != 3e12 {
		t.Errorf("the weight of a node with a capacity is %v", w)
	}
	old := []state.Node{{}, {}}
	if w := weigh(old).of(old[0]); w != 1 {
		t.Errorf("where nobody tells, the weight is %v, want 1", w)
	}
}
