package cluster

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/hashicorp/raft"

	"malla/cluster/state"
)

// memorySink is a snapshot that stays in memory.
type memorySink struct {
	bytes.Buffer
	closed, canceled bool
}

func (s *memorySink) ID() string    { return "memory" }
func (s *memorySink) Close() error  { s.closed = true; return nil }
func (s *memorySink) Cancel() error { s.canceled = true; return nil }

// crowd is a state with so many users.
func crowd(t *testing.T, users int) *state.State {
	st := state.New()
	for i := range users {
		entry, err := state.Encode("", user(fmt.Sprint("user", i)))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := st.Apply(uint64(i+1), entry); err != nil {
			t.Fatal(err)
		}
	}
	return st
}

func TestSnapshotsArePacked(t *testing.T) {
	st := crowd(t, 500)
	var plain bytes.Buffer
	var packed memorySink
	if err := errors.Join(st.Snapshot().Write(&plain), picture{Snapshot: st.Snapshot()}.Persist(&packed)); err != nil {
		t.Fatal(err)
	}
	if !packed.closed || packed.canceled || packed.Len()*4 > plain.Len() {
		t.Errorf("%d bytes of %d, closed: %v", packed.Len(), plain.Len(), packed.closed)
	}
	for name, written := range map[string][]byte{"packed": packed.Bytes(), "plain, as it was at first": plain.Bytes()} {
		again := state.New()
		if err := restore(again, bytes.NewReader(written)); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		var same bytes.Buffer
		if err := again.Snapshot().Write(&same); err != nil || !bytes.Equal(same.Bytes(), plain.Bytes()) {
			t.Errorf("%s: another state came back (%v)", name, err)
		}
		for at := 0; at < len(written)-8; at += len(written)/50 + 1 { // what follows is a checksum of the packing
			hurt := bytes.Clone(written)
			hurt[at] ^= 4
			if err := restore(state.New(), bytes.NewReader(hurt)); err == nil {
				t.Errorf("%s: a flipped bit in byte %d of %d was not noticed", name, at, len(written))
			}
		}
	}
}

// deletions notes what is deleted from a log.
type deletions struct {
	raft.LogStore
	ranges [][2]uint64
}

func (d *deletions) DeleteRange(first, last uint64) error {
	d.ranges = append(d.ranges, [2]uint64{first, last})
	return d.LogStore.DeleteRange(first, last)
}

func TestTheBeginningOfTheLogGoesInSteps(t *testing.T) {
	const entries = 3*deleteStep + 10
	for name, c := range map[string]struct {
		first, last uint64
		steps       int
	}{
		"the beginning": {1, entries - 5, 4},
		"the end":       {2, entries, 1}, // a gap in it would be lost entries
		"a little":      {1, 9, 1},
	} {
		log := &deletions{LogStore: raft.NewInmemStore()}
		for i := range uint64(entries) {
			if err := log.StoreLog(&raft.Log{Index: i + 1}); err != nil {
				t.Fatal(err)
			}
		}
		if err := (steppedLog{log}).DeleteRange(c.first, c.last); err != nil {
			t.Fatal(err)
		}
		next := c.first
		for _, r := range log.ranges {
			if r[0] != next {
				t.Errorf("%s: deleted %v, from %d on", name, log.ranges, c.first)
			}
			next = r[1] + 1
		}
		if len(log.ranges) != c.steps || next != c.last+1 {
			t.Errorf("%s: deleted %v, want %d steps up to %d", name, log.ranges, c.steps, c.last)
		}
	}
}

// TestALargeStateIsWrittenLessOften: else a mesh with millions of records that
// is written to would write them again and again.
func TestALargeStateIsWrittenLessOften(t *testing.T) {
	m := newMesh(t)
	n := m.add("n0")
	n.change = func(c *Config) { c.Limits = Limits{Snapshot: 2} }
	m.start(n)
	n.ready()
	const due = 100
	var sink memorySink
	var plain bytes.Buffer
	if err := crowd(t, due*recordsPerEntry).Snapshot().Write(&plain); err != nil {
		t.Fatal(err)
	}
	if err := n.c.raft.machine.Restore(io.NopCloser(&plain)); err != nil {
		t.Fatal(err)
	}
	picture, err := n.c.raft.machine.Snapshot()
	if err := errors.Join(err, picture.Persist(&sink)); err != nil {
		t.Fatal(err)
	}
	if got := n.c.raft.raft().ReloadableConfig().SnapshotThreshold; got != due {
		t.Errorf("the next snapshot is due after %d entries, want %d", got, due)
	}
}
