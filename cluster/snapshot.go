package cluster

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/hashicorp/raft"
	"github.com/klauspost/compress/zstd"

	"malla/cluster/state"
)

// A picture is a snapshot on its way to the disk, a tenth of its size.
type picture struct {
	*state.Snapshot
	done func() // called when it is on the disk; nil: nobody waits for that
}

// Persist implements raft.FSMSnapshot. It takes half of a core and little memory,
// however large the state is.
func (p picture) Persist(sink raft.SnapshotSink) error {
	packed, err := zstd.NewWriter(sink, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(1<<20))
	if err == nil {
		err = errors.Join(p.Write(&paced{to: packed, since: time.Now()}), packed.Close())
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

// A paced writer rests as long as it and its caller worked: what is written
// while the node serves must not take the processors from those who wait.
type paced struct {
	to    io.Writer
	since time.Time // of the last rest
}

const paceEvery = 2 * time.Millisecond // shorter rests take longer than asked for

func (p *paced) Write(data []byte) (int, error) {
	n, err := p.to.Write(data)
	if worked := time.Since(p.since); worked >= paceEvery {
		time.Sleep(worked)
		p.since = time.Now()
	}
	return n, err
}

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

const deleteStep = 512 // entries, a few milliseconds

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
