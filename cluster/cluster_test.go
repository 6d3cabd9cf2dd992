package cluster

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"malla/cluster/state"
)

func TestOneNodeMakesItsMesh(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	n := m.up(1)[0]
	if _, err := n.addUser("ana"); err != nil {
		t.Fatal(err)
	}
	if !n.c.IsLeader() {
		t.Error("the only node does not lead")
	}
	members := n.c.Members()
	if len(members) != 1 || members[0].Role != Leader || members[0].State != Alive || members[0].HTTP != "127.0.0.1:8000" {
		t.Errorf("members: %+v", members)
	}
	n.stop()
	m.start(n)
	n.ready()
	if !n.has("ana") {
		t.Error("the state did not survive a restart")
	}
}

// TestThreeNodesByJoining is what an ordinary day looks like.
func TestThreeNodesByJoining(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	nodes := m.up(3)
	t.Run("any node takes a write", func(t *testing.T) {
		for i, n := range nodes {
			if _, err := n.addUser(fmt.Sprint("user", i)); err != nil {
				t.Errorf("through %s: %v", n.name, err)
			}
		}
		for _, n := range nodes {
			if got := len(n.c.Members()); got != 3 {
				t.Errorf("%s sees %d members", n.name, got)
			}
		}
		if _, err := nodes[2].addUser("USER0"); !errors.Is(err, state.ErrConflict) || !strings.Contains(err.Error(), "USER0") {
			t.Errorf("a refusal by the leader came as %v", err)
		}
	})
	t.Run("a request is applied once", func(t *testing.T) {
		entry, err := state.Encode("request-1", user("ana"))
		if err != nil {
			t.Fatal(err)
		}
		var results []state.Result
		for _, n := range nodes { // as if each answer but the last were lost
			result, err := n.c.atLeader(t.Context(), pathPropose, entry, n.c.apply)
			if err != nil {
				t.Fatalf("through %s: %v", n.name, err)
			}
			results = append(results, result)
		}
		if results[0].ID != "id-ana" || results[1].ID != results[0].ID || results[2].ID != results[0].ID {
			t.Errorf("the retries were answered %v", results)
		}
	})
	t.Run("what is too large is refused", func(t *testing.T) {
		n := nodes[1]
		big := user("ana")
		big.Password = strings.Repeat("x", maxEntry)
		if _, err := n.c.Propose(t.Context(), big); !errors.Is(err, state.ErrInvalid) {
			t.Errorf("want Invalid, got %v", err)
		}
	})
	t.Run("who is refused sees why", func(t *testing.T) {
		for i := range 20 {
			name := fmt.Sprint("taken", i)
			if _, err := nodes[i%3].addUser(name); err != nil {
				t.Fatal(err)
			}
			other := nodes[(i+1)%3]
			if _, err := other.c.Propose(t.Context(), user(name)); !errors.Is(err, state.ErrConflict) || !other.has(name) {
				t.Fatalf("%v, and the node shows it: %v", err, other.has(name))
			}
		}
	})
	t.Run("strong reads are not stale", func(t *testing.T) {
		for i := range 20 {
			w, r := nodes[i%3], nodes[(i+1)%3]
			result, err := w.c.Propose(t.Context(), user(fmt.Sprint("reader", i)))
			if err != nil {
				t.Fatal(err)
			}
			index, err := r.c.ReadIndex(t.Context())
			if err != nil || index < result.Index || !r.has(fmt.Sprint("reader", i)) {
				t.Fatalf("read %d: index %d, written at %d: %v", i, index, result.Index, err)
			}
		}
	})
}

func TestProposeEndsWithItsContext(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	nodes := m.up(2)
	nodes[0].kill()
	n := nodes[1]
	ctx, cancel := context.WithTimeout(t.Context(), 700*time.Millisecond)
	defer cancel()
	if _, err := n.c.Propose(ctx, user("ana")); !errors.Is(err, state.ErrNoLeader) {
		t.Errorf("without a quorum: want NoLeader, got %v", err)
	}
	ctx, cancel = context.WithCancel(t.Context())
	cancel()
	if _, err := n.c.Propose(ctx, user("ana")); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
	eventually(t, "a node without a leader is not ready", func() error {
		if err := n.c.Ready(); !errors.Is(err, state.ErrNoLeader) {
			return fmt.Errorf("ready says %v", err)
		}
		return nil
	})
}

