package state

import (
	"slices"
	"strings"
	"time"
)

// A SecretPhase is how far the mesh is in replacing its secret.
type SecretPhase string

const (
	SecretSettled   SecretPhase = ""          // one secret is in use, and no other is accepted
	SecretPreparing SecretPhase = "preparing" // the next one is handed to all nodes, which then accept both
	SecretSwitching SecretPhase = "switching" // all use the next one, and accept both until the last has switched
)

// A Rotation is how the mesh replaces its secret: the current or the last time.
// It holds fingerprints alone, never a secret: logs and snapshots stay behind
// on the disks of nodes that are removed.
type Rotation struct {
	Epoch   uint64      `json:"epoch"` // 1 for the first
	Phase   SecretPhase `json:"phase,omitempty"`
	Current string      `json:"current,omitempty"` // fingerprint of the secret in use; "" before the first rotation
	Next    string      `json:"next,omitempty"`    // fingerprint of the one that comes; "" when settled
	By      NodeID      `json:"by"`                // who drew it

	Prepared []NodeID `json:"prepared,omitempty"` // have the next one on disk
	Switched []NodeID `json:"switched,omitempty"` // use it
	Without  []NodeID `json:"without,omitempty"`  // are not waited for

	BeganAt    time.Time `json:"began_at"`
	SwitchedAt time.Time `json:"switched_at,omitzero"`
	EndedAt    time.Time `json:"ended_at,omitzero"`
	Canceled   string    `json:"canceled,omitempty"` // why the last one came to nothing

	KeepSessions time.Duration `json:"keep_sessions,omitempty"` // how long users' tokens of the old secret are good after the switch
	Sessions     []OldSessions `json:"sessions,omitempty"`      // that go on
	KnownTo      []string      `json:"known_to,omitempty"`      // names of nodes that were removed and know the secret in use
}

// OldSessions are the users' tokens of a secret that was replaced.
type OldSessions struct {
	Secret string    `json:"secret"` // its fingerprint
	Until  time.Time `json:"until"`  // when they end
}

var rotations = table[Rotation]{name: "rotations", indexes: map[string]index[Rotation]{
	"id": {true, func(*Rotation) string { return key("mesh") }},
}}

// rotation returns a copy of the one there is.
func (t *tx) rotation() Rotation {
	r := t.view().Rotation()
	r.Prepared, r.Switched, r.Without = slices.Clone(r.Prepared), slices.Clone(r.Switched), slices.Clone(r.Without)
	r.Sessions, r.KnownTo = slices.Clone(r.Sessions), slices.Clone(r.KnownTo)
	return r
}

// ongoing returns the rotation under way with that epoch. Any other is Stale.
func (t *tx) ongoing(epoch uint64) (Rotation, error) {
	r := t.rotation()
	if r.Phase == SecretSettled || r.Epoch != epoch {
		return Rotation{}, Errorf(Stale, "this rotation of the secret is over")
	}
	return r, nil
}

// BeginRotation begins to replace the mesh's secret by the next one, which By
// holds. It takes the place of a rotation that is being
// prepared; that one is switching is a Conflict, and so is a node whose version
// has no key of its own, to which no secret could be handed safely.
type BeginRotation struct {
	Current      string        `json:"current"` // fingerprints
	Next         string        `json:"next"`
	By           NodeID        `json:"by"`
	Without      []NodeID      `json:"without,omitempty"`
	KeepSessions time.Duration `json:"keep_sessions,omitempty"`
	At           time.Time     `json:"at"`
}

func (c BeginRotation) apply(t *tx) (string, error) {
	old := t.rotation()
	if old.Phase == SecretSwitching {
		return "", Errorf(Conflict, "the mesh is switching to another secret already: wait until it is done")
	}
	for n := range nodes.each(t.records, "name", "") {
		if len(n.Key) == 0 && !slices.Contains(c.Without, n.ID) {
			return "", Errorf(Conflict, "node %s runs a version that cannot be given a new secret: upgrade it first", n.Name)
		}
	}
	rotations.put(t, &Rotation{
		Epoch: old.Epoch + 1, Phase: SecretPreparing, Current: c.Current, Next: c.Next, By: c.By, Without: c.Without,
		BeganAt: c.At, KeepSessions: c.KeepSessions, Sessions: old.Sessions, KnownTo: old.KnownTo,
	})
	return c.Next, nil
}

// ExcuseFromRotation makes the rotation with that epoch wait no longer for nodes
// that do not come back, or later.
type ExcuseFromRotation struct {
	Epoch uint64   `json:"epoch"`
	Nodes []NodeID `json:"nodes"`
}

func (c ExcuseFromRotation) apply(t *tx) (string, error) {
	r, err := t.ongoing(c.Epoch)
	if err != nil {
		return "", err
	}
	for _, id := range c.Nodes {
		r.Without = with(r.Without, id)
	}
	rotations.put(t, &r)
	return r.Next, nil
}

// AdvanceRotation notes that a node is that far in the rotation with that epoch:
// in SecretPreparing it has the next secret on its disk, in SecretSwitching it
// uses it.
type AdvanceRotation struct {
	Epoch uint64      `json:"epoch"`
	Node  NodeID      `json:"node"`
	Phase SecretPhase `json:"phase"`
}

