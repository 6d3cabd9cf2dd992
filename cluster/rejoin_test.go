package cluster

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

// flip changes one bit wherever the file has that text: bolt keeps old pages.
func flip(t *testing.T, file, text string) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	other := []byte(text)
	other[0] ^= 1
	if !bytes.Contains(data, []byte(text)) {
		t.Fatalf("%s does not contain %q", file, text)
	}
	if err := os.WriteFile(file, bytes.ReplaceAll(data, []byte(text), other), 0o600); err != nil {
		t.Fatal(err)
	}
}

// asides are the logs that a node put aside.
func asides(t *testing.T, n *node) []string {
	t.Helper()
	all, err := filepath.Glob(filepath.Join(n.dir, "cluster", "raft.damaged-*"))
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// TestADamagedVoterComesBack flips a bit in the log of one of three voters.
func TestADamagedVoterComesBack(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	nodes := m.up(3)
	sick := nodes[2]
	eventually(t, "three nodes vote", func() error {
		if n := nodes[0].c.Strength().Voters; n != 3 {
			return fmt.Errorf("%d vote", n)
		}
		return nil
	})
	for i := range 20 {
		if _, err := nodes[i%3].addUser(fmt.Sprint("user", i)); err != nil {
			t.Fatal(err)
		}
	}
	sick.stop()
	log := LogFile(filepath.Join(sick.dir, "cluster"))
	flip(t, log, "id-user7")
	err := m.tryStart(sick)
	if !errors.Is(err, ErrLogDamaged) || !strings.Contains(err.Error(), log) || !strings.Contains(err.Error(), "--rejoin") {
		t.Fatalf("started with a damaged log: %v", err)
	}
	if _, err := nodes[0].addUser("meanwhile"); err != nil {
		t.Fatal(err)
	}

	sick.join(nodes[0], nodes[1])
	again := sick.change
	sick.change = func(c *Config) { again(c); c.Rejoin = true }
	m.start(sick)
	eventually(t, "the node took its part again", func() error {
		if mark, err := readMark(sick.c.cfg.Dir); err != nil || mark != rejoined {
			return fmt.Errorf("mark %q, %v", mark, err)
		}
		return sick.c.Ready()
	})
	if all := asides(t, sick); len(all) != 1 {
		t.Errorf("put aside: %v", all)
	}
	for i := range 20 {
		if !sick.has(fmt.Sprint("user", i)) {
			t.Errorf("user%d was not got back", i)
		}
	}
	if !sick.has("meanwhile") {
		t.Error("what was agreed on without the node was not got")
	}
	m.agree(nodes...)

	// The flag left in a script costs nothing; without it the next start is an
	// ordinary one.
	for _, flag := range []bool{true, false} {
		sick.stop()
		sick.change = func(c *Config) { again(c); c.Rejoin = flag }
		m.start(sick)
		m.agree(nodes...)
		if all := asides(t, sick); len(all) != 1 {
			t.Errorf("started again with --rejoin %v: put aside %v", flag, all)
		}
	}
	if mark, err := readMark(sick.c.cfg.Dir); err != nil || mark != joined {
		t.Errorf("mark %q, %v", mark, err)
	}
}

// TestALostVoteIsNotGivenAgain: two of three lost their logs, which is no
// majority that knows what was agreed on.
func TestALostVoteIsNotGivenAgain(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	nodes := m.up(3)
	eventually(t, "three nodes vote", func() error {
		if n := nodes[0].c.Strength().Voters; n != 3 {
			return fmt.Errorf("%d vote", n)
		}
		return nil
	})
	for _, n := range nodes {
		n.stop()
	}
	for i, n := range nodes {
		if i > 0 {
			n.join(nodes[0])
			with := n.change
			n.change = func(c *Config) { with(c); c.Rejoin = true }
		}
		m.start(n)
	}
	asked := func(n *node) error {
		for _, other := range nodes {
			if p, _ := n.c.gossip.table.get(other.id()); p.state != Alive {
				return fmt.Errorf("%s does not see %s", n.name, other.name)
			}
		}
		return nil
	}
	for _, n := range nodes {
		eventually(t, "the nodes see each other", func() error { return asked(n) })
	}
	// The one with a log asks for votes all the time from here on.
	eventually(t, "an election was tried", func() error {
		if s := nodes[0].c.raft.raft().State(); s != raft.Candidate {
			return fmt.Errorf("it is %v", s)
		}
		return nil
	})
	never(t, 2*time.Second, "a node leads with votes of those that lost their logs", func() bool {
		return slices.ContainsFunc(nodes, func(n *node) bool { return n.c.raft.raft().State() == raft.Leader })
	})
}

func TestTheGate(t *testing.T) {
	header := func(addr string) raft.RPCHeader { return raft.RPCHeader{Addr: []byte(addr)} }
	const id = "0123456789abcdef0123456789abcdef"
	for _, c := range []struct {
		name       string
		open       int32
		generation uint64
		command    any
		want       error
	}{
		{"a vote of the first generation", gateOpen, 0, &raft.RequestVoteRequest{RPCHeader: header(id)}, nil},
		{"entries of the first generation after a recovery", gateOpen, 7, &raft.AppendEntriesRequest{RPCHeader: header(id)}, errGeneration},
		{"entries of the own generation", gateOpen, 7, &raft.AppendEntriesRequest{RPCHeader: header(id + ".0000000000000007")}, nil},
		{"entries of a later generation", gateOpen, 0, &raft.AppendEntriesRequest{RPCHeader: header(id + ".0000000000000007")}, errGeneration},
		{"entries to a node that follows", gateLogs, 0, &raft.AppendEntriesRequest{RPCHeader: header(id)}, nil},
		{"a snapshot to a node that follows", gateLogs, 0, &raft.InstallSnapshotRequest{RPCHeader: header(id)}, nil},
		{"a vote of a node that follows", gateLogs, 0, &raft.RequestVoteRequest{RPCHeader: header(id)}, errDeaf},
		{"a pre-vote of a node that follows", gateLogs, 0, &raft.RequestPreVoteRequest{RPCHeader: header(id)}, errDeaf},
		{"leadership for a node that follows", gateLogs, 0, &raft.TimeoutNowRequest{RPCHeader: header(id)}, errDeaf},
		{"entries to a deaf node", gateClosed, 0, &raft.AppendEntriesRequest{RPCHeader: header(id)}, errDeaf},
	} {
		t.Run(c.name, func(t *testing.T) {
			var g gate
			a := agreement{}
			a.generation.Store(c.generation)
			g.generation = &a.generation
			g.open.Store(c.open)
			if err := g.refuse(c.command); !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
	a := agreement{}
	g := gate{generation: &a.generation}
	for _, generation := range []uint64{0, 1, 1 << 63} {
		a.generation.Store(generation)
		text := g.EncodePeer("", id)
		if _, got := cutGeneration(text); got != generation || g.DecodePeer(text) != id {
			t.Errorf("%q is generation %d of %s", text, got, g.DecodePeer(text))
		}
	}
}
