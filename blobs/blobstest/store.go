// Package blobstest is the contract of [blobs.Store], written as tests that
// every store passes.
package blobstest

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/iotest"

	"malla/blobs"
)

// Bytes returns n bytes that look random and are the same for the same seed.
func Bytes(n int, seed uint64) []byte {
	data := make([]byte, n)
	Stream(seed).Read(data) // never fails
	return data
}

// Stream returns the bytes that Bytes would return, without end.
func Stream(seed uint64) io.Reader {
	var key [32]byte
	binary.LittleEndian.PutUint64(key[:], seed)
	return rand.NewChaCha8(key)
}

// Store runs the contract against the stores that open returns, each empty.
func Store(t *testing.T, open func(t *testing.T) blobs.Store) {
	for _, c := range []struct {
		name string
		run  func(t *testing.T, s blobs.Store)
	}{
		{"what was put is read back", putAndRead},
		{"a chunk seeks and reads at any place", seeks},
		{"what is not here is not found", notFound},
		{"bytes with another hash are refused", otherHash},
		{"too many bytes are refused", tooLarge},
		{"a reader that breaks leaves no trace", brokenReader},
		{"a put whose context ended leaves no trace", ended},
		{"putting twice is no error", twice},
		{"what was deleted is gone and can come back", deletes},
		{"an open chunk stays readable when it is deleted", deleteOpen},
		{"many at once put, read and delete the same chunks", atOnce},
	} {
		t.Run(c.name, func(t *testing.T) { c.run(t, open(t)) })
	}
}

func put(t *testing.T, s blobs.Store, data []byte) blobs.Ref {
	t.Helper()
	ref := blobs.RefOf(data)
	if err := s.Put(t.Context(), ref, bytes.NewReader(data)); err != nil {
		t.Fatalf("put %d bytes: %v", len(data), err)
	}
	return ref
}

func read(ctx context.Context, s blobs.Store, ref blobs.Ref) (_ []byte, err error) {
	c, err := s.Open(ctx, ref)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	return io.ReadAll(c)
}

func wantAbsent(t *testing.T, s blobs.Store, ref blobs.Ref) {
	t.Helper()
	if _, err := s.Stat(t.Context(), ref); !errors.Is(err, blobs.ErrNotFound) {
		t.Errorf("stat = %v, want ErrNotFound", err)
	}
	if c, err := s.Open(t.Context(), ref); !errors.Is(err, blobs.ErrNotFound) {
		t.Errorf("open = %v, %v, want ErrNotFound", c, err)
	}
}

func putAndRead(t *testing.T, s blobs.Store) {
	for _, size := range []int{0, 1, 4096, 128<<10 - 1, 128<<10 + 1, blobs.ChunkSize} {
		data := Bytes(size, uint64(size))
		ref := put(t, s, data)
		if n, err := s.Stat(t.Context(), ref); err != nil || n != int64(size) {
			t.Errorf("stat = %d, %v, want %d", n, err, size)
		}
		got, err := read(t.Context(), s, ref)
		if err != nil || !bytes.Equal(got, data) {
			t.Errorf("%d bytes came back as %d, %v", size, len(got), err)
		}
	}
}

func seeks(t *testing.T, s blobs.Store) {
	data := Bytes(300_000, 1)
	c, err := s.Open(t.Context(), put(t, s, data))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if c.Size() != int64(len(data)) {
		t.Errorf("size = %d, want %d", c.Size(), len(data))
	}
	if err := iotest.TestReader(c, data); err != nil {
		t.Error(err)
	}
}

func notFound(t *testing.T, s blobs.Store) {
	ref := blobs.RefOf([]byte("nobody has put this"))
	wantAbsent(t, s, ref)
	if err := s.Delete(t.Context(), ref); err != nil {
		t.Errorf("delete = %v, want nil", err)
	}
}

