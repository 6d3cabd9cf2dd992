package cluster

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

// TestWhatIsAnnounced goes through what a leader may say, and when.
func TestWhatIsAnnounced(t *testing.T) {
	took := func(term uint64, indexes ...uint64) *raft.AppendEntriesRequest {
		req := &raft.AppendEntriesRequest{RPCHeader: raft.RPCHeader{ID: []byte("a")}, Term: term}
		for _, i := range indexes {
			req.Entries = append(req.Entries, &raft.Log{Index: i, Term: term})
		}
		return req
	}
	for _, row := range []struct {
		name string
		do   func(*announcer)
		want []string
	}{
		{"a follower that has the entry is told when it is committed", func(a *announcer) {
			a.sent("b", "b", took(3, 7, 8))
			a.commit(8, 3)
		}, []string{"b: term 3, 8 of term 3 is committed"}},
		{"one that comes later is told when it has it", func(a *announcer) {
			a.sent("b", "b", took(3, 8))
			a.commit(8, 3)
			a.sends.Wait()
			a.sent("c", "c", took(3, 8))
		}, []string{"b: term 3, 8 of term 3 is committed", "c: term 3, 8 of term 3 is committed"}},
		{"one that lags is not told yet", func(a *announcer) {
			a.sent("b", "b", took(3, 7))
			a.commit(8, 3)
		}, nil},
		{"nobody is told twice", func(a *announcer) {
			a.sent("b", "b", took(3, 8))
			a.commit(8, 3)
			a.sends.Wait()
			a.commit(8, 3)
			a.sent("b", "b", took(3))
		}, []string{"b: term 3, 8 of term 3 is committed"}},
		{"nor what raft has said already", func(a *announcer) {
			a.sent("b", "b", &raft.AppendEntriesRequest{RPCHeader: raft.RPCHeader{ID: []byte("a")}, Term: 3, LeaderCommitIndex: 8, Entries: []*raft.Log{{Index: 9}}})
			a.commit(8, 3)
		}, nil},
		{"an entry of an earlier leader is none of this one's to announce", func(a *announcer) {
			a.sent("b", "b", took(3, 8))
			a.commit(8, 2)
		}, nil},
		{"a follower says nothing, whatever is committed", func(a *announcer) {
			a.commit(8, 3)
		}, nil},
		{"what a follower took in an earlier term may be gone", func(a *announcer) {
			a.sent("b", "b", took(3, 8))
			a.sent("c", "c", took(4, 9))
			a.commit(8, 4)
		}, []string{"c: term 4, 8 of term 4 is committed"}},
		{"a straggler of an earlier term counts for nothing", func(a *announcer) {
			a.sent("c", "c", took(4, 8))
			a.sent("b", "b", took(3, 9))
			a.commit(8, 4)
		}, []string{"c: term 4, 8 of term 4 is committed"}},
		{"nothing is said after the end", func(a *announcer) {
			a.sent("b", "b", took(3, 8))
			a.close()
			a.commit(8, 3)
		}, nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			said := make(chan string, 9)
			a := newAnnouncer(func(_ raft.ServerID, to raft.ServerAddress, req *raft.AppendEntriesRequest, _ *raft.AppendEntriesResponse) error {
				if string(req.ID) != "a" || len(req.Entries) > 0 || req.LeaderCommitIndex != req.PrevLogEntry {
					t.Errorf("%+v", req)
				}
				said <- fmt.Sprintf("%s: term %d, %d of term %d is committed", to, req.Term, req.PrevLogEntry, req.PrevLogTerm)
				return nil
			})
			row.do(a)
			a.close()
			close(said)
			if got := slices.Sorted(all(said)); !slices.Equal(got, row.want) {
				t.Errorf("said %q, want %q", got, row.want)
			}
		})
	}
}

func all[T any](from <-chan T) func(yield func(T) bool) {
	return func(yield func(T) bool) {
		for x := range from {
			if !yield(x) {
				return
			}
		}
	}
}

// TestAFollowerHearsOfCommitsAtOnce writes through a follower whose leader would
// tell it only in an hour what is committed.
func TestAFollowerHearsOfCommitsAtOnce(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	patient := func(n *node) {
		change := n.change
		n.change = func(c *Config) { change(c); c.Timing.Commit = time.Hour }
	}
	for i := range 3 {
		n := m.add(fmt.Sprint("n", i))
		if i > 0 {
			n.join(m.nodes[0])
		}
		patient(n)
		m.start(n)
		if i == 0 {
			n.ready()
		}
	}
	m.agree(m.nodes...)
	leader := m.leader(m.nodes...)
	for i, n := range m.nodes {
		if n == leader {
			continue
		}
		if _, err := n.addUser(fmt.Sprint("ana", i)); err != nil { // also that n shows it
			t.Error(err)
		}
		for _, other := range m.nodes {
			eventually(t, "all know it", func() error {
				if !other.has(fmt.Sprint("ana", i)) {
					return fmt.Errorf("%s does not", other.name)
				}
				return nil
			})
		}
	}
}
