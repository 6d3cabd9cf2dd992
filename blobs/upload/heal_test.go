package upload

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"malla/blobs"
	"malla/blobs/blobstest"
)

// eventually waits until what is checked is true.
func eventually(t *testing.T, what string, check func() error) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: %v", what, err)
		}
		<-time.After(5 * time.Millisecond)
	}
}

// wantHeld waits until the node keeps the collector from so many chunks.
func (nd *meshNode) wantHeld(want int) {
	nd.mesh.t.Helper()
	eventually(nd.mesh.t, "chunks are held", func() error {
		held := 0
		for range nd.Held {
			held++
		}
		if held != want {
			return fmt.Errorf("%s holds %d chunks, want %d", nd.id, held, want)
		}
		return nil
	})
}

// keeping tells who keeps the record, as the node knows.
func (nd *meshNode) keeping(id string) taken {
	nd.mesh.t.Helper()
	u, err := nd.get(id)
	if err != nil {
		nd.mesh.t.Fatal(err)
	}
	return nd.claim(u).Taken
}

// toldAll waits until every keeper has all that this node knows of the upload,
// and it knows that.
func (nd *meshNode) toldAll(id string) {
	nd.mesh.t.Helper()
	u, err := nd.get(id)
	if err != nil {
		nd.mesh.t.Fatal(err)
	}
	eventually(nd.mesh.t, "the keepers know all", func() error {
		u.mu.Lock()
		defer u.mu.Unlock()
		for node, f := range u.feeds {
			if node != nd.id && f.have < u.state.lines {
				return fmt.Errorf("%s has %d of %d lines", node, f.have, u.state.lines)
			}
		}
		return nil
	})
}

func (m *mesh) node(id string) *meshNode {
	return m.nodes[slices.IndexFunc(m.nodes, func(nd *meshNode) bool { return nd.id == id })]
}

// overtaken is a mesh in which b finished an upload that a began. a was cut off
// meanwhile, is back, and has not heard of it.
func overtaken(t *testing.T, end func(b *meshNode, id string) error) (a, b *meshNode, id string) {
	t.Helper()
	const size = 2*blobs.ChunkSize + 4321
	data := blobstest.Bytes(size, 1)
	m := newMesh(t, 3)
	a, b = m.nodes[0], m.nodes[1]
	id = create(t, a.Store, size)
	appendAll(t, a.Store, id, 0, data[:blobs.ChunkSize+5])
	a.toldAll(id) // else it would try again, and hear what became of the upload
	a.set(true, true)
	i := b.find(id)
	appendAll(t, b.Store, id, i.Offset, data[i.Offset:])
	b.finish(id, data)
	if err := errors.Join(b.SetNamed(t.Context(), id, Named{"m1", "a.mp4"}), end(b, id)); err != nil {
		t.Fatal(err)
	}
	a.set(false, false)
	if u, err := a.get(id); err != nil || !u.isMine() {
		t.Fatal("a knows already that it lost the upload")
	}
	return a, b, id
}

func TestAFormerOwnerRemovesNoChunks(t *testing.T) {
	named := func(*meshNode, string) error { return nil }
	forgotten := func(b *meshNode, id string) error { return b.Forget(id) } // as an hour later
	for _, row := range []struct {
		name string
		end  func(b *meshNode, id string) error
		do   func(a *meshNode, id string) error
		want error
	}{
		{"expires it", named, func(a *meshNode, id string) error {
			if n := a.Expire(t.Context(), time.Now().Add(25*time.Hour)); n != 1 {
				return fmt.Errorf("%d expired", n)
			}
			return nil
		}, nil},
		{"is told to terminate it", named, func(a *meshNode, id string) error { return a.Terminate(t.Context(), id) }, ErrMoved},
		{"is told to terminate it when nobody knows of it any more", forgotten, func(a *meshNode, id string) error { return a.Terminate(t.Context(), id) }, ErrNotFound},
		{"refuses it", forgotten, func(a *meshNode, id string) error { return a.Discard(t.Context(), id) }, nil},
		{"is asked for it when nobody knows of it any more", forgotten, func(a *meshNode, id string) error {
			_, _, err := a.Find(t.Context(), id, "ana")
			return err
		}, ErrNotFound},
		{"restarts when nobody knows of it any more", forgotten, func(a *meshNode, id string) error {
			a.open()
			_, _, err := a.Find(t.Context(), id, "ana")
			return err
		}, ErrNotFound},
	} {
		t.Run(row.name, func(t *testing.T) {
			a, b, id := overtaken(t, row.end)
			if err := row.do(a, id); !errors.Is(err, row.want) {
				t.Errorf("%v, want %v", err, row.want)
			}
			if refs := a.mesh.dest.discarded[id]; len(refs) != 0 {
				t.Errorf("%d chunks of a film that is in the library are gone", len(refs))
			}
			if _, err := b.get(id); err == nil {
				if i := b.named(id); i.Named.Media != "m1" {
					t.Errorf("b says %+v", i)
				}
			}
		})
	}
}