func otherHash(t *testing.T, s blobs.Store) {
	data := Bytes(100_000, 2)
	ref := blobs.RefOf(data)
	for _, wrong := range [][]byte{data[:len(data)-1], append(bytes.Clone(data), 0), Bytes(len(data), 3), nil} {
		if err := s.Put(t.Context(), ref, bytes.NewReader(wrong)); !errors.Is(err, blobs.ErrCorrupt) {
			t.Errorf("put of %d wrong bytes = %v, want ErrCorrupt", len(wrong), err)
		}
		wantAbsent(t, s, ref)
	}
}

func tooLarge(t *testing.T, s blobs.Store) {
	data := Bytes(blobs.ChunkSize+1, 4)
	ref := blobs.RefOf(data)
	if err := s.Put(t.Context(), ref, bytes.NewReader(data)); !errors.Is(err, blobs.ErrTooLarge) {
		t.Errorf("put = %v, want ErrTooLarge", err)
	}
	wantAbsent(t, s, ref)
}

func brokenReader(t *testing.T, s blobs.Store) {
	data := Bytes(300_000, 5)
	ref := blobs.RefOf(data)
	broken := errors.New("the line broke")
	r := io.MultiReader(bytes.NewReader(data[:200_000]), iotest.ErrReader(broken))
	if err := s.Put(t.Context(), ref, r); !errors.Is(err, broken) {
		t.Errorf("put = %v, want the reader's error", err)
	}
	wantAbsent(t, s, ref)
}

func ended(t *testing.T, s blobs.Store) {
	data := Bytes(300_000, 6)
	ref := blobs.RefOf(data)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Put(ctx, ref, bytes.NewReader(data)); !errors.Is(err, context.Canceled) {
		t.Errorf("put = %v, want context.Canceled", err)
	}
	wantAbsent(t, s, ref)
}

func twice(t *testing.T, s blobs.Store) {
	data := Bytes(300_000, 7)
	put(t, s, data)
	ref := put(t, s, data)
	if got, err := read(t.Context(), s, ref); err != nil || !bytes.Equal(got, data) {
		t.Errorf("after two puts %d bytes, %v", len(got), err)
	}
}

func deletes(t *testing.T, s blobs.Store) {
	data := Bytes(1000, 8)
	ref := put(t, s, data)
	if err := s.Delete(t.Context(), ref); err != nil {
		t.Fatal(err)
	}
	wantAbsent(t, s, ref)
	put(t, s, data)
	if got, err := read(t.Context(), s, ref); err != nil || !bytes.Equal(got, data) {
		t.Errorf("put again: %d bytes, %v", len(got), err)
	}
}

func deleteOpen(t *testing.T, s blobs.Store) {
	data := Bytes(300_000, 9)
	ref := put(t, s, data)
	c, err := s.Open(t.Context(), ref)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := s.Delete(t.Context(), ref); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(c); err != nil || !bytes.Equal(got, data) {
		t.Errorf("read %d bytes, %v", len(got), err)
	}
}

func atOnce(t *testing.T, s blobs.Store) {
	const workers, rounds, chunks = 8, 20, 4
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := range rounds {
				if err := onePass(t.Context(), s, (w+i)%chunks); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}

func onePass(ctx context.Context, s blobs.Store, chunk int) error {
	data := Bytes(50_000, uint64(100+chunk))
	ref := blobs.RefOf(data)
	if err := s.Put(ctx, ref, bytes.NewReader(data)); err != nil {
		return fmt.Errorf("put: %w", err)
	}
	got, err := read(ctx, s, ref)
	if errors.Is(err, blobs.ErrNotFound) {
		return nil // another one has just deleted it
	}
	if err != nil || !bytes.Equal(got, data) {
		return fmt.Errorf("read %d bytes: %w", len(got), err)
	}
	if err := s.Delete(ctx, ref); err != nil {
		return fmt.Errorf("delete: %w", err)
	}
	return nil
}
