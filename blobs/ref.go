// Package blobs says what malla stores: bytes named by their hash.
//
// A blob is cut into chunks of at most [ChunkSize] bytes. Each chunk is named
// by the SHA-256 of its bytes, its [Ref]. A [Manifest] lists the chunks of a
// blob in order and is itself stored as a chunk, so one Ref names a whole film.
// [Place] says which nodes should hold a chunk.
//
// This package is pure: it has no I/O, no clock and no randomness. Its
// subpackages keep, move and repair the bytes.
//
// # Invariants
//
//   - A Ref never names two different byte strings.
//   - The encoding of a Manifest is canonical: equal manifests have equal Refs.
package blobs

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
)

// ErrBadRef tells that a text is not a Ref.
var ErrBadRef = errors.New("not a reference: want 64 lower-case hex digits")

// A Ref names a chunk or a manifest by the SHA-256 (FIPS 180-4) of its bytes.
// The zero Ref names nothing.
type Ref [sha256.Size]byte

// RefOf returns the name of data.
func RefOf(data []byte) Ref { return sha256.Sum256(data) }

// ParseRef reads what [Ref.String] writes. Its error is [ErrBadRef].
func ParseRef(text string) (Ref, error) {
	var r Ref
	if err := r.UnmarshalText([]byte(text)); err != nil {
		return Ref{}, err
	}
	return r, nil
}

// String is the Ref as 64 lower-case hex digits.
func (r Ref) String() string { return hex.EncodeToString(r[:]) }

// Short is the beginning of the Ref, for people.
func (r Ref) Short() string { return hex.EncodeToString(r[:6]) }

// IsZero tells whether r names nothing.
func (r Ref) IsZero() bool { return r == Ref{} }

// MarshalText implements [encoding.TextMarshaler]; the zero Ref is empty text.
func (r Ref) MarshalText() ([]byte, error) {
	if r.IsZero() {
		return []byte{}, nil
	}
	return []byte(r.String()), nil
}

// UnmarshalText implements [encoding.TextUnmarshaler]. Upper-case digits are
// refused, so that a Ref has one spelling.
func (r *Ref) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*r = Ref{}
		return nil
	}
	if len(text) != 2*len(r) {
		return fmt.Errorf("%w: got %d characters", ErrBadRef, len(text))
	}
	for _, c := range text {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return ErrBadRef
		}
	}
	if _, err := hex.Decode(r[:], text); err != nil {
		return ErrBadRef
	}
	return nil
}
