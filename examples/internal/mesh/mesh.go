// Package mesh starts the nodes of a mesh as processes of this machine, for the
// examples that show what happens when one of them is killed.
//
// Every node gets the same command line: the addresses of all, and how many
// form the mesh. Addresses are on 127.0.0.1, or each in a network of its own that
// can be cut, and stay the same over restarts; data directories and logs lie in
// one directory that Close removes.
package mesh

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// Config says what to start.
type Config struct {
	Program string                  // path of the malla binary
	Nodes   int                     // how many; at least one
	Dir     string                  // made for data and logs; it must not exist yet
	Flags   []string                // more flags for each `serve`
	Cores   float64                 // that each node may use with all its children; 0: no limit
	Prepare func(data string) error // called with each data directory before its node starts for the first time; nil: it is made empty
	Apart   bool                    // each node in a network of its own, so that it can be cut off
}

// A Mesh is a number of running nodes, counted from zero. Its methods may be
// called from several goroutines, but not two of them for one node at once.
type Mesh struct {
	cfg     Config
	secret  string
	nodes   []*node
	network *network // nil where the nodes share ours
}

// node is one process, or the place of one that was killed.
type node struct {
	name, host, http, gossip, peer string
	throttle                       throttle // nil: none

	mu   sync.Mutex // guards proc
	proc *process   // nil while killed
}

// Start makes the directory, starts all nodes, and returns when each is ready
// to serve and as many vote as should: from then on the mesh bears its losses. After an error nothing is left running, and the directory with the
// logs stays for whoever looks for the cause.
func Start(ctx context.Context, cfg Config) (*Mesh, error) {
	if cfg.Nodes < 1 {
		return nil, fmt.Errorf("a mesh of %d nodes", cfg.Nodes)
	}
	if err := os.Mkdir(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("directory of the mesh: %w", err)
	}
	var key [32]byte
	rand.Read(key[:])
	m := &Mesh{cfg: cfg, secret: hex.EncodeToString(key[:])}
	if err := m.place(); err != nil {
		return nil, err
	}
	for i, n := range m.nodes {
		if cfg.Prepare != nil {
			if err := cfg.Prepare(filepath.Join(cfg.Dir, n.name)); err != nil {
				return nil, fmt.Errorf("prepare %s: %w", n.name, errors.Join(err, m.Stop()))
			}
		}
		if err := m.Restart(i); err != nil {
			return nil, errors.Join(err, m.Stop())
		}
	}
	for i := range m.nodes {
		if err := m.Ready(ctx, i); err != nil {
			return nil, errors.Join(fmt.Errorf("%w; its log: %s", err, m.LogFile(i)), m.Stop())
		}
	}
	if err := m.votes(ctx); err != nil {
		return nil, errors.Join(err, m.Stop())
	}
	return m, nil
}

