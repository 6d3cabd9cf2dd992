package cluster

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"malla/cluster/state"
)

func (n *node) recovery() Recovery {
	id, err := LoadOrCreateID(n.dir)
	if err != nil {
		n.t.Fatal(err)
	}
	return Recovery{ID: id, Dir: filepath.Join(n.dir, "cluster")}
}

// TestARecoveredMeshIsNotOutvoted makes a mesh of one of three nodes, while the
// other two go on as the majority of the old one, and then meet it.
func TestARecoveredMeshIsNotOutvoted(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	nodes := m.up(3)
	left, others := nodes[0], nodes[1:]
	for i := range 30 {
		if _, err := nodes[i%3].addUser(fmt.Sprint("user", i)); err != nil {
			t.Fatal(err)
		}
	}
	m.agree(nodes...)
	if err := left.state.WaitIndex(t.Context(), others[0].state.Index()); err != nil {
		t.Fatal(err)
	}
	left.stop()
	before, err := left.recovery().Survey()
	if err != nil || before.Index < left.state.Index() || before.Term == 0 || !slices.Equal(before.Voters, []string{"n0", "n1", "n2"}) {
		t.Fatalf("survey: %+v, %v", before, err)
	}
	got, err := left.recovery().Recover()
	if err != nil || got.Index != before.Index {
		t.Fatalf("recover: %+v, %v", got, err)
	}
	m.net.split([]*node{left}, others)
	left.change = func(*Config) {}
	m.start(left)
	left.ready()
	for i := range 30 {
		if !left.has(fmt.Sprint("user", i)) {
			t.Fatalf("user%d is lost", i)
		}
	}
	if names := left.state.View().Nodes(); len(names) != 1 || names[0].Name != "n0" {
		t.Errorf("nodes on record: %v", names)
	}
	if _, err := left.addUser("new"); err != nil {
		t.Fatal(err)
	}
	if _, err := others[1].addUser("old"); err != nil {
		t.Fatalf("the old majority cannot agree: %v", err)
	}

	m.net.heal()
	left.stop()
	left.join(others...) // as its command line still says
	m.start(left)
	for _, n := range others {
		select {
		case err := <-n.c.Fatal():
			if !strings.Contains(err.Error(), "--rejoin") {
				t.Errorf("%s: %v", n.name, err)
			}
		case <-time.After(time.Minute):
			t.Fatalf("%s goes on beside the recovered mesh", n.name)
		}
		n.stop()
	}
	left.ready()
	if left.has("old") || !left.has("new") {
		t.Fatal("the old majority has a say in the recovered mesh")
	}
	for _, n := range others {
		n.join(left)
		with := n.change
		n.change = func(c *Config) { with(c); c.Rejoin = true }
		m.start(n)
	}
	fresh := m.add("n3")
	fresh.join(left)
	m.start(fresh)
	m.agree(append(nodes, fresh)...)
	for _, n := range append(others, fresh) {
		if n.has("old") || !n.has("new") {
			t.Errorf("%s is not of the recovered mesh", n.name)
		}
		if _, err := n.addUser("by-" + n.name); err != nil {
			t.Error(err)
		}
	}
}

func TestRecoverRefusesWhatIsNoSurvivor(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	n := m.add("n0")
	if _, err := n.recovery().Recover(); err == nil || !strings.Contains(err.Error(), "never in a mesh") {
		t.Errorf("of a node that was never started: %v", err)
	}
	m.start(n)
	n.ready()
	if _, err := n.recovery().Recover(); err == nil || !strings.Contains(err.Error(), "another node is running") {
		t.Errorf("of a running node: %v", err)
	}
}

// TestRefound gives a new node the state of another mesh.
func TestRefound(t *testing.T) {
	t.Parallel()
	old := newMesh(t)
	nodes := old.up(2)
	for i := range 3 {
		if _, err := nodes[1].addUser(fmt.Sprint("user", i)); err != nil {
			t.Fatal(err)
		}
	}
	var text strings.Builder
	if err := nodes[1].state.Snapshot().Write(&text); err != nil {
		t.Fatal(err)
	}
	st := state.New()
	if err := st.Restore(strings.NewReader(text.String())); err != nil {
		t.Fatal(err)
	}
	m := newMesh(t)
	n := m.add("again")
	r := n.recovery()
	founding, err := Refound(r.Dir, r.ID)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.tryStart(n); err == nil || !strings.Contains(err.Error(), "is gone") {
		t.Fatalf("started with half a mesh: %v", err)
	}
	if err := founding.Finish(st); err != nil {
		t.Fatal(err)
	}
	if _, err := Refound(r.Dir, r.ID); err == nil {
		t.Error("founded twice")
	}
	m.start(n)
	n.ready()
	if !n.has("user0") || !n.has("user2") || n.state.Index() < nodes[1].state.Index()+indexGap {
		t.Errorf("state at %d lacks what the old one had at %d", n.state.Index(), nodes[1].state.Index())
	}
	second := m.add("second")
	second.join(n)
	m.start(second)
	m.agree(n, second)
	if !second.has("user1") {
		t.Error("a node that joined has not got the state")
	}
	if all := n.state.View().Nodes(); len(all) != 2 {
		t.Errorf("nodes on record: %v", all)
	}
}
