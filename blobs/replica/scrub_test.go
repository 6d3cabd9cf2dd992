package replica_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"malla/blobs"
	"malla/blobs/blobstest"
	"malla/blobs/replica"
)

// scrubbing runs the node's scrub until the test ends, or stop is called.
func scrubbing(t *testing.T, r *replica.Replica) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.Scrub(ctx)
	}()
	stop = func() { cancel(); <-done }
	t.Cleanup(stop)
	return stop
}

func TestScrubFindsAFlippedBitAndHealsIt(t *testing.T) {
	m := newMesh(t, 3, func(cfg *replica.Config) { cfg.ScrubEvery = time.Second })
	data := testData(3, 1)
	ref, named := m.nodes[0].store(data)
	m.name(ref)
	m.wantHeld(3, named) // the copies that are made behind, too
	m.runAll()
	sick := m.nodes[1]
	hurt := []blobs.Ref{named[0], ref} // a chunk and the manifest
	for _, ref := range hurt {
		sick.damage(ref)
	}
	scrubbing(t, sick.Replica)
	eventually(t, "both are found and made again", func() error {
		if s := sick.Status(); s.Damaged != 2 || s.Healed != 2 || s.Scrub.Damaged != 2 {
			return fmt.Errorf("%d damaged, %d healed, scrub found %d", s.Damaged, s.Healed, s.Scrub.Damaged)
		}
		return nil
	})
	for _, ref := range hurt {
		if got, err := os.ReadFile(sick.file(ref)); err != nil || blobs.RefOf(got) != ref {
			t.Errorf("the file of %s has %d bytes, %v", ref.Short(), len(got), err)
		}
	}
	if kept, err := os.ReadDir(filepath.Join(sick.dir, "blobs", "quarantine")); err != nil || len(kept) != 2 {
		t.Errorf("%d files in quarantine, %v, want 2", len(kept), err)
	}
	for _, nd := range m.nodes {
		nd.wantRead(ref, data)
	}
}

// runLast starts all loops, that node's when the others' first rounds are over,
// and waits for its first: it will not look again before somebody asks.
func (m *mesh) runLast(last *node) {
	m.t.Helper()
	over := func(nodes []*node) {
		eventually(m.t, "the first round is over", func() error {
			for _, nd := range nodes {
				if nd.Status().Took == 0 {
					return errors.New("not yet at " + nd.id)
				}
			}
			return nil
		})
	}
	others := slices.DeleteFunc(slices.Clone(m.nodes), func(nd *node) bool { return nd == last })
	m.runAllBut(last)
	over(others)
	last.run()
	over(m.nodes)
}

// wantSound waits until the node's copy is sound. It asks for no round.
func (nd *node) wantSound(ref blobs.Ref) {
	nd.mesh.t.Helper()
	eventually(nd.mesh.t, nd.id+" has a sound copy again", func() error {
		c, err := nd.disk.Open(nd.mesh.t.Context(), ref)
		if err != nil {
			return err
		}
		return c.Close()
	})
}

func TestDamageFoundWhileTheDiskDoesNotWorkIsHealedThen(t *testing.T) {
	m := newMesh(t, 3, nil)
	data := testData(1, 1)
	ref, refs := m.nodes[0].store(data)
	m.name(ref)
	eventually(t, "all copies are made", func() error { return m.lacking(refs) })
	sick := m.nodes[1]
	m.runLast(sick)
	mend := sick.breakDisk()
	sick.damage(refs[0])
	sick.wantRead(ref, data) // from another node
	if found, healed := sick.disk.Damage(); found != 1 || healed != 0 {
		t.Errorf("%d found, %d healed", found, healed)
	}
	mend()
	sick.wantSound(refs[0])
}

