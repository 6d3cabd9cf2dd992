package disk

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"

	"malla/blobs"
	"malla/blobs/blobstest"
)

func openCache(t *testing.T, dir string, limit int64) *Cache {
	t.Helper()
	c, err := OpenCache(CacheConfig{Dir: dir, Limit: limit})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestCacheContract(t *testing.T) {
	blobstest.Store(t, func(t *testing.T) blobs.Store { return openCache(t, t.TempDir(), 1<<30) })
}

func TestCacheDropsWhatWasNotUsedForLongest(t *testing.T) {
	const size = 4 << 20
	dir := t.TempDir()
	c := openCache(t, dir, 4*size)
	var refs []blobs.Ref
	add := func() {
		refs = append(refs, put(t, c, blobstest.Bytes(size, uint64(len(refs)))))
	}
	has := func(i int) bool {
		_, err := c.Stat(t.Context(), refs[i])
		return err == nil
	}
	add()
	add()
	add()
	open, err := c.Open(t.Context(), refs[0])
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()
	add()
	if !has(0) || has(1) || !has(2) || !has(3) {
		t.Errorf("there are %v %v %v %v, want all but 1", has(0), has(1), has(2), has(3))
	}
	for range 4 {
		add()
		if c.Size() > 4*size {
			t.Errorf("%d bytes cached, want at most %d", c.Size(), 4*size)
		}
	}
	if has(0) {
		t.Error("0 is still there")
	}
	if got, err := io.ReadAll(open); err != nil || !bytes.Equal(got, blobstest.Bytes(size, 0)) {
		t.Errorf("a chunk that is being read: %d bytes, %v", len(got), err)
	}

	c = openCache(t, dir, 2*size)
	if c.Size() > 2*size || !has(len(refs)-1) {
		t.Errorf("after a restart with less room: %d bytes, newest there: %v", c.Size(), has(len(refs)-1))
	}
}

// A reader who gives up before the chunk is verified must not make the cache
// forget what it keeps: it would grow over its limit.
func TestCacheCountsWhatNobodyWaitedFor(t *testing.T) {
	c := openCache(t, t.TempDir(), 1<<30)
	const size = 1 << 20
	ref := put(t, c, blobstest.Bytes(size, 1))
	c.store.verified.forget(ref)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Open(ctx, ref); !errors.Is(err, context.Canceled) {
		t.Errorf("open = %v, want that it was given up", err)
	}
	if c.Size() != size {
		t.Errorf("size = %d, want %d", c.Size(), size)
	}
}

func TestCacheDropsDamage(t *testing.T) {
	c := openCache(t, t.TempDir(), 1<<30)
	ref := put(t, c, blobstest.Bytes(5000, 1))
	damage(t, c.store, ref)
	c.store.verified.forget(ref)
	if _, err := c.Open(t.Context(), ref); !errors.Is(err, blobs.ErrCorrupt) {
		t.Errorf("open = %v, want ErrCorrupt", err)
	}
	if c.Size() != 0 {
		t.Errorf("size = %d", c.Size())
	}
}
