package cluster

import (
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"

	"malla/cluster/state"
)

// crashing is a store whose process dies before the write number left.
type crashing struct {
	raft.StableStore
	left int
}

var errCrash = errors.New("crash")

func (s *crashing) write(f func() error) error {
	if s.left--; s.left < 0 {
		return errCrash
	}
	return f()
}

func (s *crashing) Set(k, v []byte) error {
	return s.write(func() error { return s.StableStore.Set(k, v) })
}

func (s *crashing) SetUint64(k []byte, v uint64) error {
	return s.write(func() error { return s.StableStore.SetUint64(k, v) })
}

// persistVote does what raft does.
func persistVote(s raft.StableStore, term uint64, candidate string) error {
	if err := s.SetUint64([]byte(voteTermKey), term); err != nil {
		return err
	}
	return s.Set([]byte(voteCandKey), []byte(candidate))
}

// TestAVoteIsOneRecord crashes at each write of a vote. Raft's own way of
// writing is run too, to show that the test can fail (raft issue #661).
func TestAVoteIsOneRecord(t *testing.T) {
	torn := func(wrap func(raft.StableStore) raft.StableStore) bool {
		for crash := range 3 {
			bolt, err := raftboltdb.NewBoltStore(filepath.Join(t.TempDir(), "db"))
			if err != nil {
				t.Fatal(err)
			}
			if err := persistVote(wrap(bolt), 4, "a"); err != nil {
				t.Fatal(err)
			}
			persistVote(wrap(&crashing{bolt, crash}), 5, "b")
			after := wrap(bolt) // the next run
			term, err := after.GetUint64([]byte(voteTermKey))
			if err != nil {
				t.Fatal(err)
			}
			candidate, err := after.Get([]byte(voteCandKey))
			if err != nil {
				t.Fatal(err)
			}
			if vote := string(rune('0'+term)) + string(candidate); vote != "4a" && vote != "5b" {
				return true
			}
			if err := bolt.Close(); err != nil {
				t.Fatal(err)
			}
		}
		return false
	}
	if torn(func(s raft.StableStore) raft.StableStore { return &voteStore{StableStore: s} }) {
		t.Error("after a crash a vote has a new term and an old candidate")
	}
	if !torn(func(s raft.StableStore) raft.StableStore { return s }) {
		t.Error("raft writes votes as one record by now: voteStore may go")
	}
}

func TestAStoreWithoutAVote(t *testing.T) {
	bolt, err := raftboltdb.NewBoltStore(filepath.Join(t.TempDir(), "db"))
	if err != nil {
		t.Fatal(err)
	}
	defer bolt.Close()
	s := &voteStore{StableStore: bolt}
	if _, err := s.GetUint64([]byte(voteTermKey)); err == nil || err.Error() != "not found" {
		t.Errorf("raft expects «not found», not %v", err)
	}
	if _, err := s.Get([]byte(voteCandKey)); err == nil || err.Error() != "not found" {
		t.Errorf("raft expects «not found», not %v", err)
	}
	if err := s.SetUint64([]byte("CurrentTerm"), 9); err != nil {
		t.Fatal(err)
	}
	if got, err := s.GetUint64([]byte("CurrentTerm")); err != nil || got != 9 {
		t.Errorf("other numbers pass through: %d, %v", got, err)
	}
}

func TestADamagedEntryStopsTheNode(t *testing.T) {
	st := state.New()
	var reported error
	m := &machine{state: st, committed: func(uint64, uint64) {}, configured: func() {}, fail: func(err error) { reported = err }}
	entry := func(name string) []byte {
		data, err := state.Encode("", user(name))
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	apply := func(index uint64, data []byte) applied {
		return m.Apply(&raft.Log{Index: index, Data: data}).(applied)
	}
	if got := apply(1, entry("ana")); got.err != nil || got.outcomes[0].Index != 1 {
		t.Fatalf("%+v", got)
	}
	if got := apply(2, entry("ana")); got.err != nil || !errors.Is(got.outcomes[0].Refusal, state.ErrConflict) || reported != nil {
		t.Fatalf("a refusal is nothing to stop at: %+v, %v", got, reported)
	}
	flipped := entry("ben")
	flipped[len(flipped)/2] ^= 1
	if got := apply(3, flipped); got.err == nil || !errors.Is(reported, state.ErrDamaged) {
		t.Fatalf("a flipped bit: %+v, %v", got, reported)
	}
	if got := apply(4, entry("cleo")); !errors.Is(got.err, errStopped) || st.Index() != 2 {
		t.Errorf("went on behind the damage: %+v at %d", got, st.Index())
	}
	if _, err := m.Snapshot(); err == nil {
		t.Error("took a snapshot that lacks entries")
	}
}

func TestDamageIsReportedToTheOwner(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	n := m.up(1)[0]
	if _, err := n.c.apply(t.Context(), []byte("not an entry")); !errors.Is(err, state.ErrInternal) {
		t.Errorf("it was let into the log: %v", err)
	}
	if len(n.c.Fatal()) > 0 {
		t.Error("what is not in the log was reported")
	}
	n.c.raft.raft().Apply([]byte("not an entry"), time.Second) // reported is what it comes to
	select {
	case err := <-n.c.Fatal():
		if !errors.Is(err, state.ErrDamaged) {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Error("not reported")
	}
}
