package disk

import (
	"os"
	"sync"
	"time"

	"malla/blobs"
)

const (
	// verifiedFor is how long a chunk that was hashed is not hashed again,
	// so that many small ranges of a film do not each cost a whole chunk.
	verifiedFor = 5 * time.Minute
	maxVerified = 4096
)

// verified remembers which files were hashed a short while ago.
type verified struct {
	mu   sync.Mutex              // guards the field below
	seen map[blobs.Ref]seenChunk // chunk -> the file that was hashed, and when
}

type seenChunk struct {
	info os.FileInfo
	at   time.Time
}

func newVerified() *verified { return &verified{seen: map[blobs.Ref]seenChunk{}} }

// has tells whether this very file, unchanged, was found sound lately.
func (v *verified) has(ref blobs.Ref, info os.FileInfo) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	old, ok := v.seen[ref]
	return ok && time.Since(old.at) < verifiedFor && old.info.Size() == info.Size() &&
		old.info.ModTime().Equal(info.ModTime()) && os.SameFile(old.info, info)
}

func (v *verified) add(ref blobs.Ref, info os.FileInfo) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if _, known := v.seen[ref]; !known && len(v.seen) >= maxVerified {
		v.shrink()
	}
	v.seen[ref] = seenChunk{info, time.Now()}
}

// touched notes that only the time of the file changed: what was found of its
// bytes is as old as before.
func (v *verified) touched(ref blobs.Ref, info os.FileInfo) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if old, known := v.seen[ref]; known {
		v.seen[ref] = seenChunk{info, old.at}
	}
}

// shrink drops what is outdated, and where that is nothing some of the rest:
// to forget one costs a hash, no more.
func (v *verified) shrink() {
	for ref, old := range v.seen {
		if time.Since(old.at) >= verifiedFor {
			delete(v.seen, ref)
		}
	}
	for ref := range v.seen {
		if len(v.seen) < maxVerified/2 {
			return
		}
		delete(v.seen, ref)
	}
}

func (v *verified) forget(ref blobs.Ref) {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.seen, ref)
}
