package cluster

import (
	"context"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"malla/cluster/state"
)

const (
	maxBatch = 256 // commands in an entry
	joinRoom = 64  // bytes of an entry that are not its commands
)

// A proposal is a command on its way into the log, and who waits for it.
type proposal struct {
	ctx    context.Context // of who waits
	entry  []byte
	place  atomic.Int32  // where it may be
	told   chan struct{} // closed when the fields below are set
	result state.Result
	err    error // a refusal of the state
}

// The places of a proposal. Who waits learns from it whether the command can
// still come into force, so that it must be certain.
const (
	waits   = iota // certainly in no log
	sent           // perhaps in a log
	givenUp        // in no log, and never will be
)

// giveUp returns whether the proposal is certainly in no log, and keeps it from
// getting there.
func (p *proposal) giveUp() bool { return p.place.CompareAndSwap(waits, givenUp) }

func (p *proposal) tell(result state.Result, refusal *state.Error) {
	p.result = result
	if refusal != nil {
		p.err = refusal
	}
	close(p.told)
}

// over tells whether nobody waits any more.
func (p *proposal) over() bool {
	select {
	case <-p.told:
		return true
	default:
		return p.ctx.Err() != nil
	}
}

// proposals are those of this node that wait. One batch is under way at a time,
// and whatever comes meanwhile makes up the next one: batches are the larger the
// more there is to do, and a proposal alone waits for nobody. Two batches at a
// time were slower: each was half as large, and cost as much.
type proposals struct {
	more chan struct{} // has a token when some wait

	mu      sync.Mutex // guards the field below
	waiting []*proposal
}

func newProposals() *proposals { return &proposals{more: make(chan struct{}, 1)} }

func (q *proposals) add(p *proposal) {
	q.mu.Lock()
	q.waiting = append(q.waiting, p)
	q.mu.Unlock()
	q.signal()
}

func (q *proposals) signal() {
	select {
	case q.more <- struct{}{}:
	default:
	}
}

// fill returns those of batch that somebody still waits for, and after them
// what waits, as much as fits into an entry.
func (q *proposals) fill(batch []*proposal) []*proposal {
	var filled []*proposal
	size := joinRoom
	add := func(p *proposal) bool {
		if p.over() {
			return true
		}
		if size += len(p.entry); len(filled) > 0 && (size > maxEntry || len(filled) == maxBatch) {
			return false
		}
		filled = append(filled, p)
		return true
	}
	for _, p := range batch {
		add(p)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.waiting) > 0 && add(q.waiting[0]) {
		q.waiting[0] = nil
		q.waiting = q.waiting[1:]
	}
	if len(q.waiting) > 0 {
		q.signal()
	}
	return filled
}

// carryProposals brings the proposals of this node to the leader, batch after
// batch, until ctx ends.
func (c *Cluster) carryProposals(ctx context.Context) {
	for {
		select {
		case <-c.proposals.more:
			c.carry(ctx, c.proposals.fill(nil))
		case <-ctx.Done():
			return
		}
	}
}

// carry offers a batch to the leader until each one in it has its answer or is
// given up, and takes along what comes meanwhile.
func (c *Cluster) carry(ctx context.Context, batch []*proposal) {
	for pause := 20 * time.Millisecond; len(batch) > 0; pause = min(2*pause, 200*time.Millisecond) {
		leader, reign := c.lead.current()
		err := c.offer(ctx, leader, reign, batch)
		if err == nil {
			return
		}
		if leader != "" {
			c.log.Debug("the leader did not answer", "leader", leader, "proposals", len(batch), "err", err)
		}
		select {
		case <-time.After(pause/2 + mathrand.N(pause)):
		case <-reign.Done():
		case <-ctx.Done():
			return
		}
		batch = c.proposals.fill(batch)
	}
}

