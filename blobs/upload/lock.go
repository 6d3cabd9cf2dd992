package upload

import (
	"context"
	"sync"

	"github.com/tus/tusd/v2/pkg/handler"
	"github.com/tus/tusd/v2/pkg/memorylocker"
)

// A locker is tusd's lock in memory: where a client comes back while its old
// request still hangs, the new one interrupts the old one. It does so only once
// the old one reads its bytes. tusd 2.8 looks at the body of a request that is
// interrupted while that request may only be about to set it: a data race, after
// which the old request is not interrupted at all.
type locker struct {
	inner *memorylocker.MemoryLocker

	mu      sync.Mutex          // guards the field below
	holders map[string]*holding // upload -> who has its lock
}

// A holding is one request that has the lock of an upload.
type holding struct {
	read  func()        // tells that bytes are being read
	reads chan struct{} // closed then
	over  chan struct{} // closed when the lock is given back
}

func newLocker() *locker {
	return &locker{inner: memorylocker.New(), holders: map[string]*holding{}}
}

// NewLock implements [handler.Locker].
func (l *locker) NewLock(id string) (handler.Lock, error) {
	inner, err := l.inner.NewLock(id)
	return &uploadLock{l, inner, id}, err
}

// reading tells that the request which has the upload's lock reads its bytes.
func (l *locker) reading(id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if h := l.holders[id]; h != nil {
		h.read()
	}
}

type uploadLock struct {
	locker *locker
	inner  handler.Lock
	id     string
}

// Lock implements [handler.Lock].
func (l *uploadLock) Lock(ctx context.Context, interrupt func()) error {
	h := &holding{reads: make(chan struct{}), over: make(chan struct{})}
	h.read = sync.OnceFunc(func() { close(h.reads) })
	err := l.inner.Lock(ctx, func() {
		go func() {
			select {
			case <-h.reads:
				interrupt()
			case <-h.over:
			}
		}()
	})
	if err != nil {
		return err
	}
	l.locker.mu.Lock()
	defer l.locker.mu.Unlock()
	l.locker.holders[l.id] = h
	return nil
}

// Unlock implements [handler.Lock].
func (l *uploadLock) Unlock() error {
	l.locker.mu.Lock()
	h := l.locker.holders[l.id]
	delete(l.locker.holders, l.id)
	l.locker.mu.Unlock()
	close(h.over)
	return l.inner.Unlock()
}
