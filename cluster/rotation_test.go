package cluster

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"malla/cluster/state"
	"malla/cluster/transport"
)

// secretOf is the secret in a node's data directory, for nodes that join.
func (n *node) secretOf() transport.Secret {
	n.t.Helper()
	s, err := transport.LoadSecretFile(filepath.Join(n.dir, transport.SecretFile))
	if err != nil {
		n.t.Fatal(err)
	}
	return s
}

// rotated waits until the rotation with that epoch is over on these nodes, and
// they hold one secret and the same.
func (m *mesh) rotated(epoch uint64, nodes ...*node) {
	m.t.Helper()
	eventually(m.t, "the old secret is worth nothing", func() error {
		var current string
		for _, n := range nodes {
			r := n.state.View().Rotation()
			if r.Epoch != epoch || r.Phase != state.SecretSettled || r.Canceled != "" {
				return fmt.Errorf("%s sees epoch %d %q %s, prepared %d, switched %d", n.name, r.Epoch, r.Phase, r.Canceled, len(r.Prepared), len(r.Switched))
			}
			all := n.c.cfg.Secrets.Accepted()
			if len(all) != 1 {
				return fmt.Errorf("%s accepts %d secrets", n.name, len(all))
			}
			if name := all[0].Fingerprint(); current == "" {
				current = name
			} else if current != name {
				return fmt.Errorf("%s has another secret", n.name)
			}
			if current != r.Current {
				return fmt.Errorf("%s has another secret than the one agreed on", n.name)
			}
			if keys := n.c.gossip.keys.GetKeys(); len(keys) != 1 || string(keys[0]) != string(all[0].Derive("gossip", 32)) {
				return fmt.Errorf("%s gossips with %d keys", n.name, len(keys))
			}
		}
		return nil
	})
}

// rotate begins a rotation as soon as the node can.
func (n *node) rotate(keepSessions time.Duration, without ...state.NodeID) {
	n.t.Helper()
	eventually(n.t, "a rotation begins", func() error { return n.c.RotateSecret(n.t.Context(), without, keepSessions) })
}

func (n *node) phase(want state.SecretPhase) func() error {
	return func() error {
		if r := n.state.View().Rotation(); r.Phase != want {
			return fmt.Errorf("%s is at %q", n.name, r.Phase)
		}
		return nil
	}
}

// TestRotationUnderLoad: who writes and reads meanwhile notices nothing, and who
// has the old secret gets nothing afterwards.
func TestRotationUnderLoad(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	nodes := m.up(3)
	ctx, stop := context.WithCancel(t.Context())
	var load sync.WaitGroup
	for _, n := range nodes {
		load.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				patient, cancel := context.WithTimeout(t.Context(), 30*time.Second)
				if _, err := n.c.Propose(patient, user(fmt.Sprintf("%s-%d", n.name, i))); err != nil {
					t.Errorf("a write through %s: %v", n.name, err)
				}
				if _, err := n.c.ReadIndex(patient); err != nil {
					t.Errorf("a read through %s: %v", n.name, err)
				}
				cancel()
			}
		})
	}
	nodes[1].rotate(time.Hour)
	m.rotated(1, nodes...)
	stop()
	load.Wait()
	m.agree(nodes...)
	for _, n := range nodes {
		if keys := n.c.cfg.Secrets.TokenKeys(); len(keys) != 2 || string(keys[1]) != string(m.secret.TokenKey()) {
			t.Errorf("%s accepts %d keys of users' tokens", n.name, len(keys))
		}
		if n.secretOf() == m.secret {
			t.Errorf("the file %s of %s is the old secret", transport.SecretFile, n.name)
		}
	}
	t.Run("the old secret finds nobody", func(t *testing.T) {
		late := m.add("late")
		late.join(nodes[0])
		m.start(late)
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		<-ctx.Done() // no event tells that nothing happens
		if got := len(late.c.Members()); got != 1 || late.c.Ready() == nil {
			t.Errorf("it sees %d members", got)
		}
		late.stop()
	})
	t.Run("a node that comes later has the secret and the sessions", func(t *testing.T) {
		late := m.add("later")
		late.secret = nodes[2].secretOf()
		late.join(nodes[0])
		m.start(late)
		m.agree(append(slices.Clone(nodes), late)...)
		eventually(t, "it accepts tokens from before", func() error {
			if keys := late.c.cfg.Secrets.TokenKeys(); len(keys) != 2 || string(keys[1]) != string(m.secret.TokenKey()) {
				return fmt.Errorf("%d keys", len(keys))
			}
			return nil
		})
	})
	t.Run("no secret is in logs and snapshots", func(t *testing.T) {
		for _, n := range nodes {
			n.stop()
			for _, s := range []transport.Secret{m.secret, n.secretOf()} {
				digits := s.Text()[strings.LastIndex(s.Text(), "-")+1:]
				err := filepath.WalkDir(filepath.Join(n.dir, "cluster"), func(path string, d os.DirEntry, err error) error {
					if err != nil || d.IsDir() {
						return err
					}
					data, err := os.ReadFile(path)
					if strings.Contains(string(data), digits) {
						t.Errorf("a secret stands in %s", path)
					}
					return err
				})
				if err != nil {
					t.Error(err)
				}
			}
		}
	})
}

