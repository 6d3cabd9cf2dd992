package node

import (
	"context"
	"time"

	"github.com/dustin/go-humanize"

	"malla/cluster"
	"malla/cluster/state"
	"malla/httpapi"
)

// CanDrain implements [httpapi.Mesh].
func (n *Node) CanDrain(id string) error {
	return canDrain(n.Nodes(), id, n.cfg.Copies, n.cfg.Reserve)
}

// canDrain tells why the node cannot be emptied: the others could not keep as
// many copies as there should be, or what is on it would not fit. The reserve of
// the others is taken to be this node's.
func canDrain(nodes []httpapi.NodeStatus, id string, copies int, reserve uint64) error {
	var target httpapi.NodeStatus
	var room uint64
	keeping, takers := 0, 0
	for _, n := range nodes {
		if n.ID == id {
			target = n
		}
		if n.Draining != "" {
			continue
		}
		keeping++
		if n.ID != id && living(n) && n.Disk == "" {
			takers++
			room += n.DiskFree - min(n.DiskFree, reserve)
		}
	}
	switch want := min(copies, keeping); {
	case !living(target):
		return state.Errorf(state.Conflict, "%s does not answer: what it held is copied by the others already", target.Name)
	case target.Disk == diskBroken:
		return state.Errorf(state.Conflict, "the disk of %s fails or is read-only, so nothing can be moved off it: mend it first, or stop the node when the others have made the copies that it held, which they do by themselves", target.Name)
	case takers < want:
		return state.Errorf(state.Conflict, "only %d of the other nodes can take files, too few for %d copies of each: add a node first, or run the mesh with fewer --copies", takers, want)
	case room < target.Stored:
		return state.Errorf(state.Full, "the other nodes have room for %s, on %s are %s: add a node or free room first", humanize.Bytes(room), target.Name, humanize.Bytes(target.Stored))
	}
	return nil
}

// RotateSecret implements [httpapi.Mesh].
func (n *Node) RotateSecret(ctx context.Context, without []state.NodeID, keepSessions time.Duration) error {
	return n.cluster.RotateSecret(ctx, without, keepSessions)
}

func living(n httpapi.NodeStatus) bool {
	return n.State == string(cluster.Alive) || n.State == string(cluster.Suspect)
}

// draining is how far a node is that is being emptied, as it says itself.
func draining(rec state.Node, l cluster.Load) httpapi.Draining {
	switch {
	case rec.DrainingAt.IsZero():
		return ""
	case l.Emptied:
		return httpapi.IsEmpty
	}
	return httpapi.IsDraining
}
