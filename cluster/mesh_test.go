package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"malla/cluster/state"
	"malla/cluster/transport"
)

// fast are waits for tests; they leave room for a machine that is busy with
// other tests too.
var fast = Timing{
	Raft: 600 * time.Millisecond, Probe: 250 * time.Millisecond, Report: 200 * time.Millisecond,
	Meet: 200 * time.Millisecond, Join: 50 * time.Millisecond, Overlap: time.Second,
	Vote: 200 * time.Millisecond, Stable: 500 * time.Millisecond, Lost: 2 * time.Second,
}

// A node is a node of a test's mesh: its directory stays, the rest comes and
// goes with start and stop.
type node struct {
	t      testing.TB
	name   string
	dir    string
	secret transport.Secret
	change func(*Config) // of the configuration at the next start

	state  *state.State
	link   *transport.Link
	c      *Cluster
	served chan error
}

// A mesh is the nodes of one test. Nodes can be cut apart.
type mesh struct {
	t      testing.TB
	secret transport.Secret
	nodes  []*node
	net    *network

	prepare func(*node) // before a node is started; nil: nothing
}

func newMesh(t testing.TB) *mesh {
	return &mesh{t: t, secret: transport.Generate(), net: newNetwork()}
}

// add makes a node without starting it.
func (m *mesh) add(name string) *node {
	n := &node{t: m.t, name: name, dir: m.t.TempDir(), secret: m.secret}
	n.change = func(*Config) {}
	m.nodes = append(m.nodes, n)
	m.t.Cleanup(n.stop)
	return n
}

// up starts n nodes that join the first, and waits until they agree and vote.
func (m *mesh) up(n int) []*node {
	m.t.Helper()
	for i := range n {
		node := m.add(fmt.Sprintf("n%d", i))
		if i > 0 {
			node.join(m.nodes[0])
		}
		m.start(node)
		if i == 0 {
			node.ready()
		}
	}
	m.agree(m.nodes...)
	m.settled(m.nodes...)
	return m.nodes
}

func (n *node) join(others ...*node) {
	var addrs []string
	for _, o := range others {
		addrs = append(addrs, o.c.GossipAddr())
	}
	n.change = func(c *Config) { c.Join = addrs }
}

func (m *mesh) start(n *node) {
	m.t.Helper()
	if err := m.tryStart(n); err != nil {
		m.t.Fatalf("start %s: %v", n.name, err)
	}
}

func (m *mesh) tryStart(n *node) error {
	id, err := LoadOrCreateID(n.dir)
	if err != nil {
		return err
	}
	key, err := transport.LoadOrCreateKey(filepath.Join(n.dir, "node-key"))
	if err != nil {
		return err
	}
	secrets, _, err := transport.OpenKeyring(n.dir, n.secret)
	if err != nil {
		return err
	}
	log := slog.New(slog.DiscardHandler)
	if os.Getenv("MALLA_TEST_LOG") != "" {
		log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug})).With("node", n.name)
	}
	link, err := transport.Listen(transport.Config{
		Secret: secrets.Current(), Accept: secrets.Accepted()[1:], NodeID: string(id), Key: key, Listen: "127.0.0.1:0", Logger: log,
		Dial: func(ctx context.Context, addr string) (net.Conn, error) { return m.net.dial(ctx, n.name, addr) },
	})
	if err != nil {
		return err
	}
	st := state.New()
	cfg := Config{
		ID: id, Name: n.name, Version: "test", Dir: filepath.Join(n.dir, "cluster"), Secrets: secrets,
		Gossip: "127.0.0.1:0", HTTP: "127.0.0.1:8000", Link: link, State: st,
		Work:   func() Work { return Work{Tasks: 1, Slots: len(n.name)} },
		Logger: log, Timing: fast,
		Reach: func(addr string) bool { return m.net.reaches(n.name, addr) },
	}
	n.change(&cfg)
	c, err := New(cfg)
	if err != nil {
		return errors.Join(err, link.Close())
	}
	m.net.own(n.name, link.Addr().String(), c.GossipAddr())
	n.state, n.link, n.c, n.served = st, link, c, make(chan error, 1)
	go func() { n.served <- link.Serve(context.Background()) }()
	if m.prepare != nil {
		m.prepare(n)
	}
	if err := c.Start(); err != nil {
		n.stop()
		return err
	}
	return nil
}

// stop ends a node the ordinary way.
func (n *node) stop() { n.end(func() { n.c.Close() }) }

// kill ends a node as a crash would.
func (n *node) kill() { n.end(func() { n.c.Kill() }) }

