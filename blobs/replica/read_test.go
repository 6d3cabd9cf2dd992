package replica_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/iotest"
	"time"

	"malla/blobs"
	"malla/blobs/blobstest"
	"malla/blobs/disk"
	"malla/blobs/replica"
)

// outsider returns a node that holds none of the chunks.
func (m *mesh) outsider(refs []blobs.Ref) *node {
	for _, nd := range m.nodes {
		if !slices.ContainsFunc(refs, func(ref blobs.Ref) bool { return slices.Contains(m.having(ref), nd.id) }) {
			return nd
		}
	}
	m.t.Fatal("every node holds some")
	return nil
}

func TestEveryNodeReads(t *testing.T) {
	for _, size := range []int{0, 1, blobs.ChunkSize, blobs.ChunkSize + 1} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			m := newMesh(t, 4, func(cfg *replica.Config) { cfg.Copies = 2 })
			data := blobstest.Bytes(size, 1)
			ref, _ := m.nodes[0].store(data)
			for _, nd := range m.nodes {
				nd.wantRead(ref, data)
			}
		})
	}
}

func TestReadingWithoutACacheOrRoom(t *testing.T) {
	m := newMesh(t, 4, func(cfg *replica.Config) {
		cfg.Copies = 2
		if cfg.Self == "n2" {
			cfg.Cache = nil
		}
	})
	data := testData(3, 1)
	ref, _ := m.nodes[0].store(data)
	for _, nd := range m.nodes[2:] {
		nd.room.Store(1000)
		nd.wantRead(ref, data)
	}
}

func TestReaderSeeksAndReadsAnywhere(t *testing.T) {
	m := newMesh(t, 3, func(cfg *replica.Config) { cfg.Copies = 1 })
	data := blobstest.Bytes(blobs.ChunkSize+3000, 1)
	ref, _ := m.nodes[0].store(data)
	b, err := m.nodes[1].Open(t.Context(), ref)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	// Around the seam of the chunks, where the arithmetic could be wrong.
	for _, off := range []int64{0, blobs.ChunkSize - 1, blobs.ChunkSize, blobs.ChunkSize + 1, int64(len(data)) - 1, 5} {
		if _, err := b.Seek(off, io.SeekStart); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, min(2000, int64(len(data))-off))
		if _, err := io.ReadFull(b, got); err != nil || !bytes.Equal(got, data[off:off+int64(len(got))]) {
			t.Errorf("%d bytes at %d: %v, or other bytes", len(got), off, err)
		}
	}
	if _, err := b.Seek(-1, io.SeekStart); err == nil {
		t.Error("seek to before the beginning succeeded")
	}
	if n, err := b.Seek(10, io.SeekEnd); err != nil || n != b.Size()+10 {
		t.Errorf("seek behind the end = %d, %v", n, err)
	}
	if n, err := b.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Errorf("read behind the end = %d, %v", n, err)
	}
	if _, err := b.Seek(0, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	small := data[:3000]
	smallRef, _ := m.nodes[0].store(small)
	s, err := m.nodes[1].Open(t.Context(), smallRef)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := iotest.TestReader(s, small); err != nil {
		t.Error(err)
	}
	if err := errors.Join(s.Close(), s.Close()); err != nil {
		t.Errorf("close twice: %v", err)
	}
}

func TestServeContent(t *testing.T) {
	m := newMesh(t, 3, func(cfg *replica.Config) { cfg.Copies = 1 })
	data := testData(2, 1)
	ref, _ := m.nodes[0].store(data)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, err := m.nodes[1].Open(r.Context(), ref)
		if err != nil {
			t.Error(err)
			return
		}
		defer b.Close()
		http.ServeContent(w, r, "", time.Time{}, b)
	}))
	defer srv.Close()
	for _, c := range []struct {
		ranges   string
		from, to int
	}{
		{"", 0, len(data)},
		{"bytes=8388600-8388620", 8388600, 8388621},
		{"bytes=-5", len(data) - 5, len(data)},
		{"bytes=100-", 100, len(data)},
	} {
		req, _ := http.NewRequestWithContext(t.Context(), "GET", srv.URL, nil)
		if c.ranges != "" {
			req.Header.Set("Range", c.ranges)
		}
		resp, err := srv.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || !bytes.Equal(got, data[c.from:c.to]) {
			t.Errorf("range %q: %d bytes, %v", c.ranges, len(got), err)
		}
	}
}

