package disk

import (
	"fmt"
	"sync"

	"golang.org/x/sys/unix"

	"malla/blobs"
)

// A room knows how much of the disk may still be used.
type room struct {
	dir     string
	reserve int64
	free    func(dir string) (free, total int64, err error)

	mu    sync.Mutex // guards the fields below
	taken int64      // bytes promised to writes under way
}

func newRoom(dir string, reserve int64, free func(string) (int64, int64, error)) *room {
	if free == nil {
		free = statfs
	}
	return &room{dir: dir, reserve: reserve, free: free}
}

// take promises n bytes to a write until it calls release, which may be called
// twice. What that write has used up already counts twice meanwhile: the
// promise errs on the side of the reserve.
func (r *room) take(n int64) (release func(), err error) {
	free, _, err := r.free(r.dir)
	if err != nil {
		return nil, fmt.Errorf("free space of the disk: %w", err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if free-r.reserve-r.taken < n {
		return nil, fmt.Errorf("%w: %d bytes free of which %d are reserved", blobs.ErrFull, free, r.reserve)
	}
	r.taken += n
	return sync.OnceFunc(func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.taken -= n
	}), nil
}

func (r *room) left() (left, total int64, err error) {
	free, total, err := r.free(r.dir)
	if err != nil {
		return 0, 0, fmt.Errorf("free space of the disk: %w", err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return max(0, free-r.reserve-r.taken), total, nil
}

func statfs(dir string) (free, total int64, err error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, 0, err
	}
	return int64(st.Bavail) * int64(st.Bsize), int64(st.Blocks) * int64(st.Bsize), nil
}
