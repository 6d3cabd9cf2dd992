package node

import (
	"context"
	"encoding/binary"
	"time"

	"malla/cluster/state"
)

// watchNames asks for a round of repair when the state names other blobs than
// before: copies that were not made when they should have been are made soon.
func (n *Node) watchNames(ctx context.Context) error {
	pause := time.NewTicker(5 * time.Second)
	defer pause.Stop()
	last := [2]uint64{}
	for {
		view := n.state.View()
		if now := named(view); now != last {
			last = now
			n.replica.Nudge()
		}
		if !waitFor(ctx, view.Changed()) || !waitFor(ctx, pause.C) { // changes come in hundreds
			return ctx.Err()
		}
	}
}

func waitFor[T any](ctx context.Context, c <-chan T) bool {
	select {
	case <-c:
		return true
	case <-ctx.Done():
		return false
	}
}

// named stands for the blobs that the view names: how many, and their sum.
func named(view *state.View) (all [2]uint64) {
	for ref := range view.Blobs() {
		all[0]++
		all[1] += binary.BigEndian.Uint64(ref[:8])
	}
	return all
}