// votes waits until as many nodes vote as should.
func (m *Mesh) votes(ctx context.Context) error {
	want := []int{0, 1, 2, 3, 3, 5}[min(m.cfg.Nodes, 5)]
	for {
		voters, err := m.voters(ctx)
		if err == nil && voters >= want {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%d of %d nodes vote: %w", voters, want, errors.Join(ctx.Err(), err))
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// voters asks the first node how many vote.
func (m *Mesh) voters(ctx context.Context) (int, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, m.URL(0)+"/workers/stats", nil)
	if err != nil {
		return 0, err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	var stats struct {
		Strength struct {
			Voters int `json:"voters"`
		} `json:"strength"`
	}
	err = json.NewDecoder(res.Body).Decode(&stats)
	return stats.Strength.Voters, err
}

// place gives every node its addresses and its share.
func (m *Mesh) place() error {
	for i := range m.cfg.Nodes {
		n := &node{name: fmt.Sprintf("node%d", i+1), host: "127.0.0.1"}
		if m.cfg.Cores > 0 {
			n.throttle = newThrottle("malla-"+m.secret[:8]+"-"+n.name, m.cfg.Cores)
		}
		m.nodes = append(m.nodes, n)
	}
	if m.cfg.Apart {
		var err error
		if m.network, err = newNetwork(m.cfg.Nodes); err != nil {
			return errors.Join(err, m.Stop())
		}
		for i, n := range m.nodes {
			n.host = m.network.host(i)
			n.http, n.gossip, n.peer = n.host+":8000", n.host+":7946", n.host+":7947"
		}
		return nil
	}
	ports, err := freePorts(3 * m.cfg.Nodes)
	if err != nil {
		return errors.Join(err, m.Stop())
	}
	for i, n := range m.nodes {
		n.http, n.gossip, n.peer = ports[3*i], ports[3*i+1], ports[3*i+2]
	}
	return nil
}

// Len is how many nodes the mesh has, running or not.
func (m *Mesh) Len() int { return len(m.nodes) }

// URL is where the node's API and pages are, without a slash at its end.
func (m *Mesh) URL(i int) string { return "http://" + m.nodes[i].http }

// Name is the node's name in the mesh.
func (m *Mesh) Name(i int) string { return m.nodes[i].name }

// LogFile is where the node's output goes, over all its restarts.
func (m *Mesh) LogFile(i int) string {
	return filepath.Join(m.cfg.Dir, m.nodes[i].name+".log")
}

// Running tells whether the node's process runs.
func (m *Mesh) Running(i int) bool {
	n := m.nodes[i]
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.proc != nil && !n.proc.exited()
}

// Restart starts the node with the data that it has. A node that runs is left
// alone.
func (m *Mesh) Restart(i int) error {
	n := m.nodes[i]
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.proc != nil && !n.proc.exited() {
		return nil
	}
	args := append([]string{
		"serve", "--name", n.name, "--data", filepath.Join(m.cfg.Dir, n.name),
		"--http", n.http, "--gossip", n.gossip, "--peer", n.peer, "--advertise", n.host,
	}, append(m.joining(), m.cfg.Flags...)...)
	program := m.cfg.Program
	if m.network != nil {
		program, args = m.network.command(i, program, args)
	}
	p, err := start(program, args, m.environment(), m.LogFile(i))
	if err != nil {
		return fmt.Errorf("start %s: %w", n.name, err)
	}
	n.proc = p
	if n.throttle == nil {
		return nil
	}
	if err := n.throttle.add(p.cmd.Process.Pid); err != nil && !p.exited() {
		return fmt.Errorf("limit %s: %w", n.name, err)
	}
	return nil
}

// joining are the flags by which the nodes find each other. One alone makes a
// mesh of its own only if it is told of no others.
func (m *Mesh) joining() []string {
	if len(m.nodes) == 1 {
		return nil
	}
	var all []string
	for _, n := range m.nodes {
		all = append(all, n.gossip)
	}
	return []string{"--bootstrap-expect", fmt.Sprint(len(m.nodes)), "--join", strings.Join(all, ",")}
}

// environment is ours without what would change a node behind our back.
func (m *Mesh) environment() []string {
	var env []string
	for _, e := range os.Environ() {
		if !strings.HasPrefix(e, "MALLA_") {
			env = append(env, e)
		}
	}
	return append(env, "MALLA_SECRET="+m.secret)
}

// Kill ends the node's process at once, as a power cut would, and returns when
// it is gone. A node that does not run is left alone.
func (m *Mesh) Kill(i int) error {
	n := m.nodes[i]
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.proc == nil {
		return nil
	}
	n.proc.kill()
	n.proc = nil
	return nil
}

// End asks the node's process to end, as an orderly stop does, and returns when
// it is gone. A node that does not run is left alone.
func (m *Mesh) End(i int) error {
	n := m.nodes[i]
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.proc == nil {
		return nil
	}
	err := n.proc.terminate(10 * time.Second)
	n.proc = nil
	return err
}

// Ready waits until the node answers that it has a leader and has caught up,
// its process ends, or the context does.
func (m *Mesh) Ready(ctx context.Context, i int) error {
	wait := 20 * time.Millisecond
	for {
		reason := m.ask(ctx, i)
		if reason == nil {
			return nil
		}
		if !m.Running(i) {
			return fmt.Errorf("%s ended while it started", m.Name(i))
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready: %w (last answer: %w)", m.Name(i), ctx.Err(), reason)
		case <-time.After(wait):
		}
		wait = min(2*wait, time.Second)
	}
}

// ask asks the node once whether it is ready.
func (m *Mesh) ask(ctx context.Context, i int) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, m.URL(i)+"/ready", nil)
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("GET /ready: %s", res.Status)
	}
	return nil
}

// Close asks all nodes to end, kills those that take longer than ten seconds,
// and removes the directory.
func (m *Mesh) Close() error {
	return errors.Join(m.Stop(), os.RemoveAll(m.cfg.Dir))
}

// Stop is Close for who wants to look at the logs: the directory stays.
func (m *Mesh) Stop() error {
	var all sync.WaitGroup
	errs := make([]error, len(m.nodes))
	for i, n := range m.nodes {
		all.Go(func() {
			n.mu.Lock()
			defer n.mu.Unlock()
			errs[i] = n.end()
		})
	}
	all.Wait()
	if m.network != nil {
		errs = append(errs, m.network.close())
	}
	return errors.Join(errs...)
}

// end asks the node to end, and gives its share back. n.mu is held.
func (n *node) end() error {
	var errs []error
	if n.throttle != nil {
		n.throttle.release()
	}
	if n.proc != nil {
		resume(n.proc.cmd.Process.Pid) // a paused one would not hear it
		if err := n.proc.terminate(10 * time.Second); err != nil {
			errs = append(errs, fmt.Errorf("stop %s: %w", n.name, err))
		}
		n.proc = nil
	}
	if n.throttle != nil {
		errs = append(errs, n.throttle.close())
	}
	return errors.Join(errs...)
}

// freePorts finds addresses on 127.0.0.1 whose TCP and UDP ports are free now.
// All are held until the last one is found, so that they differ.
func freePorts(n int) ([]string, error) {
	var found []string
	for tries := 0; len(found) < n; tries++ {
		if tries > 10*n {
			return nil, errors.New("no free ports on 127.0.0.1")
		}
		tcp, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer tcp.Close()
		udp, err := net.ListenPacket("udp", tcp.Addr().String())
		if err != nil {
			continue // taken for UDP: the next one
		}
		defer udp.Close()
		found = append(found, tcp.Addr().String())
	}
	return found, nil
}
