package cluster

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/raft"
	"golang.org/x/time/rate"

	"malla/cluster/state"
)

// promiseTime is how long a node keeps itself free for the one that it
// promised to make a mesh with. That one uses promises up to half that age.
const promiseTime = 10 * time.Second

// A founding is a node's part in making a new mesh of several nodes.
type founding struct {
	mu    sync.Mutex // guards the fields below
	with  state.NodeID
	until time.Time
}

// give promises to make a mesh with that node and no other for a while.
func (f *founding) give(to state.NodeID) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := time.Now()
	if f.with != "" && f.with != to && now.Before(f.until) {
		return false
	}
	f.with, f.until = to, now.Add(promiseTime)
	return true
}

// member tells whether this node is in the configuration of a mesh.
func (c *Cluster) member() bool { return c.raft.roles()[c.cfg.ID] != "" }

// enter brings this node into the mesh, however long that takes, and keeps its
// record in the agreed state right from then on.
func (c *Cluster) enter(ctx context.Context) {
	noise := rate.Sometimes{First: 1, Interval: 10 * time.Second}
	for !c.member() || c.raft.mark == rejoining {
		changed := c.Changed()
		why, err := c.tryEnter(ctx)
		if err != nil {
			c.fail(err)
			return
		}
		if c.member() && c.raft.mark != rejoining {
			break
		}
		if why != "" {
			noise.Do(func() { c.log.Info("not in the mesh yet: " + why) })
		}
		select {
		case <-time.After(c.cfg.Timing.Join/2 + rand.N(c.cfg.Timing.Join)):
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
	if err := c.checkLone(ctx); err != nil {
		c.fail(err)
		return
	}
	c.awaitLeader(ctx)
	if c.raft.mark != joined && c.raft.mark != rejoined {
		if err := writeMark(c.cfg.Dir, joined); err != nil {
			c.fail(err)
			return
		}
	}
	c.gossip.remember(c.cfg.State.View().Nodes()) // it must find its mesh again from now on
	c.gossip.say(func(m *meta) { m.joined = true })
	c.log.Info("this node is in the mesh")
	c.keepRegistered(ctx)
}

// lookAround is how long a node that is a mesh by itself looks whether the
// nodes that it was told to join are another one.
const lookAround = 3 * time.Second

// checkLone finds the mistake of starting a node with --join that has made a
// mesh of its own before: two meshes would stand side by side under one secret.
func (c *Cluster) checkLone(ctx context.Context) error {
	if !c.raft.before || len(c.cfg.Join) == 0 || len(c.raft.roles()) != 1 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, lookAround)
	defer cancel()
	for {
		changed := c.Changed()
		for _, p := range c.gossip.table.living() {
			if p.meta.id != c.cfg.ID && p.meta.joined && p.meta.generation >= c.raft.generation.Load() && c.raft.roles()[p.meta.id] == "" {
				return fmt.Errorf("this data directory is a mesh of its own, and %s is in another: start with an empty data directory to join that one, or without --join to stay alone", p.meta.name)
			}
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil
		}
	}
}

// tryEnter takes one step: it joins a mesh that is there, or makes one where
// it may. It returns what it waits for. An error means that waiting is no use.
func (c *Cluster) tryEnter(ctx context.Context) (why string, err error) {
	var inMesh, free []state.NodeID
	newest := uint64(0) // generation: the mesh before it was recovered may still be there
	for _, p := range c.gossip.table.living() {
		switch {
		case p.meta.id == c.cfg.ID:
		case p.meta.joined:
			if p.meta.generation > newest {
				newest, inMesh = p.meta.generation, nil
			}
			if p.meta.generation == newest {
				inMesh = append(inMesh, p.meta.id)
			}
		case int(p.meta.expect) == c.cfg.BootstrapExpect:
			free = append(free, p.meta.id)
		default:
			why = fmt.Sprintf("node %s expects %d nodes, this one %d; ", p.meta.name, p.meta.expect, c.cfg.BootstrapExpect)
		}
	}
	switch {
	case len(inMesh) > 0:
		if why, err := c.adopt(newest); why != "" || err != nil {
			return why, err
		}
		if c.raft.mark == rejoining {
			return c.rejoin(ctx, inMesh[rand.IntN(len(inMesh))])
		}
		return c.join(ctx, inMesh[rand.IntN(len(inMesh))])
	case c.raft.before || c.raft.mark != unmarked:
		return "this node was in a mesh before, and waits for a node of it; name one with --join", nil
	case c.cfg.BootstrapExpect > 1:
		reason, err := c.gather(ctx, free)
		return why + reason, err
	case len(c.cfg.Join) == 0:
		return "", c.makeMesh()
	}
	return fmt.Sprintf("no node of it answers at %s: is that its gossip address, and is the secret the same?", strings.Join(c.cfg.Join, ", ")), nil
}

// makeMesh makes a mesh of this node. The others join it.
func (c *Cluster) makeMesh() error {
	if err := c.raft.bootstrap(c.ctx); err != nil {
		return fmt.Errorf("make a mesh: %w", err)
	}
	c.log.Info("made a new mesh", "mesh", c.cfg.Secrets.MeshID())
	return nil
}

// gather makes a mesh of several nodes that were started together. The one
// with the smallest id asks the others to have nothing to do with any other
// mesh; if all agree it makes one, and they join it like any node later.
func (c *Cluster) gather(ctx context.Context, free []state.NodeID) (why string, err error) {
	want := c.cfg.BootstrapExpect
	if len(free)+1 < want {
		return fmt.Sprintf("%d of %d nodes are here", len(free)+1, want), nil
	}
	slices.Sort(free)
	if free[0] < c.cfg.ID {
		return "another node makes the mesh", nil
	}
	if !c.found.give(c.cfg.ID) {
		return "another node makes the mesh", nil
	}
	began := time.Now()
	ctx, cancel := context.WithTimeout(ctx, promiseTime/2)
	defer cancel()
	errs := make([]error, want-1)
	var wg sync.WaitGroup
	for i, id := range free[:want-1] {
		wg.Go(func() { _, errs[i] = c.call(ctx, id, pathPromise, nil) })
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return "the others do not agree yet: " + err.Error(), nil
	}
	if time.Since(began) > promiseTime/2 {
		return "the others took too long to agree", nil
	}
	if c.seesMesh() {
		return "there is a mesh to join by now", nil
	}
	return "", c.makeMesh()
}

// promise answers a node that wants to make a mesh.
func (c *Cluster) promise(_ context.Context, from state.NodeID, _ []byte) (state.Result, error) {
	m, err := readMark(c.cfg.Dir)
	switch {
	case err != nil:
		return state.Result{}, err
	case c.raft.before || m != unmarked || c.member():
		return state.Result{}, state.Errorf(state.Conflict, "node %s belongs to a mesh", c.cfg.Name)
	case c.seesMesh():
		return state.Result{}, state.Errorf(state.Conflict, "node %s sees a mesh to join", c.cfg.Name)
	case !c.found.give(from):
		return state.Result{}, state.Errorf(state.Busy, "node %s waits for another node", c.cfg.Name)
	}
	return state.Result{}, nil
}

// seesMesh tells whether some node here is in a mesh already.
func (c *Cluster) seesMesh() bool {
	return slices.ContainsFunc(c.gossip.table.living(), func(p peer) bool { return p.meta.joined })
}

// join asks a member to be let in. From the first time on this node never
// makes a mesh of its own: it may be counted on without knowing.
func (c *Cluster) join(ctx context.Context, through state.NodeID) (why string, err error) {
	if c.raft.mark == unmarked {
		if err := writeMark(c.cfg.Dir, joining); err != nil {
			return "", err
		}
		c.raft.mark = joining
	}
	body, err := json.Marshal(c.record())
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, 3*tryTimeout)
	defer cancel()
	_, err = c.call(ctx, through, pathJoin, body)
	if errors.Is(err, state.ErrConflict) || errors.Is(err, state.ErrInvalid) || errors.Is(err, state.ErrDenied) {
		return "", fmt.Errorf("the mesh refuses this node: %w", err)
	}
	if err != nil {
		return "asked to join: " + err.Error(), nil
	}
	return "let in, waiting for the log", nil
}

