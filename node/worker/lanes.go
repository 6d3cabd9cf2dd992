package worker

import (
	"cmp"
	"context"
	"slices"
	"sync"

	"malla/cluster/state"
)

// lanes bound how many converters run at once on this node: so many long tasks,
// and so many quick ones beside them, so that a song never waits for a film.
type lanes map[state.Lane]*lane

func newLanes(slots int) lanes {
	all := lanes{}
	for _, l := range state.Lanes {
		all[l] = &lane{free: max(1, slots), running: map[state.UserID]int{}}
	}
	return all
}

// enter waits for a place, which leave gives back, or returns the error of ctx.
func (l lanes) enter(ctx context.Context, k state.Task) (leave func(), err error) {
	return l[k.Lane()].enter(ctx, k)
}

// A lane lets tasks begin by priority, then those of the user who has the fewest
// running here, then in the order in which they came: quick tasks are sent ahead
// of their time, and a user who sent a hundred must not keep out one who comes
// later.
type lane struct {
	mu      sync.Mutex // guards the fields below
	free    int
	running map[state.UserID]int
	waiting []*waiter // in the order in which they came
}

type waiter struct {
	task state.Task
	turn chan struct{} // closed when it may begin
}

func (l *lane) enter(ctx context.Context, k state.Task) (leave func(), err error) {
	w := &waiter{task: k, turn: make(chan struct{})}
	l.mu.Lock()
	l.waiting = append(l.waiting, w)
	l.admit()
	l.mu.Unlock()
	select {
	case <-w.turn:
		return func() { l.leave(w) }, nil
	case <-ctx.Done():
		l.giveUp(w)
		return nil, ctx.Err()
	}
}

// admit gives the free places away. l.mu is held.
func (l *lane) admit() {
	for l.free > 0 && len(l.waiting) > 0 {
		next := slices.MinFunc(l.waiting, func(a, b *waiter) int {
			return cmp.Or(cmp.Compare(b.task.Priority, a.task.Priority), cmp.Compare(l.running[a.task.Owner], l.running[b.task.Owner]))
		})
		l.waiting = slices.DeleteFunc(l.waiting, func(w *waiter) bool { return w == next })
		l.free--
		l.running[next.task.Owner]++
		close(next.turn)
	}
}

func (l *lane) leave(w *waiter) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.free++
	if l.running[w.task.Owner]--; l.running[w.task.Owner] == 0 {
		delete(l.running, w.task.Owner)
	}
	l.admit()
}

// giveUp takes a waiter out of the queue, or gives back the place that it has
// just been given.
func (l *lane) giveUp(w *waiter) {
	l.mu.Lock()
	n := len(l.waiting)
	l.waiting = slices.DeleteFunc(l.waiting, func(o *waiter) bool { return o == w })
	admitted := len(l.waiting) == n
	l.mu.Unlock()
	if admitted {
		l.leave(w)
	}
}
