package replica

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"malla/blobs"
)

// aheadAfter is how many bytes of a chunk are read in a row before the next
// chunk is fetched: a player that only peeks into a file fetches one.
const aheadAfter = 1 << 20

// Manifest returns the manifest of the blob, from here or another node.
func (r *Replica) Manifest(ctx context.Context, ref blobs.Ref) (blobs.Manifest, error) {
	c, err := r.OpenChunk(ctx, ref)
	if err != nil {
		return blobs.Manifest{}, fmt.Errorf("manifest: %w", err)
	}
	defer c.Close()
	data, err := io.ReadAll(c)
	if err != nil {
		return blobs.Manifest{}, fmt.Errorf("manifest %s: %w", ref.Short(), err)
	}
	m, err := blobs.DecodeManifest(data)
	if err != nil {
		return blobs.Manifest{}, fmt.Errorf("manifest %s: %w", ref.Short(), err)
	}
	return m, nil
}

// Open returns a reader of the blob, which is also an [io.WriterTo] that lets
// the kernel move the bytes of local chunks. The reader fetches under ctx and
// is for one goroutine at a time.
func (r *Replica) Open(ctx context.Context, ref blobs.Ref) (blobs.Reader, error) {
	m, err := r.Manifest(ctx, ref)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	return &reader{r: r, manifest: m, ctx: ctx, cancel: cancel, index: -1}, nil
}

type reader struct {
	r        *Replica
	manifest blobs.Manifest
	ctx      context.Context
	cancel   context.CancelFunc

	pos   int64
	chunk blobs.Chunk // the open one; nil where there is none
	index int         // of chunk in the manifest; -1 where there is none
	inRow int64       // bytes read since the last jump
	ahead *ahead      // the chunk that is being fetched already; nil where there is none
}

// An ahead is a chunk on its way.
type ahead struct {
	index  int
	cancel context.CancelFunc
	done   chan struct{} // closed when the fields below are set
	chunk  blobs.Chunk
	err    error
}

var errClosed = errors.New("blob reader: closed")

func (b *reader) Size() int64 { return b.manifest.Size }

func (b *reader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	within, err := b.seekChunk()
	if err != nil {
		return 0, err
	}
	p = p[:min(int64(len(p)), b.chunk.Size()-within)]
	n, err := b.chunk.ReadAt(p, within)
	if n == 0 {
		// The disk under a verified chunk broke: another holder has it too.
		if err := b.replaceChunk(err); err != nil {
			return 0, err
		}
		if n, err = b.chunk.ReadAt(p, within); n == 0 {
			return 0, err
		}
	}
	return b.advance(n), nil
}

// advance notes that n bytes were read in a row.
func (b *reader) advance(n int) int {
	b.pos += int64(n)
	b.inRow += int64(n)
	if b.inRow >= aheadAfter {
		b.lookAhead()
	}
	return n
}

// WriteTo implements [io.WriterTo] from the current position to the end.
func (b *reader) WriteTo(w io.Writer) (written int64, err error) {
	for b.pos < b.manifest.Size {
		within, err := b.seekChunk()
		if err != nil {
			return written, err
		}
		if _, err := b.chunk.Seek(within, io.SeekStart); err != nil {
			return written, err
		}
		b.lookAhead()
		n, err := io.CopyN(w, fileOf(b.chunk), b.chunk.Size()-within)
		b.pos += n
		written += n
		if err != nil {
			return written, err
		}
	}
	return written, nil
}

// Seek moves the position, and nothing else until the next read.
func (b *reader) Seek(off int64, whence int) (int64, error) {
	switch whence {
	case io.SeekStart:
	case io.SeekCurrent:
		off += b.pos
	case io.SeekEnd:
		off += b.manifest.Size
	default:
		return 0, fmt.Errorf("blob reader: seek from %d", whence)
	}
	if off < 0 {
		return 0, errors.New("blob reader: seek to before the beginning")
	}
	if off != b.pos {
		b.inRow = 0
	}
	b.pos = off
	return off, nil
}

