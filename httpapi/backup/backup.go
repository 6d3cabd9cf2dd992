// Package backup is the format of a backup: one stream with the agreed state of
// a mesh and, if wanted, its files. It is a tar archive, so that every tool can
// look into it, of these entries in this order:
//
//	malla-backup.json     a [Header]
//	state/00000000 ...    the state in pieces, which cluster/state reads when joined
//	chunks/<sha256>       manifests and chunks, each by its hash, each manifest before its chunks
//	malla-backup-end.json a [Trailer]
//
// What ends without its trailer was cut off.
package backup

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"strings"
	"time"

	"malla/blobs"
)

const (
	format      = "malla backup 1"
	headerName  = "malla-backup.json"
	trailerName = "malla-backup-end.json"
	statePrefix = "state/"
	chunkPrefix = "chunks/"

	pieceSize = 1 << 20 // of the state: tar wants the size of an entry in front of it
	maxNote   = 1 << 30 // bytes of the trailer, which lists what is missing
)

// ErrDamaged tells that a file is no backup, or not all of one.
var ErrDamaged = errors.New("backup damaged")

// A Header says what the backup is of.
type Header struct {
	Format  string    `json:"format"`
	Version string    `json:"version"` // of malla
	Mesh    string    `json:"mesh"`    // public id of the mesh
	Node    string    `json:"node"`    // that wrote it
	Index   uint64    `json:"index"`   // of the state
	At      time.Time `json:"at"`
	Files   bool      `json:"files"` // whether it has manifests and chunks
}

// A Trailer says what the backup has.
type Trailer struct {
	Entries int64       `json:"entries"` // in front of the trailer
	Chunks  int64       `json:"chunks"`  // and manifests
	Bytes   int64       `json:"bytes"`   // of those
	Missing []blobs.Ref `json:"missing"` // of those that the state names, what no node could give
	Sum     blobs.Ref   `json:"sha256"`  // over the name, the size and the content of each entry in front of it
}

// A Writer writes a backup. Its methods are called in the order of the entries.
type Writer struct {
	tar     *tar.Writer
	at      time.Time
	sum     hash.Hash
	pieces  int
	trailer Trailer
}

// NewWriter begins a backup in w.
func NewWriter(w io.Writer, h Header) (*Writer, error) {
	b := &Writer{tar: tar.NewWriter(w), at: h.At, sum: sha256.New(), trailer: Trailer{Missing: []blobs.Ref{}}}
	h.Format = format
	text, err := json.Marshal(h)
	if err != nil {
		return nil, err
	}
	return b, b.entry(headerName, int64(len(text)), strings.NewReader(string(text)))
}

// entry writes one entry of exactly that size.
func (b *Writer) entry(name string, size int64, r io.Reader) error {
	if err := b.tar.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Size: size, Mode: 0o600, ModTime: b.at, Format: tar.FormatUSTAR}); err != nil {
		return err
	}
	sumName(b.sum, name, size)
	if _, err := io.CopyN(io.MultiWriter(b.tar, b.sum), r, size); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	b.trailer.Entries++
	return nil
}

func sumName(sum hash.Hash, name string, size int64) {
	sum.Write(binary.BigEndian.AppendUint64(append([]byte(name), 0), uint64(size)))
}

// State takes the state; write is given where to.
func (b *Writer) State(write func(io.Writer) error) error {
	p := &pieces{b: b}
	if err := write(p); err != nil {
		return err
	}
	return p.flush()
}

// pieces cuts what is written into entries.
type pieces struct {
	b   *Writer
	buf []byte
}

func (p *pieces) Write(data []byte) (int, error) {
	for n := 0; n < len(data); {
		k := min(pieceSize-len(p.buf), len(data)-n)
		p.buf = append(p.buf, data[n:n+k]...)
		n += k
		if len(p.buf) == pieceSize {
			if err := p.flush(); err != nil {
				return n, err
			}
		}
	}
	return len(data), nil
}

func (p *pieces) flush() error {
	if len(p.buf) == 0 {
		return nil
	}
	name := pieceName(p.b.pieces)
	p.b.pieces++
	err := p.b.entry(name, int64(len(p.buf)), strings.NewReader(string(p.buf)))
	p.buf = p.buf[:0]
	return err
}

// Chunk takes a chunk or a manifest of that size.
func (b *Writer) Chunk(ref blobs.Ref, size int64, r io.Reader) error {
	b.trailer.Chunks++
	b.trailer.Bytes += size
	return b.entry(chunkPrefix+ref.String(), size, r)
}

// Missing notes a chunk or a manifest that no node could give.
func (b *Writer) Missing(ref blobs.Ref) { b.trailer.Missing = append(b.trailer.Missing, ref) }

// Close ends the backup; it closes nothing below.
func (b *Writer) Close() error {
	b.trailer.Sum = blobs.Ref(b.sum.Sum(nil))
	text, err := json.Marshal(b.trailer)
	if err != nil {
		return err
	}
	if err := b.entry(trailerName, int64(len(text)), strings.NewReader(string(text))); err != nil {
		return err
	}
	return b.tar.Close()
}
