package node

import (
	"context"
	"slices"
	"sync"
	"time"

	"malla/cluster"
	"malla/cluster/schedule"
	"malla/cluster/state"
	"malla/httpapi"
)

// presences say of each member state whether tasks stay with the node. What the
// gossip only suspects keeps them: a busy processor makes nodes look slow.
var presences = map[cluster.MemberState]schedule.Presence{
	cluster.Alive: schedule.Present, cluster.Suspect: schedule.Present,
	cluster.Dead: schedule.Gone, cluster.Left: schedule.Departed,
}

// release gives up on the attempts of nodes that have been dead for the grace
// time, or were stopped.
func (l *leader) release(ctx context.Context) {
	nodes := map[state.NodeID]schedule.Presence{}
	for _, m := range l.cluster.Members() {
		nodes[m.ID] = presences[m.State]
	}
	l.give(ctx, "taking tasks from nodes that are gone", l.absence.Lost(l.state.View(), nodes, l.grace, time.Now()))
}

// give proposes releases, in entries that stay small.
func (l *leader) give(ctx context.Context, why string, all []state.Release) {
	for some := range slices.Chunk(all, schedule.Most) {
		l.log.Warn(why, "tasks", len(some), "task", some[0].Task, "cause", some[0].Cause, "reason", some[0].Reason)
		if !l.propose(ctx, state.ReleaseTasks{Releases: some, At: time.Now().UTC()}) {
			return
		}
	}
}

// How often nodes are asked how far their tasks are: the more of them, the less
// often, so that asking costs the leader always the same.
const (
	askEvery = 2 * time.Second
	askCost  = 20 * time.Millisecond // of that time, for each node
)

// asked is how many nodes are asked at the same time.
const asked = 32

// watch asks the nodes how far their tasks are, and takes tasks from nodes on
// which they do not get on, until ctx ends. It runs beside the assignments: a
// node that does not answer must not hold them up.
func (l *leader) watch(ctx context.Context) {
	var watch schedule.Watch
	var relief schedule.Relief
	pause := askEvery
	for {
		select {
		case <-time.After(min(pause, l.stallAfter/4)):
		case <-ctx.Done():
			return
		}
		heard := l.ask(ctx, l.state.View())
		if ctx.Err() != nil {
			return
		}
		pause = max(askEvery, time.Duration(len(heard))*askCost)
		view, now := l.state.View(), time.Now()
		l.give(ctx, "taking tasks that do not get on", watch.Stalled(view, heard, l.stallAfter, now))
		mesh := l.mesh(view)
		mesh.Turns = nil // they belong to the other loop, and order nothing here
		l.give(ctx, "moving a task off a node whose memory is short", relief.Saturated(view, mesh, now))
		l.give(ctx, "moving segments that take too long", schedule.Stragglers(view, mesh, watch.Fraction, now))
	}
}

// ask asks every node that has tasks, some at a time. Nodes that do not answer
// in time are missing in the result.
func (l *leader) ask(ctx context.Context, view *state.View) schedule.Heard {
	heard := schedule.Heard{}
	var mu sync.Mutex // guards heard
	var wg sync.WaitGroup
	free := make(chan struct{}, asked)
	last := state.NodeID("")
	for k := range view.TasksAssigned() {
		node := k.Node
		if node == last {
			continue // tasks come by node
		}
		last = node
		free <- struct{}{}
		wg.Go(func() {
			defer func() { <-free }()
			ctx, cancel := context.WithTimeout(ctx, progressWait)
			defer cancel()
			theirs, err := l.peers.progressOf(ctx, node)
			if err != nil {
				return // the watch knows what silence means
			}
			mu.Lock()
			defer mu.Unlock()
			heard[node] = figures(theirs)
		})
	}
	wg.Wait()
	return heard
}

func figures(theirs map[state.TaskID]httpapi.TaskProgress) map[state.TaskID]schedule.Figures {
	all := make(map[state.TaskID]schedule.Figures, len(theirs))
	for id, p := range theirs {
		all[id] = schedule.Figures{Fraction: p.Fraction, Speed: p.Speed, Waiting: p.Waiting, Moved: p.Moved}
	}
	return all
}
