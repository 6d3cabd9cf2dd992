package disk

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"malla/blobs"
)

// A Chunk is an open, verified chunk. It implements [blobs.Chunk].
type Chunk struct {
	file *os.File
	info os.FileInfo
}

func (c *Chunk) Read(p []byte) (int, error)                { return c.file.Read(p) }
func (c *Chunk) ReadAt(p []byte, off int64) (int, error)   { return c.file.ReadAt(p, off) }
func (c *Chunk) Seek(off int64, whence int) (int64, error) { return c.file.Seek(off, whence) }
func (c *Chunk) Close() error                              { return c.file.Close() }

// Size is the length of the chunk in bytes.
func (c *Chunk) Size() int64 { return c.info.Size() }

// File is the open file, so that the kernel can move its bytes (sendfile,
// copy_file_range). It is closed with the chunk and must not be written.
func (c *Chunk) File() *os.File { return c.file }

// Open implements [blobs.Store]. The chunk is a [*Chunk].
func (s *Store) Open(ctx context.Context, ref blobs.Ref) (blobs.Chunk, error) {
	c, err := s.open(ctx, ref)
	if err != nil {
		return nil, err
	}
	return c, nil
}

func (s *Store) open(ctx context.Context, ref blobs.Ref) (*Chunk, error) {
	f, err := os.Open(s.path(ref))
	if err != nil {
		return nil, notFound(ref, err)
	}
	info, err := f.Stat()
	if err == nil && !s.verified.has(ref, info) {
		err = s.verify(ctx, ref, f, info)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &Chunk{file: f, info: info}, nil
}

// verify hashes the whole file. What does not have the right hash, or cannot
// be read, is moved to quarantine.
func (s *Store) verify(ctx context.Context, ref blobs.Ref, f *os.File, info os.FileInfo) error {
	if err := s.rehash(ctx, ref, f, info, func(int) error { return nil }); err != nil {
		return err
	}
	s.verified.add(ref, info)
	return nil
}

// rehash is verify without remembering it; after each read paced is called
// with its number of bytes and may wait.
func (s *Store) rehash(ctx context.Context, ref blobs.Ref, f *os.File, info os.FileInfo, paced func(n int) error) error {
	buf := buffers.Get().(*[bufferSize]byte)
	defer buffers.Put(buf)
	h := sha256.New()
	for off := int64(0); ; {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := f.ReadAt(buf[:], off)
		h.Write(buf[:n])
		off += int64(n)
		if err != nil && err != io.EOF {
			return s.unreadable(ref, info, err)
		}
		if err := paced(n); err != nil {
			return err
		}
		if err == io.EOF {
			break
		}
	}
	if blobs.Ref(h.Sum(nil)) != ref {
		return s.quarantine(ref, info, errors.New("another hash"))
	}
	return nil
}

// unreadable tells a bad sector, whose chunk goes to quarantine, from a disk
// that is gone: that one may come back with all its chunks, and none of them
// is to be moved meanwhile. Where the process is short of something, nothing is
// known of the chunk.
func (s *Store) unreadable(ref blobs.Ref, info os.FileInfo, cause error) error {
	if ofProcess(cause) {
		return fmt.Errorf("read chunk %s: %w", ref.Short(), cause)
	}
	if err := s.Probe(); err != nil {
		return fmt.Errorf("read chunk %s: %w: %w", ref.Short(), err, cause)
	}
	return s.quarantine(ref, info, cause)
}

// quarantine moves the damaged file away, unless it was replaced since, and
// returns [blobs.ErrCorrupt].
func (s *Store) quarantine(ref blobs.Ref, info os.FileInfo, cause error) error {
	corrupt := fmt.Errorf("%w: %s: %w", blobs.ErrCorrupt, ref.Short(), cause)
	unlock := s.lock(ref)
	now, err := os.Lstat(s.path(ref))
	if err != nil || !os.SameFile(now, info) {
		unlock()
		return corrupt
	}
	s.marks.clear(ref)
	s.verified.forget(ref)
	name := fmt.Sprintf("%s.%d", ref, time.Now().UnixNano())
	err = s.fault(os.Rename(s.path(ref), filepath.Join(s.dir, "quarantine", name)))
	unlock()
	s.health.lost(ref)
	s.log.Error("damaged chunk moved to quarantine", "ref", ref.String(), "cause", cause, "err", err)
	return errors.Join(corrupt, err)
}

// Link makes dst another name of the chunk's file, after verifying it, so that
// a program can read it without a copy. Where dst is on another file system the
// error is a [*os.LinkError]. Who made dst removes it, and never writes to it.
func (s *Store) Link(ctx context.Context, ref blobs.Ref, dst string) error {
	c, err := s.open(ctx, ref)
	if err != nil {
		return err
	}
	defer c.Close()
	// Between the check and the link only a put could replace the file, with
	// the same bytes.
	return os.Link(s.path(ref), dst)
}
