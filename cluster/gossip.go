package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/memberlist"

	"malla/cluster/state"
)

// gossip is who is here and how busy they are. All of it is hints.
type gossip struct {
	id     state.NodeID
	log    *slog.Logger
	timing Timing
	keys   *memberlist.Keyring
	label  string
	table  *table
	known  *knownPeers
	seeds  []string

	net      *memberlist.NetTransport
	wire     memberlist.NodeAwareTransport // net, as far as it reaches
	reach    func(addr string) bool
	ip       netip.Addr // advertised
	port     int
	list     *memberlist.Memberlist // nil before start
	loads    *memberlist.TransmitLimitedQueue
	work     func() Work
	disk     *logDisk    // nil: of no interest
	clockOff atomic.Bool // this machine's clock is far from the leader's
	started  uint64      // milliseconds since 1970, also where the epoch that is said became another
	probe    sampler

	mu    sync.Mutex    // guards the fields below
	self  meta          // what this node says of itself
	stale chan struct{} // has a token when self changed
}

// openGossip binds the port, for TCP and UDP. Nothing is said before start.
func openGossip(cfg *Config) (*gossip, error) {
	ip, host, err := advertised(cfg.Advertise, cfg.Gossip)
	if err != nil {
		return nil, err
	}
	httpPort, err := portOf(cfg.HTTP)
	if err != nil {
		return nil, err
	}
	peerPort, err := portOf(cfg.Link.Addr().String())
	if err != nil {
		return nil, err
	}
	self := meta{
		id: cfg.ID, epoch: uint64(time.Now().UnixMilli()), expect: uint8(min(cfg.BootstrapExpect, 255)),
		httpPort: httpPort, peerPort: peerPort, host: host, name: cfg.Name, zone: cfg.Zone, version: cfg.Version,
	}
	if err := self.check(); err != nil {
		return nil, err
	}
	known, err := loadKnownPeers(cfg.Dir)
	if err != nil {
		return nil, err
	}
	g := &gossip{
		id: cfg.ID, log: cfg.Logger, timing: cfg.Timing, label: "malla/" + cfg.Secrets.MeshID(),
		table: newTable(), known: known, seeds: cfg.Join,
		reach: cfg.Reach, ip: ip, work: cfg.Work, probe: sampler{dir: cfg.Dir},
		self: self, stale: make(chan struct{}, 1),
	}
	if g.keys, err = gossipKeys(cfg.Secrets); err != nil {
		return nil, err
	}
	g.started = self.epoch
	g.loads = &memberlist.TransmitLimitedQueue{NumNodes: g.table.count, RetransmitMult: 3}
	if g.net, err = bindGossip(cfg.Gossip, g.log); err != nil {
		return nil, err
	}
	g.port = g.net.GetAutoBindPort()
	g.wire = filtered{g.net, g.reach}
	return g, nil
}

func bindGossip(addr string, log *slog.Logger) (*memberlist.NetTransport, error) {
	tcp, err := net.ResolveTCPAddr("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("listen for gossip: %w", err)
	}
	host := ""
	if tcp.IP != nil {
		host = tcp.IP.String()
	}
	cfg := &memberlist.NetTransportConfig{BindAddrs: []string{host}, BindPort: tcp.Port, Logger: newStdLog(log)}
	// With port 0 the system picks one that is free for TCP; for UDP it may
	// be taken, so it is tried again.
	for range 10 {
		var t *memberlist.NetTransport
		if t, err = memberlist.NewNetTransport(cfg); err == nil {
			return t, nil
		}
		if tcp.Port != 0 {
			break
		}
	}
	return nil, fmt.Errorf("listen for gossip: %w", err)
}

// addr is the gossip address that the others are told.
func (g *gossip) addr() string {
	return netip.AddrPortFrom(g.ip, uint16(g.port)).String()
}

// start begins to gossip.
func (g *gossip) start() error {
	cfg := g.timing.gossipConfig()
	cfg.Name = string(g.id)
	cfg.Label, cfg.Keyring = g.label, g.keys
	cfg.Transport = g.wire
	cfg.AdvertiseAddr, cfg.AdvertisePort = g.ip.String(), g.port
	cfg.BindPort = g.port
	cfg.Delegate, cfg.Events, cfg.Conflict = delegate{g}, delegate{g}, delegate{g}
	cfg.Logger = newStdLog(g.log)
	list, err := memberlist.Create(cfg)
	if err != nil {
		return fmt.Errorf("start to gossip: %w", err)
	}
	g.list = list
	return nil
}

// say changes what this node says of itself.
func (g *gossip) say(change func(*meta)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	before := g.self
	change(&g.self)
	if g.self != before {
		select {
		case g.stale <- struct{}{}:
		default:
		}
	}
}

func (g *gossip) saying() meta {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.self
}

// run gossips until ctx ends.
func (g *gossip) run(ctx context.Context) {
	var wg sync.WaitGroup
	wg.Go(func() { g.reportLoads(ctx) })
	wg.Go(func() { g.meet(ctx) })
	for {
		select {
		case <-g.stale:
			// It also waits until the news is out, which is of no use here.
			g.list.UpdateNode(g.timing.Probe)
		case <-ctx.Done():
			wg.Wait()
			return
		}
	}
}

