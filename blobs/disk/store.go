// Package disk keeps chunks as files on this node's disk, so that a chunk which
// was acknowledged survives a power cut and one that went bad is never read.
//
// A chunk whose Ref is abcdef… lies at chunks/ab/cdef…; its modification time
// is when it was last put or kept, which is what the collector goes by. What is
// being written lies in staging/, what was found damaged in quarantine/.
//
// # Invariants
//
//   - A file under chunks/ is whole: it was written elsewhere, fsynced, and
//     renamed; the folder was fsynced before anybody was told.
//   - No byte of a chunk is returned before the whole chunk had the right hash,
//     now or within [verifiedFor].
//   - No write begins that could use up the reserve.
//   - Names come from a Ref only; nothing that a person typed becomes a path.
//
// # Concurrency
//
// All methods may be called at once. What decides whether a chunk lives (put,
// keep, discard, remove) holds the lock of the ref's first byte over its few
// metadata calls; reading and hashing bytes never does.
package disk

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"malla/blobs"
)

// A Config says where chunks are kept and how much of the disk they may use.
type Config struct {
	Dir     string       // made where it is missing
	Reserve int64        // bytes of the disk that chunks never use; other programs and the log need them
	Logger  *slog.Logger // nil discards
	// Free returns the free and the total bytes of the disk that holds dir.
	// Nil asks the operating system.
	Free func(dir string) (free, total int64, err error)
}

// A Store is a [blobs.Store] on this node's disk. Only one Store may be open
// on a folder at a time.
type Store struct {
	dir      string
	log      *slog.Logger
	sync     func(*os.File) error // how a file or folder is made durable
	room     *room
	verified *verified
	marks    *marks
	health   health
	locks    [256]sync.Mutex // first byte of a ref -> guards the files with it in chunks/ and their marks
}

// Open returns the store in cfg.Dir and removes what an earlier process left
// half-made there. There is nothing to close.
func Open(cfg Config) (*Store, error) {
	return open(cfg, (*os.File).Sync)
}

