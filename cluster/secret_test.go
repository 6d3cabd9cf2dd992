package cluster

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"testing"
	"time"

	"malla/cluster/state"
	"malla/cluster/transport"
)

// ask sends a request over a link and returns its status.
func ask(t *testing.T, l *transport.Link, id state.NodeID, path string) (int, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	req, err := http.NewRequest(http.MethodPost, path, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := l.Do(ctx, string(id), req)
	if err != nil {
		return 0, err
	}
	resp.Body.Close()
	return resp.StatusCode, nil
}

// TestARemovedNodeGetsNothing: it has the secret still, and runs on.
func TestARemovedNodeGetsNothing(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	nodes := m.up(3)
	leader := m.leader(nodes...)
	var removed, stays *node
	for _, n := range nodes {
		switch {
		case n == leader:
		case removed == nil:
			removed = n
		default:
			stays = n
		}
	}
	removedID := removed.id()
	if err := stays.c.Remove(t.Context(), removedID); err != nil {
		t.Fatal(err)
	}
	for _, n := range []*node{leader, stays} {
		eventually(t, "the removed node is refused", func() error {
			for _, path := range []string{pathPropose, pathIndex, pathRemove} {
				if status, err := ask(t, removed.link, n.id(), path); err == nil && status != http.StatusForbidden {
					return fmt.Errorf("%s answers %s with status %d", n.name, path, status)
				}
			}
			return nil
		})
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	if _, err := removed.c.Propose(ctx, user("ben")); err == nil {
		t.Error("a removed node wrote into the log")
	}
	patient, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if _, err := stays.c.Propose(patient, user("ana")); err != nil {
		t.Errorf("the mesh goes on: %v", err)
	}
	if _, ok := stays.state.View().Node(removedID); ok {
		t.Error("the removed node has entered itself again")
	}

	// It calls itself by the id of a member.
	removed.kill()
	imposter, err := transport.Listen(transport.Config{Secret: m.secret, NodeID: string(stays.id()), Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	defer imposter.Close()
	imposter.SetResolver(func(string) (string, bool) { return leader.link.Addr().String(), true })
	for _, path := range []string{pathPropose, pathJoin} {
		if status, err := ask(t, imposter, leader.id(), path); err == nil {
			t.Errorf("an imposter was answered with status %d", status)
		}
	}
}

// TestAnotherKeyIsRefused: a node has lost the file with its key.
func TestAnotherKeyIsRefused(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	nodes := m.up(2)
	id := nodes[1].id()
	_, err := nodes[0].c.Propose(t.Context(), state.RegisterNode{ID: id, Name: "n1", Version: "test", Key: []byte("another")})
	if !errors.Is(err, state.ErrConflict) {
		t.Errorf("want Conflict, got %v", err)
	}
}
