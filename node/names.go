package node

import (
	"context"
	"time"
)

// watchNames asks for a round of repair when the state names other blobs than
// before: copies that were not made when they should have been are made soon.
func (n *Node) watchNames(ctx context.Context) error {
	pause := time.NewTicker(5 * time.Second)
	defer pause.Stop()
	last := uint64(0)
	for {
		view := n.state.View()
		if now := view.BlobsChanged(); now != last {
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