// reportLoads tells the others how busy this node is: each second in a small
// mesh, less often in a large one, and seldom while nothing changes.
func (g *gossip) reportLoads(ctx context.Context) {
	var sent Load
	var seq uint32
	var at time.Time
	for {
		load := g.probe.sample(ctx)
		if g.work != nil {
			load.Work = g.work()
		}
		load.ClockOff = g.clockOff.Load()
		if g.disk != nil {
			load.LogLow, load.LogHalted = g.disk.low.Load(), g.disk.why() != nil
		}
		if seq == 0 || differs(sent, load) || time.Since(at) >= g.maxAge() {
			seq++
			sent, at = load, time.Now()
			r := report{id: g.id, epoch: g.saying().epoch, seq: seq, load: load}
			g.table.report(r)
			g.loads.QueueBroadcast(broadcast{id: g.id, data: r.encode()})
		}
		select {
		case <-time.After(g.interval()):
		case <-ctx.Done():
			return
		}
	}
}

// interval is the time between two reports of a node: the traffic of a node
// grows with the number of nodes, not with its square.
func (g *gossip) interval() time.Duration {
	return g.timing.Report * time.Duration(max(10, g.table.count())) / 10
}

// maxAge is after how long a load is reported though nothing changed.
func (g *gossip) maxAge() time.Duration { return max(10*g.timing.Report, 3*g.interval()) }

// silence is after how long without a report a node is suspect.
func (g *gossip) silence() time.Duration { return 3 * g.maxAge() }

// meet keeps on asking the nodes that should be there but are not: memberlist
// forgets the dead within half a minute and then never asks them again, so
// that a mesh which was cut in two would stay so. While nodes come and go it
// also compares notes with one that is here: when many come at once some miss
// some of the news, which memberlist puts right only after minutes.
func (g *gossip) meet(ctx context.Context) {
	seen, quiet := 0, 0
	for {
		missing := g.missing()
		targets := append(missing, sample(g.seeds, 3)...)
		count, wait := g.table.count(), g.timing.Meet
		if quiet++; count != seen {
			seen, quiet = count, 0
		}
		switch {
		case quiet < 3:
			targets = append(targets, g.someone()...)
			wait = max(wait, wait*time.Duration(count)/100) // each exchange has them all
		case len(missing) == 0 && count > 1:
			wait *= 7
		}
		g.join(sample(targets, 6))
		select {
		case <-time.After(wait/2 + rand.N(wait)): // so that nodes started together do not ask together
		case <-ctx.Done():
			return
		}
	}
}

// join exchanges all that is known with the nodes at these addresses.
func (g *gossip) join(addrs []string) {
	var wg sync.WaitGroup
	for _, addr := range addrs {
		if addr == g.addr() || (g.reach != nil && !g.reach(addr)) {
			continue
		}
		wg.Go(func() {
			if _, err := g.list.Join([]string{addr}); err != nil {
				g.log.Debug("no answer from a node's gossip", "addr", addr, "err", err)
			}
		})
	}
	wg.Wait()
}

// someone returns the gossip address of any node that answers.
func (g *gossip) someone() []string {
	var addrs []string
	for _, p := range g.table.living() {
		if p.meta.id != g.id {
			addrs = append(addrs, p.gossip)
		}
	}
	return sample(addrs, 1)
}

// missing returns the gossip addresses of known nodes that do not answer.
func (g *gossip) missing() []string {
	var addrs []string
	for _, k := range g.known.all() {
		switch p, ok := g.table.get(k.ID); {
		case k.ID == g.id || p.state == Alive:
		case ok:
			addrs = append(addrs, p.gossip) // may be newer: see table.claim
		default:
			addrs = append(addrs, k.Gossip)
		}
	}
	return addrs
}

// sample returns at most n of all, in random order.
func sample(all []string, n int) []string {
	all = slices.Clone(all)
	rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all[:min(n, len(all))]
}

// remember writes down where the others are, and forgets those that neither
// the gossip nor the agreed state knows.
func (g *gossip) remember(nodes []state.Node) {
	for _, p := range g.table.living() {
		if p.meta.id != g.id {
			g.known.see(knownPeer{ID: p.meta.id, Gossip: p.gossip, Peer: p.peerAddr()})
		}
	}
	if len(nodes) > 0 {
		g.known.keep(func(id state.NodeID) bool {
			_, seen := g.table.get(id)
			return seen || slices.ContainsFunc(nodes, func(n state.Node) bool { return n.ID == id })
		})
	}
	if err := g.known.save(); err != nil {
		g.log.Warn("where the other nodes are is not on disk", "err", err)
	}
}

// leave tells the others that this node goes, so that they need not find out.
func (g *gossip) leave(patience time.Duration) error {
	if g.list == nil || g.table.count() < 2 {
		return nil
	}
	g.say(func(m *meta) { m.leaving = true })
	return errors.Join(g.list.UpdateNode(patience), g.list.Leave(patience))
}

// close stops gossiping and frees the port.
func (g *gossip) close() error {
	if g.list != nil {
		return g.list.Shutdown()
	}
	stop := make(chan struct{})
	defer close(stop)
	go func() { // nobody reads what was received, and Shutdown waits for its delivery
		for {
			select {
			case <-g.net.PacketCh():
			case conn := <-g.net.StreamCh():
				conn.Close()
			case <-stop:
				return
			}
		}
	}()
	return g.net.Shutdown()
}
