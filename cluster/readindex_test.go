package cluster

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"malla/cluster/state"
)

// TestOnlyVotersConfirmALeader cuts the leader of four nodes off with the one
// that has no vote. Raft's VerifyLeader takes that one's answer for a majority.
func TestOnlyVotersConfirmALeader(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	nodes := m.up(4)
	leader := m.leader(nodes...)
	var others []*node
	for _, n := range nodes {
		if n != leader && leader.c.raft.roles()[n.id()] == Voter {
			others = append(others, n)
		}
	}
	if len(others) != 2 {
		t.Fatalf("%d other voters", len(others))
	}
	term, number := leader.c.lead.numbered()
	if err := leader.c.raft.confirm(t.Context(), number, ""); err != nil {
		t.Fatalf("with everybody: %v", err)
	}
	m.net.split([]*node{leader}, others)
	asked := make(chan error, 1)
	go func() { asked <- leader.c.raft.raft().VerifyLeader().Error() }()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	defer context.AfterFunc(term, cancel)() // it gives up by itself
	if err := leader.c.raft.confirm(ctx, number, ""); err == nil {
		t.Error("confirmed without a majority")
	}
	t.Logf("raft says: %v", <-asked)
}

// TestReadIndexIsThatOfACommand: the log ends with entries of raft's own, of
// which the state never hears.
func TestReadIndexIsThatOfACommand(t *testing.T) {
	t.Parallel()
	n := newMesh(t).up(1)[0]
	if _, err := n.addUser("ana"); err != nil {
		t.Fatal(err)
	}
	if err := n.c.raft.raft().Barrier(0).Error(); err != nil {
		t.Fatal(err)
	}
	want := n.state.Index()
	if last := n.c.raft.raft().CommitIndex(); last <= want {
		t.Fatalf("the log ends at %d, the state at %d", last, want)
	}
	for _, applied := range []uint64{0, want - 1, want} {
		if got, err := n.c.raft.committed(applied); err != nil || got != want {
			t.Errorf("where %d is applied: %d, %v, want %d", applied, got, err, want)
		}
	}
}

func TestAcks(t *testing.T) {
	a := newAcks()
	before := a.sending()
	a.taken("early", 7, before)
	since := a.sending()
	late := a.sending()
	a.taken("late", 7, late)
	a.taken("late", 7, before) // an answer that was long on its way
	a.taken("old term", 6, a.sending())
	a.taken("early", 7, since) // sent before the question, answered after it
	got := a.after(7, since)
	if len(got) != 1 || !got["late"] {
		t.Errorf("they say so: %v", got)
	}
}

func TestMajority(t *testing.T) {
	servers := func(voters, nonvoters string) (all []raft.Server) {
		for _, id := range voters {
			all = append(all, raft.Server{ID: raft.ServerID(id), Suffrage: raft.Voter})
		}
		for _, id := range nonvoters {
			all = append(all, raft.Server{ID: raft.ServerID(id), Suffrage: raft.Nonvoter})
		}
		return all
	}
	for _, row := range []struct {
		what              string
		voters, nonvoters string
		said              string
		want              bool
	}{
		{"alone", "a", "", "", true},
		{"one of two", "ab", "", "", false},
		{"two of two", "ab", "", "b", true},
		{"one of three, and nodes without a vote", "abc", "de", "de", false},
		{"two of three", "abc", "de", "c", true},
		{"half of four", "abcd", "", "b", false},
		{"who asks has no vote", "bc", "a", "b", false},
		{"nor needs one", "bcd", "a", "bc", true},
	} {
		said := map[state.NodeID]bool{}
		for _, id := range row.said {
			said[state.NodeID(id)] = true
		}
		if got := majority(servers(row.voters, row.nonvoters), "a", "", said); got != row.want {
			t.Errorf("%s: %v", row.what, got)
		}
	}
	if said := map[state.NodeID]bool{"c": true}; majority(servers("abc", ""), "a", "c", said) || !majority(servers("abc", ""), "a", "b", said) {
		t.Error("one that is left aside counts")
	}
}

// BenchmarkReadIndex is a strong read's part of the agreement, asked for on the
// leader and on a follower.
func BenchmarkReadIndex(b *testing.B) {
	m := newMesh(b)
	nodes := m.up(3)
	leader := m.leader(nodes...)
	for name, n := range map[string]*node{"leader": leader, "follower": nodes[(slices.Index(nodes, leader)+1)%3]} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				ctx, cancel := context.WithTimeout(b.Context(), 10*time.Second)
				if _, err := n.c.ReadIndex(ctx); err != nil {
					b.Fatal(err)
				}
				cancel()
			}
		})
	}
}
