package disk

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"malla/blobs"
	"malla/blobs/blobstest"
)

// A moody disk fails to sync while it has an error.
type moody struct {
	mu  sync.Mutex // guards err
	err error
}

func (m *moody) set(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.err = err
}

func (m *moody) sync(f *os.File) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err != nil {
		return m.err
	}
	return f.Sync()
}

func openMoody(t *testing.T) (*Store, *moody) {
	t.Helper()
	m := &moody{}
	s, err := open(Config{Dir: t.TempDir()}, m.sync)
	if err != nil {
		t.Fatal(err)
	}
	return s, m
}

func TestAFailedSyncIsNeverAcknowledgedAndBreaksTheDisk(t *testing.T) {
	data := blobstest.Bytes(300_000, 1)
	ref := blobs.RefOf(data)
	for _, c := range []struct {
		name string
		put  func(t *testing.T, s *Store) error
	}{
		{"put", func(t *testing.T, s *Store) error { return s.Put(t.Context(), ref, bytes.NewReader(data)) }},
		{"adopt", func(t *testing.T, s *Store) error {
			path := filepath.Join(t.TempDir(), "part")
			if err := os.WriteFile(path, data, 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := s.Adopt(t.Context(), "", ref, path)
			// Who synced it once more would be told that all is well.
			if _, stat := os.Stat(path); !errors.Is(stat, os.ErrNotExist) {
				t.Errorf("the file that could not be made durable is still there: %v", stat)
			}
			return err
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, disk := openMoody(t)
			disk.set(syscall.EIO)
			if err := c.put(t, s); !errors.Is(err, blobs.ErrBroken) {
				t.Fatalf("got %v, want ErrBroken", err)
			}
			if left := files(t, s.dir); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
			if since, cause := s.Broken(); cause == nil || time.Since(since) > time.Minute {
				t.Errorf("broken since %v: %v", since, cause)
			}
			if _, err := s.Reserve(1); !errors.Is(err, blobs.ErrBroken) {
				t.Errorf("reserve = %v, want ErrBroken", err)
			}
			disk.set(nil)
			if err := s.Probe(); err != nil {
				t.Fatal(err)
			}
			if err := c.put(t, s); err != nil {
				t.Errorf("on a disk that works again: %v", err)
			}
			if _, cause := s.Broken(); cause != nil {
				t.Errorf("still broken: %v", cause)
			}
		})
	}
}

func TestKeepOnABrokenDiskPromisesNothing(t *testing.T) {
	s, disk := openMoody(t)
	ref := put(t, s, blobstest.Bytes(1000, 1))
	disk.set(syscall.EIO)
	if _, err := s.KeepFor(t.Context(), "", ref); !errors.Is(err, blobs.ErrBroken) {
		t.Errorf("keep = %v, want ErrBroken", err)
	}
	if _, err := s.Open(t.Context(), ref); err != nil {
		t.Errorf("what can be read is not readable: %v", err)
	}
}

func TestAFullDiskIsNotABrokenOne(t *testing.T) {
	s, disk := openMoody(t)
	disk.set(syscall.ENOSPC)
	data := blobstest.Bytes(1000, 1)
	if err := s.Put(t.Context(), blobs.RefOf(data), bytes.NewReader(data)); !errors.Is(err, blobs.ErrFull) {
		t.Errorf("put = %v, want ErrFull", err)
	}
	if err := s.Probe(); err != nil {
		t.Errorf("probe = %v", err)
	}
	if _, cause := s.Broken(); cause != nil {
		t.Errorf("broken: %v", cause)
	}
}

func TestAFolderThatWentAwayIsABrokenDisk(t *testing.T) {
	s := openStore(t, Config{})
	if err := os.RemoveAll(s.staging()); err != nil { // as where it is unmounted
		t.Fatal(err)
	}
	data := blobstest.Bytes(1000, 1)
	if err := s.Put(t.Context(), blobs.RefOf(data), bytes.NewReader(data)); !errors.Is(err, blobs.ErrBroken) {
		t.Errorf("put = %v, want ErrBroken", err)
	}
	if _, cause := s.Broken(); cause == nil {
		t.Error("the disk counts as sound")
	}
}

func TestADiskThatWentAwayIsNotAnEmptyOne(t *testing.T) {
	for what, look := range map[string]func(s *Store) error{
		"list":  func(s *Store) error { return s.In(t.Context(), 1, nil) },
		"stamp": func(s *Store) error { _, err := s.Stamp(1); return err },
	} {
		s := openStore(t, Config{})
		if err := look(s); err != nil {
			t.Errorf("%s, of an empty disk: %v", what, err)
		}
		if err := os.RemoveAll(filepath.Join(s.dir, "chunks")); err != nil { // as where it is unmounted
			t.Fatal(err)
		}
		if err := look(s); !errors.Is(err, blobs.ErrBroken) {
			t.Errorf("%s = %v, want ErrBroken", what, err)
		}
		if _, cause := s.Broken(); cause == nil {
			t.Errorf("%s: the disk counts as sound", what)
		}
	}
}

func TestABrokenDiskIsTriedAgainByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // Sleep moves the bubble's clock on: no time passes
		s, disk := openMoody(t)
		disk.set(syscall.EIO)
		time.Sleep(time.Minute) // nobody looks: nobody knows
		if s.Probe() == nil {
			t.Fatal("the probe succeeded")
		}
		disk.set(nil)
		if _, err := s.Reserve(1); err == nil {
			t.Error("it is tried at each request")
		}
		time.Sleep(2 * probeAgain)
		release, err := s.Reserve(1)
		if err != nil {
			t.Fatalf("reserve = %v", err)
		}
		release()
	})
}

