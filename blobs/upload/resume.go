package upload

import (
	"crypto/sha256"
	"encoding"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"malla/blobs"
)

func (s *Store) loadUpload(id string) (*upload, error) {
	st, whole, size, err := s.readState(s.journal(id))
	if err != nil {
		return nil, err
	}
	if whole < size {
		if err := os.Truncate(s.journal(id), whole); err != nil {
			return nil, err
		}
	}
	u := newUpload(id)
	u.state = st // not mine: somebody else may have gone on meanwhile, and Find asks
	return u, nil
}

// resume returns a cutter that stands where the journal and the part's file
// agree, and makes the state say so.
func (s *Store) resume(u *upload) (*cutter, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	st := &u.state
	c := newCutter(s.cfg.Dest, u.id, func(chunk int) string { return s.part(u.id, chunk) }, func(sc spreadChunk) error {
		return s.step(u, entry{Chunk: &chunkDone{Ref: sc.ref, Len: sc.len, Whole: sc.whole}})
	})
	if err := restoreHash(c.whole, st.whole); err != nil {
		return nil, fmt.Errorf("resume upload: %w", err)
	}
	c.chunks = slices.Clone(st.chunks)
	c.size = st.size
	// Nothing is known of a part that a failed step left behind.
	os.Remove(s.part(u.id, len(st.chunks)+1))
	path := s.part(u.id, len(st.chunks))
	if st.part.Chunk != len(st.chunks) || c.readPart(path, st.part) != nil && c.readKept(path, st.part) != nil {
		st.part = partOnDisk{}
		c.chunk.Reset()
		if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, err
		}
	}
	c.told = c.partLen > 0
	kept, _ := filepath.Glob(filepath.Join(s.cfg.Dir, u.id+".*.kept.part"))
	for _, k := range kept {
		os.Remove(k) // of no use any more; what stays goes with the record
	}
	return c, nil
}

func restoreHash(h any, state []byte) error {
	if state == nil {
		return nil
	}
	return h.(encoding.BinaryUnmarshaler).UnmarshalBinary(state)
}

// readKept is readPart for a part that was taken away to be spread, which failed.
// It is copied: its file may be a chunk by now.
func (c *cutter) readKept(path string, want partOnDisk) error {
	src, err := os.Open(keptName(path))
	if err != nil {
		return err
	}
	defer src.Close()
	os.Remove(path) // may be that file too
	dst, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.CopyN(dst, src, want.Len)
	if err := errors.Join(err, dst.Sync(), dst.Close()); err != nil {
		return err
	}
	return c.readPart(path, want)
}

var errOtherPart = errors.New("the part on the disk is not the one in the journal")

// readPart hashes what is on the disk of the part that was filled last, cuts
// off what was written later but not fsynced, and checks the rest.
func (c *cutter) readPart(path string, want partOnDisk) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Truncate(want.Len); err != nil {
		return err
	}
	data, err := io.ReadAll(io.LimitReader(f, want.Len))
	if err != nil {
		return err
	}
	if blobs.Ref(sha256.Sum256(data)) != want.Sum {
		return errOtherPart
	}
	c.chunk.Write(data)
	c.whole.Write(data)
	c.partLen = want.Len
	c.size += want.Len
	return nil
}