// letIn passes the wish of a node to join on to the leader.
func (c *Cluster) letIn(ctx context.Context, from state.NodeID, body []byte) (state.Result, error) {
	var n state.RegisterNode
	if err := json.Unmarshal(body, &n); err != nil || n.ID != from {
		return state.Result{}, state.Errorf(state.Invalid, "not a record of the node that asks")
	}
	if !c.member() {
		return state.Result{}, errNotLeading
	}
	return c.atLeader(ctx, pathAdmit, body, c.admit)
}

// admit is the leader's part in a join: the node's record first, which its
// name may speak against, then the configuration, without a vote: that comes
// once the node is seen to be well (see keepVoters). Doing it again changes
// nothing.
func (c *Cluster) admit(ctx context.Context, body []byte) (state.Result, error) {
	var n state.RegisterNode
	if err := json.Unmarshal(body, &n); err != nil || !idPattern.MatchString(string(n.ID)) {
		return state.Result{}, state.Errorf(state.Invalid, "not a node's record")
	}
	if err := checkClock(n.Name, n.At, time.Now()); err != nil {
		return state.Result{}, err
	}
	entry, err := state.Encode("", n)
	if err != nil {
		return state.Result{}, err
	}
	c.admits.Lock()
	defer c.admits.Unlock()
	result, err := c.apply(ctx, entry)
	if err != nil {
		return state.Result{}, err
	}
	roles := c.raft.roles()
	if roles[n.ID] != "" {
		return result, nil
	}
	err = await(ctx, func() raft.Future {
		return c.raft.raft().AddNonvoter(raft.ServerID(n.ID), raft.ServerAddress(n.ID), 0, tryTimeout)
	})
	if err != nil {
		return state.Result{}, fmt.Errorf("add node %s: %w", n.ID, err)
	}
	c.log.Info("let a node into the mesh", "joined", n.Name, "id", n.ID, "nodes", len(roles)+1)
	return result, nil
}