func (n *node) end(how func()) {
	if n.c == nil {
		return
	}
	how()
	n.link.Close()
	if err := <-n.served; err != nil {
		n.t.Errorf("serve %s: %v", n.name, err)
	}
	n.c, n.link = nil, nil
}

func (n *node) id() state.NodeID { return n.c.cfg.ID }

func (n *node) ready() {
	n.t.Helper()
	eventually(n.t, n.name+" is ready", func() error { return n.c.Ready() })
}

// agree waits until the nodes are ready, see each other, and each one's record
// is in the state of all.
func (m *mesh) agree(nodes ...*node) {
	m.t.Helper()
	eventually(m.t, "all nodes agree", func() error {
		for _, n := range nodes {
			if err := n.c.Ready(); err != nil {
				return fmt.Errorf("%s: %w", n.name, err)
			}
			for _, other := range nodes {
				if p, _ := n.c.gossip.table.get(other.id()); p.state != Alive || !p.meta.joined {
					return fmt.Errorf("%s does not see %s in the mesh", n.name, other.name)
				}
				rec, ok := n.state.View().Node(other.id())
				if want := other.c.record(); !ok || rec.Peer != want.Peer || rec.Gossip != want.Gossip {
					return fmt.Errorf("%s has no right record of %s", n.name, other.name)
				}
			}
		}
		return nil
	})
}

// leader waits for the node that all these agree to be led by.
func (m *mesh) leader(nodes ...*node) *node {
	m.t.Helper()
	var found *node
	eventually(m.t, "one node leads", func() error {
		found = nil
		for _, n := range nodes {
			id, ok := n.c.Leader()
			if !ok {
				return fmt.Errorf("%s knows no leader", n.name)
			}
			for _, o := range nodes {
				if o.id() == id {
					if found != nil && found != o {
						return errors.New("they follow different leaders")
					}
					found = o
				}
			}
		}
		if found == nil || !found.c.IsLeader() {
			return errors.New("the leader is not one of them")
		}
		return nil
	})
	return found
}

// except returns the nodes but one.
func except(nodes []*node, one *node) []*node {
	return slices.DeleteFunc(slices.Clone(nodes), func(n *node) bool { return n == one })
}

// addUser proposes through n, as any command would be, and returns how long it took.
func (n *node) addUser(name string) (time.Duration, error) {
	began := time.Now()
	_, err := n.c.Propose(context.Background(), user(name))
	if err == nil && !n.has(name) {
		return 0, fmt.Errorf("%s does not see what it proposed", n.name)
	}
	return time.Since(began), err
}

func user(name string) state.AddUser {
	return state.AddUser{ID: state.UserID("id-" + name), Name: name, Password: "$argon2id$v=19$m=1,t=1,p=1$YWJj$ZGVm", At: time.Now().UTC()}
}

func (n *node) has(name string) bool {
	_, ok := n.state.View().UserByName(name)
	return ok
}

func eventually(t testing.TB, what string, check func() error) {
	t.Helper()
	eventuallyIn(t, time.Minute, what, check)
}

func eventuallyIn(t testing.TB, patience time.Duration, what string, check func() error) {
	t.Helper()
	timeout := time.After(patience)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		err := check()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-timeout:
			t.Fatalf("%s: not so after %v: %v", what, patience, err)
		}
	}
}

// A network carries the traffic of a test's nodes and can be cut.
type network struct {
	mu    sync.Mutex          // guards the fields below
	owner map[string]string   // address -> name of the node that has it
	cut   map[string]bool     // "from>to"
	conns map[net.Conn]string // -> "from>to"
}

func newNetwork() *network {
	return &network{owner: map[string]string{}, cut: map[string]bool{}, conns: map[net.Conn]string{}}
}

func (w *network) own(name string, addrs ...string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, a := range addrs {
		w.owner[a] = name
	}
}

func (w *network) reaches(from, addr string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return !w.cut[from+">"+w.owner[addr]]
}

func (w *network) dial(ctx context.Context, from, addr string) (net.Conn, error) {
	if !w.reaches(from, addr) {
		return nil, errOutOfReach
	}
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err == nil {
		w.mu.Lock()
		w.conns[conn] = from + ">" + w.owner[addr]
		w.mu.Unlock()
	}
	return conn, err
}

// split cuts all traffic between two groups of nodes.
func (w *network) split(a, b []*node) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, x := range a {
		for _, y := range b {
			w.cut[x.name+">"+y.name], w.cut[y.name+">"+x.name] = true, true
		}
	}
	for conn, route := range w.conns {
		if w.cut[route] {
			conn.Close()
			delete(w.conns, conn)
		}
	}
}

func (w *network) heal() {
	w.mu.Lock()
	defer w.mu.Unlock()
	clear(w.cut)
}
