package backup

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"strings"

	"malla/blobs"
)

// A Visitor is shown what a backup has while it is read. Fields may be nil. What
// it does not read is read for it, so that all is checked.
type Visitor struct {
	Header func(Header) error
	State  func(io.Reader) error
	Chunk  func(ref blobs.Ref, size int64, r io.Reader) error
}

// Read reads a backup to its end, in one go and with little memory, and checks
// all of it: [ErrDamaged] where it is not what was written. What the visitor did
// with the parts counts only if there is no error.
func Read(r io.Reader, v Visitor) (Header, Trailer, error) {
	b := &reader{tar: tar.NewReader(r), sum: sha256.New(), visitor: v}
	err := b.read()
	if err == nil {
		_, err = io.Copy(io.Discard, r) // the end of the archive, and of the connection
	}
	return b.header, b.trailer, err
}

type reader struct {
	tar     *tar.Reader
	sum     hash.Hash
	visitor Visitor
	header  Header
	trailer Trailer
	entries int64
	next    *tar.Header // was read ahead
}

func (b *reader) read() error {
	first, err := b.take()
	if err != nil {
		return err
	}
	if first.Name != headerName || b.decode(first, &b.header) != nil || b.header.Format != format {
		return fmt.Errorf("%w: this is no backup of malla, or one of a newer version", ErrDamaged)
	}
	if err := call(b.visitor.Header, b.header); err != nil {
		return err
	}
	for {
		h, err := b.take()
		if err != nil {
			return err
		}
		switch {
		case strings.HasPrefix(h.Name, statePrefix):
			err = b.state(h)
		case strings.HasPrefix(h.Name, chunkPrefix):
			err = b.chunk(h)
		case h.Name == trailerName:
			return b.end(h)
		default:
			err = fmt.Errorf("%w: unknown entry %q: a newer version wrote it", ErrDamaged, h.Name)
		}
		if err != nil {
			return err
		}
	}
}

func call[T any](f func(T) error, v T) error {
	if f == nil {
		return nil
	}
	return f(v)
}

// take goes to the next entry.
func (b *reader) take() (*tar.Header, error) {
	if h := b.next; h != nil {
		b.next = nil
		return h, nil
	}
	h, err := b.tar.Next()
	switch {
	case err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF):
		return nil, fmt.Errorf("%w: cut off after %d entries", ErrDamaged, b.entries)
	case errors.Is(err, tar.ErrHeader):
		return nil, fmt.Errorf("%w: entry %d: %w", ErrDamaged, b.entries, err)
	case err != nil:
		return nil, err
	case h.Typeflag != tar.TypeReg:
		return nil, fmt.Errorf("%w: entry %q is no file", ErrDamaged, h.Name)
	}
	if h.Name != trailerName {
		sumName(b.sum, h.Name, h.Size)
		b.entries++
	}
	return h, nil
}

// content of the entry at hand, summed up as it is read.
func (b *reader) content() io.Reader { return whole{io.TeeReader(b.tar, b.sum)} }

// whole says what an entry that ends early means.
type whole struct{ io.Reader }

func (w whole) Read(p []byte) (int, error) {
	n, err := w.Reader.Read(p)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = fmt.Errorf("%w: cut off within an entry", ErrDamaged)
	}
	return n, err
}

func (b *reader) decode(h *tar.Header, v any) error {
	if h.Size > maxNote {
		return ErrDamaged
	}
	text, err := io.ReadAll(b.content())
	if err != nil {
		return err
	}
	return json.Unmarshal(text, v)
}

// state shows all pieces as one.
func (b *reader) state(h *tar.Header) error {
	joined := &stateReader{b: b, from: b.content(), pieces: 1}
	if h.Name != pieceName(0) {
		return fmt.Errorf("%w: the state begins with %q", ErrDamaged, h.Name)
	}
	if b.visitor.State != nil {
		if err := b.visitor.State(joined); err != nil {
			return err
		}
	}
	_, err := io.Copy(io.Discard, joined)
	return err
}

func pieceName(n int) string { return fmt.Sprintf("%s%08d", statePrefix, n) }

type stateReader struct {
	b      *reader
	from   io.Reader // nil behind the last piece
	pieces int
}

func (s *stateReader) Read(p []byte) (int, error) {
	for s.from != nil {
		n, err := s.from.Read(p)
		switch {
		case err != nil && err != io.EOF:
			return n, err
		case n > 0:
			return n, nil
		case err == nil:
			continue
		}
		h, err := s.b.take()
		if err != nil {
			return 0, err
		}
		if h.Name != pieceName(s.pieces) {
			s.from, s.b.next = nil, h
			break
		}
		s.from = s.b.content()
		s.pieces++
	}
	return 0, io.EOF
}

func (b *reader) chunk(h *tar.Header) error {
	ref, err := blobs.ParseRef(strings.TrimPrefix(h.Name, chunkPrefix))
	if err != nil || h.Size > blobs.ChunkSize {
		return fmt.Errorf("%w: entry %q is no chunk", ErrDamaged, h.Name)
	}
	own := sha256.New()
	r := io.TeeReader(b.content(), own)
	if b.visitor.Chunk != nil {
		if err := b.visitor.Chunk(ref, h.Size, r); err != nil {
			return err
		}
	}
	if _, err := io.Copy(io.Discard, r); err != nil {
		return err
	}
	if blobs.Ref(own.Sum(nil)) != ref {
		return fmt.Errorf("%w: the bytes of chunk %s are not its own", ErrDamaged, ref)
	}
	b.trailer.Chunks++
	return nil
}

// end compares the trailer with what was read.
func (b *reader) end(h *tar.Header) error {
	sum, chunks := blobs.Ref(b.sum.Sum(nil)), b.trailer.Chunks
	b.trailer = Trailer{}
	if err := b.decode(h, &b.trailer); err != nil {
		return fmt.Errorf("%w: its end cannot be read: %w", ErrDamaged, err)
	}
	if t := b.trailer; t.Sum != sum || t.Entries != b.entries || t.Chunks != chunks {
		return fmt.Errorf("%w: its checksum is wrong", ErrDamaged)
	}
	return nil
}
