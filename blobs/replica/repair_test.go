package replica_test

import (
	"bytes"
	"errors"
	"fmt"
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

// quick lets nothing wait for its age.
func quick(cfg *replica.Config) {
	cfg.SurplusAfter, cfg.CollectAfter = time.Nanosecond, time.Nanosecond
}

func TestAWipedDiskComesBackFull(t *testing.T) {
	m := newMesh(t, 4, nil)
	ref, refs := m.nodes[0].store(testData(2, 1))
	m.name(ref)
	m.runAll()
	m.wantHeld(3, refs[:0])
	eventually(t, "the holders have all", func() error { return m.lacking(refs) })
	wiped := m.byID(m.holders(refs[0], 3)[0])
	for _, r := range refs {
		if err := wiped.disk.Delete(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		wiped.cache.Delete(t.Context(), r)
	}
	m.nudgeAll()
	eventually(t, "the wiped disk has its chunks again", func() error { return m.lacking(refs) })
	if s := wiped.Status(); s.Repaired == 0 || s.RepairedBytes == 0 {
		t.Errorf("status = %+v", s)
	}
}

// lacking says which holder lacks which chunk, or nil.
func (m *mesh) lacking(refs []blobs.Ref) error {
	for _, ref := range refs {
		have := m.having(ref)
		for _, id := range m.holders(ref, 3) {
			if !slices.Contains(have, id) {
				return fmt.Errorf("%s lacks %s, which is on %v", id, ref.Short(), have)
			}
		}
	}
	return nil
}

func TestNodesComeAndGo(t *testing.T) {
	m := newMesh(t, 5, quick)
	ref, refs := m.nodes[0].store(testData(3, 1))
	m.name(ref)
	m.runAll()
	m.wantHeld(3, refs)

	gone := m.byID(m.holders(refs[0], 3)[0])
	gone.die()
	// Its copies stay on its disk, so what is compared is the others'.
	eventually(t, "others made the copies of the dead node, unasked", func() error { return m.lacking(refs) })
	gone.set(func(p *replica.Peer) { p.Alive = true })
	m.wantHeld(3, refs)

	gone.set(func(p *replica.Peer) { p.Draining = true })
	m.wantHeld(3, refs)
	if n := len(refsOn(gone, refs)); n != 0 {
		t.Errorf("the drained node has %d chunks", n)
	}
	gone.set(func(p *replica.Peer) { p.Draining = false })
	m.wantHeld(3, refs)
}

func refsOn(nd *node, refs []blobs.Ref) []blobs.Ref {
	var on []blobs.Ref
	for _, ref := range refs {
		if slices.Contains(nd.mesh.having(ref), nd.id) {
			on = append(on, ref)
		}
	}
	return on
}

func TestAVanishedNodeHasItsGraceTime(t *testing.T) {
	m := newMesh(t, 4, func(cfg *replica.Config) { cfg.Grace, cfg.SlowAfter = time.Hour, time.Hour })
	ref, refs := m.nodes[0].store(testData(2, 1))
	m.name(ref)
	m.runAll()
	eventually(t, "the holders have all", func() error { return m.lacking(refs) })
	for _, nd := range m.nodes {
		for _, r := range refs {
			if !slices.Contains(m.holders(r, 3), nd.id) {
				nd.disk.Delete(t.Context(), r)
			}
		}
	}
	before := map[blobs.Ref][]string{}
	for _, r := range refs {
		before[r] = m.having(r)
	}
	m.nodes[2].die()
	m.waitRounds(2)
	for _, r := range refs {
		if have := m.having(r); !slices.Equal(have, before[r]) {
			t.Errorf("%s moved from %v to %v within the grace time", r.Short(), before[r], have)
		}
	}
}

// waitRounds waits until every node has begun and ended n more rounds.
func (m *mesh) waitRounds(n int) {
	m.t.Helper()
	for range n {
		start := time.Now()
		for _, nd := range m.nodes {
			eventually(m.t, nd.id+" looks again", func() error {
				nd.Nudge()
				if last := nd.Status().LastRound; last.Before(start) {
					return fmt.Errorf("the last round was %s before", start.Sub(last))
				}
				return nil
			})
		}
	}
}

func TestAFullHolderKeepsWhatItHasAndIsStoodInFor(t *testing.T) {
	m := newMesh(t, 4, quick)
	oldRef, old := m.nodes[0].store(testData(2, 1))
	m.name(oldRef)
	m.runAll()
	m.wantHeld(3, old)
	full := m.byID(m.holders(old[0], 3)[0])
	full.set(func(p *replica.Peer) { p.Full = true })
	full.room.Store(1000)

	taker := m.nodes[0]
	if taker == full {
		taker = m.nodes[1]
	}
	newRef, fresh := taker.store(testData(2, 2))
	m.name(oldRef, newRef)
	eventually(t, "three others have what is new", func() error {
		m.nudgeAll()
		for _, r := range fresh {
			if have := m.having(r); len(have) != 3 || slices.Contains(have, full.id) {
				return fmt.Errorf("%s is on %v", r.Short(), have)
			}
		}
		return nil
	})
	m.waitRounds(2)
	for _, r := range old {
		if have, want := m.having(r), m.holders(r, 3); !slices.Equal(have, want) {
			t.Errorf("an old chunk moved to %v, want %v", have, want)
		}
	}
}

func TestSurplusStaysWhileAHolderIsNotSound(t *testing.T) {
	m := newMesh(t, 4, quick)
	data := blobstest.Bytes(5000, 1)
	ref := blobs.RefOf(data)
	holders := m.holders(ref, 3)
	i := slices.IndexFunc(m.nodes, func(nd *node) bool { return !slices.Contains(holders, nd.id) })
	extra := m.nodes[i]
	man := blobs.Manifest{Size: 5000, SHA256: ref, Chunks: []blobs.Ref{ref}}
	m.nodes[0].put(man.Encode())
	extra.put(data)
	eventually(t, "the holders have it", func() error { return m.lacking([]blobs.Ref{ref}) })
	m.byID(holders[1]).damage(ref) // and it does not repair itself yet
	m.name(man.Blob().Ref)
	extra.run()
	seen := extra.Status().LastRound
	for range 3 {
		eventually(t, "another round", func() error {
			extra.Nudge()
			if last := extra.Status().LastRound; !last.After(seen) {
				return errors.New("not yet")
			}
			return nil
		})
		seen = extra.Status().LastRound
	}
	if !slices.Contains(m.having(ref), extra.id) {
		t.Error("the surplus copy went while one holder's was damaged")
	}
	m.runAllBut(extra)
	m.wantHeld(3, []blobs.Ref{ref})
}

// breakDisk takes the folder away in which the node's disk stages what it
// writes, and returns how to bring it back.
func (nd *node) breakDisk() (mend func()) {
	t := nd.mesh.t
	t.Helper()
	staging := filepath.Join(nd.dir, "blobs", "staging")
	if err := os.RemoveAll(staging); err != nil {
		t.Fatal(err)
	}
	if err := nd.disk.Probe(); !errors.Is(err, blobs.ErrBroken) {
		t.Fatalf("probe = %v", err)
	}
	return func() {
		if err := os.Mkdir(staging, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := nd.disk.Probe(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestABrokenDiskAsksForNoHashesForWhatItCannotDelete(t *testing.T) {
	m := newMesh(t, 4, quick)
	data := blobstest.Bytes(5000, 1)
	ref := blobs.RefOf(data)
	holders := m.holders(ref, 3)
	extra := m.nodes[slices.IndexFunc(m.nodes, func(nd *node) bool { return !slices.Contains(holders, nd.id) })]
	man := blobs.Manifest{Size: 5000, SHA256: ref, Chunks: []blobs.Ref{ref}}
	extra.put(man.Encode())
	extra.put(data)
	eventually(t, "the holders have it", func() error { return m.lacking([]blobs.Ref{ref}) })
	m.name(man.Blob().Ref)
	var kept atomic.Int64
	for _, nd := range m.nodes {
		nd.onRequest(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			if r.URL.Path == "/chunks/keep" {
				kept.Add(1)
			}
			next.ServeHTTP(w, r)
		})
	}
	mend := extra.breakDisk()
	extra.run()
	seen := time.Time{}
	for range 3 {
		eventually(t, "another round is over", func() error {
			extra.Nudge()
			if last := extra.Status().LastRound; !last.After(seen) {
				return errors.New("not yet")
			}
			return nil
		})
		seen = extra.Status().LastRound
	}
	if n := kept.Load(); n > 0 {
		t.Errorf("the holders were asked %d times to hash their copies", n)
	}
	mend()
	m.runAllBut(extra)
	m.wantHeld(3, []blobs.Ref{ref})
}

func TestCollect(t *testing.T) {
	m := newMesh(t, 3, func(cfg *replica.Config) { cfg.CollectAfter = time.Minute })
	ref, named := m.nodes[0].store(blobstest.Bytes(5000, 1))
	old := m.nodes[0].put(blobstest.Bytes(1000, 2))
	held := m.nodes[0].put(blobstest.Bytes(1000, 3))
	fresh := m.nodes[0].put(blobstest.Bytes(1000, 4))
	kept := append(named, held, fresh)
	all := append(kept, old)
	eventually(t, "all copies are made", func() error { return m.lacking(all) })
	m.name(ref)
	m.held = []blobs.Ref{held}
	for _, nd := range m.nodes {
		for _, r := range append(named, old, held) {
			nd.setAge(r, time.Hour)
		}
	}
	wantAll := func(why string) {
		t.Helper()
		m.waitRounds(3)
		for _, r := range all {
			if have := m.having(r); len(have) != 3 {
				t.Errorf("%s: %s is only on %v", why, r.Short(), have)
			}
		}
	}
	m.mu.Lock()
	m.unsettled = true
	m.mu.Unlock()
	m.runAll()
	wantAll("while the state is not settled")

	missing := blobs.RefOf([]byte("a manifest that is nowhere"))
	m.name(ref, missing)
	m.mu.Lock()
	m.unsettled = false
	m.mu.Unlock()
	wantAll("while a manifest cannot be read")
	m.name(ref)
	wantAll("before they were seen unnamed for a minute")
}

func TestCollectTakesWhatNobodyNames(t *testing.T) {
	m := newMesh(t, 3, func(cfg *replica.Config) { cfg.CollectAfter = 300 * time.Millisecond })
	ref, named := m.nodes[0].store(blobstest.Bytes(5000, 1))
	_, unnamed := m.nodes[0].store(blobstest.Bytes(5000, 2))
	held := m.nodes[0].put(blobstest.Bytes(1000, 3))
	kept := append(named, held)
	eventually(t, "all copies are made", func() error { return m.lacking(append(kept, unnamed...)) })
	m.name(ref)
	m.held = []blobs.Ref{held}
	m.runAll()
	eventually(t, "what nobody names is gone", func() error {
		m.nudgeAll()
		for _, r := range unnamed {
			if have := m.having(r); len(have) > 0 {
				return fmt.Errorf("%s is on %v", r.Short(), have)
			}
		}
		return nil
	})
	for _, r := range kept {
		if have := m.having(r); len(have) != 3 {
			t.Errorf("%s is only on %v", r.Short(), have)
		}
	}
	eventually(t, "the status tells", func() error {
		if s := m.nodes[1].Status(); s.Collected != int64(len(unnamed)) || s.CollectedBytes < 5000 {
			return fmt.Errorf("status = %+v", s)
		}
		return nil
	})
	m.nodes[2].wantRead(ref, blobstest.Bytes(5000, 1))
}

func TestTheChunksOfALongUploadAreKeptOnTheirHolders(t *testing.T) {
	m := newMesh(t, 3, func(cfg *replica.Config) {
		cfg.CollectAfter, cfg.Ack = 2*time.Second, replica.AckAll
		cfg.Every = 100 * time.Millisecond // a nudge waits for ten times as long as a round took, if that is less
		if cfg.Self != "n0" {
			cfg.Held = nil // only the node that takes the upload knows of it
		}
	})
	ref, _ := m.nodes[0].store(blobstest.Bytes(5000, 1))
	held := m.nodes[0].put(blobstest.Bytes(1000, 2))
	left := m.nodes[0].put(blobstest.Bytes(1000, 3))
	m.name(ref)
	m.held = []blobs.Ref{held}
	m.runAll()
	eventually(t, "what nobody wants is gone", func() error {
		m.nudgeAll()
		if have := m.having(held); len(have) < 3 {
			t.Fatalf("the upload's chunk is on %v", have)
		}
		if have := m.having(left); len(have) > 0 {
			return fmt.Errorf("it is on %v", have)
		}
		return nil
	})
	m.waitRounds(2)
	if have := m.having(held); len(have) < 3 {
		t.Errorf("the upload's chunk is on %v", have)
	}
}

func TestRepairAfterARestart(t *testing.T) {
	m := newMesh(t, 3, nil)
	data := testData(2, 1)
	ref, refs := m.nodes[0].store(data)
	m.name(ref)
	eventually(t, "all copies are made", func() error { return m.lacking(refs) })
	nd := m.nodes[1]
	nd.die()
	if err := os.RemoveAll(nd.dir); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(nd.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	nd.start(nil)
	nd.set(func(p *replica.Peer) { p.Alive = true })
	nd.run()
	eventually(t, "the node that lost its disk has all again", func() error { return m.lacking(refs) })
	m.nodes[0].die()
	m.nodes[2].die()
	nd.wantRead(ref, data)
}

func TestOffersReachAHolderThatDoesNotLook(t *testing.T) {
	m := newMesh(t, 3, nil)
	data := blobstest.Bytes(5000, 1)
	ref, refs := m.nodes[0].store(data)
	eventually(t, "all copies are made", func() error { return m.lacking(refs) })
	idle := m.nodes[2]
	idle.run() // names nothing, so it finds nothing by itself
	eventually(t, "the first round is over", func() error {
		if idle.Status().LastRound.IsZero() {
			return errors.New("not yet")
		}
		return nil
	})
	for _, r := range refs {
		if err := idle.disk.Delete(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	m.name(ref)
	m.nodes[0].run()
	eventually(t, "it fetched what it was offered", func() error { return m.lacking(refs) })
	if c, err := idle.disk.Open(t.Context(), refs[0]); err != nil {
		t.Error(err)
	} else {
		defer c.Close()
		var got bytes.Buffer
		if _, err := got.ReadFrom(c); err != nil || !bytes.Equal(got.Bytes(), data) {
			t.Errorf("%d bytes, %v", got.Len(), err)
		}
	}
}