// cutAfter makes the node's next answers to a GET end after n bytes.
func (nd *node) cutAfter(n int, times int32) {
	var left atomic.Int32
	left.Store(times)
	nd.onRequest(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if r.Method == http.MethodGet && left.Add(-1) >= 0 {
			w = &cutting{ResponseWriter: w, left: n}
		}
		next.ServeHTTP(w, r)
	})
}

type cutting struct {
	http.ResponseWriter
	left int
}

func (c *cutting) Write(p []byte) (int, error) {
	if len(p) > c.left {
		c.ResponseWriter.Write(p[:c.left])
		c.ResponseWriter.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}
	c.left -= len(p)
	return c.ResponseWriter.Write(p)
}

func TestReadingGoesOnWhenHoldersFail(t *testing.T) {
	for _, c := range []struct {
		name string
		harm func(m *mesh, refs []blobs.Ref)
	}{
		{"one is dead", func(m *mesh, refs []blobs.Ref) { m.nodes[1].die() }},
		{"one dies in the middle of each chunk", func(m *mesh, refs []blobs.Ref) { m.nodes[1].cutAfter(3<<20, 1000) }},
		{"all die once in the middle of a chunk", func(m *mesh, refs []blobs.Ref) {
			m.nodes[0].cutAfter(3<<20, 1)
			m.nodes[2].cutAfter(4<<20, 1)
		}},
		{"one hangs", func(m *mesh, refs []blobs.Ref) { m.nodes[1].hang() }},
		{"one has damaged copies", func(m *mesh, refs []blobs.Ref) {
			for _, ref := range refs {
				m.nodes[1].damage(ref)
			}
		}},
		{"one sends other bytes", func(m *mesh, refs []blobs.Ref) {
			m.nodes[1].onRequest(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
				w.Write([]byte("something else"))
			})
		}},
		{"one lost its disk", func(m *mesh, refs []blobs.Ref) {
			for _, ref := range refs {
				m.nodes[1].disk.Delete(m.t.Context(), ref)
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := newMesh(t, 4, nil)
			m.nodes[3].set(func(p *replica.Peer) { p.Weight = 0 }) // keeps nothing, only reads
			data := testData(2, 1)
			ref, refs := m.nodes[0].store(data)
			eventually(t, "all copies are made", func() error {
				for _, r := range refs {
					if len(m.having(r)) < 3 {
						return fmt.Errorf("%s is on %v", r.Short(), m.having(r))
					}
				}
				return nil
			})
			c.harm(m, refs)
			m.nodes[3].wantRead(ref, data)
		})
	}
}

func TestAHolderDiesWhileItIsReadFrom(t *testing.T) {
	m := newMesh(t, 4, nil)
	m.nodes[3].set(func(p *replica.Peer) { p.Weight = 0 })
	data := testData(3, 1)
	ref, refs := m.nodes[0].store(data)
	eventually(t, "two others have all", func() error {
		for _, r := range refs {
			if len(m.having(r)) < 3 {
				return fmt.Errorf("%s is on %v", r.Short(), m.having(r))
			}
		}
		return nil
	})
	b, err := m.nodes[3].Open(t.Context(), ref)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	got := make([]byte, len(data))
	if _, err := io.ReadFull(b, got[:blobs.ChunkSize+100]); err != nil {
		t.Fatal(err)
	}
	m.nodes[0].die()
	m.nodes[1].die()
	if _, err := io.ReadFull(b, got[blobs.ChunkSize+100:]); err != nil || !bytes.Equal(got, data) {
		t.Errorf("after two of three holders died: %v, or other bytes", err)
	}
}

