package state

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"
)

// secretMesh is a state with three nodes, each with a key.
func secretMesh(t *testing.T) *story {
	t.Helper()
	l := &story{t: t, s: New()}
	for _, name := range []string{"a", "b", "c"} {
		l.ok(RegisterNode{ID: NodeID(name), Name: name, Key: []byte(name), At: now})
	}
	return l
}

func (st *story) advance(epoch uint64, phase SecretPhase, ids ...NodeID) {
	st.t.Helper()
	for _, id := range ids {
		st.ok(AdvanceRotation{Epoch: epoch, Node: id, Phase: phase})
	}
}

// TestRotation is one from its beginning to its end, with every step that comes
// too early.
func TestRotation(t *testing.T) {
	l := secretMesh(t)
	begin := BeginRotation{Current: "s0", Next: "s1", By: "a", KeepSessions: time.Hour, At: now}
	l.ok(begin)
	l.refused(SwitchSecret{Epoch: 1, At: now}, Conflict)
	l.refused(DropSecret{Epoch: 1, At: now}, Conflict)
	l.refused(AdvanceRotation{Epoch: 1, Node: "a", Phase: SecretSwitching}, Conflict)
	l.refused(AdvanceRotation{Epoch: 1, Node: "x", Phase: SecretPreparing}, NotFound)
	l.refused(AdvanceRotation{Epoch: 2, Node: "a", Phase: SecretPreparing}, Stale)
	l.refused(RegisterNode{ID: "d", Name: "d", At: now}, Busy)
	l.ok(RegisterNode{ID: "a", Name: "a", Zone: "new", Key: []byte("a"), At: now})
	l.advance(1, SecretPreparing, "a", "b", "b")
	l.refused(SwitchSecret{Epoch: 1, At: now}, Conflict)
	l.advance(1, SecretPreparing, "c")
	l.ok(SwitchSecret{Epoch: 1, At: now.Add(time.Minute)})
	l.ok(SwitchSecret{Epoch: 1, At: now.Add(time.Hour)}) // proposed twice
	l.refused(begin, Conflict)
	l.advance(1, SecretSwitching, "a", "b")
	l.refused(DropSecret{Epoch: 1, At: now}, Conflict)
	if waiting := l.s.View().Awaited(l.s.View().Rotation(), []NodeID{"a", "b"}); !slices.Equal(waiting, []string{"c"}) {
		t.Errorf("waits for %v", waiting)
	}
	l.advance(1, SecretSwitching, "c")
	l.ok(DropSecret{Epoch: 1, At: now.Add(2 * time.Minute)})
	r := l.s.View().Rotation()
	if r.Phase != SecretSettled || r.Current != "s1" || r.Next != "" || !r.SwitchedAt.Equal(now.Add(time.Minute)) {
		t.Errorf("at the end: %+v", r)
	}
	if want := []OldSessions{{"s0", now.Add(61 * time.Minute)}}; len(r.Sessions) != 1 || r.Sessions[0].Secret != "s0" || !r.Sessions[0].Until.Equal(want[0].Until) {
		t.Errorf("sessions %+v, want %+v", r.Sessions, want)
	}
	l.refused(DropSecret{Epoch: 1, At: now}, Stale)
	l.ok(RegisterNode{ID: "d", Name: "d", Key: []byte("d"), At: now})

	var snapshot bytes.Buffer
	if err := l.s.Snapshot().Write(&snapshot); err != nil {
		t.Fatal(err)
	}
	back := New()
	if err := back.Restore(&snapshot); err != nil {
		t.Fatal(err)
	}
	if got := back.View().Rotation(); got.Current != "s1" || len(got.Sessions) != 1 {
		t.Errorf("restored: %+v", got)
	}
}

