package upload

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"malla/blobs"
	"malla/blobs/blobstest"
)

// A folder is a Dest that keeps chunks as files and fails when told to.
type folder struct {
	dir string

	mu        sync.Mutex
	room      func(n int64) error              // nil: always
	spread    func(ref blobs.Ref, n int) error // nil: always; n is which call this is
	calls     int
	reserved  int64
	most      int64
	discarded map[string][]blobs.Ref
	confirmed []blobs.Ref
}

func newFolder(t testing.TB) *folder {
	return &folder{dir: t.TempDir(), discarded: map[string][]blobs.Ref{}}
}

func (d *folder) Reserve(n int64) (func(), error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.room != nil {
		if err := d.room(n); err != nil {
			return nil, err
		}
	}
	d.reserved += n
	d.most = max(d.most, d.reserved)
	return sync.OnceFunc(func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.reserved -= n
	}), nil
}

func (d *folder) Spread(ctx context.Context, upload string, ref blobs.Ref, path string) error {
	d.mu.Lock()
	d.calls++
	n, fail := d.calls, d.spread
	d.mu.Unlock()
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if blobs.RefOf(data) != ref {
		return fmt.Errorf("%w: the file at %s", blobs.ErrCorrupt, path)
	}
	// The file is gone whether or not enough nodes get it, as in package replica.
	if err := errors.Join(os.Rename(path, filepath.Join(d.dir, ref.String())), ctx.Err()); err != nil || fail == nil {
		return err
	}
	return fail(ref, n)
}

func (d *folder) Confirm(ctx context.Context, upload string, refs []blobs.Ref) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.confirmed = append(d.confirmed, refs...)
	return nil
}

func (d *folder) Discard(ctx context.Context, upload string, refs []blobs.Ref) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.discarded[upload] = append(d.discarded[upload], refs...)
	for _, ref := range refs {
		os.Remove(filepath.Join(d.dir, ref.String()))
	}
	return nil
}

// content reads the blob back and checks that its manifest is true.
func (d *folder) content(t *testing.T, blob blobs.Blob) []byte {
	t.Helper()
	read := func(ref blobs.Ref) []byte {
		data, err := os.ReadFile(filepath.Join(d.dir, ref.String()))
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	m, err := blobs.DecodeManifest(read(blob.Ref))
	if err != nil {
		t.Fatal(err)
	}
	var data []byte
	for i, ref := range m.Chunks {
		chunk := read(ref)
		if int64(len(chunk)) != m.ChunkLen(i) {
			t.Errorf("chunk %d has %d bytes, want %d", i, len(chunk), m.ChunkLen(i))
		}
		data = append(data, chunk...)
	}
	if blobs.RefOf(data) != blob.SHA256 || m.Blob() != blob {
		t.Errorf("the blob says %+v, its bytes %s", blob, blobs.RefOf(data))
	}
	return data
}

// alone is a mesh of one node.
type alone struct{}

func (alone) Nodes() []Peer {
	return []Peer{{Holder: blobs.Holder{ID: "n0"}, Alive: true, Takes: true}}
}

func (alone) Do(context.Context, string, *http.Request) (*http.Response, error) {
	return nil, errors.New("no such node")
}

// openStore opens a store of a node alone, and asks for its uploads as their
// clients do after a restart.
func openStore(t testing.TB, dest Dest, dir string) *Store {
	t.Helper()
	s, err := Open(Config{Dir: dir, Dest: dest, Self: "n0", Peers: alone{}})
	if err != nil {
		t.Fatal(err)
	}
	for _, u := range s.all() {
		if _, at, err := s.Find(t.Context(), u.id, u.info().Owner); err != nil || at != "" {
			t.Fatalf("find after a restart: at %q, %v", at, err)
		}
	}
	return s
}

func wantEmpty(t *testing.T, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		t.Errorf("left behind: %s", e.Name())
	}
}

func wantNothingReserved(t *testing.T, d *folder) {
	t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.reserved != 0 {
		t.Errorf("%d bytes are still reserved", d.reserved)
	}
}

func TestWriteCutsIntoChunks(t *testing.T) {
	const chunk = blobs.ChunkSize
	for _, size := range []int{0, 1, chunk - 1, chunk, chunk + 1, 3*chunk + 12345} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			d, dir := newFolder(t), t.TempDir()
			s := openStore(t, d, dir)
			data := blobstest.Bytes(size, 1)
			// Odd pieces, so that no buffer ends where a chunk does.
			blob, err := s.Write(t.Context(), "", iotest.OneByteReader(bytes.NewReader(data[:min(size, 100)])), chunk)
			if size > 100 {
				r := io.MultiReader(bytes.NewReader(data[:100_001%size]), bytes.NewReader(data[100_001%size:]))
				blob, err = s.Write(t.Context(), "", r, int64(size))
			}
			if err != nil {
				t.Fatal(err)
			}
			if blob.Size != int64(size) || !bytes.Equal(d.content(t, blob), data) {
				t.Errorf("%d bytes came back different", size)
			}
			wantEmpty(t, dir)
			wantNothingReserved(t, d)
			if d.most > 2*chunk {
				t.Errorf("%d bytes were on their way at once, want at most two chunks", d.most)
			}
		})
	}
}

