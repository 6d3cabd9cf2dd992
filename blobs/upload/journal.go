package upload

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"time"

	"malla/blobs"
)

// The record of a resumable upload is a journal beside its part: a line for
// each step, with a checksum in front, fsynced before the step is told. A torn
// last line is a step that did not happen. The nodes that keep the record for
// another one have the same lines but those that are about one disk only.
const (
	journalSuffix = ".journal"
	newSuffix     = ".new"    // of a journal that is being replaced
	maxLine       = 256 << 10 // bytes; the longest holds the metadata, which come in one header
)

// An entry is one step; exactly one field but At is set.
type entry struct {
	At      time.Time   `json:"at"`
	Create  *created    `json:"create,omitempty"`  // first line of every journal
	Take    *taken      `json:"take,omitempty"`    // a node goes on with it from here
	Length  *int64      `json:"length,omitempty"`  // the size became known
	Chunk   *chunkDone  `json:"chunk,omitempty"`   // a chunk is safe
	Done    *blobs.Blob `json:"done,omitempty"`    // all is safe
	Named   *Named      `json:"named,omitempty"`   // and in the library
	Part    *partOnDisk `json:"part,omitempty"`    // of this disk: so much of the next chunk is fsynced
	Promise *token      `json:"promise,omitempty"` // of this disk: steps of smaller tokens are refused from here on
}

// local tells whether the entry is about this node's disk only.
func (e entry) local() bool { return e.Part != nil || e.Promise != nil }

type created struct {
	Owner  string            `json:"owner"`
	Size   int64             `json:"size"` // in bytes; -1 while it is not known
	Meta   map[string]string `json:"meta,omitempty"`
	Concat Concat            `json:"concat,omitempty"`
	Parts  []string          `json:"parts,omitempty"` // uploads that a final one is made of
	Take   taken             `json:"take"`            // by whom it was created
}

// A Concat says what an upload is for in a concatenation of tus.
type Concat string

// What an upload can be for.
const (
	Whole   Concat = ""        // a file
	Partial Concat = "partial" // a piece of a file: it is never imported itself
	Final   Concat = "final"   // made of pieces
)

// Named says what a finished upload became in its owner's library.
type Named struct {
	Media string `json:"media"` // its id
	Name  string `json:"name"`
}

type chunkDone struct {
	Ref   blobs.Ref `json:"ref"`
	Len   int64     `json:"len"`
	Whole []byte    `json:"whole"` // state of the hash of everything up to its end
}

type partOnDisk struct {
	Chunk int       `json:"chunk"` // which one it will be
	Len   int64     `json:"len"`
	Sum   blobs.Ref `json:"sum"` // hash of those bytes
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func (e entry) encode() ([]byte, error) {
	data, err := json.Marshal(e)
	if err != nil {
		return nil, err
	}
	return fmt.Appendf(nil, "%08x %s\n", crc32.Checksum(data, castagnoli), data), nil
}

// decodeJournal returns the entries before the first line that is not whole,
// and how many bytes they take.
func decodeJournal(data []byte) (entries []entry, whole int64) {
	whole, _ = readJournal(bytes.NewReader(data), func(_ []byte, e entry) error {
		entries = append(entries, e)
		return nil
	})
	return entries, whole
}

// readJournal calls each with every line, which is its own only until it
// returns, up to the first that is not whole. It returns how many bytes they
// take, and the error of reading or of each.
func readJournal(r io.Reader, each func(line []byte, e entry) error) (whole int64, err error) {
	src := bufio.NewReaderSize(r, maxLine)
	for {
		line, err := src.ReadSlice('\n')
		switch {
		case err == io.EOF || errors.Is(err, bufio.ErrBufferFull):
			return whole, nil
		case err != nil:
			return whole, err
		}
		e, err := decodeEntry(line[:len(line)-1])
		if err != nil {
			return whole, nil
		}
		if err := each(line, e); err != nil {
			return whole, err
		}
		whole += int64(len(line))
	}
}

var errBadEntry = errors.New("not an entry of a journal")

func decodeEntry(line []byte) (entry, error) {
	sum, data, ok := bytes.Cut(line, []byte(" "))
	if !ok || string(sum) != fmt.Sprintf("%08x", crc32.Checksum(data, castagnoli)) {
		return entry{}, errBadEntry
	}
	var e entry
	if err := json.Unmarshal(data, &e); err != nil || !e.possible() {
		return entry{}, errBadEntry
	}
	return e, nil
}

// possible tells whether some node could have written the entry: what others
// send is believed no further.
func (e entry) possible() bool {
	switch {
	case e.Chunk != nil:
		return e.Chunk.Len > 0 && e.Chunk.Len <= blobs.ChunkSize && len(e.Chunk.Whole) < 1<<10
	case e.Part != nil:
		return e.Part.Chunk >= 0 && e.Part.Len >= 0 && e.Part.Len <= blobs.ChunkSize
	case e.Length != nil:
		return *e.Length >= 0 && *e.Length <= blobs.MaxBlobSize
	case e.Create != nil:
		return e.Create.Size >= -1 && e.Create.Size <= blobs.MaxBlobSize
	case e.Done != nil:
		return e.Done.Size >= 0 && e.Done.Size <= blobs.MaxBlobSize
	}
	return true
}

// appendLines makes the steps durable and returns where in the file they begin.
func appendLines(path string, lines []byte) (at int64, err error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return 0, fmt.Errorf("journal: %w", blobs.OfDisk(err))
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	before, err := f.Stat()
	if err != nil {
		return 0, err
	}
	if _, err := f.Write(lines); err != nil {
		// Half a line would hide all that come after it.
		return 0, errors.Join(fmt.Errorf("journal: %w", blobs.OfDisk(err)), f.Truncate(before.Size()))
	}
	if err := f.Sync(); err != nil {
		// The step is not told, so it must not be read later either; and the
		// next one writes these pages again, which the kernel calls clean now.
		return 0, errors.Join(fmt.Errorf("journal: %w", blobs.OfDisk(err)), f.Truncate(before.Size()))
	}
	return before.Size(), nil
}

// writeJournal makes the lines of write the journal at path, durably and all at
// once, its name too.
func writeJournal(path string, write func(w io.Writer) error) error {
	f, err := os.Create(path + newSuffix)
	if err != nil {
		return fmt.Errorf("journal: %w", blobs.OfDisk(err))
	}
	w := bufio.NewWriter(f)
	err = errors.Join(write(w), w.Flush(), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(path+newSuffix, path)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("journal: %w", blobs.OfDisk(err)), os.Remove(path+newSuffix))
	}
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// A lineReader reads lines of a journal as another node gets them: without the
// local ones, without the first skip, and left of them.
type lineReader struct {
	src        *bufio.Reader
	skip, left int
	rest       []byte // of the line that is being read
}

func (r *lineReader) Read(p []byte) (int, error) {
	for len(r.rest) == 0 {
		if r.left == 0 {
			return 0, io.EOF
		}
		line, err := r.src.ReadSlice('\n')
		if err != nil {
			return 0, io.ErrUnexpectedEOF // the lines were there when they were counted
		}
		e, err := decodeEntry(line[:len(line)-1])
		switch {
		case err != nil:
			return 0, err
		case e.local():
		case r.skip > 0:
			r.skip--
		default:
			r.rest = line
			r.left--
		}
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}
