package state

import "time"

// FailTask reports that an attempt did not work. Unless the fault is in the
// input (Final), the task waits again, longer after each attempt; with no
// attempt left the job fails with the reason.
type FailTask struct {
	Task    TaskID    `json:"task"`
	Attempt int       `json:"attempt"`
	Cause   Cause     `json:"cause,omitempty"`
	Reason  string    `json:"reason"` // words of ours, safe to show
	Log     string    `json:"log,omitempty"`
	Final   bool      `json:"final"`
	At      time.Time `json:"at"`
}

func (c FailTask) apply(t *tx) (string, error) {
	k, j, err := t.held(c.Task, c.Attempt)
	if err != nil {
		return "", err
	}
	t.count(k.Node, func(n *Node) { n.Failed++ })
	if !c.Final {
		t.suspect(k, c.At)
	}
	cause := c.Cause
	if cause == "" {
		cause = Broke
	}
	t.endAttempt(k, j, ending{cause, c.Reason, c.Log, c.At, c.At.Add(backoff(k.Attempt)), c.Final})
	return string(k.ID), nil
}

// backoff is how long a task waits after its n-th failure.
func backoff(n int) time.Duration { return time.Second << min(n, 6) }

// ReleaseTasks takes tasks from nodes that are gone, stuck, or have too much to
// do; they wait for another node. Those whose attempt is another by now are
// passed over.
type ReleaseTasks struct {
	Releases []Release `json:"releases"`
	At       time.Time `json:"at"`
}

// A Release gives up on one attempt.
type Release struct {
	Task    TaskID `json:"task"`
	Attempt int    `json:"attempt"`
	Cause   Cause  `json:"cause,omitempty"` // Lost where it is empty
	Reason  string `json:"reason"`
}

func (c ReleaseTasks) apply(t *tx) (string, error) {
	for _, r := range c.Releases {
		k, j, err := t.held(r.Task, r.Attempt)
		if err != nil {
			continue
		}
		cause := r.Cause
		if cause == "" {
			cause = Lost
		}
		t.endAttempt(k, j, ending{cause, r.Reason, "", c.At, c.At, false})
	}
	return "", nil
}

// ending is how an attempt ended without a result.
type ending struct {
	cause     Cause
	reason    string
	log       string
	at        time.Time
	notBefore time.Time // the next one begins
	final     bool      // there is no next one
}

// endAttempt makes the task wait until it may be tried again, or fails its job.
func (t *tx) endAttempt(k *Task, j *Job, e ending) {
	ended := k.with(func(k *Task) {
		k.Tries = k.tried(Attempt{k.Attempt, k.Node, e.cause, e.reason, e.log, k.AssignedAt, e.at})
		k.State, k.Node, k.NotBefore = Waiting, "", e.notBefore
	})
	tasks.put(t, ended)
	if why := ended.exhausted(j.RetriedAt); why != "" {
		t.endJob(j, Failed, why, e.at)
		return
	}
	if e.final {
		t.endJob(j, Failed, e.reason, e.at)
		return
	}
	changed := *j
	changed.Modified = t.index
	jobs.put(t, &changed)
}

// keepLogs is how many tries of a task keep FFmpeg's lines.
const keepLogs = 10

// tried returns the tries with one more, in a list of its own.
func (k *Task) tried(a Attempt) []Attempt {
	tries := append(append([]Attempt(nil), k.Tries...), a)
	for i := range tries[:max(0, len(tries)-keepLogs)] {
		tries[i].Log = ""
	}
	return tries
}

// exhausted returns why there must be no other try, counting those since the
// job was retried, or "".
func (k *Task) exhausted(since time.Time) string {
	all, crashed, lost := 0, 0, 0
	reason := ""
	for _, a := range k.Tries {
		if a.Began.Before(since) || a.Cause == Moved {
			continue
		}
		all++
		reason = a.Reason
		switch a.Cause {
		case Crashed:
			crashed++
		case Lost:
			lost++
		}
	}
	switch {
	case crashed >= MaxCrashes:
		return "the converter crashed on this file more than once, so it is not tried on the other nodes: " + reason
	case lost >= MaxLost:
		return "several nodes died while they worked on this file, so it is not tried on the others"
	case all >= MaxAttempts:
		return reason
	}
	return ""
}
