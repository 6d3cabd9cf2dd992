package upload

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"malla/blobs"
)

// A Checked is what Check found. Files are named relative to the folder.
type Checked struct {
	Uploads  int64 // whose record can be read
	Bytes    int64 // of them that are on this disk and whole: of chunks that are not full yet
	Findings []blobs.Finding
}

// Check reads the records and parts of a folder of uploads that nobody has
// open. Repair removes what belongs to no upload, as a node does when it
// starts. Its error tells that it could not look at everything.
func Check(dir string, repair bool) (*Checked, error) {
	c := &checker{dir: dir, repair: repair, known: map[string]bool{}}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("check uploads: %w", err)
	}
	for _, e := range entries {
		id, isJournal := strings.CutSuffix(e.Name(), journalSuffix)
		if !isJournal {
			continue
		}
		if err := c.upload(id); err != nil {
			return nil, fmt.Errorf("check uploads: %w", err)
		}
	}
	for _, e := range entries {
		if !c.known[e.Name()] {
			c.halfMade(e.Name())
		}
	}
	return &c.found, nil
}

type checker struct {
	dir    string
	repair bool
	found  Checked
	known  map[string]bool // files that belong to an upload
}

func (c *checker) note(kind blobs.FindingKind, file, text string) {
	c.found.Findings = append(c.found.Findings, blobs.Finding{Kind: kind, File: file, Text: text})
}

// upload checks one upload. Its error is that files may not be read.
func (c *checker) upload(id string) error {
	journal := id + journalSuffix
	c.known[journal] = true
	data, err := os.ReadFile(filepath.Join(c.dir, journal))
	if errors.Is(err, os.ErrPermission) {
		return err
	}
	if err != nil {
		c.note(blobs.FoundDamaged, journal, "cannot be read: "+err.Error())
		return nil
	}
	entries, whole := decodeJournal(data)
	if len(entries) == 0 || entries[0].Create == nil {
		c.note(blobs.FoundDamaged, journal, "is not the record of an upload; the client has to begin anew")
		return nil
	}
	if rest := int64(len(data)) - whole; rest > 0 {
		c.note(blobs.FoundHalfMade, journal, fmt.Sprintf("its last %d bytes are a step that did not happen; a node cuts them off when it starts", rest))
	}
	c.found.Uploads++
	var st state
	for _, e := range entries {
		st.apply(e, 0, 0)
	}
	if st.finished || st.part.Len == 0 || st.part.Chunk != len(st.chunks) {
		return nil
	}
	file := fmt.Sprintf("%s.%d.part", id, st.part.Chunk)
	if _, err := os.Lstat(filepath.Join(c.dir, file)); errors.Is(err, os.ErrNotExist) {
		if _, err := os.Lstat(filepath.Join(c.dir, keptName(file))); err == nil {
			file = keptName(file) // it was being spread
		}
	}
	return c.part(file, st.part)
}

func (c *checker) part(file string, want partOnDisk) error {
	c.known[file] = true
	f, err := os.Open(filepath.Join(c.dir, file))
	if errors.Is(err, os.ErrPermission) {
		return err
	}
	if err == nil {
		defer f.Close()
		h := sha256.New()
		if _, err = io.CopyN(h, f, want.Len); err == nil && blobs.Ref(h.Sum(nil)) != want.Sum {
			err = errOtherPart
		}
	}
	if err != nil {
		c.note(blobs.FoundDamaged, file, "its upload goes back to the chunk before: "+err.Error())
		return nil
	}
	c.found.Bytes += want.Len
	return nil
}

func (c *checker) halfMade(file string) {
	f := blobs.Finding{Kind: blobs.FoundHalfMade, File: file, Text: "belongs to no upload that can go on with it"}
	if c.repair {
		f.Fix("removed", os.Remove(filepath.Join(c.dir, file)))
	}
	c.found.Findings = append(c.found.Findings, f)
}