func TestRefusedWriteLeavesNothing(t *testing.T) {
	const size = 3*blobs.ChunkSize + 5
	broken := errors.New("the line broke")
	data := blobstest.Bytes(size, 2)
	for _, c := range []struct {
		name  string
		begin func(d *folder) io.Reader
		want  error
	}{
		{"more bytes than allowed", func(d *folder) io.Reader {
			return io.MultiReader(bytes.NewReader(data), bytes.NewReader([]byte{1}))
		}, blobs.ErrTooLarge},
		{"the sender goes away", func(d *folder) io.Reader {
			return io.MultiReader(bytes.NewReader(data[:size-100]), iotest.ErrReader(broken))
		}, broken},
		{"the disk is full from the start", func(d *folder) io.Reader {
			d.room = func(int64) error { return blobs.ErrFull }
			return bytes.NewReader(data)
		}, blobs.ErrFull},
		{"too few nodes at the first chunk", func(d *folder) io.Reader {
			d.spread = func(blobs.Ref, int) error { return blobs.ErrUnavailable }
			return bytes.NewReader(data)
		}, blobs.ErrUnavailable},
		{"too few nodes at the third chunk", func(d *folder) io.Reader {
			d.spread = func(_ blobs.Ref, n int) error {
				if n == 3 {
					return blobs.ErrUnavailable
				}
				return nil
			}
			return bytes.NewReader(data)
		}, blobs.ErrUnavailable},
		{"too few nodes at the manifest", func(d *folder) io.Reader {
			d.spread = func(_ blobs.Ref, n int) error {
				if n == 5 {
					return blobs.ErrUnavailable
				}
				return nil
			}
			return bytes.NewReader(data)
		}, blobs.ErrUnavailable},
	} {
		t.Run(c.name, func(t *testing.T) {
			d, dir := newFolder(t), t.TempDir()
			s := openStore(t, d, dir)
			r := c.begin(d)
			if _, err := s.Write(t.Context(), "x", r, size); !errors.Is(err, c.want) {
				t.Errorf("write = %v, want %v", err, c.want)
			}
			wantEmpty(t, dir)
			wantEmpty(t, d.dir)
			wantNothingReserved(t, d)
			if _, err := s.Get("x"); !errors.Is(err, ErrNotFound) {
				t.Errorf("get = %v", err)
			}
		})
	}
}

func TestDiscardTakesBackWhatWasWritten(t *testing.T) {
	d := newFolder(t)
	s := openStore(t, d, t.TempDir())
	id := NewID()
	blob, err := s.Write(t.Context(), id, bytes.NewReader(blobstest.Bytes(1000, 1)), 1000)
	if err != nil {
		t.Fatal(err)
	}
	held := 0
	for range s.Held {
		held++
	}
	if held != 2 {
		t.Errorf("%d chunks held, want chunk and manifest", held)
	}
	if err := s.Discard(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	wantEmpty(t, d.dir)
	if refs := d.discarded[id]; len(refs) != 2 || refs[1] != blob.Ref {
		t.Errorf("discarded %v", refs)
	}
	if err := s.Discard(t.Context(), id); !errors.Is(err, ErrNotFound) {
		t.Errorf("discard again = %v", err)
	}
}

func TestExpire(t *testing.T) {
	d, dir := newFolder(t), t.TempDir()
	s := openStore(t, d, dir)
	unfinished := create(t, s, 2*blobs.ChunkSize)
	appendAll(t, s, unfinished, 0, blobstest.Bytes(blobs.ChunkSize+100, 1))
	finished := create(t, s, 100)
	appendAll(t, s, finished, 0, blobstest.Bytes(100, 2))
	blob, err := s.Finish(t.Context(), finished)
	if err != nil {
		t.Fatal(err)
	}
	if n := s.Expire(t.Context(), time.Now().Add(23*time.Hour)); n != 0 {
		t.Errorf("%d uploads expired after 23 hours", n)
	}
	if n := s.Expire(t.Context(), time.Now().Add(25*time.Hour)); n != 2 {
		t.Errorf("%d uploads expired after 25 hours, want 2", n)
	}
	wantEmpty(t, dir)
	if got := d.content(t, blob); len(got) != 100 {
		t.Errorf("the finished blob has %d bytes", len(got))
	}
	if len(d.discarded) != 0 {
		t.Errorf("discarded %v, which another node may have made a film of", d.discarded)
	}
}

func TestOpenRemovesWhatBelongsToNothing(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"abc.0.part", "def.journal", "ghi.7.part"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("torn"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	openStore(t, newFolder(t), dir)
	wantEmpty(t, dir)
}

func BenchmarkWrite(b *testing.B) {
	d := newFolder(b)
	s := openStore(b, movingOnly{d}, b.TempDir())
	data := blobstest.Bytes(8*blobs.ChunkSize, 1)
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		if _, err := s.Write(b.Context(), "", bytes.NewReader(data), int64(len(data))); err != nil {
			b.Fatal(err)
		}
	}
}

// movingOnly does not check the bytes, which is not what is measured.
type movingOnly struct{ *folder }

func (d movingOnly) Spread(ctx context.Context, upload string, ref blobs.Ref, path string) error {
	return os.Rename(path, filepath.Join(d.dir, ref.String()))
}

// Open implements [Dest].
func (d *folder) Open(_ context.Context, ref blobs.Ref) (blobs.Reader, error) {
	data, err := os.ReadFile(filepath.Join(d.dir, ref.String()))
	if err != nil {
		return nil, err
	}
	m, err := blobs.DecodeManifest(data)
	if err != nil {
		return nil, err
	}
	var whole []byte
	for _, chunk := range m.Chunks {
		data, err := os.ReadFile(filepath.Join(d.dir, chunk.String()))
		if err != nil {
			return nil, err
		}
		whole = append(whole, data...)
	}
	return inMemory{bytes.NewReader(whole)}, nil
}

type inMemory struct{ *bytes.Reader }

func (inMemory) Close() error { return nil }
