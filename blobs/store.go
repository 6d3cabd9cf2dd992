package blobs

import (
	"context"
	"errors"
	"io"
)

var (
	// ErrNotFound tells that a chunk is not here. It may be elsewhere.
	ErrNotFound = errors.New("chunk not found")
	// ErrCorrupt tells that bytes do not have the hash that names them.
	ErrCorrupt = errors.New("chunk damaged: its bytes do not match its name")
	// ErrTooLarge tells that a chunk is longer than ChunkSize or a blob than MaxBlobSize.
	ErrTooLarge = errors.New("too large")
	// ErrUnavailable tells that too few nodes could be reached: to keep the
	// copies that were asked for, or to find one that can be read.
	ErrUnavailable = errors.New("too few nodes can be reached")
)

// A Chunk is an open chunk whose bytes were checked against its name before
// the first one could be read. Who opened it closes it.
type Chunk interface {
	io.ReadSeeker
	io.ReaderAt
	io.Closer
	Size() int64
}

// A Store keeps chunks. Its methods may be called at the same time, also for
// the same chunk. The contract is written out as tests in package blobstest.
type Store interface {
	// Put reads the chunk named ref from r to its end and keeps it durably:
	// after a nil error the bytes survive a power cut. Bytes with another
	// hash are refused with ErrCorrupt and leave no trace, longer ones with
	// ErrTooLarge, where the room is used up with ErrFull, and on a disk that
	// fails with ErrBroken. Putting what is there already is cheap and no
	// error.
	Put(ctx context.Context, ref Ref, r io.Reader) error
	// Open returns the chunk, verified. ErrNotFound where it is not here,
	// ErrCorrupt where its bytes went bad.
	Open(ctx context.Context, ref Ref) (Chunk, error)
	// Stat returns the size of the chunk in bytes, or ErrNotFound.
	Stat(ctx context.Context, ref Ref) (int64, error)
	// Delete removes the chunk. What is not here is no error.
	Delete(ctx context.Context, ref Ref) error
}

// A Reader reads a blob. Who opened it closes it. Bytes are verified before
// they are returned; where a holder fails, the next one goes on.
type Reader interface {
	io.ReadSeekCloser
	Size() int64
}
