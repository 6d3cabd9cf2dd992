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
func (s *State) Snapshot() *Snapshot { return s.View().Snapshot() }

// Snapshot returns the state that the view shows.
func (v *View) Snapshot() *Snapshot { return &Snapshot{v} }

// The format: a line with the header, a line a record, then an empty line and
// the CRC32C of everything before it in hex.
type snapshotHeader struct {
	Format string `json:"format"`
	Index  uint64 `json:"index"`
	Level  int    `json:"level"` // that the mesh had agreed on
}

// snapshotLine is such a line, and what stands in it around table and record.
type snapshotLine[T any] struct {
	Table  string `json:"t"`
	Record *T     `json:"r"`
}

const beforeTable, beforeRecord, behindRecord = `{"t":"`, `","r":`, "}\n"

const snapshotFormat = "malla state 1"

// ErrSnapshot tells that a snapshot is damaged or of an unknown format. One of a
// level that this version does not know is [ErrTooOld].
var ErrSnapshot = errors.New("snapshot damaged")

// anyTable is a table whatever its type of records.
type anyTable interface {
	create(r *records)
	write(r *records, enc *json.Encoder) error
	decode(raw []byte) (any, error)
	insert(r *records, index uint64, rec any)
	title() string
	len(r *records) int
}

// tables are all tables, in the order in which a snapshot lists them:
// level -> those that came in with it.
var tables = [][]anyTable{
	1: {agreements, nodes, users, media, trash, removals, jobs, tasks, rates, shares, requests, rotations},
}

func (tb table[T]) title() string { return tb.name }

func (tb table[T]) len(r *records) int { return tb.rows(r).trees["id"].Len() }

func (tb table[T]) write(r *records, enc *json.Encoder) error {
	for rec := range tb.each(r, "id", "") {
		if err := enc.Encode(snapshotLine[T]{tb.name, rec}); err != nil {
			return err
		}
	}
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
