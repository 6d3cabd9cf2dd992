// Package nodetest runs meshes of real nodes in one test: real sockets, disks,
// agreement and FFmpeg, with nothing replaced.
package nodetest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"malla/cluster"
	"malla/httpapi"
	"malla/node"
)

// Secret is the secret of every mesh in tests.
const Secret = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"

// Mesh is some nodes that form one mesh. It is closed when the test ends.
type Mesh struct {
	t     testing.TB
	nodes []*Node
}

// Node is a place where a node runs, or ran until it was killed.
type Node struct {
	*node.Node
	cfg node.Config
	t   testing.TB
	log *log
}

// New starts n nodes, each after the one before it is ready, and returns when
// all are and as many vote as should: then one of three may be lost. A change is made to the configuration of each before it starts.
func New(t testing.TB, n int, changes ...func(i int, cfg *node.Config)) *Mesh {
	t.Helper()
	m := &Mesh{t: t}
	for range n {
		m.Add(changes...)
	}
	m.WaitVotes()
	return m
}

// WaitVotes waits until as many nodes vote as should: of two both, of three or
// four three, else five.
func (m *Mesh) WaitVotes() {
	m.t.Helper()
	want := []int{0, 1, 2, 3, 3, 5}[min(len(m.nodes), 5)]
	Eventually(m.t, fmt.Sprint(want, " nodes vote"), 30*time.Second, func() error {
		voters := 0
		for _, s := range m.nodes[0].Nodes() {
			if s.Role == string(cluster.Leader) || s.Role == string(cluster.Voter) {
				voters++
			}
		}
		if voters != want {
			return fmt.Errorf("%d do", voters)
		}
		return nil
	})
}

// Add starts one more node and waits until it is ready.
func (m *Mesh) Add(changes ...func(i int, cfg *node.Config)) *Node {
	m.t.Helper()
	i := len(m.nodes)
	cfg := Config(m.t, fmt.Sprint("node", i+1))
	for _, other := range m.nodes {
		if other.Node != nil {
			cfg.Join = append(cfg.Join, other.GossipAddr())
		}
	}
	for _, change := range changes {
		change(i, &cfg)
	}
	nd := &Node{cfg: cfg, t: m.t, log: newLog(m.t, cfg.Name)}
	m.nodes = append(m.nodes, nd)
	m.t.Cleanup(nd.close)
	nd.start()
	nd.WaitReady()
	return nd
}

// Config is the configuration of a node in a test: on the loopback, on free
// ports, with short waits and its data in a folder of the test.
func Config(t testing.TB, name string) node.Config {
	t.Helper()
	cfg := node.Defaults()
	cfg.HTTP, cfg.Gossip, cfg.Peer, cfg.Advertise = "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1"
	cfg.Data = filepath.Join(t.TempDir(), name)
	cfg.Name, cfg.Secret, cfg.Slots, cfg.Reserve = name, Secret, 2, 64<<20
	cfg.Timing.Raft = 500 * time.Millisecond
	cfg.Timing.Probe = 500 * time.Millisecond
	cfg.Timing.DeadGrace = time.Second
	cfg.Timing.Vote, cfg.Timing.VoteStable = 100*time.Millisecond, 250*time.Millisecond
	cfg.Timing.RepairWait = 5 * time.Second
	cfg.Timing.Overlap = time.Second
	return cfg
}

// Len is the number of nodes, dead ones too.
func (m *Mesh) Len() int { return len(m.nodes) }

// Node returns the i-th node, from 0.
func (m *Mesh) Node(i int) *Node { return m.nodes[i] }

// Others returns the nodes but the i-th.
func (m *Mesh) Others(i int) []*Node {
	var all []*Node
	for k, nd := range m.nodes {
		if k != i {
			all = append(all, nd)
		}
	}
	return all
}

// Leader returns the index of the node that leads.
func (m *Mesh) Leader() int {
	m.t.Helper()
	leader := -1
	Eventually(m.t, "a node leads", 10*time.Second, func() error {
		for i, nd := range m.nodes {
			if nd.Node != nil && nd.Leads() {
				leader = i
				return nil
			}
		}
		return fmt.Errorf("none of %d", len(m.nodes))
	})
	return leader
}

func (nd *Node) start() {
	nd.t.Helper()
	cfg := nd.cfg
	cfg.Logger = slog.New(slog.NewTextHandler(nd.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	n, err := node.New(cfg)
	if err != nil {
		nd.t.Fatalf("new node %s: %v", cfg.Name, err)
	}
	nd.Node = n
	if err := n.Start(); err != nil {
		nd.t.Fatalf("start node %s: %v", cfg.Name, err)
	}
}

// WaitReady waits until the node has a leader and has caught up.
func (nd *Node) WaitReady() {
	nd.t.Helper()
	Eventually(nd.t, nd.cfg.Name+" is ready", 30*time.Second, nd.Ready)
}

// Kill ends the node as a kill -9 would: nobody is told.
func (nd *Node) Kill() {
	nd.t.Helper()
	nd.Node.Kill()
	nd.Node = nil
}

// Stop ends the node as a SIGTERM would.
func (nd *Node) Stop() {
	nd.t.Helper()
	if err := nd.Node.Close(); err != nil {
		nd.t.Errorf("close %s: %v", nd.cfg.Name, err)
	}
	nd.Node = nil
}

// Change changes the configuration of the node's next start.
func (nd *Node) Change(change func(cfg *node.Config)) { change(&nd.cfg) }

// Restart starts a node again that was killed or stopped, with its data, on new
// ports, and waits until it is ready.
func (nd *Node) Restart() {
	nd.t.Helper()
	nd.start()
	nd.WaitReady()
}

func (nd *Node) close() {
	if nd.Node != nil {
		nd.Node.Close()
	}
	nd.log.end()
}

// Data is the node's data directory.
func (nd *Node) Data() string { return nd.cfg.Data }

// Client returns a client of the node's API without a user.
func (nd *Node) Client() *httpapi.Client { return &httpapi.Client{Base: nd.URL()} }

// User returns a client that is signed in as that user, who is made if need be.
func (nd *Node) User(name string) *httpapi.Client {
	nd.t.Helper()
	const password = "correct horse"
	c := nd.Client()
	if _, err := c.Signup(nd.t.Context(), name, password); err == nil {
		return c
	}
	if _, err := c.Login(nd.t.Context(), name, password); err != nil {
		nd.t.Fatalf("sign in as %s at %s: %v", name, nd.cfg.Name, err)
	}
	return c
}

// Eventually waits until check returns nil, and fails the test with the last
// reason when that takes longer than within.
func Eventually(t testing.TB, what string, within time.Duration, check func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for {
		err := check()
		if err == nil {
			return
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			t.Fatalf("not within %v: %s: %v", within, what, err)
		}
	}
}

// log keeps what a node logs and shows it when the test failed.
type log struct {
	t    testing.TB
	name string
	mu   sync.Mutex // guards the field below
	text bytes.Buffer
}

func newLog(t testing.TB, name string) *log { return &log{t: t, name: name} }

// Write implements [io.Writer].
func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

// end shows the log of a failed test, or only its end where it is long.
func (l *log) end() {
	if !l.t.Failed() {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	const most = 20_000
	text := l.text.Bytes()
	if len(text) > most {
		text = text[len(text)-most:]
	}
	l.t.Logf("log of %s:\n%s", l.name, text)
}

// Read reads everything and closes it.
func Read(t testing.TB, r io.ReadCloser) []byte {
	t.Helper()
	defer r.Close()
	data, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// File writes data into a file of the test and returns its path.
func File(t testing.TB, name string, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
