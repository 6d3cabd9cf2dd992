package cluster

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/raft"
)

// A guard stands between raft and its files: none of raft's writes waits for
// ever, none fails while there is a ballast to throw off, and after one that
// did fail there is none any more. Raft itself would wait with its main loop
// stopped while its heartbeats go on, so that the mesh keeps a leader that can
// do nothing (raft issue #503), or would fail, step down and be elected again,
// for ever (#614).
type guard struct {
	slow     time.Duration // after that long a write counts as stalled
	patience time.Duration // after that long the disk is given up
	ballast  *ballast
	fail     func(error) // is told the first failure; must not wait

	mu     sync.Mutex // guards the fields below
	writes int        // under way, also those that nobody waits for any more
	since  time.Time  // when the disk last finished one, or the first of these began
	broken error
}

// write does one write, named by what.
func (g *guard) write(what string, do func() error) error {
	if err := g.began(); err != nil {
		return err
	}
	done := make(chan error, 1)
	go func() {
		defer g.ended()
		err := do()
		if noSpace(err) && g.ballast.release() {
			err = do() // a transaction of bbolt that failed for want of room left nothing behind
		}
		done <- err
	}()
	timer := time.NewTimer(g.patience)
	defer timer.Stop()
	select {
	case err := <-done:
		if err == nil {
			return nil
		}
		return g.failed(fmt.Errorf("%s: %w", what, err))
	case <-timer.C:
		return g.failed(fmt.Errorf("%s: the disk did not answer for %v", what, g.patience))
	}
}

func (g *guard) began() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.broken != nil {
		return g.broken
	}
	if g.writes == 0 {
		g.since = time.Now()
	}
	g.writes++
	return nil
}

func (g *guard) ended() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.writes--
	g.since = time.Now()
}

func (g *guard) failed(err error) error {
	g.mu.Lock()
	first := g.broken == nil
	if first {
		g.broken = err
	}
	err = g.broken
	g.mu.Unlock()
	if first {
		g.fail(err)
	}
	return err
}

// stalled tells whether the disk keeps a write waiting for too long, or has
// been given up.
func (g *guard) stalled() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.broken != nil || g.writes > 0 && time.Since(g.since) > g.slow
}

// idle tells whether nothing is being written, not even what was given up.
func (g *guard) idle() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.writes == 0
}

func noSpace(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// A guardedLog is a log whose writes are guarded.
type guardedLog struct {
	raft.LogStore
	guard *guard
}

// StoreLog implements raft.LogStore.
func (s guardedLog) StoreLog(log *raft.Log) error { return s.StoreLogs([]*raft.Log{log}) }

// StoreLogs implements raft.LogStore.
func (s guardedLog) StoreLogs(logs []*raft.Log) error {
	return s.guard.write("write the log", func() error { return s.LogStore.StoreLogs(logs) })
}

// DeleteRange implements raft.LogStore.
func (s guardedLog) DeleteRange(from, to uint64) error {
	return s.guard.write("shorten the log", func() error { return s.LogStore.DeleteRange(from, to) })
}

// A guardedStable is the store of term and vote, with its writes guarded.
type guardedStable struct {
	raft.StableStore
	guard *guard
}

// Set implements raft.StableStore.
func (s guardedStable) Set(key, val []byte) error {
	return s.guard.write("write the vote", func() error { return s.StableStore.Set(key, val) })
}

const termKey = "CurrentTerm"

// SetUint64 implements raft.StableStore. Where the term cannot be written raft
// panics, which would end the node's other work too. Instead its main loop ends
// here, as at its shutdown, which the guard has asked for by then.
func (s guardedStable) SetUint64(key []byte, val uint64) error {
	err := s.guard.write("write the term", func() error { return s.StableStore.SetUint64(key, val) })
	if err != nil && string(key) == termKey {
		runtime.Goexit()
	}
	return err
}
