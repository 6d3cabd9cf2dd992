package node

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"malla/blobs"
	"malla/cluster"
	"malla/cluster/schedule"
	"malla/cluster/state"
)

// leader does what one node must do for all: it gives waiting tasks to nodes,
// takes them from nodes that are gone, stuck or overloaded, and sweeps what has
// run out. Its duties begin and end with leadership and bear running twice: all
// they do is propose.
type leader struct {
	state      *state.State
	cluster    *cluster.Cluster
	peers      *peers
	copies     int
	grace      time.Duration // a node must be gone that long before its tasks are taken
	stallAfter time.Duration // a task must make no progress that long before it is taken
	sweepEvery time.Duration // how often what has run out is looked for
	jobsKeep   time.Duration // how long jobs that ended are kept
	log        *slog.Logger

	turns   schedule.Turns   // whose turn it is, as far as this leader has seen
	absence schedule.Absence // which nodes it misses
}

// tick is how often duties are looked at when nothing changed: back-offs end
// and loads change without an entry in the log.
const tick = 500 * time.Millisecond

// lead runs the duties until ctx, which ends with leadership. A change of the
// state is answered at once; those that come while a plan is agreed on are
// answered together.
func (l *leader) lead(ctx context.Context) {
	l.turns, l.absence = schedule.Turns{}, schedule.Absence{}
	var watch sync.WaitGroup
	watch.Go(func() { l.watch(ctx) })
	defer watch.Wait()
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	sweep := time.NewTimer(l.sweepEvery)
	defer sweep.Stop()
	for {
		view := l.state.View()
		members := l.cluster.Changed()
		l.assign(ctx, view)
		select {
		case <-view.Changed():
		case <-members:
			l.release(ctx)
		case <-ticker.C:
			l.release(ctx)
		case <-sweep.C:
			sweep.Reset(l.sweep(ctx))
		case <-ctx.Done():
			return
		}
	}
}

// assign carries out the plan for what waits now. Where more could be assigned
// than one entry of the log should carry, the change that it makes brings the
// next plan at once.
func (l *leader) assign(ctx context.Context, view *state.View) {
	waits := false
	for range view.TasksWaiting() {
		waits = true
		break
	}
	if !waits {
		return
	}
	now := time.Now().UTC()
	plan := schedule.Plan(view, l.mesh(view), now)
	if len(plan) > 0 && l.propose(ctx, state.AssignTasks{Assignments: plan, At: now}) {
		l.turns.Note(view, plan, now)
	}
}

// mesh is what a plan is made for.
func (l *leader) mesh(view *state.View) schedule.Mesh {
	members := l.cluster.Members()
	return schedule.Mesh{Nodes: workers(view, members), Local: l.locality(view, members), Turns: &l.turns}
}

// workers are the members that may be given tasks, as the plan sees them.
func workers(view *state.View, members []cluster.Member) []schedule.Node {
	var nodes []schedule.Node
	for _, m := range members {
		if rec, _ := view.Node(m.ID); !rec.DrainingAt.IsZero() {
			continue // it ends what it has begun
		}
		if m.State != cluster.Alive || m.Load.Slots == 0 || m.Load.Full {
			continue // gone or going, without FFmpeg, or without room for files under way
		}
		n := schedule.Node{ID: m.ID, Slots: m.Load.Slots, CPU: m.Load.CPU, Encoders: m.Load.Encoders}
		if m.Load.MemoryTotal > 0 {
			n.Memory = float64(m.Load.MemoryUsed) / float64(m.Load.MemoryTotal)
			n.MemoryFree = m.Load.MemoryTotal - min(m.Load.MemoryUsed, m.Load.MemoryTotal)
		}
		nodes = append(nodes, n)
	}
	return nodes
}

// locality computes who holds inputs, as placement says, without asking anyone:
// the holders of the manifest stand for those of a short blob, and of a long
// one everybody has a like share.
func (l *leader) locality(view *state.View, members []cluster.Member) schedule.Local {
	place := sync.OnceValues(func() ([]blobs.Holder, *blobs.Placement) {
		alive := map[state.NodeID]bool{}
		for _, m := range members {
			alive[m.ID] = m.State == cluster.Alive || m.State == cluster.Suspect
		}
		all := holders(view.Nodes(), alive)
		return all, blobs.NewPlacement(all)
	})
	return func(input state.Input) []schedule.Share {
		if blobs.ChunkCount(input.Content.Blob.Size) > 1 {
			return nil
		}
		var shares []schedule.Share
		all, places := place()
		for _, i := range places.First(nil, input.Content.Blob.SHA256, l.copies, nil) {
			shares = append(shares, schedule.Share{Node: state.NodeID(all[i].ID), Share: 1})
		}
		return shares
	}
}

// How much is dropped at once, and how soon more is: other writes have their turn
// in between.
const (
	sweepLimit = 200
	sweepPause = 100 * time.Millisecond
)

// sweep drops some of what has run out, if there is any, and returns when to look
// again.
func (l *leader) sweep(ctx context.Context) time.Duration {
	sweep := state.Sweep{Limit: sweepLimit, KeepJobs: l.jobsKeep, At: time.Now().UTC()}
	if l.state.View().NeedsSweep(sweep) && l.propose(ctx, sweep) {
		return min(sweepPause, l.sweepEvery)
	}
	return l.sweepEvery
}

// propose tells whether a command was agreed on. It logs what was not: the next
// round tries again from what is true then.
func (l *leader) propose(ctx context.Context, cmd state.Command) bool {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	_, err := l.cluster.Propose(ctx, cmd)
	if err != nil && ctx.Err() == nil {
		l.log.Warn("leader's proposal failed", "err", err)
	}
	return err == nil
}
