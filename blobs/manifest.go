package blobs

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
)

// ChunkSize is the size of every chunk of a blob but its last, in bytes.
const ChunkSize = 8 << 20

// MaxBlobSize is the largest blob whose manifest still fits into one chunk.
const MaxBlobSize = int64((ChunkSize-manifestHeader)/refSize) * ChunkSize

const (
	manifestMagic  = "mallaMF1"
	refSize        = len(Ref{})
	manifestHeader = len(manifestMagic) + 8 + refSize
)

// ErrBadManifest tells that bytes are not the canonical encoding of a manifest.
var ErrBadManifest = errors.New("not a manifest")

// A Manifest lists the chunks of a blob in order. All but the last are
// [ChunkSize] long, so the place of a byte is a division.
type Manifest struct {
	Size   int64 // of the whole blob, in bytes
	SHA256 Ref   // of the whole blob
	Chunks []Ref // ceil(Size / ChunkSize) of them; none where Size is 0
}

// A Blob is what is known of a stored blob without reading its manifest.
type Blob struct {
	Ref    Ref   `json:"ref"`    // of the encoded manifest
	Size   int64 `json:"size"`   // in bytes
	SHA256 Ref   `json:"sha256"` // of the content
}

// Encode returns the canonical bytes of m: the magic, the size and the hash of
// the whole, then the chunks' refs. The format is described in DESIGN.md.
func (m Manifest) Encode() []byte {
	out := make([]byte, 0, manifestHeader+len(m.Chunks)*refSize)
	out = append(out, manifestMagic...)
	out = binary.BigEndian.AppendUint64(out, uint64(m.Size))
	out = append(out, m.SHA256[:]...)
	for _, c := range m.Chunks {
		out = append(out, c[:]...)
	}
	return out
}

// Blob returns the blob that m describes.
func (m Manifest) Blob() Blob {
	return Blob{Ref: RefOf(m.Encode()), Size: m.Size, SHA256: m.SHA256}
}

// BeginsAsManifest tells whether data may be the encoding of a manifest. A
// file of a user's may begin so, too.
func BeginsAsManifest(data []byte) bool { return bytes.HasPrefix(data, []byte(manifestMagic)) }

// DecodeManifest reads what Encode wrote. Everything else is [ErrBadManifest].
func DecodeManifest(data []byte) (Manifest, error) {
	if len(data) < manifestHeader || !BeginsAsManifest(data) {
		return Manifest{}, fmt.Errorf("%w: no header", ErrBadManifest)
	}
	size := binary.BigEndian.Uint64(data[len(manifestMagic):])
	if size > uint64(MaxBlobSize) {
		return Manifest{}, fmt.Errorf("%w: impossible size %d", ErrBadManifest, size)
	}
	m := Manifest{Size: int64(size)}
	copy(m.SHA256[:], data[len(manifestMagic)+8:])
	rest := data[manifestHeader:]
	if want := ChunkCount(m.Size) * refSize; len(rest) != want {
		return Manifest{}, fmt.Errorf("%w: %d bytes of refs, want %d", ErrBadManifest, len(rest), want)
	}
	m.Chunks = make([]Ref, ChunkCount(m.Size))
	for i := range m.Chunks {
		copy(m.Chunks[i][:], rest[i*refSize:])
	}
	return m, nil
}

// ChunkCount is the number of chunks of a blob of size bytes.
func ChunkCount(size int64) int {
	return int((size + ChunkSize - 1) / ChunkSize)
}

// ChunkLen is the length of the i-th chunk of m in bytes.
func (m Manifest) ChunkLen(i int) int64 {
	return min(ChunkSize, m.Size-int64(i)*ChunkSize)
}

// Locate returns the chunk that holds the byte at off and the offset in it.
// The byte must exist: 0 <= off < m.Size.
func (m Manifest) Locate(off int64) (chunk int, within int64) {
	return int(off / ChunkSize), off % ChunkSize
}