// Remove takes a node out of the mesh for good: out of the log's configuration
// and out of the agreed state. It may be called on any node, and again. Whether
// others have what is on the node is the caller's business. A node that runs
// hears of it and reports it by Fatal. An error of kind Conflict: the mesh could
// not agree on anything without that node.
func (c *Cluster) Remove(ctx context.Context, id state.NodeID) error {
	ctx, cancel := c.bounded(ctx)
	defer cancel()
	result, err := c.atLeader(ctx, pathRemove, []byte(id), c.remove)
	if err != nil || id == c.cfg.ID {
		return err // who is out is told no more
	}
	return c.cfg.State.WaitIndex(ctx, result.Index)
}

// remove is the leader's part.
func (c *Cluster) remove(ctx context.Context, body []byte) (state.Result, error) {
	id := state.NodeID(body)
	c.admits.Lock()
	defer c.admits.Unlock()
	if err := c.canRemove(id); err != nil {
		return state.Result{}, err
	}
	if id == c.cfg.ID {
		if err := c.confirmWithout(ctx, id); err != nil {
			return state.Result{}, err
		}
		// With its vote it gives up leading, and the next leader removes it when
		// the caller tries again. A transfer of the leadership could leave raft
		// refusing every write (raft #696), and this node may go on for long.
		err := await(ctx, func() raft.Future { return c.raft.raft().DemoteVoter(raft.ServerID(id), 0, tryTimeout) })
		if err != nil {
			return state.Result{}, fmt.Errorf("take the vote of node %s: %w", id, err)
		}
		return state.Result{}, errNotLeading
	}
	known := c.raft.roles()[id] != ""
	if known {
		if err := c.confirmWithout(ctx, id); err != nil {
			return state.Result{}, err
		}
		err := await(ctx, func() raft.Future { return c.raft.raft().RemoveServer(raft.ServerID(id), 0, tryTimeout) })
		if err != nil {
			return state.Result{}, fmt.Errorf("remove node %s: %w", id, err)
		}
		c.log.Info("removed a node from the mesh", "id", id)
	}
	entry, err := state.Encode("", state.RemoveNode{ID: id, At: time.Now().UTC()})
	if err != nil {
		return state.Result{}, err
	}
	result, err := c.apply(ctx, entry)
	if errors.Is(err, state.ErrNotFound) && known {
		return result, nil
	}
	return result, err
}