// TestTheLeaderIsLost is the promise that users notice most.
// TestWhoGivesUpMayHaveProposed stops the only follower, so that the leader's log
// takes what cannot be agreed on, and gives up waiting.
func TestWhoGivesUpMayHaveProposed(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	nodes := m.up(2)
	leader := m.leader(nodes...)
	for _, n := range nodes {
		if n != leader {
			n.kill()
		}
	}
	appended := leader.c.raft.raft().LastIndex()
	ctx, cancel := context.WithCancel(t.Context())
	proposed := make(chan error, 1)
	go func() {
		_, err := leader.c.Propose(ctx, user("ana"))
		proposed <- err
	}()
	eventually(t, "the command is in the log", func() error {
		if leader.c.raft.raft().LastIndex() == appended {
			return errors.New("not yet")
		}
		return nil
	})
	cancel()
	err := <-proposed
	var refusal *state.Error
	if !errors.Is(err, context.Canceled) || !errors.As(err, &refusal) || !refusal.Unsure {
		t.Errorf("canceled, and perhaps done: %v", err)
	}
}

func TestTheLeaderIsLost(t *testing.T) {
	m := newMesh(t)
	nodes := m.up(3)
	for round := range 2 {
		lost := m.leader(nodes...)
		lost.kill()
		began := time.Now()
		for _, n := range nodes {
			if n == lost {
				continue
			}
			if _, err := n.addUser(fmt.Sprintf("user%d-%s", round, n.name)); err != nil {
				t.Errorf("round %d, through %s: %v", round, n.name, err)
			}
		}
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("round %d: writes worked again after %v", round, took)
		}
		m.start(lost)
		m.agree(nodes...)
		for _, n := range nodes {
			if !lost.has(fmt.Sprintf("user%d-%s", round, n.name)) && n != lost {
				t.Errorf("round %d: %s came back without what happened meanwhile", round, lost.name)
			}
		}
	}
}

func TestLeadershipIsHandedOver(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	nodes := m.up(3)
	old := m.leader(nodes...)
	began := time.Now()
	old.stop()
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("closing took %v", took)
	}
	for _, n := range nodes {
		if n == old {
			continue
		}
		if _, err := n.addUser("after-" + n.name); err != nil {
			t.Error(err)
		}
		eventually(t, "the node that went is known to have left", func() error {
			for _, other := range n.c.Members() {
				if other.Name == old.name && other.State != Left {
					return fmt.Errorf("it is %s", other.State)
				}
			}
			return nil
		})
	}
}

