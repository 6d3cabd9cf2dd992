package cluster

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"malla/cluster/state"
)

// refused waits until the node says why it cannot go on.
func (n *node) refused(words ...string) {
	n.t.Helper()
	select {
	case err := <-n.c.Fatal():
		for _, w := range words {
			if !strings.Contains(err.Error(), w) {
				n.t.Errorf("%s is refused with %q, want %q", n.name, err, w)
			}
		}
	case <-time.After(time.Minute):
		n.t.Fatalf("%s was not refused", n.name)
	}
}

// split returns the leader and the others.
func (m *mesh) split(nodes []*node) (leader *node, rest []*node) {
	m.t.Helper()
	leader = m.leader(nodes...)
	for _, n := range nodes {
		if n != leader {
			rest = append(rest, n)
		}
	}
	return leader, rest
}

func (n *node) term() string { return n.c.raft.raft().Stats()["term"] }

// TestAForgottenNodeComesBack with the log in which it is still a member.
func TestAForgottenNodeComesBack(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	leader, rest := m.split(m.up(3))
	gone, id := rest[0], rest[0].id()
	gone.kill()
	eventually(t, "it is forgotten", func() error { return rest[1].c.Remove(t.Context(), id) })
	term := leader.term()
	m.start(gone)
	gone.refused("does not know this node", "empty data directory")
	if !leader.c.IsLeader() || leader.term() != term {
		t.Errorf("it disturbed the mesh: term %s became %s", term, leader.term())
	}
	if len(leader.c.raft.roles()) != 2 || len(leader.state.View().Nodes()) != 2 {
		t.Errorf("the mesh is %v", leader.c.raft.roles())
	}
	rest[1].writes("ana")
}

func TestTheLeaderIsRemoved(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	leader, rest := m.split(m.up(3))
	eventually(t, "it is removed", func() error { return rest[0].c.Remove(t.Context(), leader.id()) })
	leader.refused("does not know this node")
	for _, n := range rest {
		n.writes("by-" + n.name)
		if len(n.c.raft.roles()) != 2 || len(n.state.View().Nodes()) != 2 {
			t.Errorf("%s knows %v", n.name, n.c.raft.roles())
		}
	}
}

func TestANodeLeavesForGood(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	nodes := m.up(2)
	leader, rest := m.split(nodes)
	eventually(t, "it leaves", func() error { return leader.c.Leave(t.Context()) })
	leader.stop()
	if err := m.tryStart(leader); err == nil || !strings.Contains(err.Error(), "left its mesh") || !strings.Contains(err.Error(), "empty data directory") {
		t.Errorf("it came back: %v", err)
	}
	rest[0].writes("ana")
	if err := rest[0].c.Leave(t.Context()); !errors.Is(err, state.ErrConflict) {
		t.Errorf("the last node left: %v", err)
	}
	rest[0].ready()
}

// TestWhoCannotBeSpared: three vote, one is dead. Without another one nothing
// could be agreed on any more, not even that.
func TestWhoCannotBeSpared(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	leader, rest := m.split(m.up(3))
	dead := rest[0].id()
	eventually(t, "three nodes vote", func() error {
		if n := leader.c.Strength().Voters; n != 3 {
			return fmt.Errorf("%d vote", n)
		}
		return nil
	})
	rest[0].kill()
	// The gossip may not have noticed yet.
	eventually(t, "that nobody else can be spared is said", func() error {
		switch err := leader.c.Remove(t.Context(), rest[1].id()); {
		case err == nil:
			t.Fatalf("%s was removed", rest[1].name)
		case !errors.Is(err, state.ErrConflict):
			return err
		}
		return nil
	})
	eventually(t, "the dead one is known to be", func() error {
		if s := leader.c.Strength(); s.Alive != 2 {
			return fmt.Errorf("%+v", s)
		}
		return nil
	})
	for _, n := range []*node{leader, rest[1]} {
		if err := leader.c.Remove(t.Context(), n.id()); !errors.Is(err, state.ErrConflict) || !strings.Contains(err.Error(), "1 of 2") {
			t.Errorf("%s was removed: %v", n.name, err)
		}
	}
	if err := leader.c.Remove(t.Context(), dead); err != nil {
		t.Error(err)
	}
	if err := leader.c.Remove(t.Context(), rest[1].id()); err != nil {
		t.Error(err)
	}
}

// TestANodeOfAnotherMesh is started with the addresses of this one.
func TestANodeOfAnotherMesh(t *testing.T) {
	t.Parallel()
	ours, theirs := newMesh(t), newMesh(t)
	theirs.secret = ours.secret
	leader := ours.up(1)[0]
	theirs.up(2)
	for _, n := range theirs.nodes {
		n.stop()
	}
	stray := theirs.nodes[1]
	stray.join(leader)
	theirs.start(stray)
	stray.refused("belongs to another mesh", "empty data directory")
	leader.writes("ana")
	if n := len(leader.state.View().Nodes()); n != 1 {
		t.Errorf("the mesh has %d nodes", n)
	}
}

