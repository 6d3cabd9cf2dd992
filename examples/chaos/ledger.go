package main

import (
	"math/rand/v2"
	"regexp"
	"sync"
	"sync/atomic"
	"time"
)

// A ledger is what the mesh has acknowledged, and so must never lose. Its
// methods may be called by many at once.
type ledger struct {
	mu        sync.Mutex // guards the fields below
	files     []file
	jobs      []job
	lastWrite time.Time
	longest   time.Duration // between two acknowledged writes
	lies      []string      // answers that were wrong at once
	refused   map[refusal]int

	reads, kills atomic.Int64
}

// refusal is what was not acknowledged, and why. That may happen while nodes
// die; who asked knows that it did not work.
type refusal struct {
	what   string // upload, conversion, read
	reason string
}

// file is an acknowledged upload.
type file struct {
	id, name, sha256 string
	size             int64
	seconds          float64
	film             bool
}

// job is an acknowledged request for a conversion.
type job struct {
	id     string
	input  file
	format string
}

// wrote notes that the mesh acknowledged a write. l.mu is held.
func (l *ledger) wrote() {
	now := time.Now()
	if !l.lastWrite.IsZero() {
		l.longest = max(l.longest, now.Sub(l.lastWrite))
	}
	l.lastWrite = now
}

func (l *ledger) addFile(f file) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.files = append(l.files, f)
	l.wrote()
}

func (l *ledger) addJob(j job) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.jobs = append(l.jobs, j)
	l.wrote()
}

// refuse notes what was not acknowledged.
func (l *ledger) refuse(what string, err error) {
	reason := addresses.ReplaceAllString(err.Error(), "NODE")
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.refused == nil {
		l.refused = map[refusal]int{}
	}
	l.refused[refusal{what, names.ReplaceAllString(reason, "ID")}]++
}

// What differs in the texts of errors that are the same otherwise.
var (
	addresses = regexp.MustCompile(`(http://)?127\.0\.0\.1:\d+`)
	names     = regexp.MustCompile(`[A-Z2-7]{26}|[0-9a-f]{16,}`)
)

// refusals counts those of one kind; l.mu is held.
func (l *ledger) refusals(what string) int {
	n := 0
	for r, times := range l.refused {
		if r.what == what {
			n += times
		}
	}
	return n
}

// lie notes an answer that no failure excuses: other bytes than acknowledged.
func (l *ledger) lie(what string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lies = append(l.lies, what)
}

// anyFile is a random file of the ledger, if there is one.
func (l *ledger) anyFile(r *rand.Rand) (file, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.files) == 0 {
		return file{}, false
	}
	return l.files[r.IntN(len(l.files))], true
}

// content returns copies of the lists.
func (l *ledger) content() ([]file, []job, []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]file(nil), l.files...), append([]job(nil), l.jobs...), append([]string(nil), l.lies...)
}