func TestRotationThatEndsSessions(t *testing.T) {
	l := secretMesh(t)
	for epoch, keep := range []time.Duration{time.Hour, 0} {
		epoch := uint64(epoch + 1)
		l.ok(BeginRotation{Current: "old", Next: "new", By: "a", KeepSessions: keep, At: now})
		l.advance(epoch, SecretPreparing, "a", "b", "c")
		l.ok(SwitchSecret{Epoch: epoch, At: now})
		l.advance(epoch, SecretSwitching, "a", "b", "c")
		l.ok(DropSecret{Epoch: epoch, At: now})
		if got := l.s.View().Rotation().Sessions; (len(got) > 0) != (keep > 0) {
			t.Errorf("kept for %v: %+v", keep, got)
		}
	}
}

func TestRotationWithoutANode(t *testing.T) {
	l := secretMesh(t)
	l.ok(BeginRotation{Current: "s0", Next: "s1", By: "a", At: now})
	l.advance(1, SecretPreparing, "a", "b")
	l.refused(SwitchSecret{Epoch: 1, At: now}, Conflict)
	l.ok(ExcuseFromRotation{Epoch: 1, Nodes: []NodeID{"c"}})
	l.ok(SwitchSecret{Epoch: 1, At: now})
	l.advance(1, SecretSwitching, "a", "b")
	l.ok(DropSecret{Epoch: 1, At: now})
}

// TestRemovalDuringARotation: a secret that a removed node has is none.
func TestRemovalDuringARotation(t *testing.T) {
	l := secretMesh(t)
	l.ok(BeginRotation{Current: "s0", Next: "s1", By: "a", At: now})
	l.advance(1, SecretPreparing, "a", "b", "c")
	l.ok(RemoveNode{ID: "c", At: now})
	r := l.s.View().Rotation()
	if r.Phase != SecretSettled || !strings.Contains(r.Canceled, "c was removed") || !slices.Equal(r.KnownTo, []string{"c"}) {
		t.Fatalf("after the removal: %+v", r)
	}
	l.ok(BeginRotation{Current: "s0", Next: "s2", By: "a", At: now})
	l.advance(2, SecretPreparing, "a", "b")
	l.ok(SwitchSecret{Epoch: 2, At: now})
	if r := l.s.View().Rotation(); len(r.KnownTo) > 0 {
		t.Errorf("the new secret is known to %v", r.KnownTo)
	}
	l.advance(2, SecretSwitching, "a")
	l.ok(RemoveNode{ID: "b", At: now})
	l.ok(DropSecret{Epoch: 2, At: now})
	if r := l.s.View().Rotation(); !slices.Equal(r.KnownTo, []string{"b"}) {
		t.Errorf("the new secret is known to %v", r.KnownTo)
	}
}

// TestNobodyHasTheNextSecret: the nodes of a backup are not those of the mesh
// that is made from it.
func TestNobodyHasTheNextSecret(t *testing.T) {
	for _, phase := range []SecretPhase{SecretPreparing, SecretSwitching} {
		l := secretMesh(t)
		l.ok(BeginRotation{Current: "s0", Next: "s1", By: "a", Without: []NodeID{"b", "c"}, At: now})
		if l.advance(1, SecretPreparing, "a"); phase == SecretSwitching {
			l.ok(SwitchSecret{Epoch: 1, At: now})
		}
		l.ok(RemoveNode{ID: "a", At: now})
		if r := l.s.View().Rotation(); r.Phase != SecretSettled || r.Canceled == "" {
			t.Errorf("%s: %+v", phase, r)
		}
		l.ok(RegisterNode{ID: "d", Name: "d", Key: []byte("d"), At: now})
		l.ok(BeginRotation{Current: "s0", Next: "s2", By: "d", At: now})
	}
}

func TestRotationNeedsKeys(t *testing.T) {
	l := secretMesh(t)
	l.ok(RegisterNode{ID: "old", Name: "old", At: now})
	l.refused(BeginRotation{Current: "s0", Next: "s1", By: "a", At: now}, Conflict)
	l.ok(BeginRotation{Current: "s0", Next: "s1", By: "a", Without: []NodeID{"old"}, At: now})
	_, err := l.do(RegisterNode{ID: "a", Name: "a", Key: []byte("another"), At: now})
	if !errors.Is(err, ErrConflict) || !strings.Contains(err.Error(), "node-key") {
		t.Errorf("another key: %v", err)
	}
}