// logged is what a node logs.
type logged struct {
	mu   sync.Mutex // guards the field below
	text bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logged) has(words string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Contains(l.text.String(), words)
}

// keepLog has the node log into what it returns, beside the changes it has.
func (n *node) keepLog() *logged {
	l, change := &logged{}, n.change
	n.change = func(c *Config) { change(c); c.Logger = slog.New(slog.NewTextHandler(l, nil)) }
	return l
}

// TestTwoMeshesUnderOneSecret see each other, which somebody should know.
func TestTwoMeshesUnderOneSecret(t *testing.T) {
	t.Parallel()
	ours, theirs := newMesh(t), newMesh(t)
	theirs.secret = ours.secret
	n := ours.add("ours")
	said := n.keepLog()
	ours.start(n)
	n.ready()
	other := theirs.up(1)[0]
	if _, err := n.c.gossip.list.Join([]string{other.c.GossipAddr()}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it warns of the stranger", func() error {
		if !said.has("belongs to another mesh") || !said.has("stranger="+other.name) {
			return errors.New("it says nothing")
		}
		return nil
	})
}

// TestACopiedDataDirectory runs under one id in two places. The copy ends, and
// what it said of itself does no harm.
func TestACopiedDataDirectory(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	leader, rest := m.split(m.up(3))
	first := rest[0]
	dir := t.TempDir()
	copied := m.add("copy")
	first.stop() // the files are copied while nobody writes, as it happens to images of machines
	if err := os.CopyFS(filepath.Join(dir, "d"), os.DirFS(first.dir)); err != nil {
		t.Fatal(err)
	}
	copied.dir = filepath.Join(dir, "d")
	if err := os.Chmod(filepath.Join(copied.dir, "node-key"), 0o600); err != nil {
		t.Fatal(err)
	}
	said := first.keepLog()
	m.start(first)
	m.agree(m.nodes[:3]...)
	copied.join(leader)
	rename := copied.change
	copied.change = func(c *Config) { rename(c); c.Name = first.name }
	m.start(copied)
	copied.refused("another process runs with this node's id", first.c.GossipAddr(), "empty data directory")
	copied.stop()
	eventually(t, "the first one tells of it", func() error {
		if !said.has("another process was started with this node's id") {
			return errors.New("it says nothing")
		}
		return nil
	})
	m.agree(m.nodes[:3]...)
	eventually(t, "its reports count", func() error {
		for _, p := range leader.c.Members() {
			if p.ID == first.id() && (p.State != Alive || p.Gossip != first.c.GossipAddr() || p.Load.Tasks != 1) {
				return fmt.Errorf("it is %+v", p)
			}
		}
		return nil
	})
	first.writes("ana")
	select {
	case err := <-first.c.Fatal():
		t.Errorf("the first one ended, too: %v", err)
	default:
	}
}

func TestAClockThatIsFarOff(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	nodes := m.up(2)
	leader, rest := m.split(nodes)
	t.Run("it is not let in", func(t *testing.T) {
		for _, off := range []time.Duration{time.Hour, -time.Hour} {
			n := rest[0].c.record()
			n.Name, n.At = "late", n.At.Add(off)
			body, err := json.Marshal(n)
			if err != nil {
				t.Fatal(err)
			}
			_, err = rest[0].c.call(t.Context(), leader.id(), pathJoin, body)
			if !errors.Is(err, state.ErrConflict) || !strings.Contains(err.Error(), "clock of node late") || !strings.Contains(err.Error(), "NTP") {
				t.Errorf("%v off: %v", off, err)
			}
		}
	})
	t.Run("everybody sees it", func(t *testing.T) {
		// As if the other one led with its clock an hour off.
		stop := make(chan struct{})
		var wg sync.WaitGroup
		wg.Go(func() {
			for {
				req, _ := http.NewRequest(http.MethodGet, pathStanding+"?clock="+strconv.FormatInt(time.Now().Add(time.Hour).UnixNano(), 10), nil)
				if resp, err := rest[0].c.cfg.Link.Do(context.Background(), string(leader.id()), req); err == nil {
					resp.Body.Close()
				}
				select {
				case <-stop:
					return
				case <-time.After(10 * time.Millisecond):
				}
			}
		})
		defer wg.Wait()
		defer close(stop)
		eventually(t, "the others see it", func() error {
			for _, p := range rest[0].c.Members() {
				if p.ID == leader.id() && !p.Load.ClockOff {
					return errors.New("not yet")
				}
			}
			return nil
		})
	})
	if s := skew(-3 * time.Hour); s != "3h0m0s behind" {
		t.Error(s)
	}
}
