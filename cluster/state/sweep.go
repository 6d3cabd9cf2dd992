package state

import "time"

// KeepEnded is how long a job that has ended is listed.
const KeepEnded = 30 * 24 * time.Hour

// KeepParts is how long what a failed job has made is kept for a retry.
const KeepParts = 24 * time.Hour

// keepRequests is how many log entries the answer to a request is kept for.
const keepRequests = 20_000

// request is the answer that was given to a proposal, kept so that a second try
// of the same one changes nothing.
type request struct {
	ID     string `json:"id"`
	Index  uint64 `json:"index"`
	Answer string `json:"answer,omitempty"`
}

var requests = table[request]{"requests", map[string]index[request]{
	"id":    {true, func(r *request) []byte { return key(r.ID) }},
	"index": {false, func(r *request) []byte { return key(r.Index) }},
}}

// answered returns the answer that the request got before.
func (t *tx) answered(id string) (string, bool) {
	if id == "" {
		return "", false
	}
	r, ok := deref(requests.get(t.Txn, "id", key(id)))
	return r.Answer, ok
}

// remember keeps an answer and drops those that are too old to be asked for.
func (t *tx) remember(id, answer string) {
	if id == "" {
		return
	}
	requests.put(t, &request{id, t.index, answer})
	if t.index <= keepRequests {
		return
	}
	var old []*request
	for r := range requests.each(t.Txn, "index", nil) {
		if r.Index >= t.index-keepRequests || len(old) == 16 {
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
		for k := range tasks.each(t.Txn, "output", nil) {
			j := jobs.get(t.Txn, "id", key(string(k.Job)))
			if j != nil && j.State == Failed && j.FinishedAt.Before(now.Add(-KeepParts)) && !yield(k) {
				return
			}
		}
	}
}

// Sweep drops what has run out: expired shares, what was in the trash for its
// time, jobs that ended long ago, parts of jobs that failed, and memories of
// removed items. It removes at most Limit records of each.
type Sweep struct {
	Limit int       `json:"limit"`
	At    time.Time `json:"at"`
}

func (c Sweep) apply(t *tx) (string, error) {
	for _, s := range first(c.Limit, shares.each(t.Txn, "expires", nil), func(s *Share) bool { return s.ExpiresAt.Before(c.At) }) {
		shares.drop(t, s)
	}
	for _, x := range first(c.Limit, trash.each(t.Txn, "goes", nil), func(x *Trashed) bool { return x.over(c.At) }) {
		t.purge(x)
	}
	for _, state := range []JobState{Done, Failed, Canceled} {
		old := first(c.Limit, jobs.each(t.Txn, "state", key(string(state))), func(j *Job) bool { return j.FinishedAt.Before(c.At.Add(-KeepEnded)) })
		for _, j := range old {
			for _, k := range collect(tasks.each(t.Txn, "job", key(string(j.ID)))) {
				tasks.drop(t, k)
			}
			jobs.drop(t, j)
		}
	}
	for _, k := range first(c.Limit, t.oldParts(c.At), func(*Task) bool { return true }) {
		tasks.put(t, k.with(func(k *Task) { k.Output = nil }))
	}
	for _, r := range first(c.Limit, removals.each(t.Txn, "id", nil), func(r *Removal) bool { return r.At+keepRemovals < t.index }) {
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

// NeedsSweep tells whether a Sweep at that time would remove something.
func (v *View) NeedsSweep(now time.Time) bool {
	for s := range shares.each(v.txn, "expires", nil) {
		if s.ExpiresAt.Before(now) {
			return true
		}
		break // the others expire later
	}
	for x := range trash.each(v.txn, "goes", nil) {
		if x.over(now) {
			return true
		}
		break // the others go later
	}
	for k := range tasks.each(v.txn, "output", nil) {
		if j, ok := v.Job(k.Job); ok && j.State == Failed && j.FinishedAt.Before(now.Add(-KeepParts)) {
			return true
		}
	}
	for _, state := range []JobState{Done, Failed, Canceled} {
		for j := range v.JobsIn(state) {
			if j.FinishedAt.Before(now.Add(-KeepEnded)) {
				return true
			}
			break
		}
	}
	return false
}
