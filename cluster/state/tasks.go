package state

import "time"

// TaskID names a task.
type TaskID string

// A TaskKind is what a task does.
type TaskKind string

// Convert reads the whole input and makes the whole output.
const Convert TaskKind = "convert"

// A TaskState is where a task is in its life: Waiting, Assigned to a node, and
// Finished; or Waiting again when the attempt failed or its node died; or
// GivenUp when the job ended without it.
type TaskState string

const (
	Waiting  TaskState = "waiting"
	Assigned TaskState = "assigned"
	Finished TaskState = "finished"
	GivenUp  TaskState = "given_up"
)

// MaxAttempts is how often a task is tried before its job fails.
const MaxAttempts = 5

// A Task is the piece of a job that one node runs.
type Task struct {
	ID         TaskID    `json:"id"`
	Job        JobID     `json:"job"`
	Kind       TaskKind  `json:"kind"`
	State      TaskState `json:"state"`
	Attempt    int       `json:"attempt"` // number of the current or last try, from 1; reports of others are stale
	Node       NodeID    `json:"node,omitempty"`
	NotBefore  time.Time `json:"not_before"` // not assigned earlier than that
	AssignedAt time.Time `json:"assigned_at,omitzero"`
	FinishedAt time.Time `json:"finished_at,omitzero"`
	Tries      []Attempt `json:"tries,omitempty"`  // how the earlier ones ended
	Output     *Content  `json:"output,omitempty"` // what it made, until the job has ended
	Created    uint64    `json:"created"`          // log index
}

// An Attempt is one try at a task that did not work out.
type Attempt struct {
	Number int       `json:"number"`
	Node   NodeID    `json:"node"`
	Reason string    `json:"reason"`
	Began  time.Time `json:"began"`
	Ended  time.Time `json:"ended"`
}

// NewTask is a task as AddJob makes it.
type NewTask struct {
	ID   TaskID   `json:"id"`
	Kind TaskKind `json:"kind"`
}

var tasks = table[Task]{"tasks", map[string]index[Task]{
	"id":  {true, func(k *Task) []byte { return key(string(k.ID)) }},
	"job": {false, func(k *Task) []byte { return key(string(k.Job), k.Created) }},
	"waiting": {false, func(k *Task) []byte {
		if k.State != Waiting {
			return nil
		}
		return key(k.Created)
	}},
	"node": {false, func(k *Task) []byte {
		if k.State != Assigned {
			return nil
		}
		return key(string(k.Node))
	}},
	"output": {false, func(k *Task) []byte {
		if k.Output == nil {
			return nil
		}
		return key(string(k.ID))
	}},
}}

// with returns a changed copy.
func (k *Task) with(change func(*Task)) *Task {
	c := *k
	change(&c)
	return &c
}

// held returns the task if that attempt is the one under way, and else a
// refusal: the node that reports was given up on.
func (t *tx) held(id TaskID, attempt int) (*Task, *Job, error) {
	k := tasks.get(t.Txn, "id", key(string(id)))
	if k == nil {
		return nil, nil, Errorf(NotFound, "no such task")
	}
	if k.State != Assigned || k.Attempt != attempt {
		return nil, nil, Errorf(Stale, "attempt %d of task %s was given up on", attempt, id)
	}
	j := jobs.get(t.Txn, "id", key(string(k.Job)))
	if j == nil || j.Ended() {
		return nil, nil, Errorf(Stale, "the job of task %s has ended", id)
	}
	return k, j, nil
}

// AssignTasks gives waiting tasks to nodes, which begins an attempt each. Tasks
// that are not waiting any more are passed over: the plan was made from an
// older view.
type AssignTasks struct {
	Assignments []Assignment `json:"assignments"`
	At          time.Time    `json:"at"`
}

// An Assignment gives a task to a node.
type Assignment struct {
	Task TaskID `json:"task"`
	Node NodeID `json:"node"`
}

func (c AssignTasks) apply(t *tx) (string, error) {
	for _, a := range c.Assignments {
		k := tasks.get(t.Txn, "id", key(string(a.Task)))
		if k == nil || k.State != Waiting {
			continue
		}
		tasks.put(t, k.with(func(k *Task) {
			k.State, k.Node, k.AssignedAt = Assigned, a.Node, c.At
			k.Attempt++
		}))
		j := *jobs.get(t.Txn, "id", key(string(k.Job)))
		if j.State == Queued {
			j.State, j.StartedAt = Running, c.At
		}
		j.Assigned, j.Modified = a.Node, t.index
		jobs.put(t, &j)
	}
	return "", nil
}