func TestAStandInHealsItsCopyToo(t *testing.T) {
	m := newMesh(t, 4, nil)
	data := blobstest.Bytes(5000, 1)
	ref := blobs.RefOf(data)
	holders := m.holders(ref, 3)
	full := m.byID(holders[0])
	full.set(func(p *replica.Peer) { p.Full = true })
	full.room.Store(1000)
	standIn := m.nodes[slices.IndexFunc(m.nodes, func(nd *node) bool { return !slices.Contains(holders, nd.id) })]
	m.byID(holders[1]).store(data)
	man := blobs.Manifest{Size: 5000, SHA256: ref, Chunks: []blobs.Ref{ref}}
	m.name(man.Blob().Ref)
	eventually(t, "the others have it", func() error {
		if have := m.having(ref); len(have) != 3 || slices.Contains(have, full.id) {
			return fmt.Errorf("it is on %v", have)
		}
		return nil
	})
	m.runLast(standIn) // it knows what the full node lacks
	standIn.damage(ref)
	standIn.wantRead(man.Blob().Ref, data)
	standIn.wantSound(ref)
}

func TestScrubGoesOnWhereItStood(t *testing.T) {
	m := newMesh(t, 1, func(cfg *replica.Config) { cfg.ScrubEvery = time.Hour })
	nd := m.nodes[0]
	var refs []blobs.Ref
	for i := range 20 {
		refs = append(refs, nd.put(blobstest.Bytes(1000, uint64(i))))
	}
	slices.SortFunc(refs, func(a, b blobs.Ref) int { return slices.Compare(a[:], b[:]) })
	file := filepath.Join(nd.dir, "scrub.json")
	write := func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	restart := func() (stop func()) {
		r, err := replica.New(replica.Config{Self: nd.id, Local: nd.disk, Peers: nd, ScrubEvery: time.Hour, ScrubFile: file})
		if err != nil {
			t.Fatal(err)
		}
		nd.Replica = r
		return scrubbing(t, r)
	}
	// An earlier process had read twelve of them when it was stopped for hours.
	write(fmt.Sprintf(`{"started":%q,"after":%q}`, time.Now().Add(-10*time.Hour).Format(time.RFC3339), refs[11]))
	stop := restart()
	eventually(t, "the pass ends", func() error {
		if s := nd.Status().Scrub; s.Finished.IsZero() {
			return fmt.Errorf("%d chunks read", s.Chunks)
		}
		return nil
	})
	stop()
	if n := nd.Status().Scrub.Chunks; n < 8 || n > 9 { // the next pass may have begun
		t.Errorf("%d chunks read, want the other 8", n)
	}
	var at struct{ Started, Finished time.Time }
	if data, err := os.ReadFile(file); err != nil || json.Unmarshal(data, &at) != nil || time.Since(at.Started) > time.Minute {
		t.Errorf("the file says %s, %v", data, err)
	}
	finished := nd.Status().Scrub.Finished
	restart()
	eventually(t, "another process knows of that pass", func() error {
		if s := nd.Status().Scrub; !s.Finished.Equal(finished) {
			return fmt.Errorf("finished %s, want %s", s.Finished, finished)
		}
		return nil
	})
	write("torn {")
	restart()
	eventually(t, "a file that cannot be read begins anew", func() error {
		if s := nd.Status().Scrub; time.Since(s.Started) > time.Minute || !s.Finished.IsZero() {
			return fmt.Errorf("%+v", s)
		}
		return nil
	})
}

// alone is the mesh of one node that never asks anybody.
type alone struct{}

func (alone) Nodes() []replica.Peer { return []replica.Peer{{ID: "n", Weight: 1, Alive: true}} }

func (alone) Do(context.Context, string, *http.Request) (*http.Response, error) { return nil, errDead }

// A timedMemory notes when each chunk was scrubbed.
type timedMemory struct {
	blobstest.Memory
	mu    sync.Mutex // guards times
	times map[blobs.Ref][]time.Time
}

func (m *timedMemory) Scrub(ctx context.Context, ref blobs.Ref, paced func(int) error) (int64, error) {
	m.mu.Lock()
	m.times[ref] = append(m.times[ref], time.Now())
	m.mu.Unlock()
	return m.Memory.Scrub(ctx, ref, paced)
}

