package upload

import (
	"context"
	"crypto/sha256"
	"encoding"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"slices"
	"strings"
	"sync"

	"malla/blobs"
)

// bufferSize is how many bytes are read, written and hashed at once. Each upload
// needs two buffers: one is hashed while the other is filled.
const bufferSize = 256 << 10

var buffers = sync.Pool{New: func() any { return new([bufferSize]byte) }}

// A cutter cuts bytes into chunks as they arrive. It fills one file while the
// one before is being spread; when that takes longer, filling waits.
type cutter struct {
	dest   Dest
	upload string
	path   func(chunk int) string  // of the file that is filled
	spread func(spreadChunk) error // is told of each chunk in order, as soon as it is safe, by another goroutine

	hashing *hashing // while it is filled

	part    *os.File // nil before the first byte of a chunk
	partLen int64
	told    bool      // bytes of the part were acknowledged
	chunk   hash.Hash // of the part
	whole   hash.Hash // of everything
	size    int64     // of everything
	chunks  []blobs.Ref
	tried   []blobs.Ref // all that was handed on, also where that failed
	release func()      // gives back the room of the part

	flight *flight // nil where nothing is being spread
}

// A spreadChunk is a chunk that enough nodes have.
type spreadChunk struct {
	ref   blobs.Ref
	len   int64
	whole []byte // state of the hash of everything up to its end
}

// A flight is a chunk on its way.
type flight struct {
	spreadChunk
	cancel context.CancelFunc
	done   chan error
}

func newCutter(dest Dest, upload string, path func(chunk int) string, spread func(spreadChunk) error) *cutter {
	return &cutter{
		dest: dest, upload: upload, path: path, spread: spread,
		chunk: sha256.New(), whole: sha256.New(), release: func() {},
	}
}

