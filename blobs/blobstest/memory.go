package blobstest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"sync"
	"time"

	"malla/blobs"
)

// A Memory is a [blobs.Store] without a disk, and all else that a replica asks
// of a node's own store: for meshes of many nodes in one test. The zero Memory
// is empty and ready.
type Memory struct {
	mu      sync.Mutex // guards the fields below
	chunks  map[blobs.Ref]*inMemory
	hurt    map[blobs.Ref]bool // found damaged, and not put again yet
	changed [256]time.Time     // first byte of refs -> when one of them last came or went
	damaged int64
	healed  int64
}

type inMemory struct {
	data   []byte
	used   time.Time // when it was last put or kept
	upload string    // which alone wanted it; "" where others did
}

type memoryChunk struct{ *bytes.Reader }

func (memoryChunk) Close() error { return nil }

// Put implements [blobs.Store].
func (m *Memory) Put(ctx context.Context, ref blobs.Ref, r io.Reader) error {
	_, err := m.PutFor(ctx, "", ref, r)
	return err
}

// PutFor is Put on behalf of an upload, and tells whether the chunk is new.
func (m *Memory) PutFor(ctx context.Context, upload string, ref blobs.Ref, r io.Reader) (created bool, err error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	data, err := io.ReadAll(io.LimitReader(r, blobs.ChunkSize+1))
	switch {
	case err != nil:
		return false, err
	case len(data) > blobs.ChunkSize:
		return false, blobs.ErrTooLarge
	case blobs.RefOf(data) != ref:
		return false, fmt.Errorf("%w: %s", blobs.ErrCorrupt, ref.Short())
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.chunks == nil {
		m.chunks, m.hurt = map[blobs.Ref]*inMemory{}, map[blobs.Ref]bool{}
	}
	old := m.chunks[ref]
	if old != nil && old.upload != upload {
		upload = ""
	}
	m.chunks[ref] = &inMemory{data, time.Now(), upload}
	m.changed[ref[0]] = time.Now()
	if m.hurt[ref] {
		m.healed++
		delete(m.hurt, ref)
	}
	return old == nil, nil
}

// Open implements [blobs.Store].
func (m *Memory) Open(_ context.Context, ref blobs.Ref) (blobs.Chunk, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	c, err := m.sound(ref)
	if err != nil {
		return nil, err
	}
	return memoryChunk{bytes.NewReader(c.data)}, nil
}

// sound returns the chunk, and drops it where it is damaged; m.mu is held.
func (m *Memory) sound(ref blobs.Ref) (*inMemory, error) {
	c := m.chunks[ref]
	if c == nil {
		return nil, fmt.Errorf("%w: %s", blobs.ErrNotFound, ref.Short())
	}
	if blobs.RefOf(c.data) != ref {
		m.drop(ref)
		m.hurt[ref] = true
		m.damaged++
		return nil, fmt.Errorf("%w: %s", blobs.ErrCorrupt, ref.Short())
	}
	return c, nil
}

// drop forgets the chunk; m.mu is held.
func (m *Memory) drop(ref blobs.Ref) {
	delete(m.chunks, ref)
	m.changed[ref[0]] = time.Now()
}

// Stamp is when a chunk whose ref begins with that byte last came or went.
func (m *Memory) Stamp(first byte) (time.Time, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.changed[first], nil
}

// Stat implements [blobs.Store].
func (m *Memory) Stat(_ context.Context, ref blobs.Ref) (int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if c := m.chunks[ref]; c != nil {
		return int64(len(c.data)), nil
	}
	return 0, fmt.Errorf("%w: %s", blobs.ErrNotFound, ref.Short())
}

// Delete implements [blobs.Store].
func (m *Memory) Delete(_ context.Context, ref blobs.Ref) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.drop(ref)
	return nil
}

// KeepFor verifies the chunk and makes it count as used now.
func (m *Memory) KeepFor(_ context.Context, upload string, ref blobs.Ref) (int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	c, err := m.sound(ref)
	if err != nil {
		return 0, err
	}
	c.used = time.Now()
	if c.upload != upload {
		c.upload = ""
	}
	return int64(len(c.data)), nil
}

// Discard deletes the chunk if only that upload ever wanted it.
func (m *Memory) Discard(_ context.Context, upload string, ref blobs.Ref) (bool, error) {
	return m.deleteIf(ref, func(c *inMemory) bool { return upload != "" && c.upload == upload }), nil
}

// Remove deletes the chunk unless it was used after the given time.
func (m *Memory) Remove(_ context.Context, ref blobs.Ref, after time.Time) (bool, error) {
	return m.deleteIf(ref, func(c *inMemory) bool { return !c.used.After(after) }), nil
}

func (m *Memory) deleteIf(ref blobs.Ref, may func(*inMemory) bool) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := m.chunks[ref]
	if c == nil || !may(c) {
		return false
	}
	m.drop(ref)
	return true
}

// Each lists the chunks in the order of their refs.
func (m *Memory) Each(ctx context.Context, f func(ref blobs.Ref, size int64, used time.Time) error) error {
	for first := range 256 {
		if err := m.In(ctx, byte(first), f); err != nil {
			return err
		}
	}
	return nil
}

// In is Each for the chunks whose refs begin with that byte.
func (m *Memory) In(ctx context.Context, first byte, f func(ref blobs.Ref, size int64, used time.Time) error) error {
	all := map[blobs.Ref]inMemory{}
	m.mu.Lock()
	for ref, c := range m.chunks {
		if ref[0] == first {
			all[ref] = *c
		}
	}
	m.mu.Unlock()
	refs := slices.SortedFunc(maps.Keys(all), func(a, b blobs.Ref) int { return bytes.Compare(a[:], b[:]) })
	for _, ref := range refs {
		if err := f(ref, int64(len(all[ref].data)), all[ref].used); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// Reserve sets nothing aside: there is always room.
func (m *Memory) Reserve(int64) (release func(), err error) { return func() {}, nil }

// Adopt takes over a file as the chunk and removes it.
func (m *Memory) Adopt(ctx context.Context, upload string, ref blobs.Ref, path string) (created bool, err error) {
	f, err := os.Open(path)
	if err != nil {
		return false, err
	}
	defer f.Close()
	if created, err = m.PutFor(ctx, upload, ref, f); err != nil {
		return false, err
	}
	return created, os.Remove(path)
}

// Link writes the chunk to dst.
func (m *Memory) Link(ctx context.Context, ref blobs.Ref, dst string) error {
	c, err := m.Open(ctx, ref)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(dst, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o400)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, c)
	return errors.Join(err, f.Close())
}

// Scrub hashes the chunk again.
func (m *Memory) Scrub(_ context.Context, ref blobs.Ref, paced func(n int) error) (int64, error) {
	m.mu.Lock()
	c, err := m.sound(ref)
	m.mu.Unlock()
	if err != nil {
		return 0, err
	}
	return int64(len(c.data)), paced(len(c.data))
}

// Damage tells how many chunks were found damaged, and of those put again.
func (m *Memory) Damage() (found, healed int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.damaged, m.healed
}

// Harm flips a bit of the chunk, as a disk would.
func (m *Memory) Harm(ref blobs.Ref) {
	m.mu.Lock()
	defer m.mu.Unlock()
	data := bytes.Clone(m.chunks[ref].data)
	data[len(data)/2] ^= 4
	m.chunks[ref].data = data
}
