package node

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

// lifecycle starts the loops of a node and closes its parts, the last opened
// first. A New that fails half-way closes what it opened the same way.
type lifecycle struct {
	ctx     context.Context // of the loops; ends with stopLoops
	cancel  context.CancelFunc
	loops   sync.WaitGroup // end with ctx
	servers sync.WaitGroup // end when their part is closed
	fatal   chan error     // the first error that one of them ended with

	mu      sync.Mutex // guards the fields below
	closers []closer
	closed  chan struct{} // made by the first close, closed when it is done
	err     error         // of the first close
}

type closer struct {
	name  string
	close func() error
}

func newLifecycle() *lifecycle {
	ctx, cancel := context.WithCancel(context.Background())
	return &lifecycle{ctx: ctx, cancel: cancel, fatal: make(chan error, 1)}
}

// opened registers how to close a part.
func (l *lifecycle) opened(name string, close func() error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closers = append(l.closers, closer{name, close})
}

// run starts a loop that ends with its context.
func (l *lifecycle) run(name string, loop func(context.Context) error) {
	l.loops.Go(func() { l.ended(name, loop(l.ctx)) })
}

// serve starts what runs until its part is closed.
func (l *lifecycle) serve(name string, serve func() error) {
	l.servers.Go(func() { l.ended(name, serve()) })
}

// ended notes why something ended that should still run.
func (l *lifecycle) ended(name string, err error) {
	if err == nil || l.ctx.Err() != nil {
		return
	}
	select {
	case l.fatal <- fmt.Errorf("%s: %w", name, err):
	default: // the first one counts
	}
}

// stopLoops ends the loops and waits for them.
func (l *lifecycle) stopLoops() error {
	l.cancel()
	l.loops.Wait()
	return nil
}

// close closes the parts, the last opened first. Only the first call does
// something; the others wait for it.
func (l *lifecycle) close() error {
	l.mu.Lock()
	closers, first := l.closers, l.closed == nil
	if first {
		l.closed = make(chan struct{})
	}
	l.closers = nil
	l.mu.Unlock()
	if !first {
		<-l.closed
		return l.err
	}
	defer close(l.closed)
	var errs []error
	for i := len(closers) - 1; i >= 0; i-- {
		if err := closers[i].close(); err != nil {
			errs = append(errs, fmt.Errorf("close %s: %w", closers[i].name, err))
		}
	}
	l.stopLoops()
	l.servers.Wait()
	l.err = errors.Join(errs...)
	return l.err
}
