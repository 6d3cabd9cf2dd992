package cluster

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"malla/cluster/state"
	"malla/cluster/transport"
)

// TestNodesStartedTogetherMakeOneMesh starts nodes with one and the same
// command line, as compose and Kubernetes do.
func TestNodesStartedTogetherMakeOneMesh(t *testing.T) {
	t.Parallel()
	for round := range 3 {
		t.Run(fmt.Sprint(round), func(t *testing.T) {
			t.Parallel()
			m := newMesh(t)
			seed := m.add("n0") // its address must be known to be given to all
			expect := func(c *Config) { c.BootstrapExpect = 3 }
			seed.change = expect
			m.start(seed)
			addr := seed.c.GossipAddr()
			for i := 1; i < 3; i++ {
				n := m.add(fmt.Sprint("n", i))
				n.change = func(c *Config) { expect(c); c.Join = []string{addr} }
			}
			started := make(chan error, 2)
			for _, n := range m.nodes[1:] {
				go func() { started <- m.tryStart(n) }()
			}
			for range 2 {
				if err := <-started; err != nil {
					t.Fatal(err)
				}
			}
			m.agree(m.nodes...)
			for _, n := range m.nodes {
				if roles := n.c.raft.roles(); len(roles) != 3 {
					t.Errorf("%s knows the configuration %v", n.name, roles)
				}
			}
			late := m.add("late") // with the same command line
			late.change = func(c *Config) { expect(c); c.Join = []string{addr} }
			m.start(late)
			m.agree(m.nodes...)
		})
	}
}

func TestTooFewNodesMakeNoMesh(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	a, b := m.add("a"), m.add("b")
	a.change = func(c *Config) { c.BootstrapExpect = 3 }
	m.start(a)
	b.change = func(c *Config) { c.BootstrapExpect = 3; c.Join = []string{a.c.GossipAddr()} }
	m.start(b)
	eventually(t, "the two see each other", func() error {
		if a.c.gossip.table.count() < 2 || b.c.gossip.table.count() < 2 {
			return errors.New("not yet")
		}
		return nil
	})
	never(t, time.Second, "a mesh of two of three", func() bool { return a.c.member() || b.c.member() })
	if err := a.c.Ready(); err == nil || !strings.Contains(err.Error(), "not joined") {
		t.Errorf("ready says %v", err)
	}
}

// TestAPromiseIsGivenOnce: a node that promised itself to one maker of a mesh
// is not to be had for another.
func TestAPromiseIsGivenOnce(t *testing.T) {
	t.Parallel()
	var f founding
	if first, again := f.give("a"), f.give("a"); !first || !again {
		t.Error("refused the same node")
	}
	if f.give("b") {
		t.Error("promised to two")
	}
	f.until = time.Now().Add(-time.Second)
	if !f.give("b") {
		t.Error("an old promise still holds")
	}
	m := newMesh(t)
	nodes := m.up(2)
	if _, err := nodes[0].c.call(t.Context(), nodes[1].id(), pathPromise, nil); !errors.Is(err, state.ErrConflict) {
		t.Errorf("a node of a mesh promised to make another: %v", err)
	}
}

func TestAWholeMeshComesBackElsewhere(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	nodes := m.up(3)
	if _, err := nodes[1].addUser("ana"); err != nil {
		t.Fatal(err)
	}
	for _, n := range nodes {
		n.stop()
	}
	for i, n := range nodes { // every port is another one now
		n.change = func(*Config) {}
		if i > 0 {
			n.join(nodes[0])
		}
		m.start(n)
	}
	m.agree(nodes...)
	for _, n := range nodes {
		if !n.has("ana") || len(n.state.View().Nodes()) != 3 {
			t.Errorf("%s came back with another state", n.name)
		}
	}
	if _, err := nodes[2].addUser("ben"); err != nil {
		t.Error(err)
	}
}

// TestKnownPeersAreEnough: a node that comes back needs no seed.
func TestKnownPeersAreEnough(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	nodes := m.up(3)
	back := nodes[2]
	back.kill()
	back.change = func(*Config) {}
	m.start(back)
	m.agree(nodes...)
	for _, n := range nodes {
		if got := len(n.state.View().Nodes()); got != 3 {
			t.Errorf("%s has %d nodes in its state", n.name, got)
		}
	}
}

func TestNoSecondMeshByAccident(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	nodes := m.up(2)
	for _, n := range nodes {
		n.stop()
	}
	n := nodes[1]

	n.change = func(*Config) {} // as if it were started for the first time, alone
	m.start(n)
	never(t, time.Second, "one of two leads", func() bool { return n.c.IsLeader() })
	n.stop()

	log := filepath.Join(n.dir, "cluster", "raft")
	if err := os.RemoveAll(log); err != nil {
		t.Fatal(err)
	}
	if err := m.tryStart(n); err == nil || !strings.Contains(err.Error(), log) || !strings.Contains(err.Error(), "--rejoin") {
		t.Errorf("a node whose log is gone: %v", err)
	}

	if err := writeMark(filepath.Join(n.dir, "cluster"), joining); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(log); err != nil {
		t.Fatal(err)
	}
	m.start(n)
	never(t, time.Second, "a node that was joining makes a mesh", func() bool { return n.c.member() })
}

