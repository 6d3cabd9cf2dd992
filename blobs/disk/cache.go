package disk

import (
	"cmp"
	"container/list"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"malla/blobs"
)

// A CacheConfig says where a cache lies and how large it may grow.
type CacheConfig struct {
	Dir     string       // made where it is missing
	Limit   int64        // bytes of chunks that are kept at most; at least one chunk is
	Reserve int64        // bytes of the disk that the cache never uses
	Logger  *slog.Logger // nil discards
	// Free is as in [Config].
	Free func(dir string) (free, total int64, err error)
}

// A Cache is a [blobs.Store] for copies that may be lost: the chunk that was
// not used for longest makes room for the next one, and nothing is fsynced.
// What is read from it is verified as in a [Store].
type Cache struct {
	store *Store
	limit int64

	mu    sync.Mutex                  // guards the fields below
	used  int64                       // bytes of the chunks in order
	order *list.List                  // of cached, the one used last in front
	index map[blobs.Ref]*list.Element // chunk -> its place in order
}

type cached struct {
	ref  blobs.Ref
	size int64
}

// OpenCache returns the cache in cfg.Dir with what is there from before. There
// is nothing to close.
func OpenCache(cfg CacheConfig) (*Cache, error) {
	notDurable := func(*os.File) error { return nil }
	// What a crash tore is of no interest here, and must not add up.
	if err := os.RemoveAll(filepath.Join(cfg.Dir, "quarantine")); err != nil {
		return nil, fmt.Errorf("open chunk cache: %w", err)
	}
	s, err := open(Config{Dir: cfg.Dir, Reserve: cfg.Reserve, Logger: cfg.Logger, Free: cfg.Free}, notDurable)
	if err != nil {
		return nil, err
	}
	c := &Cache{
		store: s,
		limit: max(cfg.Limit, blobs.ChunkSize),
		order: list.New(),
		index: map[blobs.Ref]*list.Element{},
	}
	if err := c.load(); err != nil {
		return nil, fmt.Errorf("open chunk cache: %w", err)
	}
	return c, nil
}

func (c *Cache) load() error {
	type found struct {
		cached
		used time.Time
	}
	var all []found
	err := c.store.Each(context.Background(), func(ref blobs.Ref, size int64, used time.Time) error {
		all = append(all, found{cached{ref, size}, used})
		return nil
	})
	slices.SortFunc(all, func(a, b found) int { return cmp.Compare(a.used.UnixNano(), b.used.UnixNano()) })
	for _, f := range all {
		c.add(f.ref, f.size)
	}
	c.shrink(c.limit)
	return err
}

// Put implements [blobs.Store], but for surviving a power cut.
func (c *Cache) Put(ctx context.Context, ref blobs.Ref, r io.Reader) error {
	c.shrink(c.limit - blobs.ChunkSize)
	if err := c.store.Put(ctx, ref, r); err != nil {
		return err
	}
	size, err := c.store.Stat(ctx, ref)
	if err != nil {
		return nil // deleted again at the same time
	}
	c.add(ref, size)
	c.shrink(c.limit)
	return nil
}

// Open implements [blobs.Store]. The chunk is a [*Chunk] and stays readable
// when it has to make room.
func (c *Cache) Open(ctx context.Context, ref blobs.Ref) (blobs.Chunk, error) {
	chunk, err := c.store.Open(ctx, ref)
	if err != nil {
		if errors.Is(err, blobs.ErrNotFound) || errors.Is(err, blobs.ErrCorrupt) {
			c.forget(ref)
		}
		return nil, err // with any other error it still takes its room
	}
	c.add(ref, chunk.Size())
	return chunk, nil
}

// Stat implements [blobs.Store].
func (c *Cache) Stat(ctx context.Context, ref blobs.Ref) (int64, error) {
	return c.store.Stat(ctx, ref)
}

// Delete implements [blobs.Store].
func (c *Cache) Delete(ctx context.Context, ref blobs.Ref) error {
	c.forget(ref)
	return c.store.Delete(ctx, ref)
}

// Size is the length of all chunks in the cache in bytes.
func (c *Cache) Size() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.used
}

// add moves the chunk to the front.
func (c *Cache) add(ref blobs.Ref, size int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e, known := c.index[ref]; known {
		c.order.MoveToFront(e)
		return
	}
	c.index[ref] = c.order.PushFront(cached{ref, size})
	c.used += size
}

func (c *Cache) forget(ref blobs.Ref) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e, known := c.index[ref]; known {
		c.used -= c.order.Remove(e).(cached).size
		delete(c.index, ref)
	}
}

// shrink removes the chunks that were not used for longest until the rest is
// at most limit bytes.
func (c *Cache) shrink(limit int64) {
	for {
		c.mu.Lock()
		last := c.order.Back()
		if last == nil || c.used <= limit {
			c.mu.Unlock()
			return
		}
		victim := c.order.Remove(last).(cached)
		delete(c.index, victim.ref)
		c.used -= victim.size
		c.mu.Unlock()
		if err := c.store.Delete(context.Background(), victim.ref); err != nil {
			c.store.log.Warn("cached chunk stays on the disk", "ref", victim.ref.String(), "err", err)
		}
	}
}