func TestWatchFindsWhatNobodyMeets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // Sleep moves the bubble's clock on: no time passes
		s, disk := openMoody(t)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- s.Watch(ctx) }()
		for _, err := range []error{syscall.EROFS, nil, syscall.EIO, nil} {
			disk.set(err)
			wait := probeEvery + probeAgain
			if err == nil {
				wait = probeAgain
			}
			time.Sleep(wait + time.Millisecond)
			if _, cause := s.Broken(); (cause != nil) != (err != nil) {
				t.Errorf("after %v the disk is broken by %v, want %v", wait, cause, err)
			}
		}
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("watch = %v", err)
		}
	})
}

// What cannot be read on a disk that works is a bad sector: the chunk is moved
// away. On one that does not, all chunks may come back with it.
func TestUnreadableChunks(t *testing.T) {
	for _, c := range []struct {
		name       string
		works      bool
		want       error
		quarantine int
	}{
		{"a bad sector", true, blobs.ErrCorrupt, 1},
		{"a disk that is gone", false, blobs.ErrBroken, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, disk := openMoody(t)
			ref := put(t, s, blobstest.Bytes(1000, 1))
			if !c.works {
				disk.set(syscall.EIO)
			}
			info, err := os.Stat(s.path(ref))
			if err != nil {
				t.Fatal(err)
			}
			if err := s.unreadable(ref, info, &os.PathError{Op: "read", Err: syscall.EIO}); !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
			if n := len(files(t, filepath.Join(s.dir, "quarantine"))); n != c.quarantine {
				t.Errorf("%d files in quarantine, want %d", n, c.quarantine)
			}
			// One bad sector must not take the whole disk out of use: only
			// a disk that takes nothing is broken.
			if _, cause := s.Broken(); (cause == nil) != c.works {
				t.Errorf("the disk is broken by %v", cause)
			}
		})
	}
	t.Run("a process without memory", func(t *testing.T) {
		s, _ := openMoody(t)
		ref := put(t, s, blobstest.Bytes(1000, 1))
		info, err := os.Stat(s.path(ref))
		if err != nil {
			t.Fatal(err)
		}
		if err := s.unreadable(ref, info, syscall.ENOMEM); !errors.Is(err, syscall.ENOMEM) || errors.Is(err, blobs.ErrCorrupt) {
			t.Errorf("got %v", err)
		}
		if _, err := s.Open(t.Context(), ref); err != nil {
			t.Errorf("the chunk was moved away: %v", err)
		}
	})
}

func TestWhatTheProcessLacksIsNoNewsOfTheDisk(t *testing.T) {
	s, disk := openMoody(t)
	for _, broken := range []bool{false, true} {
		if broken {
			disk.set(syscall.EIO)
			s.Probe() // it remembers
		}
		for _, err := range []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM} {
			disk.set(err)
			if got := s.Probe(); !errors.Is(got, err) || errors.Is(got, blobs.ErrBroken) {
				t.Errorf("probe with %v = %v", err, got)
			}
			if _, cause := s.Broken(); (cause != nil) != broken {
				t.Errorf("after %v the disk is broken by %v, want %v", err, cause, broken)
			}
		}
	}
}

func TestAChunkThatWasAcknowledgedOutlivesAFailedUpload(t *testing.T) {
	s, disk := openMoody(t)
	data := blobstest.Bytes(1000, 1)
	ref := put(t, s, data)
	part := filepath.Join(t.TempDir(), "part")
	if err := os.WriteFile(part, data, 0o600); err != nil {
		t.Fatal(err)
	}
	s.sync = func(f *os.File) error { // the file can be made durable, the folder cannot
		if info, err := f.Stat(); err != nil || !info.IsDir() {
			return err
		}
		return syscall.EIO
	}
	if _, err := s.Adopt(t.Context(), "u", ref, part); !errors.Is(err, blobs.ErrBroken) {
		t.Errorf("adopt = %v, want ErrBroken", err)
	}
	s.sync = disk.sync
	c, err := s.Open(t.Context(), ref)
	if err != nil {
		t.Fatalf("the chunk that was there before: %v", err)
	}
	c.Close()
}

func TestScrubDoesNotTrustWhatWasReadBefore(t *testing.T) {
	s := openStore(t, Config{})
	sound, hurt := put(t, s, blobstest.Bytes(300_000, 1)), put(t, s, blobstest.Bytes(300_000, 2))
	info, err := os.Stat(s.path(hurt))
	if err != nil {
		t.Fatal(err)
	}
	damage(t, s, hurt)
	// As a disk does it: without a sign.
	if err := os.Chtimes(s.path(hurt), time.Time{}, info.ModTime()); err != nil {
		t.Fatal(err)
	}
	read := 0
	count := func(n int) error { read += n; return nil }
	if size, err := s.Scrub(t.Context(), sound, count); err != nil || size != 300_000 || read != 300_000 {
		t.Errorf("a sound chunk: %d bytes, %d read, %v", size, read, err)
	}
	if _, err := s.Scrub(t.Context(), hurt, count); !errors.Is(err, blobs.ErrCorrupt) {
		t.Errorf("a damaged chunk: %v", err)
	}
	put(t, s, blobstest.Bytes(300_000, 2))
	if found, healed := s.Damage(); found != 1 || healed != 1 {
		t.Errorf("%d found, %d healed", found, healed)
	}
	stop := errors.New("enough")
	if _, err := s.Scrub(t.Context(), sound, func(int) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("scrub = %v, want the pace's error", err)
	}
}