// TestRotationWhereNodesDie: in each phase the leader dies, and another node;
// both come back with the flag of their first start.
func TestRotationWhereNodesDie(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	nodes := m.up(3)
	// A node that the others wait for holds the phases open.
	hold := func(n *node) { n.c.secret.mu.Lock() }
	release := func(n *node) { n.c.secret.mu.Unlock() }
	for epoch, phase := range []state.SecretPhase{state.SecretPreparing, state.SecretSwitching} {
		leader := m.leader(nodes...)
		others := slices.DeleteFunc(slices.Clone(nodes), func(n *node) bool { return n == leader })
		held, asked := others[0], others[1]
		if phase == state.SecretPreparing {
			hold(held)
		}
		asked.rotate(time.Hour)
		if phase == state.SecretSwitching {
			eventually(t, "all are prepared", func() error {
				if r := held.state.View().Rotation(); int(r.Epoch) != epoch+1 || !slices.Contains(r.Prepared, held.id()) {
					return errors.New("not yet")
				}
				return nil
			})
			hold(held)
		}
		eventually(t, "the mesh is "+string(phase), held.phase(phase))
		leader.kill()
		m.start(leader)
		m.agree(nodes...) // each knows where the others are now
		asked.kill()
		m.start(asked)
		m.agree(nodes...)
		if held.state.View().Rotation().Phase == state.SecretSettled {
			t.Errorf("the end came without %s", held.name)
		}
		release(held)
		held.kill()
		m.start(held)
		m.rotated(uint64(epoch+1), nodes...)
		m.agree(nodes...)
	}
	if s := nodes[0].secretOf(); s.MeshID() != m.secret.MeshID() {
		t.Errorf("the mesh is called %s, was %s", s.MeshID(), m.secret.MeshID())
	}
}

// TestANodeThatWasAway is refused before it, and after it needs the secret by
// hand.
func TestANodeThatWasAway(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	nodes := m.up(3)
	away, here := nodes[2], nodes[:2]
	awayID := away.id()
	away.stop()
	eventually(t, "it is not there", func() error {
		if here[0].c.lives(awayID) {
			return errors.New("still alive")
		}
		return nil
	})
	eventually(t, "the rest is ready", here[0].c.Ready)
	err := here[0].c.RotateSecret(t.Context(), nil, time.Hour)
	if !errors.Is(err, state.ErrConflict) || !strings.Contains(err.Error(), away.name) {
		t.Fatalf("want a Conflict that names it, got %v", err)
	}
	here[0].rotate(time.Hour, awayID)
	m.rotated(1, here...)
	m.start(away)
	patient, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, err := here[0].c.Propose(patient, user("ana")); err != nil {
		t.Fatal(err)
	}
	if away.has("ana") {
		t.Error("a node with the old secret goes on")
	}
	eventually(t, "it says what to do", func() error {
		if err := away.c.Ready(); err == nil || !strings.Contains(err.Error(), "--secret-file") {
			return fmt.Errorf("it says %v", err)
		}
		return nil
	})
	away.stop()
	away.secret = here[0].secretOf()
	m.start(away)
	m.agree(nodes...)
	m.rotated(1, nodes...)
}

// TestANodeReturnsInTime is given the new secret as long as the old one is
// accepted, though it was not waited for.
func TestANodeReturnsInTime(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	nodes := m.up(3)
	away := nodes[2]
	awayID := away.id()
	away.kill()
	eventually(t, "it is known to be away", func() error {
		if nodes[0].c.lives(awayID) {
			return errors.New("still alive")
		}
		return nil
	})
	nodes[1].c.secret.mu.Lock() // it holds the rotation up
	nodes[0].rotate(time.Hour, awayID)
	m.start(away)
	eventually(t, "the new secret is handed to it", func() error {
		if r := away.state.View().Rotation(); !slices.Contains(r.Prepared, awayID) {
			return fmt.Errorf("prepared: %v", r.Prepared)
		}
		return nil
	})
	nodes[1].c.secret.mu.Unlock()
	m.rotated(1, nodes...)
	m.agree(nodes...)
}

// TestARemovedNodeIsShutOut: it has the old secret, the id of a member, and the
// will to get the new one.
func TestARemovedNodeIsShutOut(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	nodes := m.up(3)
	leader := m.leader(nodes...)
	stay := slices.DeleteFunc(slices.Clone(nodes), func(n *node) bool { return n == leader })
	removed := stay[1]
	stay = []*node{leader, stay[0]}
	if err := stay[1].c.Remove(t.Context(), removed.id()); err != nil {
		t.Fatal(err)
	}
	stay[1].c.secret.mu.Lock() // the next secret is there to be asked for
	stay[0].rotate(0)
	next := stay[0].state.View().Rotation().Next
	if h, err := removed.c.askHolding(t.Context(), stay[0].id(), next); err == nil {
		t.Errorf("it was given %d characters", len(h.Secret))
	}
	imposter, err := transport.Listen(transport.Config{Secret: m.secret, NodeID: string(stay[1].id()), Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	defer imposter.Close()
	imposter.SetResolver(func(string) (string, bool) { return stay[0].link.Addr().String(), true })
	if status, err := ask(t, imposter, stay[0].id(), pathSecret); err == nil {
		t.Errorf("an imposter was answered with status %d", status)
	}
	stay[1].c.secret.mu.Unlock()
	m.rotated(1, stay...)
	if keys := stay[0].c.cfg.Secrets.TokenKeys(); len(keys) != 1 {
		t.Errorf("%d keys of users' tokens are accepted where all sessions were ended", len(keys))
	}
	eventually(t, "its gossip is heard by nobody", func() error {
		for _, n := range stay {
			if n.c.lives(removed.id()) {
				return fmt.Errorf("%s hears it", n.name)
			}
		}
		return nil
	})
	if status, err := ask(t, removed.link, stay[0].id(), pathJoin); err == nil && status != http.StatusForbidden {
		t.Errorf("it was answered with status %d", status)
	}
	if r := stay[0].state.View().Rotation(); len(r.KnownTo) > 0 {
		t.Errorf("the secret in use is known to %v", r.KnownTo)
	}
}
