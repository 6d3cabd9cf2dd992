// Package cluster is who is in the mesh and what they agree on. It joins a
// node to the others with nothing but a secret and an address, keeps a picture
// of who is here and how busy, and puts commands into the log that all nodes
// apply to their [state.State] in the same order. DESIGN.md beside this file
// tells how, and why so.
//
// # Invariants
//
//   - A node makes a mesh at most once in its life, and never after it tried to
//     join one.
//   - A command is carried out at most once per request id, whatever was retried.
//   - After Propose returned, this node's own state shows the effect.
//   - The gossip gives hints; only the log decides.
//
// # Concurrency
//
// The methods of Cluster may be called at the same time. Callbacks of raft and
// memberlist write down and wake up; the work is done by the loops that Start
// begins and Close ends.
package cluster

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"

	"malla/cluster/state"
	"malla/cluster/transport"
)

// Config is what a Cluster is made of.
type Config struct {
	ID       state.NodeID // from LoadOrCreateID
	Name     string       // unique in the mesh, for people
	Zone     string       // where the node stands; may be empty
	Capacity uint64       // bytes that chunks may take on its disk, in coarse steps
	Version  string
	Dir      string // kept between starts: the log, snapshots, where the others are
	Reserve  uint64 // bytes that chunks leave free on the disk of Dir, 0 if they are on another

	Secrets   *transport.Keyring // kept in the node's data directory; its changes are this package's
	Gossip    string             // address to gossip on, TCP and UDP; port 0 takes a free one
	Advertise string             // host under which others reach this node; found by itself when empty
	HTTP      string             // address of this node's API; only its port is used

	Join            []string // gossip addresses of nodes of the mesh
	BootstrapExpect int      // so many nodes make the mesh together; up to 1: this one alone, unless it joins
	Voters          int      // so many nodes vote where there are as many, see CheckVoters; 5. The leader's counts
	Rejoin          bool     // put the log aside and get everything from the other nodes again, once

	Link  *transport.Link // opened and served by the owner; handlers are added to it by New
	State *state.State
	Work  func() Work // asked each second, must not wait; nil: this node does nothing

	Logger  *slog.Logger
	Metrics prometheus.Registerer // where raft's and the gossip's metrics go; nil: nowhere
	Timing  Timing
	Limits  Limits
	// CheckLog calls CheckLog(dir), if possible in another process; nil: here.
	CheckLog func(dir string) (aside []string, err error)
	// Reach tells whether gossip may be sent to an address, for tests that
	// cut nodes apart; nil: it may. The link has its own seam.
	Reach func(addr string) bool
}

// Timing are the waits; the zero value of each means its default.
type Timing struct {
	Network Network       // decides about the next three, LAN
	Raft    time.Duration // without word from the leader before an election; a leader's lease is half of it
	Commit  time.Duration // after which the leader says again what is committed; all hear of it at once, unless that was lost
	Probe   time.Duration // between gossip probes; the gossip's other waits follow it
	Report  time.Duration // between load reports in a small mesh, 1 s
	Meet    time.Duration // between attempts to find missing nodes, 3 s
	Join    time.Duration // between attempts to join, 1 s
	Overlap time.Duration // between the last node's switch to another secret and the end of the old one, 10 s
	Propose time.Duration // how long a proposal is tried where its context has no deadline, 5 s
	Disk    time.Duration // how long one write of the log may take, 10 s; a leader is silent after twice Raft
	Vote    time.Duration // between looks at how well the nodes are and who should vote, 500 ms
	Stable  time.Duration // how long a node must be well before it votes, 5 s; a fifth of it while fewer than three do
	Lost    time.Duration // how long a voter must be unwell before another takes its vote, 30 s
}

// Limits bound the log on disk; the zero value of each means its default.
type Limits struct {
	Snapshot uint64        // entries after which a snapshot is taken, 8192
	Trailing uint64        // entries kept behind a snapshot, 10240; far more than a deposed leader can add (raft #697)
	Interval time.Duration // between looks whether to take one, 1 minute
}

func (c *Config) fill() {
	c.Timing.fill()
	def(&c.Timing.Report, time.Second)
	def(&c.Timing.Meet, 3*time.Second)
	def(&c.Timing.Join, time.Second)
	def(&c.Timing.Overlap, 10*time.Second)
	def(&c.Timing.Propose, 5*time.Second)
	def(&c.Timing.Disk, 10*time.Second)
	def(&c.Timing.Vote, 500*time.Millisecond)
	def(&c.Timing.Stable, 5*time.Second)
	def(&c.Timing.Lost, 30*time.Second)
	def(&c.Voters, 5)
	def(&c.Limits.Snapshot, 8192)
	def(&c.Limits.Trailing, 10240)
	def(&c.Limits.Interval, time.Minute)
	def(&c.Logger, slog.New(slog.DiscardHandler))
	if c.CheckLog == nil {
		c.CheckLog = CheckLog
	}
}

