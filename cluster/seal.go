package cluster

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"github.com/hashicorp/raft"

	"malla/cluster/state"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// A sealedLog writes each entry with a checksum over all that matters of it,
// and reads none that does not have its own: bolt has none, and a page that
// rotted is read back as other entries. An entry of a version that wrote no
// checksum is taken as it is.
type sealedLog struct {
	raft.LogStore
	fail func(error)
}

// seal is the CRC32C of index, term, type and data.
func seal(l *raft.Log) []byte {
	head := binary.BigEndian.AppendUint64(nil, l.Index)
	head = binary.BigEndian.AppendUint64(head, l.Term)
	head = append(head, byte(l.Type))
	return binary.BigEndian.AppendUint32(nil, crc32.Update(crc32.Checksum(head, castagnoli), castagnoli, l.Data))
}

// checkSeal tells whether the entry read from index is the one that was written.
func checkSeal(index uint64, l *raft.Log) error {
	if l.Index != index || len(l.Extensions) > 0 && !bytes.Equal(l.Extensions, seal(l)) {
		return fmt.Errorf("entry %d: %w: checksum", index, state.ErrDamaged)
	}
	return nil
}

// StoreLog implements raft.LogStore.
func (s *sealedLog) StoreLog(l *raft.Log) error { return s.StoreLogs([]*raft.Log{l}) }

// StoreLogs implements raft.LogStore.
func (s *sealedLog) StoreLogs(logs []*raft.Log) error {
	sealed := make([]*raft.Log, len(logs))
	for i, l := range logs {
		with := *l // raft reads its own at the same time
		with.Extensions = seal(l)
		sealed[i] = &with
	}
	return s.LogStore.StoreLogs(sealed)
}

// GetLog implements raft.LogStore. What is damaged must not get to the other
// nodes: the node says so and ends.
func (s *sealedLog) GetLog(index uint64, l *raft.Log) error {
	if err := s.LogStore.GetLog(index, l); err != nil {
		return err
	}
	err := checkSeal(index, l)
	if err != nil {
		s.fail(fmt.Errorf("read the log: %w", err))
	}
	return err
}