// confirmWithout returns nil once most of the voters that are left without that
// node answer this one, which leads. What the gossip says of them may be some
// seconds old, and a removal that they do not confirm would end the leadership
// with a configuration in which they are needed.
func (c *Cluster) confirmWithout(ctx context.Context, id state.NodeID) error {
	term, number := c.lead.numbered()
	if term == nil {
		return errNotLeading
	}
	ctx, cancel := context.WithTimeout(ctx, tryTimeout)
	defer cancel()
	defer context.AfterFunc(term, cancel)()
	err := c.raft.confirm(ctx, number, id)
	switch {
	case term.Err() != nil:
		return errNotLeading
	case errors.Is(err, context.DeadlineExceeded):
		return state.Errorf(state.Conflict, "too few of the other voting nodes answer to agree without it: wait until the mesh has noticed which ones are gone, then try again")
	}
	return err
}

// canRemove returns why those that vote without that node could not agree.
func (c *Cluster) canRemove(id state.NodeID) error {
	roles := c.raft.roles()
	if roles[id] != Voter {
		return nil
	}
	voters, alive := 0, 0
	for other, role := range roles {
		if other == id || role != Voter {
			continue
		}
		voters++
		if c.agrees(other) {
			alive++
		}
	}
	switch {
	case voters == 0:
		return state.Errorf(state.Conflict, "no other node votes: the mesh would end with this one")
	case alive < quorum(voters):
		return state.Errorf(state.Conflict, "without it only %d of %d voting nodes answer, too few to agree: start the others, or remove the dead ones first", alive, voters)
	}
	return nil
}

// record is what the agreed state should say of this node.
func (c *Cluster) record() state.RegisterNode {
	self := peer{meta: c.gossip.saying(), gossip: c.gossip.addr()}
	return state.RegisterNode{
		ID: c.cfg.ID, Name: c.cfg.Name, Zone: c.cfg.Zone, Version: c.cfg.Version, Level: state.Level,
		HTTP: self.httpAddr(), Peer: self.peerAddr(), Gossip: self.gossip, Key: c.cfg.Link.PublicKey(), At: time.Now().UTC(), Capacity: c.cfg.Capacity,
	}
}

// keepRegistered proposes this node's record whenever the agreed one differs:
// a node may come back with other addresses, another name, or another version.
func (c *Cluster) keepRegistered(ctx context.Context) {
	for {
		changed := c.Changed()
		want := c.record()
		// Who made the mesh has no record yet. Who has one may be removed while
		// this is on its way, and who was removed hears of the configuration
		// without it first: neither enters itself again.
		have, known := c.cfg.State.View().Node(c.cfg.ID)
		want.Known = known
		right := !known && !c.member() ||
			have.Name == want.Name && have.Zone == want.Zone && have.Capacity == want.Capacity &&
				have.Version == want.Version && have.Level == want.Level && bytes.Equal(have.Key, want.Key) &&
				have.HTTP == want.HTTP && have.Peer == want.Peer && have.Gossip == want.Gossip
		if !right && c.Ready() == nil {
			_, err := c.Propose(ctx, want)
			if errors.Is(err, state.ErrConflict) || errors.Is(err, state.ErrInvalid) {
				c.fail(fmt.Errorf("the mesh refuses this node: %w", err))
				return
			}
			if err != nil && ctx.Err() == nil {
				c.log.Info("this node's record is not agreed on yet", "err", err)
			}
		}
		select {
		case <-changed:
		case <-time.After(10 * c.cfg.Timing.Raft):
		case <-ctx.Done():
			return
		}
	}
}