// Close ends what is being fetched. It may be called twice.
func (b *reader) Close() error {
	b.cancel()
	b.dropAhead()
	b.index = -1
	if b.chunk == nil {
		return nil
	}
	err := b.chunk.Close()
	b.chunk = nil
	return err
}

// seekChunk makes the chunk at the position the open one and returns where in
// it the position is. Its error is io.EOF behind the end.
func (b *reader) seekChunk() (within int64, err error) {
	if b.pos >= b.manifest.Size {
		return 0, io.EOF
	}
	if b.ctx.Err() != nil && b.chunk == nil {
		return 0, errors.Join(errClosed, context.Cause(b.ctx))
	}
	index, within := b.manifest.Locate(b.pos)
	if index == b.index {
		return within, nil
	}
	if b.chunk != nil {
		b.chunk.Close()
		b.chunk, b.index = nil, -1
	}
	c, err := b.openIndex(index)
	if err != nil {
		return 0, err
	}
	if c.Size() != b.manifest.ChunkLen(index) {
		return 0, errors.Join(fmt.Errorf("%w: chunk %d has %d bytes", blobs.ErrBadManifest, index, c.Size()), c.Close())
	}
	b.chunk, b.index = c, index
	return within, nil
}

// openIndex takes the chunk that was fetched ahead, if it is that one.
func (b *reader) openIndex(index int) (blobs.Chunk, error) {
	if a := b.ahead; a != nil && a.index == index {
		<-a.done
		b.ahead = nil
		a.cancel()
		if a.err == nil {
			return a.chunk, nil
		}
	}
	b.dropAhead()
	return b.r.OpenChunk(b.ctx, b.manifest.Chunks[index])
}

// replaceChunk opens the current chunk from another node.
func (b *reader) replaceChunk(cause error) error {
	ref := b.manifest.Chunks[b.index]
	b.r.cfg.Logger.Error("chunk cannot be read any more", "ref", ref.String(), "err", cause)
	m := b.r.members()
	c, err := b.r.fetchInto(b.ctx, m, ref, []blobs.Store{b.r.cfg.Local, b.r.cfg.Cache})
	if err != nil {
		return errors.Join(cause, err)
	}
	b.chunk.Close()
	b.chunk = c
	return nil
}

// lookAhead begins to fetch the chunk behind the open one.
func (b *reader) lookAhead() {
	next := b.index + 1
	if b.ahead != nil && b.ahead.index == next || next <= 0 || next >= len(b.manifest.Chunks) {
		return
	}
	b.dropAhead()
	ctx, cancel := context.WithCancel(b.ctx)
	a := &ahead{index: next, cancel: cancel, done: make(chan struct{})}
	b.ahead = a
	go func() {
		defer close(a.done)
		a.chunk, a.err = b.r.OpenChunk(ctx, b.manifest.Chunks[next])
	}()
}

func (b *reader) dropAhead() {
	a := b.ahead
	if a == nil {
		return
	}
	b.ahead = nil
	a.cancel()
	<-a.done
	if a.err == nil {
		a.chunk.Close()
	}
}

// Fill writes the blob to a new file at dst, as another name of its chunk where
// that is the only one and lies on the same disk: nobody may write to dst
// afterwards. On an error there is no file.
func (r *Replica) Fill(ctx context.Context, ref blobs.Ref, dst string) (err error) {
	b, err := r.Open(ctx, ref)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.Close()) }()
	if chunks := b.(*reader).manifest.Chunks; len(chunks) == 1 && r.cfg.Local.Link(ctx, chunks[0], dst) == nil {
		return nil
	}
	f, err := os.OpenFile(dst, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = b.(*reader).WriteTo(f)
	if err = errors.Join(err, f.Close()); err != nil {
		os.Remove(dst)
		return fmt.Errorf("fill a file with %s: %w", ref.Short(), err)
	}
	return nil
}
