package cluster

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/hashicorp/raft"
	"github.com/klauspost/compress/zstd"

	"malla/cluster/state"
)

// A picture is a snapshot on its way to the disk, a tenth of its size.
type picture struct {
	*state.Snapshot
	done func() // called when it is on the disk; nil: nobody waits for that
}

// Persist implements raft.FSMSnapshot. It takes one core and little memory,
// however large the state is.
func (p picture) Persist(sink raft.SnapshotSink) error {
	packed, err := zstd.NewWriter(sink, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(1<<20))
	if err == nil {
		err = errors.Join(p.Write(packed), packed.Close())
	}
	if err != nil {
		return errors.Join(err, sink.Cancel())
	}
	if err := sink.Close(); err != nil {
		return err
	}
	if p.done != nil {
		p.done()
	}
	return nil
}

// Release implements raft.FSMSnapshot.
func (p picture) Release() {}

// zstdMagic is how a compressed snapshot begins (RFC 8878, section 3.1.1).
var zstdMagic = []byte{0x28, 0xb5, 0x2f, 0xfd}

// restore reads what Persist wrote into st, or a snapshot that was not
// compressed, as they were at first.
func restore(st *state.State, from io.Reader) error {
	in := bufio.NewReaderSize(from, 1<<16)
	if head, _ := in.Peek(len(zstdMagic)); !bytes.Equal(head, zstdMagic) {
		return st.Restore(in)
	}
	plain, err := zstd.NewReader(in)
	if err != nil {
		return fmt.Errorf("unpack the snapshot: %w", err)
	}
	defer plain.Close()
	return st.Restore(plain)
}

// recordsPerEntry: so many records in the state let the log grow by one entry
// more before the next snapshot, since writing a large state costs more than
// applying a longer log at the next start.
const recordsPerEntry = 16

// spaceSnapshots makes the next snapshot due according to the size of the state.
func (a *agreement) spaceSnapshots(limits Limits) error {
	r := a.raft()
	if r == nil {
		return nil
	}
	conf := r.ReloadableConfig()
	conf.SnapshotThreshold = max(limits.Snapshot, uint64(a.machine.state.View().Len()/recordsPerEntry))
	return r.ReloadConfig(conf)
}

// A steppedLog deletes the beginning of the log in steps: bolt lets nobody write
// while it deletes.
type steppedLog struct {
	raft.LogStore
}

const deleteStep = 2048 // entries, some ten milliseconds

// DeleteRange implements raft.LogStore. The end of the log goes at once, or a
// crash would leave a gap.
func (s steppedLog) DeleteRange(first, last uint64) error {
	newest, err := s.LastIndex()
	if err != nil {
		return err
	}
	for ; last < newest && last-first >= deleteStep; first += deleteStep {
		if err := s.LogStore.DeleteRange(first, first+deleteStep-1); err != nil {
			return err
		}
	}
	return s.LogStore.DeleteRange(first, last)
}
