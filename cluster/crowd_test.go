package cluster

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/memberlist"

	"malla/cluster/state"
	"malla/cluster/transport"
)

var crowdLimits = flag.Bool("limits", false, "TestACrowdGossips keeps all processors busy and judges its figures: on a machine that has nothing else to do")

var crowdSize = flag.Int("nodes", 0, "so many nodes in TestACrowdGossips, whose figures are then printed and not judged")

// Gossipers are nodes of which only the gossip runs, in one process.
type gossipers struct {
	t       *testing.T
	secret  transport.Secret
	sent    atomic.Int64 // bytes on the wire, TCP in both directions
	accused atomic.Int64 // times that a node which runs was declared dead
	all     []*gossiper
}

type gossiper struct {
	*gossip
	ctx     context.Context
	cancel  context.CancelFunc
	stopped atomic.Bool
	loops   sync.WaitGroup
}

// add makes a node, which has its address but says nothing yet.
func (c *gossipers) add() *gossiper {
	c.t.Helper()
	var raw [16]byte
	rand.Read(raw[:])
	id := state.NodeID(hex.EncodeToString(raw[:]))
	log, dir := slog.New(slog.DiscardHandler), c.t.TempDir()
	key, err := transport.LoadOrCreateKey(filepath.Join(dir, "node-key"))
	if err != nil {
		c.t.Fatal(err)
	}
	secrets, _, err := transport.OpenKeyring(dir, c.secret)
	if err != nil {
		c.t.Fatal(err)
	}
	link, err := transport.Listen(transport.Config{Secret: c.secret, NodeID: string(id), Key: key, Listen: "127.0.0.1:0", Logger: log})
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { link.Close() })
	cfg := Config{
		ID: id, Name: "node-" + string(id[:8]), Version: "test", Dir: dir, Secrets: secrets, Gossip: "127.0.0.1:0", HTTP: ":8000",
		Link: link, Logger: log, Work: func() Work { return Work{Slots: 2} },
	}
	cfg.fill()
	g := &gossiper{}
	if g.gossip, err = openGossip(&cfg); err != nil {
		c.t.Fatal(err)
	}
	g.wire = countedWire{g.wire, &c.sent}
	g.ctx, g.cancel = context.WithCancel(context.Background())
	c.all = append(c.all, g)
	return g
}

// begin starts all nodes, which know the addresses of some.
func (c *gossipers) begin(seeds int) {
	c.t.Helper()
	var addrs []string
	for _, g := range c.all[:seeds] {
		addrs = append(addrs, g.addr())
	}
	for _, g := range c.all {
		g.seeds = addrs
		if err := g.start(); err != nil {
			c.t.Fatal(err)
		}
		g.loops.Go(func() { g.run(g.ctx) })
	}
}

// kill ends the node without a word to the others.
func (g *gossiper) kill() {
	if g.stopped.CompareAndSwap(false, true) {
		g.cancel()
		g.gossip.close()
		g.loops.Wait()
	}
}

// end kills all nodes at once: one after the other, each would look for those before it.
func (c *gossipers) end() {
	var wg sync.WaitGroup
	for _, g := range c.all {
		wg.Go(g.kill)
	}
	wg.Wait()
}

// everywhere waits until check holds at all nodes.
func (c *gossipers) everywhere(patience time.Duration, what string, check func(*gossiper) error) {
	c.t.Helper()
	eventuallyIn(c.t, patience, what, func() error {
		for _, g := range c.all {
			if err := check(g); err != nil {
				return fmt.Errorf("at %s: %w", g.self.name, err)
			}
		}
		return nil
	})
}