// FinishTask reports what an attempt made. It is Stale where the attempt was
// given up on. The last task of a job ends the job and puts the output into the
// owner's library, as item Media.
type FinishTask struct {
	Task    TaskID    `json:"task"`
	Attempt int       `json:"attempt"`
	Output  Content   `json:"output"`
	Media   MediaID   `json:"media"`
	At      time.Time `json:"at"`
}

func (c FinishTask) apply(t *tx) (string, error) {
	k, j, err := t.held(c.Task, c.Attempt)
	if err != nil {
		return "", err
	}
	t.count(k.Node, func(n *Node) { n.Converted++ })
	last := true
	for other := range tasks.each(t.Txn, "job", key(string(j.ID))) {
		last = last && (other.ID == k.ID || other.State == Finished)
	}
	done := k.with(func(k *Task) { k.State, k.FinishedAt, k.Output = Finished, c.At, &c.Output })
	if !last {
		tasks.put(t, done)
		return string(k.ID), nil
	}
	for _, other := range collect(tasks.each(t.Txn, "job", key(string(j.ID)))) {
		tasks.put(t, other.with(func(k *Task) { k.Output = nil }))
	}
	done.Output = nil // the item holds the bytes from here on
	tasks.put(t, done)
	if err := t.completeJob(j, c.Output, c.Media, c.At); err != nil {
		t.endJob(j, Failed, err.Error(), c.At)
	}
	return string(k.ID), nil
}

// FailTask reports that an attempt did not work. Unless the fault is in the
// input (Final), the task waits again, longer after each attempt; with no
// attempt left the job fails with the reason.
type FailTask struct {
	Task    TaskID    `json:"task"`
	Attempt int       `json:"attempt"`
	Reason  string    `json:"reason"` // words of ours, safe to show
	Final   bool      `json:"final"`
	At      time.Time `json:"at"`
}

func (c FailTask) apply(t *tx) (string, error) {
	k, j, err := t.held(c.Task, c.Attempt)
	if err != nil {
		return "", err
	}
	t.count(k.Node, func(n *Node) { n.Failed++ })
	t.endAttempt(k, j, c.Reason, c.At, c.At.Add(backoff(k.Attempt)), c.Final)
	return string(k.ID), nil
}

// backoff is how long a task waits after its n-th failure.
func backoff(n int) time.Duration { return time.Second << min(n, 6) }

// ReleaseTasks takes tasks from nodes that are gone; they wait for another
// node. Those whose attempt is another by now are passed over.
type ReleaseTasks struct {
	Releases []Release `json:"releases"`
	At       time.Time `json:"at"`
}

// A Release gives up on one attempt.
type Release struct {
	Task    TaskID `json:"task"`
	Attempt int    `json:"attempt"`
	Reason  string `json:"reason"`
}

func (c ReleaseTasks) apply(t *tx) (string, error) {
	for _, r := range c.Releases {
		if k, j, err := t.held(r.Task, r.Attempt); err == nil {
			t.endAttempt(k, j, r.Reason, c.At, c.At, false)
		}
	}
	return "", nil
}

// endAttempt makes the task wait until notBefore, or fails its job.
func (t *tx) endAttempt(k *Task, j *Job, reason string, at, notBefore time.Time, final bool) {
	tasks.put(t, k.with(func(k *Task) {
		tries := append([]Attempt(nil), k.Tries...)
		k.Tries = append(tries, Attempt{k.Attempt, k.Node, reason, k.AssignedAt, at})
		k.State, k.Node, k.NotBefore = Waiting, "", notBefore
	}))
	if final || k.Attempt >= MaxAttempts {
		t.endJob(j, Failed, reason, at)
		return
	}
	changed := *j
	changed.Modified = t.index
	jobs.put(t, &changed)
}

// Task returns the task with that id.
func (v *View) Task(id TaskID) (Task, bool) { return deref(tasks.get(v.txn, "id", key(string(id)))) }

// TasksOf yields the tasks of a job in the order they were made.
func (v *View) TasksOf(job JobID) func(yield func(*Task) bool) {
	return tasks.each(v.txn, "job", key(string(job)))
}

// TasksOn yields the tasks that are assigned to that node.
func (v *View) TasksOn(node NodeID) func(yield func(*Task) bool) {
	return tasks.each(v.txn, "node", key(string(node)))
}

// TasksAssigned yields every assigned task, by node.
func (v *View) TasksAssigned() func(yield func(*Task) bool) {
	return tasks.each(v.txn, "node", nil)
}

// TasksWaiting yields the waiting tasks, oldest first.
func (v *View) TasksWaiting() func(yield func(*Task) bool) {
	return tasks.each(v.txn, "waiting", nil)
}