func TestAPartition(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	nodes := m.up(3)
	alone := m.leader(nodes...)
	var rest []*node
	for _, n := range nodes {
		if n != alone {
			rest = append(rest, n)
		}
	}
	m.net.split([]*node{alone}, rest)
	if _, err := rest[0].addUser("ana"); err != nil {
		t.Fatalf("the majority cannot write: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if _, err := alone.c.Propose(ctx, user("ben")); !errors.Is(err, state.ErrNoLeader) {
		t.Errorf("the minority: want NoLeader, got %v", err)
	}
	if alone.c.IsLeader() {
		t.Error("the old leader still believes to lead")
	}
	if _, err := alone.c.ReadIndex(ctx); !errors.Is(err, state.ErrNoLeader) {
		t.Errorf("a strong read at the minority: want NoLeader, got %v", err)
	}
	eventually(t, "the node says why it cannot agree", func() error {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		_, err := alone.c.Propose(ctx, user("cleo"))
		var refusal *state.Error
		if !errors.As(err, &refusal) || refusal.Kind != state.NoLeader || refusal.Unsure {
			return fmt.Errorf("it says %#v", err)
		}
		if !strings.Contains(refusal.Msg, "reaches 1 of the 3 nodes that have a vote, and 2 are needed") {
			return err
		}
		return nil
	})
	eventually(t, "the majority gives the node up", func() error {
		for _, other := range rest[0].c.Members() {
			if other.ID == alone.id() && other.State != Dead {
				return fmt.Errorf("it is %s", other.State)
			}
		}
		return nil
	})
	m.net.heal()
	m.agree(nodes...)
	if !alone.has("ana") || alone.has("ben") {
		t.Error("the node that was cut off has another state")
	}
}

// TestDutiesOfTheLeader moves leadership around and watches who works.
func TestDutiesOfTheLeader(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	nodes := m.up(3)
	type event struct {
		node   *node
		begins bool
	}
	events := make(chan event, 100)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan struct{}, 3)
	for _, n := range nodes {
		c := n.c
		go func() {
			c.Leading(ctx, func(ctx context.Context) {
				events <- event{n, true}
				<-ctx.Done()
				events <- event{n, false}
			})
			ended <- struct{}{}
		}()
	}
	working := map[*node]bool{}
	next := func(what string) event {
		t.Helper()
		select {
		case e := <-events:
			if working[e.node] == e.begins {
				t.Fatalf("%s: duties of %s overlap", what, e.node.name)
			}
			working[e.node] = e.begins
			return e
		case <-time.After(20 * time.Second):
			t.Fatalf("%s: nothing happens", what)
			return event{}
		}
	}
	if e := next("at first"); !e.begins || e.node != m.leader(nodes...) {
		t.Fatalf("%s works first", e.node.name)
	}
	first := m.leader(nodes...)
	if err := first.c.raft.raft().LeadershipTransfer().Error(); err != nil {
		t.Fatal(err)
	}
	for range 2 { // one ends, another begins
		next("after the transfer")
	}
	second := m.leader(nodes...)
	if working[first] || !working[second] || second == first {
		t.Error("after the transfer the wrong node works")
	}
	cancel()
	next("at the end")
	for range 3 {
		select {
		case <-ended:
		case <-time.After(10 * time.Second):
			t.Fatal("Leading did not end with its context")
		}
	}
}

func TestLoadsAreKnownToAll(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	nodes := m.up(3)
	late := m.add("late-one")
	late.join(nodes[1])
	m.start(late)
	nodes = append(nodes, late)
	eventually(t, "everybody knows everybody's load", func() error {
		for _, n := range nodes {
			members := n.c.Members()
			if len(members) != 4 {
				return fmt.Errorf("%s sees %d members", n.name, len(members))
			}
			for _, other := range members {
				l := other.Load
				if other.State != Alive || l.Tasks != 1 || l.Slots != len(other.Name) || l.MemoryTotal == 0 || l.DiskTotal == 0 || l.DiskFree > l.DiskTotal {
					return fmt.Errorf("%s sees %s %s with %+v", n.name, other.State, other.Name, l)
				}
			}
		}
		return nil
	})
}

func TestLibraryMetricsAreRegistered(t *testing.T) {
	m := newMesh(t)
	reg := prometheus.NewRegistry()
	n := m.add("n0")
	n.change = func(c *Config) { c.Metrics = reg }
	m.start(n)
	n.ready()
	if _, err := n.addUser("ana"); err != nil {
		t.Fatal(err)
	}
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]bool{}
	for _, f := range families {
		found[strings.SplitN(f.GetName(), "_", 2)[0]] = true
	}
	if !found["raft"] || !found["memberlist"] {
		t.Errorf("no raft_* or memberlist_* metric among %d families", len(families))
	}
}

func TestNothingIsLeftRunning(t *testing.T) {
	m := newMesh(t)
	nodes := m.up(3)
	nodes[0].kill()
	nodes[1].stop()
	nodes[2].stop()
	var left []string
	eventually(t, "all goroutines end", func() error {
		left = left[:0]
		buf := make([]byte, 4<<20)
		for _, g := range strings.Split(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
			if strings.Contains(g, "hashicorp/") || strings.Contains(g, "cluster.(*") || strings.Contains(g, "transport.(*") || strings.Contains(g, "bbolt") {
				left = append(left, g)
			}
		}
		if len(left) > 0 {
			return fmt.Errorf("%d still run:\n%s", len(left), strings.Join(left, "\n\n"))
		}
		return nil
	})
}