// watch counts the nodes that others declare dead although they run, until
// ctx ends.
func (c *gossipers) watch(ctx context.Context) {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	seen := map[string]bool{}
	for ctx.Err() == nil {
		for _, g := range c.all {
			for _, other := range c.all {
				p, _ := g.table.get(other.id)
				if !other.stopped.Load() && p.state == Dead {
					if key := string(g.id + other.id); !seen[key] {
						seen[key] = true
						c.accused.Add(1)
					}
				}
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
}

type countedWire struct {
	memberlist.NodeAwareTransport
	sent *atomic.Int64
}

func (w countedWire) WriteToAddress(b []byte, a memberlist.Address) (time.Time, error) {
	w.sent.Add(int64(len(b)))
	return w.NodeAwareTransport.WriteToAddress(b, a)
}

func (w countedWire) DialAddressTimeout(a memberlist.Address, timeout time.Duration) (net.Conn, error) {
	conn, err := w.NodeAwareTransport.DialAddressTimeout(a, timeout)
	if err != nil {
		return nil, err
	}
	return countedConn{conn, w.sent}, nil
}

type countedConn struct {
	net.Conn
	sent *atomic.Int64
}

func (c countedConn) Write(b []byte) (int, error) {
	c.sent.Add(int64(len(b)))
	return c.Conn.Write(b)
}

func (c countedConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.sent.Add(int64(n))
	return n, err
}

// busy keeps all processors busy until ctx ends.
func busy(ctx context.Context) {
	var wg sync.WaitGroup
	for range runtime.NumCPU() {
		wg.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
			}
		})
	}
	wg.Wait()
}

// TestACrowdGossips starts many nodes at once, keeps all processors busy, and
// kills one node. Nobody may be taken for dead who is not. Only with -limits is
// anything kept busy, and do times and accusations count.
func TestACrowdGossips(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a quarter of a minute")
	}
	size := 100
	switch {
	case *crowdSize > 0:
		size = *crowdSize
	case raceEnabled:
		t.Parallel()
		size = 20
	}
	const patience = 10 * time.Minute
	c := &gossipers{t: t, secret: transport.Generate()}
	t.Cleanup(c.end)
	for range size {
		c.add()
	}
	began := time.Now()
	c.begin(5)
	c.everywhere(patience, "all meet", func(g *gossiper) error {
		if n := g.table.count(); n < size {
			return fmt.Errorf("%d of %d nodes", n, size)
		}
		return nil
	})
	met := time.Since(began)

	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { c.watch(ctx) })
	if *crowdLimits {
		wg.Go(func() { busy(ctx) })
	}
	c.sent.Store(0)
	began = time.Now()
	victim := c.all[size/2]
	wg.Go(victim.kill)
	c.everywhere(patience, "the death is known", func(g *gossiper) error {
		if p, _ := g.table.get(victim.id); g != victim && p.state == Alive {
			return errors.New("not there")
		}
		return nil
	})
	known := time.Since(began)
	rate := float64(c.sent.Load()) / float64(size) / known.Seconds()
	cancel()
	wg.Wait()

	t.Logf("%d nodes: all met after %v, a death was known everywhere after %v, %d false accusations, %.0f bytes a second from each node",
		size, met.Round(100*time.Millisecond), known.Round(100*time.Millisecond), c.accused.Load(), rate)
	if !*crowdLimits {
		return // the machine may have other things to do
	}
	if n := c.accused.Load(); n > 0 {
		t.Errorf("%d times a node was declared dead that runs", n)
	}
	if met > 15*time.Second || known > 12*time.Second {
		t.Error("too slow: all should have met within 15s, and the death should be known within 12s")
	}
}

// TestTheGossipKeepsItsProportions: tests and people may change the pause
// between probes alone.
func TestTheGossipKeepsItsProportions(t *testing.T) {
	for _, network := range []Network{"", Local, LAN, WAN} {
		whole := Timing{Network: network}.gossipConfig()
		half := Timing{Network: network, Probe: whole.ProbeInterval / 2}.gossipConfig()
		if half.ProbeTimeout != whole.ProbeTimeout/2 || half.GossipInterval != whole.GossipInterval/2 || half.SuspicionMult != whole.SuspicionMult {
			t.Errorf("%q: %v, %v with half the pause; %v, %v with the whole", network, half.ProbeTimeout, half.GossipInterval, whole.ProbeTimeout, whole.GossipInterval)
		}
		if whole.ProbeTimeout >= whole.ProbeInterval {
			t.Errorf("%q: an answer may come in %v, but the next probe begins after %v", network, whole.ProbeTimeout, whole.ProbeInterval)
		}
	}
}
