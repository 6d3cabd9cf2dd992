package cluster

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"malla/cluster/state"
)

func TestWhatGoesIntoABatch(t *testing.T) {
	waiting := func(size int) *proposal {
		return &proposal{ctx: context.Background(), entry: make([]byte, size), told: make(chan struct{})}
	}
	sizes := func(batch []*proposal) string {
		var all []string
		for _, p := range batch {
			all = append(all, fmt.Sprint(len(p.entry)))
		}
		return strings.Join(all, " ")
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	abandoned, answered := waiting(7), waiting(8)
	abandoned.ctx = gone
	answered.tell(state.Result{}, nil)

	q := newProposals()
	for _, p := range []*proposal{waiting(1), abandoned, waiting(2), waiting(maxEntry - 60), waiting(maxEntry), waiting(3)} {
		q.add(p)
	}
	<-q.more
	if got := sizes(q.fill([]*proposal{waiting(4), answered})); got != "4 1 2" {
		t.Errorf("first those of before, then what fits: %s", got)
	}
	for _, want := range []string{fmt.Sprint(maxEntry - 60), fmt.Sprint(maxEntry), "3"} {
		<-q.more // some are left
		if got := sizes(q.fill(nil)); got != want {
			t.Errorf("then %s, want %s", got, want)
		}
	}
	for range maxBatch + 1 {
		q.add(waiting(1))
	}
	if got := len(q.fill(nil)); got != maxBatch {
		t.Errorf("%d in a batch", got)
	}
	if got := len(q.fill(nil)); got != 1 {
		t.Errorf("%d were left", got)
	}
}

// TestManyProposalsAtOnce has many clients on a node that does not lead. Each
// must be told of its own command, and be able to see it.
func TestManyProposalsAtOnce(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	nodes := m.up(3)
	m.joins(nodes[0])
	leader := m.leader(nodes...)
	follower := nodes[1]
	if follower == leader {
		follower = nodes[2]
	}
	if _, err := follower.addUser("taken"); err != nil {
		t.Fatal(err)
	}
	const clients = 200
	before := follower.state.Index()
	var all sync.WaitGroup
	for i := range clients {
		all.Go(func() {
			name := fmt.Sprint("user", i)
			if i%10 == 3 {
				if _, err := follower.c.Propose(t.Context(), state.AddUser{ID: state.UserID(name), Name: "taken", Password: "phc"}); !errors.Is(err, state.ErrConflict) {
					t.Errorf("a name that is taken: %v", err)
				}
				return
			}
			result, err := follower.c.Propose(t.Context(), user(name))
			if err != nil || result.ID != "id-"+name || !follower.has(name) {
				t.Errorf("%s was told %+v, %v, and is there: %v", name, result, err, follower.has(name))
			}
		})
	}
	all.Wait()
	if entries := follower.state.Index() - before; entries >= clients {
		t.Errorf("%d entries for %d commands", entries, clients)
	}
}

// TestBatchesOutliveTheLeader kills the leader under load. What is tried again
// must not be done twice: then its name would be taken, by itself.
func TestBatchesOutliveTheLeader(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	nodes := m.up(3)
	m.joins(nodes[0])
	leader := m.leader(nodes...)
	written, enough := make(chan string, 1000), make(chan struct{})
	var clients sync.WaitGroup
	for _, n := range nodes {
		if n == leader {
			continue
		}
		for i := range 8 {
			clients.Go(func() {
				for k := 0; ; k++ {
					select {
					case <-enough:
						return
					default:
					}
					name := fmt.Sprintf("%s-%d-%d", n.name, i, k)
					switch _, err := n.addUser(name); {
					case errors.Is(err, state.ErrNoLeader): // none was chosen for so long
					case err != nil:
						t.Errorf("%s: %v", name, err)
					default:
						written <- name
					}
				}
			})
		}
	}
	var names []string
	read := func(n int) {
		for range n {
			names = append(names, <-written)
		}
	}
	read(50)
	leader.kill()
	read(50)
	close(enough)
	go func() { clients.Wait(); close(written) }()
	for name := range written {
		names = append(names, name)
	}
	for _, n := range nodes {
		if n == leader {
			continue
		}
		eventually(t, n.name+" shows all that was confirmed", func() error {
			for _, name := range names {
				if !n.has(name) {
					return fmt.Errorf("%s is not there", name)
				}
			}
			return nil
		})
	}
}

// joins waits until entries of many commands may be written.
func (m *mesh) joins(n *node) {
	m.t.Helper()
	eventually(m.t, "all nodes know batches", func() error {
		if !n.state.View().Batches() {
			return errors.New("the mesh is at a lower level")
		}
		return nil
	})
}

// TestWhatWasGivenUpIsNotOffered: whoever was told that a command is in no log
// must be right, also when the batch with it was filled before.
func TestWhatWasGivenUpIsNotOffered(t *testing.T) {
	t.Parallel()
	n := newMesh(t).up(1)[0]
	waiting := func(name string) *proposal {
		entry, err := state.Encode(name, user(name))
		if err != nil {
			t.Fatal(err)
		}
		return &proposal{ctx: t.Context(), entry: entry, told: make(chan struct{})}
	}
	gone, stays := waiting("gone"), waiting("stays")
	if !gone.giveUp() {
		t.Fatal("in a log before it was offered")
	}
	for _, batch := range [][]*proposal{{gone}, {gone, stays}} {
		if err := n.c.offerEntry(t.Context(), n.id(), t.Context(), batch); err != nil {
			t.Fatal(err)
		}
	}
	if <-stays.told; stays.giveUp() || stays.err != nil || !n.has("stays") || n.has("gone") {
		t.Errorf("stays: %v, %v; gone: %v", stays.err, n.has("stays"), n.has("gone"))
	}
	refused := waiting("refused")
	if err := n.c.offerEntry(t.Context(), "", t.Context(), []*proposal{refused}); err == nil || !refused.giveUp() {
		t.Errorf("nobody led: %v, perhaps in a log: %v", err, refused.place.Load())
	}
}