// offer is one attempt. Without an error every proposal has its answer.
func (c *Cluster) offer(ctx context.Context, leader state.NodeID, reign context.Context, batch []*proposal) error {
	if len(batch) == 1 || c.cfg.State.View().Batches() {
		return c.offerEntry(ctx, leader, reign, batch)
	}
	var all sync.WaitGroup
	errs := make([]error, len(batch))
	for i, p := range batch {
		all.Go(func() { errs[i] = c.offerEntry(ctx, leader, reign, []*proposal{p}) })
	}
	all.Wait()
	return errors.Join(errs...)
}

// offerEntry is one attempt with all of the batch in one entry.
func (c *Cluster) offerEntry(ctx context.Context, leader state.NodeID, reign context.Context, batch []*proposal) error {
	var offered []*proposal
	var entries [][]byte
	var fresh []*proposal // those that were in no log before
	for _, p := range batch {
		if p.place.CompareAndSwap(waits, sent) {
			fresh = append(fresh, p)
		} else if p.place.Load() == givenUp {
			continue
		}
		offered, entries = append(offered, p), append(entries, p.entry)
	}
	if len(offered) == 0 {
		return nil
	}
	answers, err := c.proposeTo(ctx, leader, reign, state.Join(entries), len(offered))
	if err != nil {
		if !unsure(err) {
			for _, p := range fresh {
				p.place.Store(waits)
			}
		}
		return err
	}
	for i, p := range offered {
		p.tell(answers[i].Result, answers[i].Error)
	}
	return nil
}

// unsure tells whether what ended with err may have been done.
func unsure(err error) bool {
	var refusal *state.Error
	return !errors.As(err, &refusal) || refusal.Unsure
}

// proposeTo is one attempt to have the leader put an entry of so many commands
// into the log; it ends early when another node leads.
func (c *Cluster) proposeTo(ctx context.Context, leader state.NodeID, reign context.Context, entry []byte, commands int) ([]answer, error) {
	if leader == c.cfg.ID {
		ctx, cancel := context.WithTimeout(ctx, c.cfg.Timing.Propose)
		defer cancel()
		return c.applyAll(ctx, entry)
	}
	if leader == "" {
		return nil, errNotLeading
	}
	ctx, cancel := context.WithTimeout(ctx, tryTimeout)
	defer cancel()
	defer context.AfterFunc(reign, cancel)()
	a, err := c.ask(ctx, leader, pathPropose, entry)
	switch {
	case err != nil:
		return nil, err
	case a.Error != nil && a.Error.Kind == state.NoLeader:
		return nil, a.Error
	case a.Each == nil:
		a.Each = []answer{a}
	}
	if len(a.Each) != commands {
		return nil, fmt.Errorf("%d answers of node %s to %d commands", len(a.Each), leader, commands)
	}
	return a.Each, nil
}

// applyAll is the leader's part of Propose: an answer for each command of the
// entry.
func (c *Cluster) applyAll(ctx context.Context, entry []byte) ([]answer, error) {
	// What no node can apply must not come into the log: all would stop at it.
	if err := state.Check(entry); err != nil {
		return nil, state.Errorf(state.Internal, "the change did not reach the log as it was sent: %v", err)
	}
	var future raft.ApplyFuture
	err := await(ctx, func() raft.Future {
		future = c.raft.raft().Apply(entry, tryTimeout)
		return future
	})
	switch {
	case errors.Is(err, raft.ErrNotLeader), errors.Is(err, raft.ErrEnqueueTimeout), errors.Is(err, raft.ErrLeadershipTransferInProgress):
		return nil, errNotLeading // it is not in the log
	case err != nil:
		return nil, fmt.Errorf("apply: %w", err) // it may be in the log all the same
	}
	done, ok := future.Response().(applied)
	if !ok {
		return nil, fmt.Errorf("apply: unexpected answer %T", future.Response())
	}
	answers := make([]answer, len(done.outcomes))
	for i, o := range done.outcomes {
		answers[i] = answer{Result: o.Result, Error: o.Refusal}
	}
	return answers, done.err
}
