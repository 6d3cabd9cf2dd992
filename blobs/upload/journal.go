package upload

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"time"

	"malla/blobs"
)

// The record of a resumable upload is a journal beside its part: a line for
// each step, with a checksum in front, fsynced before the step is told. A torn
// last line is a step that did not happen.
const journalSuffix = ".journal"

// An entry is one step; exactly one field but At is set.
type entry struct {
	At     time.Time   `json:"at"`
	Create *created    `json:"create,omitempty"` // first line of every journal
	Length *int64      `json:"length,omitempty"` // the size became known
	Chunk  *chunkDone  `json:"chunk,omitempty"`  // a chunk is safe
	Part   *partOnDisk `json:"part,omitempty"`   // so much of the next chunk is fsynced
	Done   *blobs.Blob `json:"done,omitempty"`   // all is safe
}

type created struct {
	Owner string            `json:"owner"`
	Size  int64             `json:"size"` // in bytes; -1 while it is not known
	Meta  map[string]string `json:"meta,omitempty"`
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
	for {
		end := bytes.IndexByte(data[whole:], '\n')
		if end < 0 {
			return entries, whole
		}
		e, err := decodeEntry(data[whole : whole+int64(end)])
		if err != nil {
			return entries, whole
		}
		entries = append(entries, e)
		whole += int64(end) + 1
	}
}

var errBadEntry = errors.New("not an entry of a journal")

func decodeEntry(line []byte) (entry, error) {
	sum, data, ok := bytes.Cut(line, []byte(" "))
	if !ok || string(sum) != fmt.Sprintf("%08x", crc32.Checksum(data, castagnoli)) {
		return entry{}, errBadEntry
	}
	var e entry
	if err := json.Unmarshal(data, &e); err != nil {
		return entry{}, errBadEntry
	}
	return e, nil
}

// appendEntry makes the step durable.
func appendEntry(path string, e entry) (err error) {
	data, err := e.encode()
	if err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return fmt.Errorf("journal: %w", blobs.OfDisk(err))
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	before, err := f.Stat()
	if err != nil {
		return err
	}
	if _, err := f.Write(data); err != nil {
		// Half a line would hide all that come after it.
		return errors.Join(fmt.Errorf("journal: %w", blobs.OfDisk(err)), f.Truncate(before.Size()))
	}
	if err := f.Sync(); err != nil {
		// The step is not told, so it must not be read later either; and the
		// next one writes these pages again, which the kernel calls clean now.
		return errors.Join(fmt.Errorf("journal: %w", blobs.OfDisk(err)), f.Truncate(before.Size()))
	}
	return nil
}

// createJournal writes the first line durably, its name too.
func createJournal(dir, path string, e entry) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("journal: %w", blobs.OfDisk(err))
	}
	if err := f.Close(); err != nil {
		return err
	}
	if err := appendEntry(path, e); err != nil {
		return errors.Join(err, os.Remove(path))
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
