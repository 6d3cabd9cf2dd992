package replica

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"malla/blobs"
)

const (
	// aheadAfter is how many bytes of a chunk are read in a row before the next
	// chunk is opened: a player that only peeks into a file fetches one.
	aheadAfter = 1 << 20
	// maxAhead is how many chunks are opened ahead for a reader who had to wait
	// for the one before. They come from several holders at once.
	maxAhead = 4
)

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
	return &reader{r: r, manifest: m, ctx: ctx, cancel: cancel, index: -1, width: 1}, nil
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
	ahead []*ahead    // the chunks behind it that are opened already, in order
	width int         // how many those may be
}

// An ahead is a chunk on its way.
type ahead struct {
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
	b.inRow = aheadAfter // who copies reads on
	for {
		span, size, err := b.Span(blobs.ChunkSize)
		if err == io.EOF {
			return written, nil
		}
		if err != nil {
			return written, err
		}
		n, err := io.Copy(w, span)
		written += n
		if err == nil && n < size {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			b.pos += n - size
			return written, err
		}
	}
}

// Span returns at least the next byte and at most the next n, all of one chunk,
// and moves on behind them. The kernel can send them where the chunk is a file.
// They can be read until the next call. At the end the error is io.EOF.
func (b *reader) Span(n int64) (io.Reader, int64, error) {
	within, err := b.seekChunk()
	if err != nil {
		return nil, 0, err
	}
	if _, err := b.chunk.Seek(within, io.SeekStart); err != nil {
		return nil, 0, err
	}
	n = min(n, b.chunk.Size()-within)
	b.advance(int(n))
	return io.LimitReader(fileOf(b.chunk), n), n, nil
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
	b.dropAhead(len(b.ahead))
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
	before := b.index
	if b.chunk != nil {
		b.chunk.Close()
		b.chunk, b.index = nil, -1
	}
	c, err := b.openIndex(before, index)
	if err != nil {
		return 0, err
	}
	if c.Size() != b.manifest.ChunkLen(index) {
		return 0, errors.Join(fmt.Errorf("%w: chunk %d has %d bytes", blobs.ErrBadManifest, index, c.Size()), c.Close())
	}
	b.chunk, b.index = c, index
	return within, nil
}

// openIndex takes the chunk that was opened ahead while the one before was
// read, if it is among those.
func (b *reader) openIndex(before, index int) (blobs.Chunk, error) {
	skipped := index - before - 1
	if before < 0 || skipped < 0 || skipped >= len(b.ahead) {
		b.dropAhead(len(b.ahead))
		b.width = 1
		return b.r.OpenChunk(b.ctx, b.manifest.Chunks[index])
	}
	b.dropAhead(skipped)
	a := b.ahead[0]
	b.ahead = b.ahead[1:]
	select {
	case <-a.done:
	default:
		b.width = min(b.width+1, maxAhead) // this reader is faster than one chunk at a time
		<-a.done
	}
	a.cancel()
	if a.err == nil {
		return a.chunk, nil
	}
	// Those behind may hold what this one needs: a place in memory.
	b.dropAhead(len(b.ahead))
	return b.r.OpenChunk(b.ctx, b.manifest.Chunks[index])
}

// replaceChunk opens the current chunk again, from another node where this one's
// copy is bad.
func (b *reader) replaceChunk(cause error) error {
	ref := b.manifest.Chunks[b.index]
	b.r.cfg.Logger.Error("chunk cannot be read any more", "ref", ref.String(), "err", cause)
	b.dropAhead(len(b.ahead)) // a place in memory may be needed
	// The stores took the chunk for sound when it was opened, and would for
	// some minutes: the same bad file would be opened again.
	_, err := b.r.cfg.Local.Scrub(b.ctx, ref, func(int) error { return b.ctx.Err() })
	b.r.noteDamage(ref, err)
	var dropped error
	if b.r.cfg.Cache != nil {
		dropped = b.r.cfg.Cache.Delete(b.ctx, ref)
	}
	var c blobs.Chunk
	if err == nil {
		c, err = b.r.OpenChunk(b.ctx, ref)
	} else {
		c, err = b.r.fetch(b.ctx, ref, b.r.memory.wait)
	}
	if err != nil {
		return errors.Join(cause, dropped, err)
	}
	b.chunk.Close()
	b.chunk = c
	return nil
}

// lookAhead begins to open the chunks behind the open one.
func (b *reader) lookAhead() {
	for len(b.ahead) < b.width {
		next := b.index + 1 + len(b.ahead)
		if next >= len(b.manifest.Chunks) {
			return
		}
		ctx, cancel := context.WithCancel(b.ctx)
		a := &ahead{cancel: cancel, done: make(chan struct{})}
		b.ahead = append(b.ahead, a)
		go func() {
			defer close(a.done)
			a.chunk, a.err = b.r.openChunk(ctx, b.manifest.Chunks[next], b.r.memory.try)
		}()
	}
}

// dropAhead gives up the first n chunks that were opened ahead.
func (b *reader) dropAhead(n int) {
	for _, a := range b.ahead[:n] {
		a.cancel()
	}
	for _, a := range b.ahead[:n] {
		<-a.done
		if a.err == nil {
			a.chunk.Close()
		}
	}
	b.ahead = b.ahead[n:]
}

// Fill writes the blob to a new file at dst, as another name of its chunk where
// that is the only one and lies on the same disk: nobody may write to dst
// afterwards. On an error there is no file.
func (r *Replica) Fill(ctx context.Context, ref blobs.Ref, dst string) error {
	_, err := r.FillFiles(ctx, ref, dst, 1)
	return err
}

// FillFiles is Fill into several files, whose bytes in a row are the blob's:
// other names of its chunks where these are here and no more than most, so that
// nothing is copied. The first file is dst, the others have names that begin so.
func (r *Replica) FillFiles(ctx context.Context, ref blobs.Ref, dst string, most int) (paths []string, err error) {
	b, err := r.Open(ctx, ref)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, b.Close()) }()
	if chunks := b.(*reader).manifest.Chunks; 0 < len(chunks) && len(chunks) <= most {
		if paths, err := r.link(ctx, chunks, dst); err == nil {
			return paths, nil
		}
	}
	return []string{dst}, writeFile(dst, ref, b.(*reader))
}

// link makes other names of the chunks, or none.
func (r *Replica) link(ctx context.Context, chunks []blobs.Ref, dst string) ([]string, error) {
	var paths []string
	for i, chunk := range chunks {
		path := dst
		if i > 0 {
			path = fmt.Sprintf("%s.%d", dst, i)
		}
		if err := r.cfg.Local.Link(ctx, chunk, path); err != nil {
			for _, made := range paths {
				err = errors.Join(err, os.Remove(made))
			}
			return nil, err
		}
		paths = append(paths, path)
	}
	return paths, nil
}

// writeFile writes what b reads to a new file, or leaves none.
func writeFile(dst string, ref blobs.Ref, b *reader) error {
	f, err := os.OpenFile(dst, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = b.WriteTo(f)
	if err = errors.Join(err, f.Close()); err != nil {
		os.Remove(dst)
		return fmt.Errorf("fill a file with %s: %w", ref.Short(), err)
	}
	return nil
}
