package disk

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"malla/blobs"
)

// bufferSize is what one stream needs of memory, in bytes.
const bufferSize = 128 << 10

var buffers = sync.Pool{New: func() any { return new([bufferSize]byte) }}

// Put implements [blobs.Store].
func (s *Store) Put(ctx context.Context, ref blobs.Ref, r io.Reader) error {
	_, err := s.PutFor(ctx, "", ref, r)
	return err
}

// PutFor is Put on behalf of an upload, which may later [Store.Discard] the
// chunk, and tells whether the chunk was not here before. Where it was and is
// sound, r is not read.
func (s *Store) PutFor(ctx context.Context, upload string, ref blobs.Ref, r io.Reader) (created bool, err error) {
	_, err = s.KeepFor(ctx, upload, ref)
	if err == nil {
		return false, nil
	}
	if !errors.Is(err, blobs.ErrNotFound) && !errors.Is(err, blobs.ErrCorrupt) {
		return false, err
	}
	st, err := s.stage()
	if err != nil {
		return false, err
	}
	defer st.abort()
	if err := st.fill(ctx, r); err != nil {
		return false, fmt.Errorf("write chunk %s: %w", ref.Short(), err)
	}
	if st.ref() != ref {
		return false, fmt.Errorf("%w: %s", blobs.ErrCorrupt, ref.Short())
	}
	return s.place(upload, ref, st.file)
}

// Adopt takes over the file at path as the chunk named ref, durably, without
// copying it where it lies on the same file system, and tells whether the chunk
// was not here before. The caller has hashed the bytes as it wrote them and
// writes no more; afterwards the file is gone from path. On an error it stays,
// unless it could not be made durable: then it is worth nothing.
func (s *Store) Adopt(ctx context.Context, upload string, ref blobs.Ref, path string) (created bool, err error) {
	f, err := os.Open(path)
	if err != nil {
		return false, fmt.Errorf("adopt chunk %s: %w", ref.Short(), err)
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil {
		return false, err
	} else if info.Size() > blobs.ChunkSize {
		return false, fmt.Errorf("%w: %d bytes", blobs.ErrTooLarge, info.Size())
	}
	// An upload may have rested for a day: the chunk is fresh from now on.
	now := time.Now()
	if err := os.Chtimes(path, now, now); err != nil {
		return false, s.fault(err)
	}
	created, err = s.place(upload, ref, f)
	if !errors.Is(err, syscall.EXDEV) {
		return created, err
	}
	if created, err = s.PutFor(ctx, upload, ref, f); err != nil {
		return false, err
	}
	return created, os.Remove(path)
}

// KeepFor verifies the chunk, makes it count as used now, durably, and returns
// its size: the collector leaves it alone for its whole grace time. A chunk
// that the same upload created can still be discarded, any other one no more;
// the upload may be "".
func (s *Store) KeepFor(ctx context.Context, upload string, ref blobs.Ref) (int64, error) {
	c, err := s.open(ctx, ref)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	defer s.lock(ref)()
	path := s.path(ref)
	info, err := os.Lstat(path)
	if err != nil {
		return 0, notFound(ref, err)
	}
	if !os.SameFile(info, c.info) {
		// Replaced since it was verified, which only a put does: with bytes
		// as good, and fresh ones.
		s.marks.touch(ref, upload)
		return info.Size(), nil
	}
	now := time.Now()
	if err := os.Chtimes(path, now, now); err != nil {
		return 0, fmt.Errorf("keep chunk %s: %w", ref.Short(), s.fault(err))
	}
	if err := s.sync(c.file); err != nil {
		return 0, fmt.Errorf("keep chunk %s: %w", ref.Short(), s.fault(err))
	}
	s.marks.touch(ref, upload)
	if info, err = os.Lstat(path); err == nil {
		s.verified.touched(ref, info)
	}
	return c.Size(), nil
}

// place makes the written file the chunk's. A file that is there already is
// replaced: the new bytes were verified, the old ones may have gone bad.
func (s *Store) place(upload string, ref blobs.Ref, f *os.File) (created bool, err error) {
	if err := f.Chmod(0o400); err != nil {
		return false, s.fault(err)
	}
	// A file whose fsync failed is given up, never synced again: the kernel
	// reports a lost page once and then calls it clean.
	if err := s.sync(f); err != nil {
		os.Remove(f.Name())
		return false, fmt.Errorf("sync chunk %s: %w", ref.Short(), s.fault(err))
	}
	path := s.path(ref)
	defer s.lock(ref)()
	_, err = os.Lstat(path)
	created = errors.Is(err, fs.ErrNotExist)
	if err := s.rename(f.Name(), path); err != nil {
		return false, fmt.Errorf("place chunk %s: %w", ref.Short(), s.fault(err))
	}
	if err := s.syncDir(filepath.Dir(path)); err != nil {
		err = fmt.Errorf("place chunk %s: %w", ref.Short(), s.fault(err))
		if created { // else a chunk that was acknowledged is here still, as the old file or as the new one
			err = errors.Join(err, s.unlink(ref))
		}
		return false, err
	}
	if created {
		s.marks.create(ref, upload)
	} else {
		s.marks.touch(ref, upload)
	}
	if info, err := f.Stat(); err == nil {
		s.verified.add(ref, info)
	}
	s.health.put(ref)
	return created, nil
}

// rename moves the file into the chunk's folder, which is made durable first
// where it is new.
func (s *Store) rename(from, to string) error {
	err := os.Rename(from, to)
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	switch made := os.Mkdir(filepath.Dir(to), 0o700); {
	case errors.Is(made, fs.ErrExist):
		return err // it is the file that is not there
	case made != nil:
		return blobs.OfFolder(made)
	}
	if err := s.syncDir(filepath.Join(s.dir, "chunks")); err != nil {
		return err
	}
	return os.Rename(from, to)
}

// A staged is a chunk that is being written where no reader sees it.
type staged struct {
	store   *Store
	file    *os.File
	hash    hash.Hash
	size    int64
	release func()
}

func (s *Store) stage() (*staged, error) {
	release, err := s.Reserve(blobs.ChunkSize)
	if err != nil {
		return nil, err
	}
	f, err := os.CreateTemp(s.staging(), "put-*")
	if err != nil {
		release()
		return nil, fmt.Errorf("stage chunk: %w", s.fault(blobs.OfFolder(err)))
	}
	return &staged{store: s, file: f, hash: sha256.New(), release: release}, nil
}

// fill writes r to its end.
func (st *staged) fill(ctx context.Context, r io.Reader) error {
	buf := buffers.Get().(*[bufferSize]byte)
	defer buffers.Put(buf)
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := r.Read(buf[:])
		if st.size += int64(n); st.size > blobs.ChunkSize {
			return fmt.Errorf("%w: more than %d bytes", blobs.ErrTooLarge, blobs.ChunkSize)
		}
		if n > 0 {
			st.hash.Write(buf[:n])
			if _, err := st.file.Write(buf[:n]); err != nil {
				return st.store.fault(err)
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (st *staged) ref() blobs.Ref { return blobs.Ref(st.hash.Sum(nil)) }

// abort removes what was not placed and gives the promised room back.
func (st *staged) abort() {
	st.file.Close()
	os.Remove(st.file.Name()) // not there any more after a rename
	st.release()
}