// fill takes all bytes of r, at most limit of them: more are ErrTooLarge.
func (c *cutter) fill(ctx context.Context, r io.Reader, limit int64) error {
	c.hashing = startHashing(c.chunk, c.whole)
	defer c.hashing.stop()
	bufs := [2]*[bufferSize]byte{buffers.Get().(*[bufferSize]byte), buffers.Get().(*[bufferSize]byte)}
	defer func() {
		c.hashing.settle()
		buffers.Put(bufs[0])
		buffers.Put(bufs[1])
	}()
	for i := 0; ; i = 1 - i {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := readFull(r, bufs[i][:])
		if limit -= int64(n); limit < 0 {
			return fmt.Errorf("%w: more bytes than announced or allowed", blobs.ErrTooLarge)
		}
		if err := c.write(ctx, bufs[i][:n]); err != nil {
			return err
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// readFull is io.ReadFull with the reader's own error: small reads would become
// small writes.
func readFull(r io.Reader, p []byte) (n int, err error) {
	for n < len(p) && err == nil {
		var more int
		more, err = r.Read(p[n:])
		n += more
	}
	return n, err
}

func (c *cutter) write(ctx context.Context, p []byte) error {
	for len(p) > 0 {
		if err := c.open(); err != nil {
			return err
		}
		n := min(int64(len(p)), blobs.ChunkSize-c.partLen)
		c.hashing.add(p[:n])
		// At its place, not at the end: a write that broke may have left some.
		if _, err := c.part.WriteAt(p[:n], c.partLen); err != nil {
			return blobs.OfDisk(err)
		}
		c.partLen += n
		c.size += n
		p = p[n:]
		if c.partLen == blobs.ChunkSize {
			c.hashing.settle()
			if err := c.endChunk(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

// index is the place of the part in the manifest.
func (c *cutter) index() int {
	if c.flight != nil {
		return len(c.chunks) + 1
	}
	return len(c.chunks)
}

// open makes sure that there is a part to write to.
func (c *cutter) open() error {
	if c.part != nil {
		return nil
	}
	release, err := c.dest.Reserve(blobs.ChunkSize - c.partLen)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(c.path(c.index()), os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		release()
		return blobs.OfDisk(err)
	}
	c.part, c.release = f, release
	return nil
}

// endChunk sends the part on its way once the one before has arrived.
func (c *cutter) endChunk(ctx context.Context) error {
	path, release := c.part.Name(), c.release
	err := errors.Join(c.part.Truncate(c.partLen), c.part.Close())
	c.part, c.release = nil, func() {}
	state, stateErr := c.whole.(encoding.BinaryMarshaler).MarshalBinary()
	if err := errors.Join(err, stateErr, c.land()); err != nil {
		release()
		return err
	}
	if c.told {
		// Whoever spreads the file takes it away, also where that fails. Without
		// another name of it, what was acknowledged would have to be sent again.
		_ = os.Link(path, keptName(path)) // not on every file system
	}
	c.told = false
	ctx, cancel := context.WithCancel(ctx)
	f := &flight{spreadChunk{blobs.Ref(c.chunk.Sum(nil)), c.partLen, state}, cancel, make(chan error, 1)}
	c.tried = append(c.tried, f.ref)
	go func() {
		err := c.dest.Spread(ctx, c.upload, f.ref, path)
		release()
		if err == nil {
			// At once, not when the next part is full: what is not noted is
			// lost with this node.
			err = c.spread(f.spreadChunk)
		}
		if err == nil {
			os.Remove(keptName(path))
		}
		f.done <- err
	}()
	c.flight = f
	c.chunk.Reset()
	c.partLen = 0
	return nil
}

// keptName is the second name of a part that is being spread.
func keptName(part string) string { return strings.TrimSuffix(part, ".part") + ".kept.part" }

// reuse takes the next n bytes of r as a chunk that is stored already, by
// another upload, and so is only hashed.
func (c *cutter) reuse(ctx context.Context, r io.Reader, n int64) error {
	if err := c.land(); err != nil {
		return err
	}
	c.chunk.Reset()
	if _, err := io.CopyN(io.MultiWriter(c.chunk, c.whole), r, n); err != nil {
		return err
	}
	ref := blobs.Ref(c.chunk.Sum(nil))
	c.chunk.Reset()
	state, err := c.whole.(encoding.BinaryMarshaler).MarshalBinary()
	if err != nil {
		return err
	}
	if err := c.dest.Confirm(ctx, c.upload, []blobs.Ref{ref}); err != nil {
		return err
	}
	c.size += n
	c.chunks = append(c.chunks, ref)
	return c.spread(spreadChunk{ref, n, state})
}

// land waits for the chunk on its way.
func (c *cutter) land() error {
	f := c.flight
	if f == nil {
		return nil
	}
	err := <-f.done
	f.cancel()
	c.flight = nil
	if err != nil {
		return err
	}
	c.chunks = append(c.chunks, f.ref)
	return nil
}

// finish spreads what is left together with the manifest, and returns when both
// are safe: on a disk one flush is as good as two.
func (c *cutter) finish(ctx context.Context) (blobs.Blob, error) {
	if c.partLen > 0 {
		if err := c.open(); err != nil { // closed since it was filled
			return blobs.Blob{}, err
		}
		if err := c.endChunk(ctx); err != nil {
			return blobs.Blob{}, err
		}
	}
	m := blobs.Manifest{Size: c.size, SHA256: blobs.Ref(c.whole.Sum(nil)), Chunks: slices.Clone(c.chunks)}
	if c.flight != nil {
		m.Chunks = append(m.Chunks, c.flight.ref)
	}
	err := c.spreadManifest(ctx, m)
	if err := errors.Join(c.land(), err); err != nil {
		return blobs.Blob{}, err
	}
	return m.Blob(), nil
}

func (c *cutter) spreadManifest(ctx context.Context, m blobs.Manifest) error {
	data := m.Encode()
	release, err := c.dest.Reserve(int64(len(data)))
	if err != nil {
		return err
	}
	defer release()
	path := c.path(len(m.Chunks))
	if err := os.WriteFile(path, data, 0o600); err != nil {
		return errors.Join(blobs.OfDisk(err), os.Remove(path))
	}
	ref := m.Blob().Ref
	c.tried = append(c.tried, ref)
	if err := c.dest.Spread(ctx, c.upload, ref, path); err != nil {
		return fmt.Errorf("manifest: %w", err)
	}
	return nil
}

// rest closes the part, to be continued; the caller acknowledges it.
func (c *cutter) rest() error {
	err := c.land()
	c.told = c.partLen > 0
	if c.part == nil {
		return err
	}
	err = errors.Join(err, c.part.Sync(), c.part.Close())
	c.release()
	c.part, c.release = nil, func() {}
	return err
}

// stop gives up what is on its way and removes the files.
func (c *cutter) stop() {
	if f := c.flight; f != nil {
		f.cancel()
		<-f.done
		c.flight = nil
	}
	if c.part != nil {
		c.part.Close()
		c.part = nil
	}
	c.release()
	for i := len(c.chunks); i <= len(c.chunks)+1; i++ {
		os.Remove(c.path(i))
		os.Remove(keptName(c.path(i)))
	}
}
