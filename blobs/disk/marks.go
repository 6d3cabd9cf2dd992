package disk

import (
	"sync"
	"time"

	"malla/blobs"
)

// markedFor is how long, at least, an upload can discard what it created.
const markedFor = time.Hour

// marks remembers which upload created a chunk, until anybody else wants that
// chunk too: a refused upload can then remove what is certainly its own. Two
// generations bound the memory without a clock of its own.
type marks struct {
	mu       sync.Mutex           // guards the fields below
	now, old map[blobs.Ref]string // chunk -> the upload that created it
	turned   time.Time            // when old was now
}

func newMarks() *marks {
	return &marks{now: map[blobs.Ref]string{}, turned: time.Now()}
}

func (m *marks) create(ref blobs.Ref, upload string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if time.Since(m.turned) > markedFor {
		m.now, m.old, m.turned = map[blobs.Ref]string{}, m.now, time.Now()
	}
	delete(m.old, ref)
	delete(m.now, ref)
	if upload != "" {
		m.now[ref] = upload
	}
}

func (m *marks) created(ref blobs.Ref, upload string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return upload != "" && (m.now[ref] == upload || m.old[ref] == upload)
}

// touch clears the mark unless it is the upload's own.
func (m *marks) touch(ref blobs.Ref, upload string) {
	if !m.created(ref, upload) {
		m.clear(ref)
	}
}

func (m *marks) clear(ref blobs.Ref) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.now, ref)
	delete(m.old, ref)
}