func TestWhoKeptARecordHearsThatItGoesOnElsewhere(t *testing.T) {
	m := newMesh(t, 3)
	a, b := m.nodes[0], m.nodes[1]
	data := blobstest.Bytes(3*blobs.ChunkSize, 1)
	id := create(t, a.Store, int64(len(data)))
	appendAll(t, a.Store, id, 0, data[:blobs.ChunkSize+5])
	a.set(true, true)
	i := b.find(id)
	if slices.Contains(b.keeping(id).Keepers, a.id) {
		t.Fatal("a dead node was chosen to keep the record")
	}
	b.open() // and knows after a restart whom to tell
	b.find(id)
	a.set(false, false)
	appendAll(t, b.Store, id, i.Offset, data[i.Offset:])
	eventually(t, "a hears of it", func() error {
		u, err := a.get(id)
		if err != nil {
			return err
		}
		if c := a.claim(u); c.Mine || c.Taken.token != b.keeping(id).token {
			return fmt.Errorf("a knows %+v", c)
		}
		return nil
	})
}

func TestFormerKeepersForgetWhatIsTerminated(t *testing.T) {
	m := newMesh(t, 5)
	a := m.nodes[0]
	id := create(t, a.Store, 2*blobs.ChunkSize)
	appendAll(t, a.Store, id, 0, blobstest.Bytes(blobs.ChunkSize+10, 1))
	m.wantRecords(id, 3)
	lost := m.node(a.keeping(id).Keepers[1])
	lost.set(true, true)
	a.find(id)
	m.wantRecords(id, 4)
	lost.set(false, false)
	if err := a.Terminate(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	m.wantRecords(id, 0)
}

func TestWhatCannotBeReachedIsNotCalledUnknown(t *testing.T) {
	m := newMesh(t, 5)
	a := m.nodes[0]
	id := create(t, a.Store, 100)
	m.wantRecords(id, 3)
	keepers := a.keeping(id).Keepers
	var other *meshNode
	for _, nd := range m.nodes {
		if !slices.Contains(keepers, nd.id) {
			other = nd
		}
	}
	if _, _, err := other.Find(t.Context(), "unknown", "ana"); !errors.Is(err, ErrNotFound) {
		t.Errorf("while all answer: %v, want ErrNotFound", err)
	}
	for _, gone := range []bool{false, true} {
		for _, k := range keepers {
			m.node(k).set(true, gone)
		}
		if _, _, err := other.Find(t.Context(), id, "ana"); !errors.Is(err, blobs.ErrUnavailable) {
			t.Errorf("keepers given up: %v; find = %v, want ErrUnavailable", gone, err)
		}
		if _, err := other.Lookup(t.Context(), id, "ana"); !errors.Is(err, blobs.ErrUnavailable) {
			t.Errorf("keepers given up: %v; lookup = %v, want ErrUnavailable", gone, err)
		}
	}
	for _, k := range keepers[1:] {
		m.node(k).set(false, false)
	}
	other.find(id)
}

func TestADeadKeeperDoesNotSpeakForASilentOne(t *testing.T) {
	const size = 4 * blobs.ChunkSize
	data := blobstest.Bytes(size, 1)
	m := newMesh(t, 3)
	a, b, c := m.nodes[0], m.nodes[1], m.nodes[2]
	id := create(t, a.Store, size)
	b.set(true, false) // misses what comes now
	appendAll(t, a.Store, id, 0, data[:2*blobs.ChunkSize+1])
	a.set(true, true)
	c.set(true, false) // slow: it alone knows what was acknowledged
	b.set(false, false)
	if i, at, err := b.Find(t.Context(), id, "ana"); !errors.Is(err, blobs.ErrUnavailable) {
		t.Fatalf("b goes on at %d, %q, %v, though a living node may know more", i.Offset, at, err)
	}
	c.set(false, false)
	if i := b.find(id); i.Offset != 2*blobs.ChunkSize {
		t.Errorf("b goes on at %d, want %d", i.Offset, 2*blobs.ChunkSize)
	}
}

func TestANodeThatCannotImportTakesNothingOver(t *testing.T) {
	m := newMesh(t, 3)
	a, b, c := m.nodes[0], m.nodes[1], m.nodes[2]
	id := create(t, a.Store, 100)
	if _, at, err := b.FindOnly(t.Context(), id, "ana"); err != nil || at != a.id {
		t.Errorf("while its node lives, b sends to %q, %v", at, err)
	}
	if _, _, err := b.FindOnly(t.Context(), id, "bob"); !errors.Is(err, ErrNotFound) {
		t.Errorf("somebody else's = %v", err)
	}
	m.wantRecords(id, 3)
	a.set(true, true)
	if _, at, err := b.FindOnly(t.Context(), id, "ana"); !errors.Is(err, blobs.ErrUnavailable) {
		t.Errorf("after its node died: at %q, %v, want ErrUnavailable", at, err)
	}
	c.find(id)
	if _, at, err := b.FindOnly(t.Context(), id, "ana"); err != nil || at != c.id {
		t.Errorf("after c took it, b sends to %q, %v", at, err)
	}
	if _, at, err := c.FindOnly(t.Context(), id, "ana"); err != nil || at != "" {
		t.Errorf("c itself sends to %q, %v", at, err)
	}
}

func TestLinesOfADroppedRecordBelongToNobody(t *testing.T) {
	m := newMesh(t, 2)
	a, b := m.nodes[0], m.nodes[1]
	id := create(t, a.Store, 100)
	m.wantRecords(id, 2)
	record, err := os.ReadFile(a.journal(id))
	if err != nil {
		t.Fatal(err)
	}
	by := a.keeping(id).token
	for range 20 {
		b.keep(id, by, 0, bytes.NewReader(record))
		body, end := io.Pipe()
		var all sync.WaitGroup
		all.Go(func() { b.keep(id, token{9, "n9"}, 0, body) }) // holds the file until it ends
		end.Write(record[:1])
		all.Go(func() { b.Forget(id) })
		for range 1000 {
			runtime.Gosched() // so that it is begun
		}
		all.Go(func() { b.keep(id, by, 0, bytes.NewReader(record)) })
		for range 1000 {
			runtime.Gosched()
		}
		end.Close()
		all.Wait()
		_, unknown := b.get(id)
		if _, err := os.Stat(b.journal(id)); (err == nil) != (unknown == nil) {
			t.Fatalf("the record's file: %v; the upload: %v", err, unknown)
		}
	}
}

func TestACompleteUploadIsNamedBySomebody(t *testing.T) {
	m := newMesh(t, 3)
	a, b := m.nodes[0], m.nodes[1]
	data := blobstest.Bytes(blobs.ChunkSize, 1)
	id := create(t, a.Store, int64(len(data)))
	wantComplete := func(nd *meshNode, want int) {
		t.Helper()
		if got := nd.Complete(0); len(got) != want || want > 0 && got[0].ID != id {
			t.Errorf("%s has to name %+v, want %d uploads", nd.id, got, want)
		}
	}
	wantComplete(a, 0)
	appendAll(t, a.Store, id, 0, data)
	b.wantHeld(1)
	wantComplete(a, 1)
	wantComplete(b, 0)
	a.open()
	wantComplete(a, 1)
	a.set(true, true)
	wantComplete(b, 1)
	if i := b.find(id); !i.Complete() {
		t.Errorf("b takes it over at %d", i.Offset)
	}
	b.finish(id, data)
	wantComplete(b, 1)
	if err := b.SetNamed(t.Context(), id, Named{"m1", "a.mp4"}); err != nil {
		t.Fatal(err)
	}
	wantComplete(b, 0)
}
