package disk

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"malla/blobs"
	"malla/blobs/blobstest"
)

func openStore(t testing.TB, cfg Config) *Store {
	t.Helper()
	if cfg.Dir == "" {
		cfg.Dir = t.TempDir()
	}
	s, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func put(t testing.TB, s blobs.Store, data []byte) blobs.Ref {
	t.Helper()
	ref := blobs.RefOf(data)
	if err := s.Put(t.Context(), ref, bytes.NewReader(data)); err != nil {
		t.Fatal(err)
	}
	return ref
}

// files lists what lies under dir, without folders.
func files(t *testing.T, dir string) []string {
	t.Helper()
	var names []string
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			names = append(names, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// setAge makes the chunk look as if it was used that long ago.
func setAge(t *testing.T, s *Store, ref blobs.Ref, age time.Duration) {
	t.Helper()
	then := time.Now().Add(-age)
	if err := os.Chtimes(s.path(ref), then, then); err != nil {
		t.Fatal(err)
	}
}

// damage flips one bit of the chunk's file behind the store's back.
func damage(t *testing.T, s *Store, ref blobs.Ref) {
	t.Helper()
	if err := os.Chmod(s.path(ref), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(s.path(ref), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var b [1]byte
	if _, err := f.ReadAt(b[:], 77); err != nil {
		t.Fatal(err)
	}
	b[0] ^= 4
	if _, err := f.WriteAt(b[:], 77); err != nil {
		t.Fatal(err)
	}
}

func TestStoreContract(t *testing.T) {
	blobstest.Store(t, func(t *testing.T) blobs.Store { return openStore(t, Config{}) })
}

func TestRefusedPutsLeaveNothing(t *testing.T) {
	s := openStore(t, Config{})
	data := blobstest.Bytes(300_000, 1)
	ref := blobs.RefOf(data)
	for _, r := range []io.Reader{
		bytes.NewReader(data[1:]),
		io.MultiReader(bytes.NewReader(data[:1000]), errReader{}),
		bytes.NewReader(make([]byte, blobs.ChunkSize+1)),
	} {
		if err := s.Put(t.Context(), ref, r); err == nil {
			t.Error("the put succeeded")
		}
	}
	if left := files(t, s.dir); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	if s.room.taken != 0 {
		t.Errorf("%d bytes are still promised", s.room.taken)
	}
}

type errReader struct{}

func (errReader) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

func TestOpenCleansUpAfterACrash(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, Config{Dir: dir})
	ref := put(t, s, blobstest.Bytes(5000, 1))
	// A process that is killed in the middle of a put leaves its temporary file.
	st, err := s.stage()
	if err != nil {
		t.Fatal(err)
	}
	if err := st.fill(t.Context(), bytes.NewReader(blobstest.Bytes(5000, 2))); err != nil {
		t.Fatal(err)
	}

	s = openStore(t, Config{Dir: dir})
	if left := files(t, s.staging()); len(left) > 0 {
		t.Errorf("left in staging: %v", left)
	}
	if _, err := s.Stat(t.Context(), ref); err != nil {
		t.Errorf("the finished chunk: %v", err)
	}
}

func TestADeletionThatFailsIsNone(t *testing.T) {
	s := openStore(t, Config{})
	data := blobstest.Bytes(1000, 1)
	ref := blobs.RefOf(data)
	if _, err := s.PutFor(t.Context(), "u", ref, bytes.NewReader(data)); err != nil {
		t.Fatal(err)
	}
	// What cannot be removed: a folder that is not empty.
	if err := os.Remove(s.path(ref)); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(s.path(ref), "x"), 0o700); err != nil {
		t.Fatal(err)
	}
	if gone, err := s.Discard(t.Context(), "u", ref); gone || err == nil {
		t.Errorf("discard = %v, %v", gone, err)
	}
	if gone, err := s.Remove(t.Context(), ref, time.Now().Add(time.Hour)); gone || err == nil {
		t.Errorf("remove = %v, %v", gone, err)
	}
}

func TestDamageIsNeverRead(t *testing.T) {
	for _, c := range []struct {
		name string
		harm func(t *testing.T, s *Store, ref blobs.Ref)
	}{
		{"a flipped bit", damage},
		{"a torn file", func(t *testing.T, s *Store, ref blobs.Ref) {
			if err := os.Truncate(s.path(ref), 4096); err != nil {
				t.Fatal(err)
			}
		}},
		{"an empty file", func(t *testing.T, s *Store, ref blobs.Ref) {
			if err := os.Truncate(s.path(ref), 0); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := openStore(t, Config{})
			data := blobstest.Bytes(300_000, 1)
			ref := put(t, s, data)
			s.verified.forget(ref)
			c.harm(t, s, ref)
			if _, err := s.Open(t.Context(), ref); !errors.Is(err, blobs.ErrCorrupt) {
				t.Fatalf("open = %v, want ErrCorrupt", err)
			}
			if found, healed := s.Damage(); found != 1 || healed != 0 {
				t.Errorf("%d found, %d healed", found, healed)
			}
			if kept := files(t, filepath.Join(s.dir, "quarantine")); len(kept) != 1 || !strings.HasPrefix(filepath.Base(kept[0]), ref.String()) {
				t.Errorf("in quarantine: %v, want %s", kept, ref)
			}
			if _, err := s.Open(t.Context(), ref); !errors.Is(err, blobs.ErrNotFound) {
				t.Errorf("open again = %v, want ErrNotFound", err)
			}
			put(t, s, data)
			if _, err := s.Open(t.Context(), ref); err != nil {
				t.Errorf("open after a good put: %v", err)
			}
		})
	}
}

func TestPutReplacesADamagedChunk(t *testing.T) {
	s := openStore(t, Config{})
	data := blobstest.Bytes(300_000, 1)
	ref := put(t, s, data)
	damage(t, s, ref)
	s.verified.forget(ref)
	put(t, s, data)
	s.verified.forget(ref)
	if _, err := s.Open(t.Context(), ref); err != nil {
		t.Errorf("open = %v: the put acknowledged a damaged chunk", err)
	}
}

func TestRepeatedOpensHashOnce(t *testing.T) {
	s := openStore(t, Config{})
	ref := put(t, s, blobstest.Bytes(300_000, 1))
	info, err := os.Stat(s.path(ref))
	if err != nil {
		t.Fatal(err)
	}
	if !s.verified.has(ref, info) {
		t.Error("a chunk that was just written has to be hashed")
	}
	for range 3 * maxVerified {
		s.verified.add(blobs.RefOf(fmt.Append(nil, len(s.verified.seen), time.Now())), info)
	}
	if n := len(s.verified.seen); n > maxVerified {
		t.Errorf("%d chunks remembered, want at most %d", n, maxVerified)
	}
	setAge(t, s, ref, time.Hour)
	if info, _ = os.Stat(s.path(ref)); s.verified.has(ref, info) {
		t.Error("a file with another time counts as verified")
	}
}

func TestPutAndKeepMakeAChunkFresh(t *testing.T) {
	data := blobstest.Bytes(1000, 1)
	for _, c := range []struct {
		name string
		use  func(s *Store, ref blobs.Ref) error
	}{
		{"put", func(s *Store, ref blobs.Ref) error {
			return s.Put(t.Context(), ref, bytes.NewReader(data))
		}},
		{"keep", func(s *Store, ref blobs.Ref) error {
			_, err := s.KeepFor(t.Context(), "", ref)
			return err
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := openStore(t, Config{})
			ref := put(t, s, data)
			setAge(t, s, ref, time.Hour)
			if err := c.use(s, ref); err != nil {
				t.Fatal(err)
			}
			if gone, err := s.Remove(t.Context(), ref, time.Now().Add(-time.Minute)); gone || err != nil {
				t.Errorf("remove of a fresh chunk = %v, %v", gone, err)
			}
			setAge(t, s, ref, time.Hour)
			if gone, err := s.Remove(t.Context(), ref, time.Now().Add(-time.Minute)); !gone || err != nil {
				t.Errorf("remove of an old chunk = %v, %v", gone, err)
			}
		})
	}
}

func TestFullBeforeTheReserve(t *testing.T) {
	var free atomic.Int64
	free.Store(100 << 20)
	s := openStore(t, Config{
		Reserve: 90 << 20,
		Free:    func(string) (int64, int64, error) { return free.Load(), 1 << 40, nil },
	})
	data := blobstest.Bytes(1000, 1)
	release, err := s.Reserve(blobs.ChunkSize)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Put(t.Context(), blobs.RefOf(data), bytes.NewReader(data)); !errors.Is(err, blobs.ErrFull) {
		t.Errorf("put beside another write = %v, want ErrFull", err)
	}
	release()
	release()
	ref := put(t, s, data)
	if left, _, err := s.Free(); err != nil || left != 10<<20 {
		t.Errorf("free = %d, %v", left, err)
	}
	free.Store(95 << 20)
	other := blobstest.Bytes(1000, 2)
	if err := s.Put(t.Context(), blobs.RefOf(other), bytes.NewReader(other)); !errors.Is(err, blobs.ErrFull) {
		t.Errorf("put = %v, want ErrFull", err)
	}
	if err := s.Put(t.Context(), ref, bytes.NewReader(data)); err != nil {
		t.Errorf("put of what is there = %v", err)
	}
	if left := files(t, s.staging()); len(left) > 0 {
		t.Errorf("left in staging: %v", left)
	}
}

func TestAdopt(t *testing.T) {
	s := openStore(t, Config{})
	data := blobstest.Bytes(300_000, 1)
	ref := blobs.RefOf(data)
	for i, wantCreated := range []bool{true, false} {
		path := filepath.Join(t.TempDir(), "part")
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		created, err := s.Adopt(t.Context(), "", ref, path)
		if err != nil || created != wantCreated {
			t.Errorf("adopt %d = %v, %v", i, created, err)
		}
		if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the file is still at its place: %v", err)
		}
	}
	s.verified.forget(ref)
	c, err := s.Open(t.Context(), ref)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if got, err := io.ReadAll(c); err != nil || !bytes.Equal(got, data) {
		t.Errorf("read %d bytes, %v", len(got), err)
	}
}

func TestDiscardOnlyWhatIsCertainlyOnesOwn(t *testing.T) {
	data := blobstest.Bytes(1000, 1)
	ref := blobs.RefOf(data)
	put := func(t *testing.T, s *Store, upload string) {
		t.Helper()
		if _, err := s.PutFor(t.Context(), upload, ref, bytes.NewReader(data)); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		name string
		use  func(t *testing.T, s *Store)
		gone bool
	}{
		{"nobody touched it", func(t *testing.T, s *Store) {}, true},
		{"the same upload put it again", func(t *testing.T, s *Store) { put(t, s, "a") }, true},
		{"another upload put it too", func(t *testing.T, s *Store) { put(t, s, "b") }, false},
		{"the repair put it too", func(t *testing.T, s *Store) { put(t, s, "") }, false},
		{"another upload put it and the first again", func(t *testing.T, s *Store) { put(t, s, "b"); put(t, s, "a") }, false},
		{"a holder was asked to keep it", func(t *testing.T, s *Store) { s.KeepFor(t.Context(), "", ref) }, false},
		{"the memory is too old", func(t *testing.T, s *Store) {
			for range 2 {
				s.marks.turned = time.Now().Add(-2 * markedFor)
				other := []byte(time.Now().String())
				s.PutFor(t.Context(), "c", blobs.RefOf(other), bytes.NewReader(other))
			}
		}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := openStore(t, Config{})
			put(t, s, "a")
			c.use(t, s)
			if gone, err := s.Discard(t.Context(), "a", ref); err != nil || gone != c.gone {
				t.Errorf("discard = %v, %v, want %v", gone, err, c.gone)
			}
			if _, err := s.Stat(t.Context(), ref); (err != nil) != c.gone {
				t.Errorf("stat afterwards: %v", err)
			}
		})
	}
	t.Run("it was there before the upload", func(t *testing.T) {
		s := openStore(t, Config{})
		put(t, s, "")
		put(t, s, "a")
		if gone, err := s.Discard(t.Context(), "a", ref); err != nil || gone {
			t.Errorf("discard = %v, %v, want false", gone, err)
		}
	})
}

func TestEachListsChunksInOrder(t *testing.T) {
	s := openStore(t, Config{})
	want := map[blobs.Ref]int64{}
	for i := range 40 {
		data := blobstest.Bytes(100+i, uint64(i))
		want[put(t, s, data)] = int64(len(data))
	}
	if err := os.MkdirAll(s.prefix(0xab), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(s.prefix(0xab), "stray"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	var last blobs.Ref
	err := s.Each(t.Context(), func(ref blobs.Ref, size int64, used time.Time) error {
		if bytes.Compare(last[:], ref[:]) > 0 {
			t.Errorf("%s comes after %s", ref.Short(), last.Short())
		}
		if want[ref] != size || time.Since(used) > time.Minute {
			t.Errorf("%s: %d bytes, used %s", ref.Short(), size, used)
		}
		last = ref
		delete(want, ref)
		return nil
	})
	if err != nil || len(want) > 0 {
		t.Errorf("%v; not listed: %v", err, want)
	}
}

func TestLinkSharesTheFile(t *testing.T) {
	s := openStore(t, Config{})
	data := blobstest.Bytes(300_000, 1)
	ref := put(t, s, data)
	dst := filepath.Join(t.TempDir(), "input")
	if err := s.Link(t.Context(), ref, dst); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(dst); err != nil || !bytes.Equal(got, data) {
		t.Errorf("read %d bytes, %v", len(got), err)
	}
	if err := s.Link(t.Context(), blobs.RefOf(nil), dst+"2"); !errors.Is(err, blobs.ErrNotFound) {
		t.Errorf("link of nothing = %v", err)
	}
}

func BenchmarkPut(b *testing.B) {
	s := openStore(b, Config{})
	data := blobstest.Bytes(blobs.ChunkSize, 1)
	b.SetBytes(blobs.ChunkSize)
	for i := 0; b.Loop(); i++ {
		data[0], data[1], data[2] = byte(i), byte(i>>8), byte(i>>16)
		b.StopTimer()
		ref := blobs.Ref(sha256.Sum256(data))
		b.StartTimer()
		if err := s.Put(b.Context(), ref, bytes.NewReader(data)); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		s.Delete(b.Context(), ref)
		b.StartTimer()
	}
}

func BenchmarkOpen(b *testing.B) {
	for _, c := range []struct {
		name    string
		prepare func(s *Store, ref blobs.Ref)
	}{
		{"hashed", func(s *Store, ref blobs.Ref) { s.verified.forget(ref) }},
		{"remembered", func(s *Store, ref blobs.Ref) {}},
	} {
		b.Run(c.name, func(b *testing.B) {
			s := openStore(b, Config{})
			ref := put(b, s, blobstest.Bytes(blobs.ChunkSize, 1))
			for b.Loop() {
				c.prepare(s, ref)
				chunk, err := s.Open(context.Background(), ref)
				if err != nil {
					b.Fatal(err)
				}
				chunk.Close()
			}
		})
	}
}
