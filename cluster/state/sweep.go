package state

import (
	"cmp"
	"time"
)

// KeepEnded is how long a job that has ended is listed, unless a Sweep says
// otherwise.
const KeepEnded = 30 * 24 * time.Hour

// MaxKeepEnded is the longest time for which jobs that ended can be kept.
const MaxKeepEnded = 10 * 365 * 24 * time.Hour

// KeepParts is how long what a failed job has made is kept for a retry.
const KeepParts = 24 * time.Hour

// keepRequests is how many requests later the answer to one is forgotten at the
// latest, and keepJoined since entries may have many commands: then there are
// more of them a second.
const (
	keepRequests = 20_000
	keepJoined   = 60_000
)

// request is the answer that was given to a proposal, kept so that a second try
// of the same one changes nothing.
type request struct {
	ID     string `json:"id"`
	Index  uint64 `json:"index"`           // that of the entry, or one more than the last where that is more
	Entry  uint64 `json:"entry,omitempty"` // index of the entry where that is another one
	Answer string `json:"answer,omitempty"`
}

func (r *request) entry() uint64 { return cmp.Or(r.Entry, r.Index) }

var requests = table[request]{name: "requests", indexes: map[string]index[request]{
	"id":    {true, func(r *request) string { return key(r.ID) }},
	"index": {false, func(r *request) string { return key(r.Index) }},
}}

// answered returns the answer that the request got before.
func (t *tx) answered(id string) (string, bool) {
	if id == "" {
		return "", false
	}
	r, ok := deref(requests.get(t.records, "id", key(id)))
	return r.Answer, ok
}

// forgot tells whether the answer to a request that came after the entry at
// since may have been dropped.
func (t *tx) forgot(since uint64) bool {
	at, keep := t.request()
	if at <= keep {
		return false
	}
	for oldest := range requests.each(t.records, "index", "") {
		return since < oldest.entry()
	}
	return false
}

// request returns the index of the next request, and how many are kept.
func (t *tx) request() (at, keep uint64) {
	at, keep = t.index, keepRequests
	if t.view().Batches() {
		keep = keepJoined
	}
	for last := range requests.eachBackward(t.records, "index", "") {
		return max(at, last.Index+1), keep
	}
	return at, keep
}

// remember keeps an answer and drops those that are too old to be asked for.
func (t *tx) remember(id, answer string) {
	if id == "" {
		return
	}
	at, keep := t.request()
	r := &request{ID: id, Index: at, Answer: answer}
	if at != t.index {
		r.Entry = t.index
	}
	requests.put(t, r)
	if at <= keep {
		return
	}
	var old []*request
	for r := range requests.each(t.records, "index", "") {
		if r.Index >= at-keep || len(old) == 16 {
			break
		}
		old = append(old, r)
	}
	for _, r := range old {
		requests.drop(t, r)
	}
}

// oldParts yields what tasks of jobs made that failed long ago.
func (t *tx) oldParts(now time.Time) func(yield func(*Task) bool) {
	return func(yield func(*Task) bool) {
		for k := range tasks.each(t.records, "output", "") {
			j := jobs.get(t.records, "id", key(string(k.Job)))
			if j != nil && j.State == Failed && j.FinishedAt.Before(now.Add(-KeepParts)) && !yield(k) {
				return
			}
		}
	}
}

// Sweep drops what has run out: expired shares, what was in the trash for its
// time, jobs that ended longer ago than KeepJobs, parts of jobs that failed, and
// memories of removed items. It removes at most Limit records of each.
type Sweep struct {
	Limit    int           `json:"limit"`
	KeepJobs time.Duration `json:"keep_jobs,omitempty"` // KeepEnded where it is 0
	At       time.Time     `json:"at"`
}

// endedBefore is when jobs must have ended to go.
func (c Sweep) endedBefore() time.Time { return c.At.Add(-cmp.Or(c.KeepJobs, KeepEnded)) }

func (c Sweep) apply(t *tx) (string, error) {
	for _, s := range first(c.Limit, shares.each(t.records, "expires", ""), func(s *Share) bool { return s.ExpiresAt.Before(c.At) }) {
		shares.drop(t, s)
	}
	for _, x := range first(c.Limit, trash.each(t.records, "goes", ""), func(x *Trashed) bool { return x.over(c.At) }) {
		t.purge(x)
	}
	for _, j := range first(c.Limit, jobs.each(t.records, "ended", ""), func(j *Job) bool { return j.FinishedAt.Before(c.endedBefore()) }) {
		for _, k := range collect(tasks.each(t.records, "job", key(string(j.ID)))) {
			tasks.drop(t, k)
		}
		jobs.drop(t, j)
	}
	for _, k := range first(c.Limit, t.oldParts(c.At), func(*Task) bool { return true }) {
		tasks.put(t, k.with(func(k *Task) { k.Output = nil }))
	}
	for _, r := range first(c.Limit, removals.each(t.records, "id", ""), func(r *Removal) bool { return r.At+keepRemovals < t.index }) {
		removals.drop(t, r)
	}
	return "", nil
}

// first collects records from the start of an ordered sequence, at most limit,
// until one does not match.
func first[T any](limit int, seq func(func(*T) bool), match func(*T) bool) []*T {
	var found []*T
	for rec := range seq {
		if len(found) >= limit || !match(rec) {
			break
		}
		found = append(found, rec)
	}
	return found
}

// NeedsSweep tells whether that Sweep would remove something.
func (v *View) NeedsSweep(c Sweep) bool {
	for s := range shares.each(v.records, "expires", "") {
		if s.ExpiresAt.Before(c.At) {
			return true
		}
		break // the others expire later
	}
	for x := range trash.each(v.records, "goes", "") {
		if x.over(c.At) {
			return true
		}
		break // the others go later
	}
	for k := range tasks.each(v.records, "output", "") {
		if j, ok := v.Job(k.Job); ok && j.State == Failed && j.FinishedAt.Before(c.At.Add(-KeepParts)) {
			return true
		}
	}
	for j := range jobs.each(v.records, "ended", "") {
		if j.FinishedAt.Before(c.endedBefore()) {
			return true
		}
		break // the others ended later
	}
	for r := range removals.each(v.records, "id", "") {
		return r.At+keepRemovals < v.index
	}
	return false
}