func TestAnotherSecretIsKeptOut(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	nodes := m.up(1)
	stranger := m.add("stranger")
	stranger.secret = transport.Generate()
	stranger.join(nodes[0])
	m.start(stranger)
	never(t, time.Second, "a stranger gets in", func() bool {
		return stranger.c.member() || len(nodes[0].c.Members()) > 1 || len(stranger.c.Members()) > 1
	})
	if _, err := nodes[0].addUser("ana"); err != nil {
		t.Error(err)
	}
}

func TestANameThatIsTaken(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	nodes := m.up(2)
	twin := m.add(nodes[1].name)
	twin.join(nodes[1])
	m.start(twin)
	select {
	case err := <-twin.c.Fatal():
		if !errors.Is(err, state.ErrConflict) || !strings.Contains(err.Error(), "--name") {
			t.Errorf("refused with %v", err)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("a second node of the same name was not refused")
	}
	if got := len(nodes[0].c.raft.roles()); got != 2 {
		t.Errorf("it is in the configuration all the same: %d", got)
	}
}

func TestTwoNodesInOneDirectory(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	first := m.up(1)[0]
	second := m.add("n1")
	second.dir = first.dir
	err := m.tryStart(second)
	if err == nil || !strings.Contains(err.Error(), "another node is running") {
		t.Errorf("started with the data of a running node: %v", err)
	}
}

// TestAMeshOfItsOwnDoesNotSlipIn: who forgot --join once must not end up with
// two meshes under one secret.
func TestAMeshOfItsOwnDoesNotSlipIn(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	nodes := m.up(2)
	stray := m.add("stray")
	m.start(stray)
	stray.ready()
	stray.stop()
	stray.join(nodes[0])
	m.start(stray)
	select {
	case err := <-stray.c.Fatal():
		if !strings.Contains(err.Error(), "mesh of its own") || !strings.Contains(err.Error(), "empty data directory") {
			t.Errorf("refused with %v", err)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("it was not refused")
	}
}

func TestWhoVotes(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	for nodes, want := range []string{"", "1+0", "2+0", "3+0", "3+1", "5+0", "5+1"} {
		if nodes == 0 {
			continue
		}
		n := m.add(fmt.Sprint("n", nodes))
		if nodes > 1 {
			n.join(m.nodes[0])
		}
		m.start(n)
		n.ready()
		eventually(t, fmt.Sprintf("%d nodes vote as %s", nodes, want), func() error {
			roles := m.nodes[0].c.Roles()
			voters := 0
			for _, role := range roles {
				if role != Nonvoter {
					voters++
				}
			}
			if got := fmt.Sprintf("%d+%d", voters, len(roles)-voters); got != want {
				return fmt.Errorf("as %s", got)
			}
			return nil
		})
	}
	for _, n := range m.nodes {
		if _, err := n.addUser("by-" + n.name); err != nil {
			t.Errorf("through %s: %v", n.name, err)
		}
	}
}

// TestJoiningAfterASnapshot: the log that a new node would need is gone.
func TestJoiningAfterASnapshot(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	few := func(c *Config) { c.Limits.Trailing = 1 }
	first := m.add("n0")
	first.change = few
	m.start(first)
	first.ready()
	for i := range 20 {
		if _, err := first.addUser(fmt.Sprint("user", i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := first.c.raft.raft().Snapshot().Error(); err != nil {
		t.Fatal(err)
	}
	if index, err := first.c.raft.logs.FirstIndex(); err != nil || index < 20 {
		t.Fatalf("the log still begins at %d: %v", index, err)
	}
	if _, err := first.addUser("after"); err != nil {
		t.Fatal(err)
	}
	second := m.add("n1")
	second.join(first)
	m.start(second)
	m.agree(first, second)
	if !second.has("user0") || !second.has("after") {
		t.Error("the new node lacks users")
	}
	second.kill()
	second.change = few
	m.start(second)
	m.agree(first, second)
	if !second.has("user0") || !second.has("after") {
		t.Error("after a restart the new node lacks users")
	}
}

func TestRemovingANode(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	nodes := m.up(3)
	leader := m.leader(nodes...)
	var gone, rest *node
	for _, n := range nodes {
		switch {
		case n == leader:
		case gone == nil:
			gone = n
		default:
			rest = n
		}
	}
	id := gone.id()
	gone.kill()
	if err := rest.c.Remove(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	if _, there := rest.state.View().Node(id); there {
		t.Error("the state still has the node")
	}
	if roles := leader.c.raft.roles(); len(roles) != 2 {
		t.Errorf("the configuration is %v", roles)
	}
	if err := rest.c.Remove(t.Context(), id); !errors.Is(err, state.ErrNotFound) {
		t.Errorf("removed twice: %v", err)
	}
	// The leader of two: it gives up its vote first, since it cannot remove itself.
	id = leader.id()
	if err := rest.c.Remove(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	if roles := rest.c.raft.roles(); len(roles) != 1 || roles[rest.id()] != Voter {
		t.Errorf("without the leader the configuration is %v", roles)
	}
	if _, err := rest.addUser("after"); err != nil {
		t.Error(err)
	}
}

// never watches for a while that something does not come about.
func never(t *testing.T, patience time.Duration, what string, happened func() bool) {
	t.Helper()
	end := time.After(patience)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		if happened() {
			t.Fatal(what)
		}
		select {
		case <-tick.C:
		case <-end:
			return
		}
	}
}
