package cluster

import (
	"fmt"
	"os"
	"sync"
)

// A ballast is a file beside the log that is there only for its size. It is
// thrown off when the disk is full: then the node can still write its log, take
// a snapshot, and agree on what is to be deleted.
type ballast struct {
	path string
	size int64

	mu sync.Mutex // one change at a time
}

// release frees the room and tells whether there was any. A ballast of nil is
// none.
func (b *ballast) release() bool {
	if b == nil {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return os.Remove(b.path) == nil
}

// held tells whether the room is taken.
func (b *ballast) held() bool {
	info, err := os.Stat(b.path)
	return err == nil && info.Size() >= b.size
}

// take takes the room, from a disk that has it.
func (b *ballast) take() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	f, err := os.OpenFile(b.path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("keep room for the log: %w", err)
	}
	defer f.Close()
	if err := allocate(f, b.size); err != nil {
		os.Remove(b.path)
		return fmt.Errorf("keep room for the log: %w", err)
	}
	return nil
}
