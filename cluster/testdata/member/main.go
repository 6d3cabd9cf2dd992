// Command member is a node of a mesh without anything but the agreement, for the
// test of upgrades, which builds it in two versions. It does what lines on its
// standard input say, and answers each with a line of JSON.
package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"malla/cluster"
	"malla/cluster/state"
	"malla/cluster/transport"
)

// answer is a line of the output.
type answer struct {
	Gossip  string            `json:"gossip,omitempty"`
	Ready   bool              `json:"ready"`
	Leads   bool              `json:"leads"`
	Level   int               `json:"level"`
	Index   uint64            `json:"index"`
	Digests map[uint64]string `json:"digests"` // index -> hash of the state then, of those that were seen
	Error   string            `json:"error,omitempty"`
}

func main() {
	dir := flag.String("dir", "", "data directory")
	name := flag.String("name", "", "name of the node")
	version := flag.String("version", "", "its version")
	secret := flag.String("secret", "", "of the mesh")
	join := flag.String("join", "", "gossip address of another node")
	flag.Parse()
	if err := run(*dir, *name, *version, *secret, *join); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(dir, name, version, secret, join string) error {
	given, err := transport.ParseSecret(secret)
	if err != nil {
		return err
	}
	secrets, _, err := transport.OpenKeyring(dir, given)
	if err != nil {
		return err
	}
	key, err := transport.LoadOrCreateKey(filepath.Join(dir, "node-key"))
	if err != nil {
		return err
	}
	id, err := cluster.LoadOrCreateID(dir)
	if err != nil {
		return err
	}
	log := slog.New(slog.DiscardHandler)
	link, err := transport.Listen(transport.Config{Secret: secrets.Current(), NodeID: string(id), Key: key, Listen: "127.0.0.1:0", Logger: log})
	if err != nil {
		return err
	}
	defer link.Close()
	st := state.New()
	cfg := cluster.Config{
		ID: id, Name: name, Version: version, Dir: filepath.Join(dir, "cluster"), Secrets: secrets,
		Gossip: "127.0.0.1:0", HTTP: "127.0.0.1:8000", Link: link, State: st, Logger: log,
		Timing: cluster.Timing{
			Raft: 600 * time.Millisecond, Probe: 250 * time.Millisecond, Report: 200 * time.Millisecond,
			Meet: 200 * time.Millisecond, Join: 50 * time.Millisecond,
		},
		Limits: cluster.Limits{Snapshot: 8, Trailing: 1, Interval: 20 * time.Millisecond},
	}
	if join != "" {
		cfg.Join = []string{join}
	}
	c, err := cluster.New(cfg)
	if err != nil {
		return err
	}
	defer c.Close()
	go link.Serve(context.Background())
	if err := c.Start(); err != nil {
		return err
	}
	m := &member{c: c, state: st, digests: map[uint64]string{}}
	go m.watch()
	orders := make(chan string)
	go func() {
		for in := bufio.NewScanner(os.Stdin); in.Scan(); {
			orders <- in.Text()
		}
		close(orders)
	}()
	out := json.NewEncoder(os.Stdout)
	for {
		select {
		case err := <-c.Fatal():
			return err
		case order, more := <-orders:
			if !more {
				return nil
			}
			out.Encode(m.do(order))
		}
	}
}

type member struct {
	c     *cluster.Cluster
	state *state.State

	mu      sync.Mutex        // guards the field below
	digests map[uint64]string // index -> hash of the state then
}

// watch notes the hash of the state after each change, as far as it keeps up.
func (m *member) watch() {
	for {
		changed := m.state.View().Changed()
		var snapshot bytes.Buffer
		var header struct{ Index uint64 }
		err := m.state.Snapshot().Write(&snapshot)
		line, _, _ := bytes.Cut(snapshot.Bytes(), []byte("\n"))
		if err := errors.Join(err, json.Unmarshal(line, &header)); err != nil {
			panic(err)
		}
		m.mu.Lock()
		m.digests[header.Index] = fmt.Sprintf("%x", sha256.Sum256(snapshot.Bytes()))
		m.mu.Unlock()
		<-changed
	}
}

// do carries out an order: status, or what is proposed and its argument.
func (m *member) do(order string) answer {
	a := answer{Gossip: m.c.GossipAddr(), Ready: m.c.Ready() == nil, Leads: m.c.IsLeader()}
	if word, arg, _ := strings.Cut(order, " "); word != "status" {
		if _, err := m.c.Propose(context.Background(), command(word, arg)); err != nil {
			a.Error = err.Error()
		}
	}
	a.Level, a.Index, a.Digests = m.state.View().Level(), m.state.Index(), map[uint64]string{}
	m.mu.Lock()
	defer m.mu.Unlock()
	for index, digest := range m.digests {
		a.Digests[index] = digest
	}
	return a
}

func user(name string) state.AddUser {
	return state.AddUser{ID: state.UserID("id-" + name), Name: name, Password: "$argon2id$v=19$m=1,t=1,p=1$YWJj$ZGVm", At: time.Now().UTC()}
}
