package node

import (
	"context"
	"log/slog"
	"time"

	"malla/blobs"
	"malla/cluster"
	"malla/cluster/schedule"
	"malla/cluster/state"
)

// leader does what one node must do for all: it gives waiting tasks to nodes,
// takes them from nodes that are gone, and sweeps what has run out. Its duties
// begin and end with leadership and bear running twice: all they do is propose.
type leader struct {
	state   *state.State
	cluster *cluster.Cluster
	copies  int
	grace   time.Duration // a node must be gone that long before its tasks are taken
	log     *slog.Logger

	gone map[state.NodeID]time.Time // node -> since when this leader has missed it
}

// tick is how often duties are looked at when nothing changed: back-offs end
// and loads change without an entry in the log.
const tick = 500 * time.Millisecond

// sweepEvery is how often what has run out is looked for.
const sweepEvery = 10 * time.Minute

// lead runs the duties until ctx, which ends with leadership.
func (l *leader) lead(ctx context.Context) {
	l.gone = map[state.NodeID]time.Time{}
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	sweep := time.NewTicker(sweepEvery)
	defer sweep.Stop()
	for {
		view := l.state.View()
		members := l.cluster.Changed()
		l.release(ctx, view)
		l.assign(ctx)
		select {
		case <-view.Changed():
		case <-members:
		case <-ticker.C:
		case <-sweep.C:
			l.sweep(ctx)
		case <-ctx.Done():
			return
		}
	}
}

// release gives up on the attempts of nodes that have been dead for the grace
// time. What the gossip only suspects is left alone: a busy processor makes
// nodes look slow.
func (l *leader) release(ctx context.Context, view *state.View) {
	present := map[state.NodeID]bool{}
	for _, m := range l.cluster.Members() {
		present[m.ID] = m.State == cluster.Alive || m.State == cluster.Suspect
	}
	now := time.Now()
	var lost []state.Release
	for t := range view.TasksAssigned() {
		if present[t.Node] {
			delete(l.gone, t.Node)
			continue
		}
		since, noted := l.gone[t.Node]
		if !noted {
			since = now
			l.gone[t.Node] = now
		}
		if now.Sub(since) >= l.grace {
			lost = append(lost, state.Release{Task: t.ID, Attempt: t.Attempt, Reason: "the node that ran it is gone"})
		}
	}
	if len(lost) == 0 {
		return
	}
	l.log.Warn("taking tasks from nodes that are gone", "tasks", len(lost))
	l.propose(ctx, state.ReleaseTasks{Releases: lost, At: now.UTC()})
}

// assign carries out the plan for what waits now.
func (l *leader) assign(ctx context.Context) {
	view := l.state.View()
	waits := false
	for range view.TasksWaiting() {
		waits = true
		break
	}
	if !waits {
		return
	}
	members := l.cluster.Members()
	now := time.Now().UTC()
	plan := schedule.Plan(view, workers(members), l.locality(view, members), now)
	if len(plan) > 0 {
		l.propose(ctx, state.AssignTasks{Assignments: plan, At: now})
	}
}

// workers are the members that may be given tasks, as the plan sees them.
func workers(members []cluster.Member) []schedule.Node {
	var nodes []schedule.Node
	for _, m := range members {
		if m.State != cluster.Alive || m.Load.Slots == 0 || m.Load.Full {
			continue // gone, without FFmpeg, or without room for files under way
		}
		n := schedule.Node{ID: m.ID, Slots: m.Load.Slots, CPU: m.Load.CPU}
		if m.Load.MemoryTotal > 0 {
			n.Memory = float64(m.Load.MemoryUsed) / float64(m.Load.MemoryTotal)
		}
		nodes = append(nodes, n)
	}
	return nodes
}

// locality computes who holds inputs, as placement says, without asking anyone:
// the holders of the manifest stand for those of a short blob, and of a long
// one everybody has a share.
func (l *leader) locality(view *state.View, members []cluster.Member) schedule.Local {
	holders := holders(view, members)
	return func(input state.Input, node state.NodeID) float64 {
		if blobs.ChunkCount(input.Content.Blob.Size) > 1 || len(holders) == 0 {
			return min(1, float64(l.copies)/float64(max(1, len(holders))))
		}
		for i, h := range blobs.Place(input.Content.Blob.SHA256, holders, l.copies) {
			if i == l.copies {
				break
			}
			if h.ID == string(node) {
				return 1
			}
		}
		return 0
	}
}

// sweep drops what has run out, if there is any.
func (l *leader) sweep(ctx context.Context) {
	now := time.Now().UTC()
	if l.state.View().NeedsSweep(now) {
		l.propose(ctx, state.Sweep{Limit: 1000, At: now})
	}
}

// propose logs what could not be agreed on: the next round tries again from
// what is true then.
func (l *leader) propose(ctx context.Context, cmd state.Command) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if _, err := l.cluster.Propose(ctx, cmd); err != nil && ctx.Err() == nil {
		l.log.Warn("leader's proposal failed", "err", err)
	}
}