func TestWhatIsNowhere(t *testing.T) {
	m := newMesh(t, 3, nil)
	ref := blobs.RefOf([]byte("nobody has this"))
	if _, err := m.nodes[0].Open(t.Context(), ref); !errors.Is(err, blobs.ErrNotFound) {
		t.Errorf("open = %v, want ErrNotFound", err)
	}
	m.nodes[1].die() // it might have had it
	if _, err := m.nodes[0].Open(t.Context(), ref); !errors.Is(err, blobs.ErrUnavailable) {
		t.Errorf("open = %v, want ErrUnavailable", err)
	}
}

func TestAFlippedBitIsHealed(t *testing.T) {
	m := newMesh(t, 3, nil)
	data := blobstest.Bytes(1<<20, 1)
	ref, refs := m.nodes[0].store(data)
	m.name(ref)
	m.runAll()
	m.wantHeld(3, refs)
	nd := m.nodes[0]
	nd.damage(refs[0])
	nd.wantRead(ref, data)
	eventually(t, "the copy here is sound again", func() error {
		c, err := nd.disk.Open(t.Context(), refs[0])
		if err != nil {
			return err
		}
		return c.Close()
	})
	if s := nd.Status(); s.Damaged != 1 {
		t.Errorf("%d damaged copies counted, want 1", s.Damaged)
	}
}

// badSectors is a disk that cannot read a chunk which it has opened, until it
// is told to look at it again: as where sectors go bad behind the back of who
// hashed them.
type badSectors struct {
	*disk.Store
	bad atomic.Bool
}

type unreadable struct {
	blobs.Chunk
	on *badSectors
}

func (s *badSectors) Open(ctx context.Context, ref blobs.Ref) (blobs.Chunk, error) {
	c, err := s.Store.Open(ctx, ref)
	if err != nil {
		return nil, err
	}
	return unreadable{c, s}, nil
}

func (c unreadable) ReadAt(p []byte, off int64) (int, error) {
	if c.on.bad.Load() {
		return 0, syscall.EIO
	}
	return c.Chunk.ReadAt(p, off)
}

func (s *badSectors) Scrub(ctx context.Context, ref blobs.Ref, paced func(int) error) (int64, error) {
	if s.bad.Swap(false) {
		return 0, errors.Join(blobs.ErrCorrupt, s.Delete(ctx, ref)) // as to quarantine
	}
	return s.Store.Scrub(ctx, ref, paced)
}

func TestAReaderGoesOnWhereItsOpenChunkGoesBad(t *testing.T) {
	data := blobstest.Bytes(100_000, 1)
	truncate := func(t *testing.T, path string) {
		if err := os.Truncate(path, 1000); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		name   string
		holder bool
		harm   func(t *testing.T, nd *node, ref blobs.Ref, sick *badSectors)
	}{
		{"a file that was cut", true, func(t *testing.T, nd *node, ref blobs.Ref, _ *badSectors) { truncate(t, nd.file(ref)) }},
		{"a cached file that was cut", false, func(t *testing.T, nd *node, ref blobs.Ref, _ *badSectors) { truncate(t, nd.cacheFile(ref)) }},
		{"bad sectors", true, func(_ *testing.T, _ *node, _ blobs.Ref, sick *badSectors) { sick.bad.Store(true) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			var sick *badSectors
			m := newMesh(t, 2, func(cfg *replica.Config) {
				cfg.Ack = replica.AckAll
				if cfg.Self == "n1" {
					sick = &badSectors{Store: cfg.Local.(*disk.Store)}
					cfg.Local = sick
				}
			})
			nd := m.nodes[1]
			if !c.holder {
				for _, nd := range m.nodes {
					nd.set(func(p *replica.Peer) { p.Draining = nd.id == "n1" })
				}
			}
			ref, refs := m.nodes[0].store(data)
			b, err := nd.Open(t.Context(), ref)
			if err != nil {
				t.Fatal(err)
			}
			defer b.Close()
			head := make([]byte, 1000)
			if _, err := io.ReadFull(b, head); err != nil {
				t.Fatal(err)
			}
			c.harm(t, nd, refs[0], sick)
			rest, err := io.ReadAll(b)
			if got := append(head, rest...); err != nil || !bytes.Equal(got, data) {
				t.Errorf("%d bytes, %v, want %d", len(got), err, len(data))
			}
			if _, err := nd.disk.Stat(t.Context(), refs[0]); (err == nil) != c.holder {
				t.Errorf("on its disk: %v; it is a holder: %v", err, c.holder)
			}
			nd.wantRead(ref, data)
		})
	}
}

