package cluster

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"malla/cluster/state"
)

// A leadership knows who leads, and whether this node does.
type leadership struct {
	id      state.NodeID
	log     *slog.Logger
	changed signal
	halts   chan struct{} // closed when this node takes no part any more

	mu     sync.Mutex // guards the fields below
	leader state.NodeID
	reign  context.Context // ends when leader changes
	depose context.CancelFunc
	term   context.Context // of this node's own leadership, once its state is up to date; else nil
	number uint64          // of the term, as raft counts
	resign context.CancelFunc
	level  context.Context // the reign in which this node's state caught up with the leader's
}

func newLeadership(id state.NodeID, log *slog.Logger, changed signal) *leadership {
	l := &leadership{id: id, log: log, changed: changed, halts: make(chan struct{})}
	l.reign, l.depose = context.WithCancel(context.Background())
	return l
}

// halt ends run: raft tells no more. It is called once.
func (l *leadership) halt() { close(l.halts) }

// run follows raft until ctx or raft ends.
func (l *leadership) run(ctx context.Context, r *raft.Raft) {
	observed := make(chan raft.Observation, 16)
	observer := raft.NewObserver(observed, false, func(o *raft.Observation) bool {
		switch o.Data.(type) {
		case raft.LeaderObservation, raft.PeerObservation:
			return true
		}
		return false
	})
	r.RegisterObserver(observer)
	defer r.DeregisterObserver(observer)
	defer l.end()
	defer l.setLeader("")
	for {
		_, leader := r.LeaderWithID()
		l.setLeader(state.NodeID(leader))
		select {
		case <-observed:
		case leads := <-r.LeaderCh():
			// Only the last change is kept: true may mean lost and won again.
			l.end()
			if leads {
				l.begin(ctx, r)
			}
		case <-l.halts:
			return
		case <-ctx.Done():
			return
		}
	}
}

// begin makes this node's leadership count once its state shows everything
// that earlier leaders confirmed.
func (l *leadership) begin(ctx context.Context, r *raft.Raft) {
	var number uint64
	for {
		number = r.CurrentTerm()
		err := await(ctx, func() raft.Future { return r.Barrier(0) })
		if err == nil && r.CurrentTerm() == number {
			break
		}
		if r.State() != raft.Leader || ctx.Err() != nil {
			return
		}
		l.log.Warn("leading, but the log does not go on", "err", err)
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return
		}
	}
	l.mu.Lock()
	l.term, l.resign = context.WithCancel(ctx)
	l.number = number
	l.mu.Unlock()
	l.log.Info("this node leads the mesh")
	l.changed.notify()
}

// end ends this node's leadership, if there is one.
func (l *leadership) end() {
	l.mu.Lock()
	resign := l.resign
	l.term, l.resign = nil, nil
	l.mu.Unlock()
	if resign != nil {
		resign()
		l.log.Info("this node does not lead any more")
		l.changed.notify()
	}
}

func (l *leadership) setLeader(id state.NodeID) {
	l.mu.Lock()
	if id == l.leader {
		l.mu.Unlock()
		return
	}
	l.depose()
	l.leader = id
	l.reign, l.depose = context.WithCancel(context.Background())
	l.mu.Unlock()
	l.changed.notify()
}

// current returns the leader, or "", and a context that ends with its reign.
func (l *leadership) current() (state.NodeID, context.Context) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.leader, l.reign
}

// own returns the context of this node's leadership, or nil.
func (l *leadership) own() context.Context {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.term
}

// numbered is own with the number of the term.
func (l *leadership) numbered() (context.Context, uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.term, l.number
}

// Leader returns the node that leads, as far as this one knows.
func (c *Cluster) Leader() (id state.NodeID, ok bool) {
	id, _ = c.lead.current()
	return id, id != ""
}

// IsLeader tells whether this node leads and its state is up to date. By the
// time of the answer another may have taken over: what a leader does must be
// decided by the log.
func (c *Cluster) IsLeader() bool { return c.lead.own() != nil }

// Leading runs duties whenever this node leads, under a context that ends with
// its leadership, until ctx ends or the Cluster is closed. Duties that return
// early are not run again before the next leadership; new ones never begin
// before the last ones returned. For a moment two nodes may believe to lead,
// so duties must bear running twice.
func (c *Cluster) Leading(ctx context.Context, duties func(ctx context.Context)) {
	for ctx.Err() == nil && c.ctx.Err() == nil {
		changed := c.Changed()
		if term := c.lead.own(); term != nil {
			merged, cancel := context.WithCancel(ctx)
			stop := context.AfterFunc(term, cancel)
			duties(merged)
			stop()
			cancel()
			changed = term.Done()
		}
		select {
		case <-changed:
		case <-ctx.Done():
		case <-c.ctx.Done():
		}
	}
}

// Ready returns nil when this node can serve: the mesh has a leader, and since
// that one leads this node's state has been as new as its. Else it returns why
// not, in words for people.
func (c *Cluster) Ready() error {
	if err := c.Halted(); err != nil {
		return err
	}
	leader, reign := c.lead.current()
	c.lead.mu.Lock()
	level := c.lead.level
	c.lead.mu.Unlock()
	switch {
	case leader == "" && c.cfg.Link.Estranged():
		return state.Errorf(state.NoLeader, "the other nodes have another secret than this one: they have replaced it, maybe while this node was away. Start it with --secret-file naming a copy of the file secret in another node's data directory")
	case leader == "" && !c.member():
		return state.Errorf(state.NoLeader, "this node has not joined the mesh yet")
	case leader == "":
		return state.Errorf(state.NoLeader, "the mesh has no leader at the moment")
	case level != reign:
		return state.Errorf(state.NoLeader, "this node is catching up with the mesh")
	}
	return nil
}

// catchUp waits, in each reign, until this node's state is as new as the
// leader's was at the beginning.
func (c *Cluster) catchUp(ctx context.Context) {
	for ctx.Err() == nil {
		leader, reign := c.lead.current()
		if leader != "" {
			attempt, cancel := context.WithTimeout(ctx, rpcTimeout)
			stop := context.AfterFunc(reign, cancel)
			_, err := c.ReadIndex(attempt)
			stop()
			cancel()
			if err != nil {
				select {
				case <-time.After(c.cfg.Timing.Raft / 10):
				case <-ctx.Done():
				}
				continue
			}
			c.lead.mu.Lock()
			c.lead.level = reign
			c.lead.mu.Unlock()
			c.lead.changed.notify()
		}
		select {
		case <-reign.Done():
		case <-ctx.Done():
		}
	}
}
