package cluster

import (
	"encoding/binary"
	"hash/crc32"
	"sync"

	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
)

// A voteStore writes the term and the candidate of a vote as one record. Raft
// writes them one after the other, and a crash in between leaves the new term
// with the old candidate: that one would then be given a second vote without a
// look at its log (raft issue #661).
type voteStore struct {
	raft.StableStore

	mu   sync.Mutex // guards term
	term uint64     // of a vote whose candidate has not been written yet
}

const (
	voteTermKey = "LastVoteTerm"
	voteCandKey = "LastVoteCand"
)

var voteKey = []byte("malla/vote") // term 8, the candidate, CRC32C 4; older versions wrote no checksum

// SetUint64 implements raft.StableStore.
func (s *voteStore) SetUint64(key []byte, val uint64) error {
	if string(key) != voteTermKey {
		return s.StableStore.SetUint64(key, val)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.term = val // on disk together with the candidate, which comes next
	return nil
}

// Set implements raft.StableStore.
func (s *voteStore) Set(key, val []byte) error {
	if string(key) != voteCandKey {
		return s.StableStore.Set(key, val)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	record := append(binary.BigEndian.AppendUint64(nil, s.term), val...)
	return s.StableStore.Set(voteKey, binary.BigEndian.AppendUint32(record, crc32.Checksum(record, castagnoli)))
}

// GetUint64 implements raft.StableStore.
func (s *voteStore) GetUint64(key []byte) (uint64, error) {
	if string(key) != voteTermKey {
		return s.StableStore.GetUint64(key)
	}
	record, err := s.vote()
	if err != nil {
		return 0, err
	}
	return binary.BigEndian.Uint64(record), nil
}

// Get implements raft.StableStore.
func (s *voteStore) Get(key []byte) ([]byte, error) {
	if string(key) != voteCandKey {
		return s.StableStore.Get(key)
	}
	record, err := s.vote()
	if err != nil {
		return nil, err
	}
	return record[8:], nil
}

func (s *voteStore) vote() ([]byte, error) {
	record, err := s.StableStore.Get(voteKey)
	if err == nil && len(record) < 8 {
		err = raftboltdb.ErrKeyNotFound
	}
	if n := len(record) - 4; n >= 8 && binary.BigEndian.Uint32(record[n:]) == crc32.Checksum(record[:n], castagnoli) {
		record = record[:n]
	}
	return record, err
}
