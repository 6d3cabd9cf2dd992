package state

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"runtime"
	"slices"
	"sync"
)

// Restore replaces the state by the snapshot in from. Where it fails the state is
// what it was; a damaged snapshot is [ErrSnapshot], one of a later level
// [ErrTooOld].
func (s *State) Restore(from io.Reader) error {
	in := bufio.NewReaderSize(from, 1<<16)
	var header snapshotHeader
	line, err := in.ReadBytes('\n')
	if err != nil || json.Unmarshal(line, &header) != nil || header.Format != snapshotFormat {
		return fmt.Errorf("%w: no header of a known format", ErrSnapshot)
	}
	l := &loader{in: in, sum: crc32.Update(0, castagnoli, line), work: make(chan *batch), ordered: make(chan *batch, 4*runtime.NumCPU()), quit: make(chan struct{})}
	r := newRecords().next()
	err = l.load(r, header)
	switch {
	case errors.Is(err, errUnknownTable) && header.Level > Level, err == nil && header.Level > Level:
		return fmt.Errorf("snapshot of level %d, and this node knows level %d: %w", header.Level, Level, ErrTooOld)
	case err != nil:
		return fmt.Errorf("%w: %w", ErrSnapshot, err)
	}
	s.publish(r, header.Index)
	return nil
}

var errUnknownTable = errors.New("unknown table")

// A loader decodes the records of a snapshot on all cores, and puts them into
// their tables on one.
type loader struct {
	in      *bufio.Reader
	sum     uint32
	work    chan *batch   // to be decoded by anybody
	ordered chan *batch   // the same, in the order of the snapshot
	quit    chan struct{} // closed when nobody wants more
	err     error         // of read, once ordered is closed
}

// A batch is some lines of a snapshot.
type batch struct {
	lines  [][]byte
	tables []anyTable
	recs   []any
	err    error
	done   chan struct{} // closed when recs or err are there
}

const batchSize = 256 // lines

func (l *loader) load(r *records, header snapshotHeader) error {
	var loops sync.WaitGroup
	defer loops.Wait()
	defer close(l.quit)
	loops.Go(l.read)
	for range runtime.NumCPU() {
		loops.Go(func() {
			for b := range l.work {
				b.err = b.decode()
				close(b.done)
			}
		})
	}
	for b := range l.ordered {
		<-b.done
		if b.err != nil {
			return b.err
		}
		for i, tb := range b.tables {
			tb.insert(r, header.Index, b.recs[i])
		}
	}
	return l.err
}

// read cuts the snapshot into batches, and compares its checksum.
func (l *loader) read() {
	defer close(l.ordered)
	defer close(l.work)
	for {
		b := &batch{done: make(chan struct{})}
		end := false
		for len(b.lines) < batchSize && !end {
			line, err := l.in.ReadBytes('\n')
			if err != nil {
				l.err = errors.New("cut off")
				return
			}
			if end = len(line) == 1; !end {
				l.sum = crc32.Update(l.sum, castagnoli, line)
				b.lines = append(b.lines, line)
			}
		}
		select {
		case l.ordered <- b:
		case <-l.quit:
			return
		}
		select {
		case l.work <- b:
		case <-l.quit:
			return
		}
		if end {
			if line, _ := l.in.ReadBytes('\n'); string(line) != fmt.Sprintf("%08x\n", l.sum) {
				l.err = errors.New("checksum")
			}
			return
		}
	}
}

func (b *batch) decode() error {
	for _, line := range b.lines {
		line, is := bytes.CutPrefix(line, []byte(beforeTable))
		name, raw, has := bytes.Cut(line, []byte(beforeRecord))
		raw, ends := bytes.CutSuffix(raw, []byte(behindRecord))
		if !is || !has || !ends {
			return errors.New("not a record")
		}
		tb := tableNamed(string(name))
		if tb == nil {
			return fmt.Errorf("%w %q", errUnknownTable, name)
		}
		rec, err := tb.decode(raw)
		if err != nil {
			return fmt.Errorf("table %s: %w", name, err)
		}
		b.tables, b.recs = append(b.tables, tb), append(b.recs, rec)
	}
	return nil
}

func tableNamed(name string) anyTable {
	for _, some := range tables {
		if i := slices.IndexFunc(some, func(tb anyTable) bool { return tb.title() == name }); i >= 0 {
			return some[i]
		}
	}
	return nil
}

func (tb table[T]) decode(raw []byte) (any, error) {
	rec := new(T)
	if err := json.Unmarshal(raw, rec); err != nil {
		return nil, err
	}
	if rec, ok := any(rec).(compact); ok {
		rec.intern()
	}
	return rec, nil
}

func (tb table[T]) insert(r *records, index uint64, rec any) {
	tb.change(r, index, tb.get(r, "id", tb.keyIn("id", rec.(*T))), rec.(*T))
}
