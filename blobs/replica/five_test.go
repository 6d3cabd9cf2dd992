package replica_test

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"malla/blobs"
	"malla/blobs/blobstest"
	"malla/blobs/replica"
)

// Five nodes, three copies.

func TestAnyTwoOfFiveMayDieAtOnce(t *testing.T) {
	m := newMesh(t, 5, quick)
	data := map[blobs.Ref][]byte{} // blob -> its bytes
	var named, refs []blobs.Ref
	for i := range 12 {
		size := 5000
		if i == 0 {
			size = 2*blobs.ChunkSize + 50_000
		}
		blob := blobstest.Bytes(size, uint64(i))
		ref, all := m.nodes[i%5].store(blob)
		data[ref] = blob
		named, refs = append(named, ref), append(refs, all...)
	}
	m.name(named...)
	m.runAll()
	m.wantHeld(3, refs) // and no fourth copy, on the node that took it
	for _, nd := range m.nodes {
		nd.stopRunning()
	}
	for i, a := range m.nodes {
		for k, b := range m.nodes[:i] {
			a.die()
			b.die()
			m.wantAnswers(refs, data)
			if t.Failed() {
				t.Fatalf("with nodes %d and %d dead", k, i)
			}
			for _, nd := range []*node{a, b} {
				nd.set(func(p *replica.Peer) { p.Alive = true })
			}
		}
	}
	m.nodes[3].die()
	m.nodes[4].die()
	for _, nd := range m.nodes[:3] {
		nd.run()
	}
	eventually(t, "the three that are left have everything", func() error { return m.lacking(refs) })
}

// wantAnswers reads every chunk at a live node that does not have it, where
// there is one, and every blob at each in turn. Nothing is in a cache before. It
// wants two dead nodes that had the same chunk: else losing them shows nothing.
func (m *mesh) wantAnswers(refs []blobs.Ref, data map[blobs.Ref][]byte) {
	m.t.Helper()
	var live, dead []*node
	for _, nd := range m.nodes {
		for _, ref := range refs {
			nd.cache.Delete(m.t.Context(), ref)
		}
		if nd.peer.Alive {
			live = append(live, nd)
		} else {
			dead = append(dead, nd)
		}
	}
	lastCopies := 0
	for _, ref := range refs {
		have := m.having(ref)
		if !slices.ContainsFunc(dead, func(nd *node) bool { return !slices.Contains(have, nd.id) }) {
			lastCopies++
		}
		without := slices.IndexFunc(live, func(nd *node) bool { return !slices.Contains(have, nd.id) })
		c, err := live[max(0, without)].OpenChunk(m.t.Context(), ref)
		if err != nil {
			m.t.Errorf("%s, on %v: %v", ref.Short(), have, err)
			continue
		}
		c.Close()
	}
	if lastCopies == 0 {
		m.t.Error("no chunk is left with one copy: that shows nothing")
	}
	i := 0
	for ref, want := range data {
		live[i%len(live)].wantRead(ref, want)
		i++
	}
}

func TestADiskWipedUnderARunningNodeComesBackFull(t *testing.T) {
	m := newMesh(t, 5, quick)
	data := testData(3, 1)
	ref, refs := m.nodes[0].store(data)
	m.name(ref)
	m.runAll()
	m.wantHeld(3, refs)
	m.waitRounds(1) // all have read the manifest
	wiped := m.byID(m.holders(refs[0], 3)[0])
	had := len(refsOn(wiped, refs))
	dirs, err := filepath.Glob(filepath.Join(wiped.dir, "blobs", "chunks", "*"))
	if err != nil || len(dirs) == 0 {
		t.Fatal(err)
	}
	for _, dir := range dirs {
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
	}
	m.wantHeld(3, refs)
	eventually(t, "it says that nothing is left", func() error {
		wiped.Nudge()
		if s := wiped.Status(); s.Left != 0 || s.LeftBytes != 0 || s.Repaired < int64(had) {
			return fmt.Errorf("it had %d chunks: %+v", had, s)
		}
		return nil
	})
}

func TestABitThatFlippedIsHealedWhenTheChunkIsRead(t *testing.T) {
	m := newMesh(t, 5, quick)
	data := testData(2, 1)
	ref, refs := m.nodes[0].store(data)
	m.name(ref)
	m.runAll()
	m.wantHeld(3, refs)
	sick := m.byID(m.holders(refs[0], 3)[1])
	sick.damage(refs[0])
	sick.wantRead(ref, data)
	eventually(t, "its copy is sound again", func() error {
		c, err := sick.disk.Open(t.Context(), refs[0])
		if err != nil {
			return err
		}
		return c.Close()
	})
	m.wantHeld(3, refs)
}

// inMemory gives each node a store without a disk.
func inMemory(stores map[string]*blobstest.Memory) func(*replica.Config) {
	return func(cfg *replica.Config) {
		quick(cfg)
		stores[cfg.Self] = new(blobstest.Memory)
		cfg.Local, cfg.RepairRate = stores[cfg.Self], 1<<40
	}
}

// A counted counts the bytes of an answer.
type counted struct {
	http.ResponseWriter
	n *atomic.Int64
}

func (c *counted) Write(p []byte) (int, error) {
	n, err := c.ResponseWriter.Write(p)
	c.n.Add(int64(n))
	return n, err
}