func TestWriteToAndFill(t *testing.T) {
	m := newMesh(t, 3, func(cfg *replica.Config) { cfg.Copies = 1 })
	for _, size := range []int{0, 1000, blobs.ChunkSize + 5} {
		data := blobstest.Bytes(size, uint64(size))
		ref, refs := m.nodes[0].store(data)
		for _, nd := range []*node{m.nodes[0], m.outsider(refs[:0])} {
			b, err := nd.Open(t.Context(), ref)
			if err != nil {
				t.Fatal(err)
			}
			var got bytes.Buffer
			half := int64(size / 2)
			if _, err := b.Seek(half, io.SeekStart); err != nil {
				t.Fatal(err)
			}
			n, err := b.(io.WriterTo).WriteTo(&got)
			if err != nil || n != int64(size)-half || !bytes.Equal(got.Bytes(), data[half:]) {
				t.Errorf("%d bytes: write to = %d, %v", size, n, err)
			}
			b.Close()
			dst := filepath.Join(t.TempDir(), "input")
			if err := nd.Fill(t.Context(), ref, dst); err != nil {
				t.Fatal(err)
			}
			if got, err := os.ReadFile(dst); err != nil || !bytes.Equal(got, data) {
				t.Errorf("%d bytes: the file has %d, %v", size, len(got), err)
			}
		}
	}
	dst := filepath.Join(t.TempDir(), "input")
	if err := m.nodes[0].Fill(t.Context(), blobs.RefOf([]byte("nothing")), dst); !errors.Is(err, blobs.ErrNotFound) {
		t.Errorf("fill with nothing = %v", err)
	}
	if _, err := os.Stat(dst); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file is there: %v", err)
	}
}

func TestFilesOfLocalChunksAreNotCopied(t *testing.T) {
	m := newMesh(t, 6, func(cfg *replica.Config) { cfg.Copies = 1 })
	data := blobstest.Bytes(2*blobs.ChunkSize+5, 1)
	ref, refs := m.nodes[0].store(data)
	for name, c := range map[string]struct {
		at    *node
		most  int
		files int
	}{
		"all here":        {m.nodes[0], 3, 3},
		"more than asked": {m.nodes[0], 2, 1},
		"somewhere else":  {m.outsider(refs), 3, 1},
	} {
		t.Run(name, func(t *testing.T) {
			dst := filepath.Join(t.TempDir(), "input")
			paths, err := c.at.FillFiles(t.Context(), ref, dst, c.most)
			if err != nil || len(paths) != c.files || paths[0] != dst {
				t.Fatalf("files %q, %v", paths, err)
			}
			var got []byte
			for _, path := range paths {
				part, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, part...)
			}
			if !bytes.Equal(got, data) {
				t.Errorf("%d bytes of %d, or others", len(got), len(data))
			}
			if all, err := filepath.Glob(dst + "*"); err != nil || len(all) != c.files {
				t.Errorf("files %q, %v", all, err)
			}
		})
	}
}

func BenchmarkRead(b *testing.B) {
	m := newMesh(b, 2, func(cfg *replica.Config) { cfg.Copies = 1 })
	m.nodes[1].set(func(p *replica.Peer) { p.Weight = 0 })
	data := blobstest.Bytes(4*blobs.ChunkSize, 1)
	ref, refs := m.nodes[0].store(data)
	for _, c := range []struct {
		name string
		at   *node
		prep func()
	}{
		{"local", m.nodes[0], func() {}},
		{"remote", m.nodes[1], func() {
			for _, r := range refs {
				m.nodes[1].cache.Delete(b.Context(), r)
			}
		}},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.SetBytes(int64(len(data)))
			for b.Loop() {
				b.StopTimer()
				c.prep()
				b.StartTimer()
				r, err := c.at.Open(b.Context(), ref)
				if err != nil {
					b.Fatal(err)
				}
				if n, err := io.Copy(io.Discard, r); err != nil || n != int64(len(data)) {
					b.Fatal(n, err)
				}
				r.Close()
			}
		})
	}
}
