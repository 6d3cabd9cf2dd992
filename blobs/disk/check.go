package disk

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"malla/blobs"
)

// A CheckConfig says what Check looks at.
type CheckConfig struct {
	Dir    string // of a [Store] that nobody has open
	Repair bool   // moves damaged chunks to quarantine and removes what is half-made; nothing else is changed
	// Progress is called now and then with what is done of all; nil is nobody.
	// Calls do not overlap.
	Progress func(done, of int64, bytes int64)
}

// A Checked is what Check found. Files are named relative to the folder.
type Checked struct {
	Chunks    int64 // that are whole
	Bytes     int64 // of those
	Manifests int64 // of those
	Complete  int64 // blobs all of whose chunks are in this folder; where there are several nodes, few are
	Findings  []blobs.Finding
}

// Check reads and hashes every chunk of a store that nobody has open, and lists
// what is damaged or does not belong there. Its error tells that it could not
// look at everything.
func Check(ctx context.Context, cfg CheckConfig) (*Checked, error) {
	if _, err := os.Stat(cfg.Dir); err != nil {
		return nil, fmt.Errorf("check chunks: %w", err)
	}
	c := &checker{cfg: cfg, have: map[blobs.Ref]bool{}, manifests: map[blobs.Ref][]blobs.Ref{}}
	files, err := c.list()
	if err != nil {
		return nil, fmt.Errorf("check chunks: %w", err)
	}
	// Two at a time: one is read while the other is hashed.
	todo := make(chan blobs.Ref)
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			buf := make([]byte, blobs.ChunkSize+1)
			for ref := range todo {
				c.chunk(ref, buf, int64(len(files)))
			}
		})
	}
	for _, ref := range files {
		if ctx.Err() != nil {
			break
		}
		todo <- ref
	}
	close(todo)
	wg.Wait()
	if err := errors.Join(ctx.Err(), c.err); err != nil {
		return nil, fmt.Errorf("check chunks: %w", err)
	}
	for _, chunks := range c.manifests {
		if c.allHere(chunks) {
			c.found.Complete++
		}
	}
	c.found.Manifests = int64(len(c.manifests))
	return &c.found, nil
}

type checker struct {
	cfg CheckConfig

	mu        sync.Mutex // guards the fields below
	found     Checked
	done      int64
	have      map[blobs.Ref]bool        // chunks that are whole
	manifests map[blobs.Ref][]blobs.Ref // manifest -> its chunks
	err       error                     // why something could not be looked at
}

func (c *checker) note(f blobs.Finding) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.found.Findings = append(c.found.Findings, f)
}

func (c *checker) path(file string) string { return filepath.Join(c.cfg.Dir, file) }

// list names the chunks and notes all other files.
func (c *checker) list() (refs []blobs.Ref, err error) {
	err = filepath.WalkDir(c.cfg.Dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		file, err := filepath.Rel(c.cfg.Dir, path)
		if err != nil {
			return err
		}
		dir, name := filepath.Split(file)
		switch dir = filepath.Clean(dir); {
		case dir == "staging" || file == ScrubFile+".new":
			c.halfMade(file)
		case dir == "quarantine":
			c.note(blobs.Finding{Kind: blobs.FoundKept, File: file, Text: "found damaged earlier"})
		case filepath.Dir(dir) == "chunks":
			ref, err := blobs.ParseRef(filepath.Base(dir) + name)
			if err != nil || !d.Type().IsRegular() {
				c.note(blobs.Finding{Kind: blobs.FoundStray, File: file, Text: "is no chunk"})
				return nil
			}
			refs = append(refs, ref)
		case file != ScrubFile:
			c.note(blobs.Finding{Kind: blobs.FoundStray, File: file, Text: "does not belong here"})
		}
		return nil
	})
	return refs, err
}

// ScrubFile is where in a store's folder a node writes down how far scrubbing is.
const ScrubFile = "scrub.json"

func (c *checker) halfMade(file string) {
	f := blobs.Finding{Kind: blobs.FoundHalfMade, File: file, Text: "was being written when the node ended"}
	if c.cfg.Repair {
		f.Fix("removed", os.Remove(c.path(file)))
	}
	c.note(f)
}

// chunk checks one chunk; buf has room for more than any.
func (c *checker) chunk(ref blobs.Ref, buf []byte, of int64) {
	s := Store{dir: c.cfg.Dir}
	n, err := readFresh(s.path(ref), buf)
	data := buf[:n]
	var problem string
	switch {
	case errors.Is(err, fs.ErrPermission):
		c.mu.Lock()
		c.err = errors.Join(c.err, err)
		c.mu.Unlock()
		return
	case err != nil:
		problem = "cannot be read: " + err.Error()
	case n > blobs.ChunkSize:
		problem = "is longer than any chunk"
	case blobs.Ref(sha256.Sum256(data)) != ref:
		problem = fmt.Sprintf("its %d bytes do not match its name", n)
	}
	if problem != "" {
		c.damaged(ref, problem)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.done++
	if problem == "" {
		c.sound(ref, data)
	}
	if c.cfg.Progress != nil {
		c.cfg.Progress(c.done, of, c.found.Bytes)
	}
}

// readFresh reads the file from the disk, not from the page cache.
func readFresh(path string, buf []byte) (int, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	forget(f)
	defer forget(f)
	n, err := io.ReadFull(f, buf)
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		err = nil
	}
	return n, err
}

func (c *checker) damaged(ref blobs.Ref, problem string) {
	s := Store{dir: c.cfg.Dir}
	file, _ := filepath.Rel(c.cfg.Dir, s.path(ref)) // both are made from the folder
	f := blobs.Finding{Kind: blobs.FoundDamaged, File: file, Text: problem}
	if c.cfg.Repair {
		to := c.path("quarantine")
		err := os.MkdirAll(to, 0o700)
		if err == nil {
			err = os.Rename(s.path(ref), filepath.Join(to, fmt.Sprintf("%s.%d", ref, time.Now().UnixNano())))
		}
		f.Fix("moved to quarantine", err)
	}
	c.note(f)
}

// sound counts a chunk that is whole; c.mu is held. What begins as a manifest
// and is none may be a file of a user's that begins so: it is mentioned.
func (c *checker) sound(ref blobs.Ref, data []byte) {
	c.have[ref] = true
	c.found.Chunks++
	c.found.Bytes += int64(len(data))
	if !blobs.BeginsAsManifest(data) {
		return
	}
	m, err := blobs.DecodeManifest(data)
	if err != nil {
		c.found.Findings = append(c.found.Findings, blobs.Finding{
			Kind: blobs.FoundOdd, File: ref.String(), Text: "begins as a manifest and is none: " + err.Error(),
		})
		return
	}
	c.manifests[ref] = m.Chunks
}

func (c *checker) allHere(chunks []blobs.Ref) bool {
	for _, ref := range chunks {
		if !c.have[ref] {
			return false
		}
	}
	return true
}
