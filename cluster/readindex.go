package cluster

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/hashicorp/raft"

	"malla/cluster/state"
)

// ReadIndex returns once this node's state shows everything that anybody in the
// mesh was told of before the call, be it a change that was confirmed or what
// another such read found: what is read from the state then is not stale. The
// index is that of such a state. Without a leader it tries like Propose, and
// then returns an error of kind NoLeader.
func (c *Cluster) ReadIndex(ctx context.Context) (uint64, error) {
	ctx, cancel := c.bounded(ctx)
	defer cancel()
	result, err := c.atLeader(ctx, pathIndex, nil, c.readIndex)
	if err != nil {
		return 0, err
	}
	if err := c.cfg.State.WaitIndex(ctx, result.Index); err != nil {
		return 0, state.Errorf(state.NoLeader, "this node is catching up with the mesh")
	}
	return result.Index, nil
}

// readIndex is the leader's part: what is committed now, if it still leads (the
// read index of Raft, dissertation 6.4). That is all that was ever committed,
// since a leadership counts only from its first barrier on.
func (c *Cluster) readIndex(ctx context.Context, _ []byte) (state.Result, error) {
	term, number := c.lead.numbered()
	if term == nil {
		return state.Result{}, errNotLeading
	}
	index, err := c.raft.committed(c.cfg.State.Index())
	if err != nil {
		return state.Result{}, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(term, cancel)()
	if err := c.raft.confirm(ctx, number, ""); err != nil {
		return state.Result{}, err
	}
	return state.Result{Index: index}, nil
}

// committed is the last committed command. It may not be applied here yet while
// a follower shows it already, so the state's own index would be too low; and
// the commit index would be too high, since the state never hears of entries
// that are raft's own. applied is an index that the state has.
func (a *agreement) committed(applied uint64) (uint64, error) {
	for i := a.raft().CommitIndex(); i > applied; i-- {
		var entry raft.Log
		err := a.logs.GetLog(i, &entry)
		if errors.Is(err, raft.ErrLogNotFound) {
			break // it is in the snapshot that the state began with
		}
		if err != nil {
			return 0, fmt.Errorf("read entry %d of the log: %w", i, err)
		}
		if entry.Type == raft.LogCommand {
			return i, nil
		}
	}
	return applied, nil
}

// confirm returns nil once a majority of the voters has taken a request for one
// of their leader in that term that was sent after the call. So no node led in
// a later term before the call. The node without is counted as if it were not
// there.
//
// Raft's own VerifyLeader has them asked, but its word is not enough: it counts
// nodes that have no vote, and answers to what was sent before the call, which
// a node that was suspended finds when it goes on. With either a leader that was
// replaced meanwhile confirms itself.
func (a *agreement) confirm(ctx context.Context, term uint64, without state.NodeID) error {
	since := a.acks.sending()
	asked := make(chan error, 1)
	go func() { asked <- a.raft().VerifyLeader().Error() }() // ends when raft answers, at its shutdown at the latest
	for {
		changed := a.acks.changed.wait()
		if majority(a.raft().GetConfiguration().Configuration().Servers, a.id, without, a.acks.after(term, since)) {
			return nil
		}
		select {
		case <-changed:
		case err := <-asked:
			if err != nil {
				return err
			}
			asked = nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// majority tells whether self and those that say so are most of the voters,
// the node without left aside.
func majority(servers []raft.Server, self, without state.NodeID, say map[state.NodeID]bool) bool {
	voters, agree := 0, 0
	for _, s := range servers {
		if s.Suffrage != raft.Voter || s.ID == raft.ServerID(without) {
			continue
		}
		voters++
		if id := state.NodeID(s.ID); id == self || say[id] {
			agree++
		}
	}
	return agree > voters/2
}

// acks is when followers last took this node for the leader. Time is counted in
// requests: one that was sent later has a higher number.
type acks struct {
	changed signal

	mu   sync.Mutex // guards the fields below
	sent uint64     // number of the last request
	last map[state.NodeID]ack
}

// ack is the newest request of this node that another one took.
type ack struct{ term, sent uint64 }

func newAcks() *acks { return &acks{changed: newSignal(), last: map[state.NodeID]ack{}} }

// sending numbers a request that is about to be sent.
func (a *acks) sending() uint64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.sent++
	return a.sent
}

// taken notes that the node took a request of this term for one of its leader.
func (a *acks) taken(node state.NodeID, term, sent uint64) {
	a.mu.Lock()
	if sent > a.last[node].sent {
		a.last[node] = ack{term, sent}
	}
	a.mu.Unlock()
	a.changed.notify()
}

// after lists the nodes that took a request of that term sent after that one.
func (a *acks) after(term, sent uint64) map[state.NodeID]bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	nodes := map[state.NodeID]bool{}
	for node, last := range a.last {
		if last.term == term && last.sent > sent {
			nodes[node] = true
		}
	}
	return nodes
}