func open(cfg Config, sync func(*os.File) error) (*Store, error) {
	s := &Store{
		dir:      cfg.Dir,
		log:      cfg.Logger,
		sync:     sync,
		room:     newRoom(cfg.Dir, cfg.Reserve, cfg.Free),
		verified: newVerified(),
		marks:    newMarks(),
		health:   health{hurt: map[blobs.Ref]struct{}{}},
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if err := s.prepare(); err != nil {
		return nil, fmt.Errorf("open chunk store: %w", err)
	}
	return s, nil
}

// prepare removes what was half-made and syncs the folders that exist: a
// process that was killed may have renamed a chunk into one without getting to
// the sync.
func (s *Store) prepare() error {
	if err := os.RemoveAll(s.staging()); err != nil {
		return err
	}
	for _, dir := range []string{s.staging(), filepath.Join(s.dir, "quarantine"), filepath.Join(s.dir, "chunks")} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
	}
	for i := range s.locks {
		err := s.syncDir(s.prefix(byte(i)))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	for _, dir := range []string{filepath.Join(s.dir, "chunks"), s.dir, filepath.Dir(s.dir)} {
		if err := s.syncDir(dir); err != nil {
			return err
		}
	}
	return nil
}

// Stat implements [blobs.Store]. It does not verify.
func (s *Store) Stat(ctx context.Context, ref blobs.Ref) (int64, error) {
	info, err := os.Lstat(s.path(ref))
	if err != nil {
		return 0, notFound(ref, err)
	}
	return info.Size(), nil
}

// Delete implements [blobs.Store].
func (s *Store) Delete(ctx context.Context, ref blobs.Ref) error {
	defer s.lock(ref)()
	return s.unlink(ref)
}

// Remove deletes the chunk unless it was put or kept after the given time, and
// tells whether it did.
func (s *Store) Remove(ctx context.Context, ref blobs.Ref, after time.Time) (bool, error) {
	defer s.lock(ref)()
	info, err := os.Lstat(s.path(ref))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if info.ModTime().After(after) {
		return false, nil
	}
	err = s.unlink(ref)
	return err == nil, err
}

// Discard deletes the chunk if the named upload created it and nobody has put
// or kept it since, and tells whether it did. The memory of that is short and
// lost with the process: where it is gone the chunk stays.
func (s *Store) Discard(ctx context.Context, upload string, ref blobs.Ref) (bool, error) {
	defer s.lock(ref)()
	if !s.marks.created(ref, upload) {
		return false, nil
	}
	err := s.unlink(ref)
	return err == nil, err
}

// unlink removes the chunk's file; the caller holds its lock.
func (s *Store) unlink(ref blobs.Ref) error {
	s.marks.clear(ref)
	s.verified.forget(ref)
	if err := os.Remove(s.path(ref)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("delete chunk %s: %w", ref.Short(), s.fault(err))
	}
	return nil
}

// Each calls f for every chunk with its size in bytes and when it was last put
// or kept, in the order of their refs, and stops at f's first error. Chunks
// that come or go meanwhile may be missing.
func (s *Store) Each(ctx context.Context, f func(ref blobs.Ref, size int64, used time.Time) error) error {
	for i := range s.locks {
		if err := s.In(ctx, byte(i), f); err != nil {
			return err
		}
	}
	return nil
}

// In is Each for the chunks whose refs begin with that byte.
func (s *Store) In(ctx context.Context, first byte, f func(ref blobs.Ref, size int64, used time.Time) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	prefix := fmt.Sprintf("%02x", first)
	entries, err := os.ReadDir(s.prefix(first))
	if errors.Is(err, fs.ErrNotExist) {
		err = s.gone()
	}
	if err != nil {
		return fmt.Errorf("list chunks: %w", s.fault(err))
	}
	for _, e := range entries {
		ref, err := blobs.ParseRef(prefix + e.Name())
		if err != nil {
			s.log.Warn("stray file among the chunks", "name", prefix+"/"+e.Name())
			continue
		}
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return fmt.Errorf("list chunks: %w", s.fault(err))
		}
		if err := f(ref, info.Size(), info.ModTime()); err != nil {
			return err
		}
	}
	return nil
}

// gone tells a disk that went away, with all its chunks, from one on which no
// chunk has made the folder yet that is not there.
func (s *Store) gone() error {
	_, err := os.Stat(filepath.Join(s.dir, "chunks"))
	return blobs.OfFolder(err)
}

// Free returns how many bytes may still be written before the reserve is
// touched, less what is being written now, and the size of the disk.
func (s *Store) Free() (free, total int64, err error) { return s.room.left() }

// Reserve sets n bytes aside for a file that will be handed to Adopt, until
// release is called. It returns [blobs.ErrFull] where the reserve would be used,
// and [blobs.ErrBroken] while the disk does not work.
func (s *Store) Reserve(n int64) (release func(), err error) {
	if err := s.works(); err != nil {
		return nil, err
	}
	return s.room.take(n)
}

func (s *Store) staging() string { return filepath.Join(s.dir, "staging") }

func (s *Store) prefix(first byte) string {
	return filepath.Join(s.dir, "chunks", hex.EncodeToString([]byte{first}))
}

func (s *Store) path(ref blobs.Ref) string {
	return filepath.Join(s.prefix(ref[0]), hex.EncodeToString(ref[1:]))
}

// lock takes the lock of the ref; the caller runs what it returns to unlock.
func (s *Store) lock(ref blobs.Ref) (unlock func()) {
	mu := &s.locks[ref[0]]
	mu.Lock()
	return mu.Unlock
}

// syncDir makes the names in dir durable.
func (s *Store) syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(s.sync(d), d.Close())
}

func notFound(ref blobs.Ref, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: %s", blobs.ErrNotFound, ref.Short())
	}
	return err
}
