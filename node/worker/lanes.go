package worker

import (
	"context"

	"malla/cluster/state"
)

// lanes bound how many converters run at once on this node: so many long tasks,
// and so many quick ones beside them, so that a song never waits for a film.
// Quick tasks come in a short queue, which waits here in the order of arrival.
type lanes struct {
	long, quick chan struct{} // hold a token for each converter under way
}

func newLanes(slots int) lanes {
	slots = max(1, slots)
	return lanes{long: make(chan struct{}, slots), quick: make(chan struct{}, slots)}
}

// enter waits for a place, which leave gives back, or returns the error of ctx.
func (l lanes) enter(ctx context.Context, k state.Task) (leave func(), err error) {
	lane := l.long
	if k.Lane() == state.QuickLane {
		lane = l.quick
	}
	select {
	case lane <- struct{}{}:
		return func() { <-lane }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