func TestScrubReadsEachChunkOnceInItsTimeAndEvenly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // Sleep moves the bubble's clock on: no time passes
		const day = 24 * time.Hour
		local := &timedMemory{times: map[blobs.Ref][]time.Time{}}
		for i := range 500 {
			data := blobstest.Bytes(100, uint64(i))
			if _, err := local.PutFor(t.Context(), "", blobs.RefOf(data), bytes.NewReader(data)); err != nil {
				t.Fatal(err)
			}
		}
		r, err := replica.New(replica.Config{Self: "n", Local: local, Peers: alone{}})
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		stop := scrubbing(t, r)
		time.Sleep(15 * day)
		if done := r.Status().Scrub.Done; done < 0.5 || done > 0.6 {
			t.Errorf("after 15 of 30 days %.2f are done", done)
		}
		time.Sleep(45 * day)
		stop()
		perDay := map[int]int{}
		for ref, times := range local.times {
			perDay[int(times[0].Sub(start)/day)]++
			before := start
			for _, at := range append(times, time.Now()) {
				if gap := at.Sub(before); gap > 30*day {
					t.Errorf("%s was not read for %v", ref.Short(), gap)
				}
				before = at
			}
		}
		if len(local.times) != 500 {
			t.Errorf("%d chunks were read, want 500", len(local.times))
		}
		for day, n := range perDay {
			if n > 40 { // 18.5 on average
				t.Errorf("%d chunks on day %d", n, day)
			}
		}
	})
}

func TestScrubKeepsToItsRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // Sleep moves the bubble's clock on: no time passes
		local := &timedMemory{times: map[blobs.Ref][]time.Time{}}
		for i := range 20 {
			data := blobstest.Bytes(1<<20, uint64(i))
			if _, err := local.PutFor(t.Context(), "", blobs.RefOf(data), bytes.NewReader(data)); err != nil {
				t.Fatal(err)
			}
		}
		// It is asked for in a time that the rate does not allow.
		r, err := replica.New(replica.Config{Self: "n", Local: local, Peers: alone{}, ScrubEvery: 2 * time.Second, ScrubRate: 1 << 20})
		if err != nil {
			t.Fatal(err)
		}
		stop := scrubbing(t, r)
		time.Sleep(15 * time.Second)
		if s := r.Status().Scrub; s.Bytes > 16<<20 || s.Bytes < 14<<20 || !s.Late {
			t.Errorf("%d bytes in 15 s, late %v; want 15 MiB, and that it is late", s.Bytes, s.Late)
		}
		stop()
	})
}

func TestScrubCanBeSwitchedOff(t *testing.T) {
	local := &timedMemory{times: map[blobs.Ref][]time.Time{}}
	data := blobstest.Bytes(100, 1)
	if _, err := local.PutFor(t.Context(), "", blobs.RefOf(data), bytes.NewReader(data)); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) { // Sleep moves the bubble's clock on: no time passes
		r, err := replica.New(replica.Config{Self: "n", Local: local, Peers: alone{}, ScrubEvery: -1})
		if err != nil {
			t.Fatal(err)
		}
		stop := scrubbing(t, r)
		time.Sleep(365 * 24 * time.Hour)
		stop()
		if s := r.Status().Scrub; s.Chunks != 0 || !s.Off {
			t.Errorf("%+v", s)
		}
	})
}

// overMemory is a meshStore whose nodes keep their chunks in memory.
type overMemory struct {
	*meshStore
	nodes []*blobstest.Memory
}

func (s *overMemory) Put(ctx context.Context, ref blobs.Ref, r io.Reader) error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	err := s.Replica.Put(ctx, ref, r)
	if err == nil {
		eventually(s.mesh.t, "all copies are made", func() error {
			for i, m := range s.nodes {
				if _, err := m.Stat(ctx, ref); err != nil {
					return fmt.Errorf("node %d: %w", i, err)
				}
			}
			return nil
		})
	}
	return err
}

func (s *overMemory) Delete(ctx context.Context, ref blobs.Ref) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range s.nodes {
		m.Delete(ctx, ref) // never fails
	}
	return nil
}

func TestReplicaContractOverMemory(t *testing.T) {
	blobstest.Store(t, func(t *testing.T) blobs.Store {
		s := &overMemory{}
		m := newMesh(t, 3, func(cfg *replica.Config) {
			local := new(blobstest.Memory)
			s.nodes = append(s.nodes, local)
			cfg.Local, cfg.Cache = local, nil
		})
		s.meshStore = &meshStore{node: m.nodes[0]}
		return s
	})
}
