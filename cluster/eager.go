package cluster

import (
	"math"
	"sync"

	"github.com/hashicorp/raft"
)

// maxUnwritten bounds the entries that a leader's disk lags behind.
const maxUnwritten = 512

// An eagerLog lets a leader send entries to its followers while its own disk
// still writes them, so that a write costs the time of one disk and not of two.
// Raft counts the leader's copy as soon as StoreLogs returns; so what followers
// confirm is held back by awaitWritten until the leader's disk is as far, and a
// commit, which takes at least one follower, still means a majority of disks
// (Ongaro, "Consensus: Bridging Theory and Practice", 10.2.1). What does not
// need a follower is written before StoreLogs returns, and so is everything on
// a follower, whose answer is its word.
type eagerLog struct {
	raft.LogStore
	// followed tells whether this node leads and needs a follower to commit.
	// It is asked by raft's main loop, in which that changes.
	followed func() bool

	mu        sync.Mutex // guards the fields below
	written   sync.Cond  // of mu: there is less to write, or broken
	unwritten []*raft.Log
	writing   bool
	broken    error
}

func newEagerLog(below raft.LogStore, followed func() bool) *eagerLog {
	s := &eagerLog{LogStore: below, followed: followed}
	s.written.L = &s.mu
	return s
}

// StoreLog implements raft.LogStore.
func (s *eagerLog) StoreLog(log *raft.Log) error { return s.StoreLogs([]*raft.Log{log}) }

// StoreLogs implements raft.LogStore.
func (s *eagerLog) StoreLogs(logs []*raft.Log) error {
	if !s.mayWait(logs) {
		if err := s.awaitWritten(math.MaxUint64); err != nil {
			return err
		}
		return s.LogStore.StoreLogs(logs)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.unwritten) > maxUnwritten && s.broken == nil {
		s.written.Wait()
	}
	if s.broken != nil {
		return s.broken
	}
	s.unwritten = append(s.unwritten, logs...)
	if !s.writing {
		s.writing = true
		go s.write() // awaited by awaitWritten
	}
	return nil
}

// mayWait tells whether the disk may write these later. A change of the
// configuration may leave this node the only voter, so it is never among them.
func (s *eagerLog) mayWait(logs []*raft.Log) bool {
	for _, l := range logs {
		if l.Type != raft.LogCommand {
			return false
		}
	}
	return s.followed()
}

// write puts on disk what is unwritten, until there is nothing more.
func (s *eagerLog) write() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.unwritten) > 0 && s.broken == nil {
		batch := s.unwritten[:len(s.unwritten):len(s.unwritten)]
		s.mu.Unlock()
		err := s.LogStore.StoreLogs(batch)
		s.mu.Lock()
		s.unwritten = s.unwritten[len(batch):]
		s.broken = err
		s.written.Broadcast()
	}
	s.writing = false
}

// awaitWritten returns when every entry up to that index is on disk, or with
// the error that keeps it from there.
func (s *eagerLog) awaitWritten(index uint64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.broken == nil && len(s.unwritten) > 0 && s.unwritten[0].Index <= index {
		s.written.Wait()
	}
	return s.broken
}

// GetLog implements raft.LogStore.
func (s *eagerLog) GetLog(index uint64, log *raft.Log) error {
	s.mu.Lock()
	if len(s.unwritten) > 0 && index >= s.unwritten[0].Index && index-s.unwritten[0].Index < uint64(len(s.unwritten)) {
		*log = *s.unwritten[index-s.unwritten[0].Index]
		s.mu.Unlock()
		return nil
	}
	s.mu.Unlock()
	return s.LogStore.GetLog(index, log)
}

// FirstIndex implements raft.LogStore.
func (s *eagerLog) FirstIndex() (uint64, error) {
	first, err := s.LogStore.FirstIndex()
	if err != nil || first > 0 {
		return first, err
	}
	if err := s.awaitWritten(math.MaxUint64); err != nil { // the first of all may be among them
		return 0, err
	}
	return s.LogStore.FirstIndex()
}

// LastIndex implements raft.LogStore.
func (s *eagerLog) LastIndex() (uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch n := len(s.unwritten); {
	case s.broken != nil:
		return 0, s.broken
	case n > 0:
		return s.unwritten[n-1].Index, nil
	}
	return s.LogStore.LastIndex()
}

// DeleteRange implements raft.LogStore.
func (s *eagerLog) DeleteRange(min, max uint64) error {
	if err := s.awaitWritten(max); err != nil {
		return err
	}
	return s.LogStore.DeleteRange(min, max)
}
