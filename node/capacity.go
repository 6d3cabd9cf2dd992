package node

import (
	"math/bits"

	"golang.org/x/sys/unix"

	"malla/blobs"
	"malla/cluster/state"
)

// capacity is how many bytes chunks may take on this node's disk, as it is
// agreed on when the node starts: what others put on the disk, and what is free
// on it, must not move chunks between nodes. 0 where it cannot be told.
func (n *Node) capacity() uint64 {
	if n.cfg.Capacity > 0 {
		return coarse(n.cfg.Capacity)
	}
	var st unix.Statfs_t
	if err := unix.Statfs(n.cfg.Data, &st); err != nil {
		n.log.Warn("the size of the disk is not known: it counts as an average one", "err", err)
		return 0
	}
	total := st.Blocks * uint64(st.Bsize)
	return coarse(total - min(n.cfg.Reserve, total))
}

// coarse rounds down to three binary digits behind the first: disks that are
// nearly alike, and one that is made a little larger, weigh the same.
func coarse(n uint64) uint64 {
	low := max(0, bits.Len64(n)-4)
	return n >> low << low
}

// A weighing gives each node its weight in placement. A node of a version that
// does not tell its capacity, or whose disk did not, counts as an average one.
type weighing struct{ average float64 }

func weigh(nodes []state.Node) weighing {
	sum, known := 0.0, 0
	for _, n := range nodes {
		if n.Capacity > 0 {
			sum += float64(n.Capacity)
			known++
		}
	}
	if known == 0 {
		return weighing{1}
	}
	return weighing{sum / float64(known)}
}

func (w weighing) of(n state.Node) float64 {
	if n.Capacity == 0 {
		return w.average
	}
	return float64(n.Capacity)
}

// holders are the nodes that keep chunks, for computing where they are.
func holders(nodes []state.Node, alive map[state.NodeID]bool) []blobs.Holder {
	weights := weigh(nodes)
	var all []blobs.Holder
	for _, n := range nodes {
		if alive[n.ID] && n.DrainingAt.IsZero() {
			all = append(all, blobs.Holder{ID: string(n.ID), Zone: n.Zone, Weight: weights.of(n)})
		}
	}
	return all
}
