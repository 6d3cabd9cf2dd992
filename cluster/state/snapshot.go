package state

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"slices"
)

// A Snapshot is the whole state at one index. Taking one costs nothing and
// stops nobody, whatever the size: the tables are immutable trees.
type Snapshot struct {
	view *View
}

// Snapshot returns the state as it is now, to be written at leisure.
func (s *State) Snapshot() *Snapshot { return &Snapshot{s.View()} }

// The format: a line with the header, a line a record, then an empty line and
// the CRC32C of everything before it in hex.
type snapshotHeader struct {
	Format string `json:"format"`
	Index  uint64 `json:"index"`
	Level  int    `json:"level"` // that the mesh had agreed on
}

type snapshotLine struct {
	Table  string          `json:"t"`
	Record json.RawMessage `json:"r"`
}

const snapshotFormat = "malla state 1"

// ErrSnapshot tells that a snapshot is damaged or of an unknown format. One of a
// level that this version does not know is [ErrTooOld].
var ErrSnapshot = errors.New("snapshot damaged")

// anyTable is a table whatever its type of records.
type anyTable interface {
	create(r *records)
	write(r *records, enc *json.Encoder) error
	read(r *records, index uint64, raw json.RawMessage) error
	title() string
}

// tables are all tables, in the order in which a snapshot lists them:
// level -> those that came in with it.
var tables = [][]anyTable{
	1: {agreements, nodes, users, media, trash, removals, jobs, tasks, rates, shares, requests},
}

func (tb table[T]) title() string { return tb.name }

func (tb table[T]) write(r *records, enc *json.Encoder) error {
	for rec := range tb.each(r, "id", "") {
		if err := enc.Encode(struct {
			Table  string `json:"t"`
			Record *T     `json:"r"`
		}{tb.name, rec}); err != nil {
			return err
		}
	}
	return nil
}

func (tb table[T]) read(r *records, index uint64, raw json.RawMessage) error {
	rec := new(T)
	if err := json.Unmarshal(raw, rec); err != nil {
		return err
	}
	if rec, ok := any(rec).(compact); ok {
		rec.intern()
	}
	tb.change(r, index, tb.get(r, "id", tb.keyIn("id", rec)), rec)
	return nil
}

// Write writes the snapshot to w.
func (s *Snapshot) Write(w io.Writer) error {
	buf := bufio.NewWriterSize(w, 1<<16)
	sum := crc32.New(castagnoli)
	enc := json.NewEncoder(io.MultiWriter(buf, sum))
	level := s.view.Level()
	if err := enc.Encode(snapshotHeader{snapshotFormat, s.view.index, level}); err != nil {
		return fmt.Errorf("write snapshot: %w", err)
	}
	for _, tb := range slices.Concat(tables[:min(level+1, len(tables))]...) { // the others are empty
		if err := tb.write(s.view.records, enc); err != nil {
			return fmt.Errorf("write snapshot: table %s: %w", tb.title(), err)
		}
	}
	fmt.Fprintf(buf, "\n%08x\n", sum.Sum32())
	return buf.Flush()
}

// Restore replaces the state by the snapshot in from. Where it fails the state is
// what it was; a damaged snapshot is [ErrSnapshot], one of a later level
// [ErrTooOld].
func (s *State) Restore(from io.Reader) error {
	in := bufio.NewReaderSize(from, 1<<16)
	sum := crc32.New(castagnoli)
	var header snapshotHeader
	line, err := in.ReadBytes('\n')
	if err != nil || json.Unmarshal(line, &header) != nil || header.Format != snapshotFormat {
		return fmt.Errorf("%w: no header of a known format", ErrSnapshot)
	}
	sum.Write(line)
	r := newRecords().next()
	byName := map[string]anyTable{}
	for _, tb := range slices.Concat(tables...) {
		byName[tb.title()] = tb
	}
	for {
		line, err = in.ReadBytes('\n')
		if err != nil {
			return fmt.Errorf("%w: cut off", ErrSnapshot)
		}
		if len(line) == 1 {
			break
		}
		sum.Write(line)
		var rec snapshotLine
		if err := json.Unmarshal(line, &rec); err != nil {
			return fmt.Errorf("%w: %v", ErrSnapshot, err)
		}
		tb := byName[rec.Table]
		if tb == nil && header.Level > Level {
			continue // the checksum decides whether that is so
		}
		if tb == nil {
			return fmt.Errorf("%w: unknown table %q", ErrSnapshot, rec.Table)
		}
		if err := tb.read(r, header.Index, rec.Record); err != nil {
			return fmt.Errorf("%w: table %s: %v", ErrSnapshot, rec.Table, err)
		}
	}
	line, _ = in.ReadBytes('\n')
	if want := fmt.Sprintf("%08x\n", sum.Sum32()); string(line) != want {
		return fmt.Errorf("%w: checksum", ErrSnapshot)
	}
	if header.Level > Level {
		return fmt.Errorf("snapshot of level %d, and this node knows level %d: %w", header.Level, Level, ErrTooOld)
	}
	s.publish(r, header.Index)
	return nil
}