func def[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// A Cluster is this node's part in the mesh. Who called New closes it.
type Cluster struct {
	cfg        Config
	log        *slog.Logger
	gossip     *gossip
	raft       *agreement
	disk       *logDisk
	lead       *leadership
	found      founding
	back       comeback   // used by enter alone
	admits     sync.Mutex // one change of the raft configuration at a time
	voters     electorate
	secret     rotating
	clockNoise rate.Sometimes // warnings of this machine's clock
	fatal      chan error

	proposals *proposals // of this node, on their way to the leader

	ctx       context.Context // of the loops, ended by Close
	cancel    context.CancelFunc
	loops     sync.WaitGroup
	closeOnce sync.Once
	closeErr  error
}

// New opens what is on disk, binds the gossip address and adds its handlers to
// the link. It says nothing to anybody yet. On an error nothing stays open.
func New(cfg Config) (*Cluster, error) {
	cfg.fill()
	if !cfg.Timing.Network.Known() {
		return nil, fmt.Errorf("network %q: want lan, wan or local", cfg.Timing.Network)
	}
	if !idPattern.MatchString(string(cfg.ID)) {
		return nil, fmt.Errorf("node id %q: want 32 hex digits", cfg.ID)
	}
	if err := state.CheckNodeName(cfg.Name); err != nil {
		return nil, err
	}
	if err := CheckVoters(cfg.Voters); err != nil {
		return nil, fmt.Errorf("voters: %w", err)
	}
	if err := mkdir(cfg.Dir); err != nil {
		return nil, err
	}
	if cfg.Metrics != nil {
		if err := registerMetrics(cfg.Metrics); err != nil {
			return nil, err
		}
	}
	c := &Cluster{cfg: cfg, log: cfg.Logger, fatal: make(chan error, 1), proposals: newProposals()}
	c.voters = electorate{most: cfg.Voters, stable: cfg.Timing.Stable, lost: cfg.Timing.Lost}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	var err error
	if c.disk, err = openLogDisk(&c.cfg); err != nil {
		return nil, err
	}
	if c.gossip, err = openGossip(&c.cfg); err != nil {
		return nil, err
	}
	if err := c.cfg.putAside(len(c.gossip.known.all()) > 0); err != nil {
		return nil, errors.Join(err, c.gossip.close())
	}
	c.gossip.disk = c.disk
	if c.raft, err = openAgreement(&c.cfg, c.disk, c.fail); err != nil {
		return nil, errors.Join(err, c.gossip.close())
	}
	c.gossip.say(func(m *meta) { m.generation = c.raft.generation.Load() })
	c.lead = newLeadership(cfg.ID, c.log, c.gossip.table.changed)
	cfg.Link.SetResolver(c.address)
	cfg.Link.Admit(transport.Admission{Key: c.keyOf, Member: c.isMember})
	c.raft.machine.configured = c.gossip.table.changed.notify
	c.clockNoise.Interval = time.Minute
	c.handle()
	return c, nil
}

// Start begins to gossip and to agree, in the background. A node that is not
// in a mesh yet enters one as its Config says; it keeps on trying. What it
// cannot go on from comes through Fatal.
func (c *Cluster) Start() error {
	if err := c.gossip.start(); err != nil {
		return err
	}
	if err := c.raft.start(&c.cfg); err != nil {
		return err
	}
	c.loops.Go(func() { c.gossip.run(c.ctx) })
	c.loops.Go(func() { c.lead.run(c.ctx, c.raft.raft()) })
	c.loops.Go(func() { c.carryProposals(c.ctx) })
	c.loops.Go(func() { c.watchDisk(c.ctx) })
	c.loops.Go(func() { c.catchUp(c.ctx) })
	c.loops.Go(func() { c.enter(c.ctx) })
	c.loops.Go(func() { c.rememberPeers(c.ctx) })
	c.loops.Go(func() { c.watchBelonging(c.ctx) })
	c.loops.Go(func() { c.keepSecret(c.ctx) })
	c.loops.Go(func() { c.Leading(c.ctx, c.leadRotation) })
	c.loops.Go(func() { c.Leading(c.ctx, c.raise) })
	c.loops.Go(func() { c.Leading(c.ctx, c.keepVoters) })
	c.loops.Go(func() { c.tellStrength(c.ctx) })
	c.loops.Go(func() { c.watchGenerations(c.ctx) })
	return nil
}

// Fatal gives the reason why this node cannot go on, if there is one: its name
// belongs to another node, or its log is damaged. The owner then closes
// everything and ends; or starts again, where the reason is [ErrRestart].
func (c *Cluster) Fatal() <-chan error { return c.fatal }

// fail reports the first reason; later ones follow from it.
func (c *Cluster) fail(err error) {
	select {
	case c.fatal <- err:
		c.log.Error("this node cannot go on", "err", err)
	default:
	}
}

// GossipAddr is the address that other nodes can name in their Join.
func (c *Cluster) GossipAddr() string { return c.gossip.addr() }

// Close hands leadership over, tells the others that this node goes, and ends
// what Start began. The node stays a member of the mesh: it is expected back.
// It takes a few seconds at most, and may be called again and without Start.
func (c *Cluster) Close() error {
	c.closeOnce.Do(func() {
		// Duties first: they must not begin anything on the way out. Then
		// leadership goes to a node that stays, while the gossip still knows
		// everybody's address. Only then do the others hear that this node
		// leaves, and raft, the streams, the gossip and the files end in the
		// reverse order of their start.
		c.stopLoops()
		c.raft.handOver(c.log)
		err := within(3*time.Second, func() error { return c.gossip.leave(time.Second) })
		if err != nil {
			c.log.Info("the others were not told that this node leaves", "err", err)
		}
		c.closeErr = errors.Join(c.raft.close(), c.gossip.close())
	})
	return c.closeErr
}

// Kill ends everything at once, as a crash would: nothing is handed over and
// nobody is told. It is what a second Ctrl-C means, and what tests of crashes
// need.
func (c *Cluster) Kill() {
	c.closeOnce.Do(func() {
		c.cancel()
		c.cfg.Link.Raft().Close() // silence first, so that nothing below is heard
		c.closeErr = errors.Join(c.gossip.close(), c.raft.close())
		c.stopLoops()
	})
}

func (c *Cluster) stopLoops() {
	c.cancel()
	// A loop may be in the middle of calling a node that does not answer,
	// which memberlist cannot be told to stop; it ends by itself.
	within(2*time.Second, func() error { c.loops.Wait(); return nil })
}

// rememberPeers keeps the file of known nodes up to date. A change is written
// at once, since a node may die right after it; only what follows in the same
// burst waits.
func (c *Cluster) rememberPeers(ctx context.Context) {
	for {
		changed := c.gossip.table.changed.wait()
		c.gossip.remember(c.cfg.State.View().Nodes())
		select {
		case <-time.After(c.cfg.Timing.Meet / 3):
		case <-ctx.Done():
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}

// address is where the link of a node is: where the gossip says, else where it
// was when it was last seen, else where the state says.
func (c *Cluster) address(id string) (string, bool) {
	node := state.NodeID(id)
	if node == c.cfg.ID {
		return c.gossip.table.twin() // it needs no way to itself
	}
	if p, ok := c.gossip.table.get(node); ok {
		return p.peerAddr(), true
	}
	if k, ok := c.gossip.known.get(node); ok {
		return k.Peer, true
	}
	n, ok := c.cfg.State.View().Node(node)
	return n.Peer, ok
}

// keyOf is the key by which the state knows a node.
func (c *Cluster) keyOf(id string) ed25519.PublicKey {
	n, _ := c.cfg.State.View().Node(state.NodeID(id))
	return n.Key
}

// isMember tells why a node may not talk to this one, as far as this one knows.
// What was agreed on while it was away it cannot know before it has caught up,
// which it does by talking to nodes that it does not know yet.
func (c *Cluster) isMember(id string) error {
	node := state.NodeID(id)
	if _, ok := c.cfg.State.View().Node(node); ok || c.Ready() != nil || c.raft.roles()[node] != "" {
		return nil
	}
	return fmt.Errorf("the mesh does not know node %s: it was removed, or has not joined", id)
}

// Roles tells what the nodes that were agreed on do for the agreement, dead
// ones too.
func (c *Cluster) Roles() map[state.NodeID]Role {
	roles := c.raft.roles()
	if leader, ok := c.Leader(); ok {
		roles[leader] = Leader
	}
	return roles
}

// Members returns what the gossip knows of all nodes, this one included, by
// name: hints, a second old or more.
func (c *Cluster) Members() []Member {
	all := c.gossip.table.members(c.gossip.silence())
	roles := c.raft.roles()
	leader, _ := c.Leader()
	for i := range all {
		all[i].Role = roles[all[i].ID]
		if all[i].ID == leader {
			all[i].Role = Leader
		}
	}
	return all
}

// Changed returns a channel that is closed when a node comes or goes or
// another one leads. To lose no change take the channel, look, act, wait.
func (c *Cluster) Changed() <-chan struct{} { return c.gossip.table.changed.wait() }

// within runs f, but waits for it only so long.
func within(patience time.Duration, f func() error) error {
	done := make(chan error, 1)
	go func() { done <- f() }()
	select {
	case err := <-done:
		return err
	case <-time.After(patience):
		return fmt.Errorf("not done after %v", patience)
	}
}