func (c AdvanceRotation) apply(t *tx) (string, error) {
	r, err := t.ongoing(c.Epoch)
	if err != nil {
		return "", err
	}
	if nodes.get(t.records, "id", key(string(c.Node))) == nil {
		return "", Errorf(NotFound, "no such node")
	}
	switch {
	case c.Phase == SecretPreparing:
		r.Prepared = with(r.Prepared, c.Node)
	case c.Phase == SecretSwitching && r.Phase == SecretSwitching:
		r.Switched = with(r.Switched, c.Node)
	default:
		return "", Errorf(Conflict, "the mesh is not switching to another secret yet")
	}
	rotations.put(t, &r)
	return r.Next, nil
}

// SwitchSecret makes all nodes use the next secret, and accept both. It is a
// Conflict while a node does not have it.
type SwitchSecret struct {
	Epoch uint64    `json:"epoch"`
	At    time.Time `json:"at"`
}

func (c SwitchSecret) apply(t *tx) (string, error) {
	r, err := t.ongoing(c.Epoch)
	if err != nil {
		return "", err
	}
	if missing := t.view().Awaited(r, r.Prepared); len(missing) > 0 {
		return "", Errorf(Conflict, "these nodes do not have the next secret: %s", strings.Join(missing, ", "))
	}
	if r.Phase == SecretPreparing {
		// All that know more than the old one are in the mesh: a removal
		// would have ended the preparation.
		r.Phase, r.SwitchedAt, r.KnownTo = SecretSwitching, c.At, nil
	}
	rotations.put(t, &r)
	return r.Next, nil
}

// DropSecret ends a rotation: nothing of the old secret is accepted any more, but
// tokens of users for as long as they were to be kept. It is a Conflict while a
// node has not switched.
type DropSecret struct {
	Epoch uint64    `json:"epoch"`
	At    time.Time `json:"at"`
}

func (c DropSecret) apply(t *tx) (string, error) {
	r, err := t.ongoing(c.Epoch)
	if err != nil {
		return "", err
	}
	if r.Phase != SecretSwitching {
		return "", Errorf(Conflict, "the mesh still uses the old secret")
	}
	if missing := t.view().Awaited(r, r.Switched); len(missing) > 0 {
		return "", Errorf(Conflict, "these nodes do not use the next secret yet: %s", strings.Join(missing, ", "))
	}
	r.Sessions = slices.DeleteFunc(r.Sessions, func(s OldSessions) bool { return r.KeepSessions == 0 || s.Until.Before(c.At) })
	if r.KeepSessions > 0 {
		r.Sessions = append(r.Sessions, OldSessions{r.Current, r.SwitchedAt.Add(r.KeepSessions)})
	}
	r.Phase, r.Current, r.Next, r.EndedAt = SecretSettled, r.Next, "", c.At
	rotations.put(t, &r)
	return r.Current, nil
}

// maxKnownTo bounds the list of removed nodes.
const maxKnownTo = 100

// learned notes that a node which is removed takes the mesh's secret with it. A
// rotation that is being prepared ends: the node may have the next one as well.
func (t *tx) learned(removed *Node) {
	r := t.rotation()
	if r.KnownTo = append(r.KnownTo, removed.Name); len(r.KnownTo) > maxKnownTo {
		r.KnownTo = r.KnownTo[1:]
	}
	if r.Phase == SecretPreparing {
		r.Phase, r.Next, r.Prepared = SecretSettled, "", nil
		r.Canceled = "node " + removed.Name + " was removed, and may have the next secret: rotate again"
	}
	rotations.put(t, &r)
}

// with returns ids with id in it, once.
func with(ids []NodeID, id NodeID) []NodeID {
	if slices.Contains(ids, id) {
		return ids
	}
	return append(ids, id)
}

// Rotation returns how the mesh replaces its secret, or did so the last time; the
// zero value where it never did. It comes to nothing when no node that has the
// next secret is left: a mesh made anew from a backup has none.
func (v *View) Rotation() Rotation {
	r, _ := deref(rotations.get(v.records, "id", key("mesh")))
	if r.Phase != SecretSettled && !slices.ContainsFunc(r.Holders(), v.has) {
		r.Phase, r.Next, r.Canceled = SecretSettled, "", "no node that has the next secret is left: rotate again"
	}
	return r
}

func (v *View) has(id NodeID) bool { return nodes.get(v.records, "id", key(string(id))) != nil }

// Holders are the nodes that have the next secret.
func (r Rotation) Holders() []NodeID { return with(slices.Clone(r.Prepared), r.By) }

// Awaited returns the names of the nodes that a rotation waits for: those that
// are neither in done nor excused.
func (v *View) Awaited(r Rotation, done []NodeID) []string {
	var names []string
	for n := range nodes.each(v.records, "name", "") {
		if !slices.Contains(done, n.ID) && !slices.Contains(r.Without, n.ID) {
			names = append(names, n.Name)
		}
	}
	return names
}
