package cluster

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"malla/cluster/state"
)

// watchBelonging ends this node once it hears that the mesh does not know it, or
// that another process has its id, and warns of nodes that gossip but are not in
// this mesh.
//
// Who was removed hears no leader any more, and its old log, in which it is
// still a member, does not tell why. So while there is no leader it asks the
// members that it sees. What counts is the word of a leader that a majority
// follows: a node that only lags, or a mesh that waits for this node's vote,
// says nothing.
func (c *Cluster) watchBelonging(ctx context.Context) {
	warned := map[state.NodeID]bool{}
	for {
		changed := c.Changed()
		if _, led := c.Leader(); !led && len(c.raft.roles()) > 0 {
			if err := c.askBelonging(ctx); err != nil {
				c.fail(err)
				return
			}
		}
		c.askTwin(ctx)
		c.warnOfStrangers(warned)
		select {
		case <-time.After(c.cfg.Timing.Join/2 + rand.N(c.cfg.Timing.Join)):
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}

// askBelonging asks one of the members in sight whether this node is one, too,
// and returns an error where it is not.
func (c *Cluster) askBelonging(ctx context.Context) error {
	var members []peer
	for _, p := range c.gossip.table.living() {
		if p.meta.joined && p.meta.id != c.cfg.ID && p.meta.generation >= c.raft.generation.Load() {
			members = append(members, p)
		}
	}
	if len(members) == 0 {
		return nil
	}
	ask := members[rand.IntN(len(members))]
	ctx, cancel := context.WithTimeout(ctx, 3*tryTimeout)
	defer cancel()
	_, err := c.call(ctx, ask.meta.id, pathBelong, nil)
	switch {
	case errors.Is(err, state.ErrNotFound):
		return fmt.Errorf("the mesh of node %s does not know this node: it was removed, or its data directory belongs to another mesh; to let it in as a new node start it with an empty data directory", ask.meta.name)
	case err != nil:
		c.log.Debug("no answer whether this node is in the mesh", "asked", ask.meta.name, "err", err)
	}
	return nil
}

// belongs answers a node that asks whether it is in this mesh.
func (c *Cluster) belongs(ctx context.Context, from state.NodeID, _ []byte) (state.Result, error) {
	if !c.member() {
		return state.Result{}, errNotLeading
	}
	return c.atLeader(ctx, pathKnows, []byte(from), c.knows)
}

// knows is the leader's part: a refusal where a node is in neither the
// configuration nor the state, and this one certainly leads.
func (c *Cluster) knows(ctx context.Context, body []byte) (state.Result, error) {
	id := state.NodeID(body)
	c.admits.Lock() // a change under way may come to nothing
	defer c.admits.Unlock()
	result, err := c.readIndex(ctx, nil)
	if err != nil {
		return state.Result{}, err
	}
	if _, known := c.cfg.State.View().Node(id); !known && c.raft.roles()[id] == "" {
		return state.Result{}, state.Errorf(state.NotFound, "this mesh has no node %s", id)
	}
	return result, nil
}

// warnOfStrangers tells of nodes that are in another mesh with the same secret,
// or were removed from this one: they see each other, and share nothing.
func (c *Cluster) warnOfStrangers(warned map[state.NodeID]bool) {
	if c.Ready() != nil {
		return // what this node knows may be old
	}
	view, roles := c.cfg.State.View(), c.raft.roles()
	for _, p := range c.gossip.table.living() {
		id := p.meta.id
		_, known := view.Node(id)
		if known || roles[id] != "" || !p.meta.joined || warned[id] || time.Since(p.since) < 3*c.cfg.Timing.Meet { // its record may be on its way
			continue
		}
		warned[id] = true
		c.log.Warn("a node has the secret of this mesh but is not in it: it was removed, or belongs to another mesh; stop it, or start it with an empty data directory",
			"stranger", p.meta.name, "id", id, "gossip", p.gossip)
	}
}

// awaitLeader gives a node that was in a mesh before a moment to hear its leader,
// or that the mesh does not know it any more, before it calls itself a member.
func (c *Cluster) awaitLeader(ctx context.Context) {
	if !c.raft.before {
		return
	}
	patience := time.After(lookAround)
	for {
		changed := c.Changed()
		if _, led := c.Leader(); led {
			return
		}
		select {
		case <-changed:
		case <-patience:
			return
		case <-ctx.Done():
			return
		}
	}
}

// Leave takes this node out of the mesh for good: others have what is on it, or
// it is lost. Close the node then; its data directory is of no use any more. An
// error of kind Conflict: the mesh cannot do without it.
func (c *Cluster) Leave(ctx context.Context) error {
	if err := c.Remove(ctx, c.cfg.ID); err != nil {
		return err
	}
	return writeMark(c.cfg.Dir, left)
}
