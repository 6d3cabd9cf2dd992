package cluster

import (
	"fmt"
	"testing"

	"malla/cluster/state"
)

// TestWhatAnOldVersionDroppedComesBack has a node whose state lacks what its
// older version did not know of another one's record. When the versions in the
// mesh change, as they do at the end of an upgrade, it is told again.
func TestWhatAnOldVersionDroppedComesBack(t *testing.T) {
	m := newMesh(t)
	first, upgraded := m.add("n0"), m.add("n1")
	first.change = func(c *Config) { c.Capacity = 1 << 40 }
	m.start(first)
	first.ready()
	upgraded.join(first)
	m.start(upgraded)
	m.agree(first, upgraded)
	knows := func() error {
		if rec, _ := upgraded.state.View().Node(first.id()); rec.Capacity != 1<<40 {
			return fmt.Errorf("its capacity is %d", rec.Capacity)
		}
		return nil
	}
	eventually(t, "both know the capacity", knows)

	old := first.c.record()
	old.Capacity = 0
	entry, err := state.Encode("", old)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := upgraded.state.Apply(upgraded.state.Index(), entry); err != nil {
		t.Fatal(err)
	}
	if knows() == nil {
		t.Fatal("the state still has the capacity")
	}
	other := state.RegisterNode{ID: "another", Name: "another", Version: "newer", HTTP: old.HTTP, Peer: "127.0.0.1:1", Gossip: "127.0.0.1:1", At: old.At}
	if _, err := first.c.Propose(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is told again", knows)
}