func TestANewNodeTakesItsShareAndNoMoreMoves(t *testing.T) {
	const songs, copies = 400, 3
	stores := map[string]*blobstest.Memory{}
	m := newMesh(t, 6, inMemory(stores))
	newcomer := m.nodes[5]
	newcomer.set(func(p *replica.Peer) { p.Alive, p.Weight = false, 0 })
	sizes := map[blobs.Ref]int64{}
	var named []blobs.Ref
	for i := range songs {
		data := blobstest.Bytes(20_000, uint64(i))
		man := blobs.Manifest{Size: int64(len(data)), SHA256: blobs.RefOf(data), Chunks: []blobs.Ref{blobs.RefOf(data)}}
		for _, chunk := range [][]byte{data, man.Encode()} {
			sizes[m.nodes[i%5].put(chunk)] = int64(len(chunk))
		}
		named = append(named, man.Blob().Ref)
	}
	m.name(named...)
	for _, nd := range m.nodes[:5] {
		nd.run()
	}
	balanced := func() error {
		m.nudgeAll()
		for ref := range sizes {
			var have []string
			for _, nd := range m.nodes {
				if _, err := stores[nd.id].Stat(t.Context(), ref); err == nil {
					have = append(have, nd.id)
				}
			}
			if want := m.holders(ref, copies); !slices.Equal(have, want) {
				return fmt.Errorf("%s is on %v, want %v", ref.Short(), have, want)
			}
		}
		return nil
	}
	eventually(t, "all copies are where they belong", balanced)
	before := map[blobs.Ref][]string{}
	for ref := range sizes {
		before[ref] = m.holders(ref, copies)
	}
	var moved atomic.Int64 // bytes of chunks sent from node to node
	for _, nd := range m.nodes {
		nd.onRequest(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			if r.Method == http.MethodGet {
				w = &counted{w, &moved}
			} else if r.Method == http.MethodPut {
				t.Errorf("a chunk is sent unasked: %s", r.URL)
			}
			next.ServeHTTP(w, r)
		})
	}

	newcomer.run()
	newcomer.set(func(p *replica.Peer) { p.Alive, p.Weight = true, 1 })
	eventually(t, "all copies are where they belong with a sixth node", balanced)
	var must, share, all int64
	for ref, size := range sizes {
		for _, id := range m.holders(ref, copies) {
			all += size
			if !slices.Contains(before[ref], id) {
				must += size
			}
			if id == newcomer.id {
				share += size
			}
		}
	}
	fair := float64(all) / 6
	if off := math.Abs(float64(share)-fair) / fair; off > 0.1 {
		t.Errorf("the new node has %d bytes, %.0f %% off its share %.0f", share, 100*off, fair)
	}
	if got := moved.Load(); float64(got) > 1.05*float64(must) || got < must {
		t.Errorf("%d bytes moved, rendezvous asks for %d", got, must)
	}
}

func TestANodeThatIsEmptiedSaysWhenItMayGo(t *testing.T) {
	m := newMesh(t, 5, quick)
	ref, refs := m.nodes[0].store(testData(3, 1))
	m.name(ref)
	m.runAll()
	m.wantHeld(3, refs)
	leaving := m.byID(m.holders(refs[0], 3)[0])
	if s := leaving.Status(); s.Emptied {
		t.Fatalf("it is empty before it is asked to be: %+v", s)
	}
	leaving.set(func(p *replica.Peer) { p.Draining = true })
	eventually(t, "it says that it is empty", func() error {
		m.nudgeAll()
		if s := leaving.Status(); !s.Emptied {
			return fmt.Errorf("%+v", s)
		}
		return nil
	})
	if on := refsOn(leaving, refs); len(on) > 0 {
		t.Errorf("it is empty with %d chunks", len(on))
	}
	leaving.die()
	if err := m.lacking(refs); err != nil {
		t.Error(err)
	}
	leaving.set(func(p *replica.Peer) { p.Alive, p.Draining = true, false })
	m.wantHeld(3, refs)
	if s := leaving.Status(); s.Emptied {
		t.Errorf("it is in use again, and empty: %+v", s)
	}
}

func TestANodeWhoseDiskWentAwayIsNotEmpty(t *testing.T) {
	m := newMesh(t, 4, nil) // what is surplus stays for an hour
	ref, refs := m.nodes[0].store(testData(1, 1))
	m.name(ref)
	m.runAll()
	eventually(t, "the holders have all", func() error { return m.lacking(refs) })
	leaving := m.byID(m.holders(refs[0], 3)[0])
	leaving.set(func(p *replica.Peer) { p.Draining = true })
	m.waitRounds(2)
	if err := os.RemoveAll(filepath.Join(leaving.dir, "blobs", "chunks")); err != nil { // as where it is unmounted
		t.Fatal(err)
	}
	eventually(t, "its disk counts as broken", func() error {
		leaving.Nudge()
		if leaving.Status().Emptied {
			t.Fatal("it says that it is empty")
		}
		if _, cause := leaving.disk.Broken(); cause == nil {
			return errors.New("not yet")
		}
		return nil
	})
}

func TestAChunkOfAnUploadUnderWayIsCopiedAwayBeforeTheNodeGoes(t *testing.T) {
	m := newMesh(t, 5, func(cfg *replica.Config) { cfg.SurplusAfter = time.Nanosecond })
	data := blobstest.Bytes(2000, 7)
	ref := blobs.RefOf(data)
	leaving := m.byID(m.holders(ref, 3)[0])
	if _, err := leaving.disk.PutFor(t.Context(), "u", ref, bytes.NewReader(data)); err != nil {
		t.Fatal(err)
	}
	m.runAll()
	leaving.set(func(p *replica.Peer) { p.Draining = true })
	eventually(t, "it says that it is empty", func() error {
		leaving.Nudge()
		if s := leaving.Status(); !s.Emptied {
			return fmt.Errorf("%+v", s)
		}
		return nil
	})
	if have := m.having(ref); len(have) < 3 {
		t.Errorf("the chunk is on %v only", have)
	}
}
