package state

import (
	"slices"
	"time"
)

// TaskID names a task.
type TaskID string

// A TaskKind is what a task does.
type TaskKind string

const (
	Convert  TaskKind = "convert"  // reads the whole input and makes the whole output
	Segment  TaskKind = "segment"  // encodes a time range of the film
	Audio    TaskKind = "audio"    // makes everything but the film
	Assembly TaskKind = "assembly" // joins the outputs of the others, and verifies
)

// A TaskState is where a task is in its life: Waiting, Assigned to a node, and
// Finished; or Waiting again when the attempt failed or its node died; or
// GivenUp when the job ended without it. An assembly is Blocked until the other
// tasks of its job are finished. Dropped is what a job does not want any more,
// since it does all again in another way.
type TaskState string

const (
	Blocked  TaskState = "blocked"
	Waiting  TaskState = "waiting"
	Assigned TaskState = "assigned"
	Finished TaskState = "finished"
	GivenUp  TaskState = "given_up"
	Dropped  TaskState = "dropped"
)

// How often a task is tried before its job fails.
const (
	MaxAttempts = 5 // in all
	MaxCrashes  = 2 // that ended in a crash of the converter: such an input does not tour the mesh
	MaxLost     = 3 // during which the node died
)

// A Task is the piece of a job that one node runs.
type Task struct {
	ID         TaskID    `json:"id"`
	Job        JobID     `json:"job"`
	Owner      UserID    `json:"owner"`              // of the job
	Priority   Priority  `json:"priority,omitempty"` // of the job
	Kind       TaskKind  `json:"kind"`
	Seq        int       `json:"seq"`            // place among the tasks of its job; segments in the order of the film
	From       int       `json:"from,omitempty"` // first picture of a segment
	To         int       `json:"to,omitempty"`   // the one after its last
	Cost       float64   `json:"cost,omitempty"` // expected processor seconds; 0: not known
	Class      string    `json:"class,omitempty"`
	Needs      uint64    `json:"needs,omitempty"` // bits of the encoders that its node must have
	State      TaskState `json:"state"`
	Attempt    int       `json:"attempt"` // number of the current or last try, from 1; reports of others are stale
	Node       NodeID    `json:"node,omitempty"`
	NotBefore  time.Time `json:"not_before"` // not assigned earlier than that
	AssignedAt time.Time `json:"assigned_at,omitzero"`
	BeganAt    time.Time `json:"began_at,omitzero"` // when the converter of the attempt that worked was started
	FinishedAt time.Time `json:"finished_at,omitzero"`
	Tries      []Attempt `json:"tries,omitempty"`  // how the earlier ones ended
	Output     *Content  `json:"output,omitempty"` // what it made, until the job is done
	Usage      Usage     `json:"usage,omitzero"`   // of the attempt that worked
	Log        string    `json:"log,omitempty"`    // what FFmpeg complained about although it worked
	Created    uint64    `json:"created"`          // log index
}

// A Usage is what an attempt took.
type Usage struct {
	CPU    int64 `json:"cpu,omitempty"`    // nanoseconds of all threads
	Memory int64 `json:"memory,omitempty"` // bytes at the most
	Units  int64 `json:"units,omitempty"`  // of work that was done, as the converter counts it
}

// A Cause is why an attempt did not work out.
type Cause string

const (
	Broke   Cause = "failed"  // the worker reported it
	Crashed Cause = "crashed" // the converter crashed, or had to be killed
	Lost    Cause = "lost"    // the node died
	Stalled Cause = "stalled" // no progress for too long
	Moved   Cause = "moved"   // taken off the node for the sake of the mesh: does not count
)

// An Attempt is one try at a task that did not work out.
type Attempt struct {
	Number int       `json:"number"`
	Node   NodeID    `json:"node"`
	Cause  Cause     `json:"cause,omitempty"`
	Reason string    `json:"reason"`        // words of ours, safe to show
	Log    string    `json:"log,omitempty"` // FFmpeg's last lines, for the owner
	Began  time.Time `json:"began"`
	Ended  time.Time `json:"ended"`
}

// NewTask is a task as a command makes it.
type NewTask struct {
	ID    TaskID   `json:"id"`
	Kind  TaskKind `json:"kind"`
	From  int      `json:"from,omitempty"`
	To    int      `json:"to,omitempty"`
	Cost  float64  `json:"cost,omitempty"`
	Class string   `json:"class,omitempty"`
	Needs uint64   `json:"needs,omitempty"`
}

func (n NewTask) task(j *Job, seq int, at time.Time) *Task {
	k := &Task{
		ID: n.ID, Job: j.ID, Owner: j.Owner, Priority: j.Priority, Kind: n.Kind, Seq: seq, From: n.From, To: n.To,
		Cost: n.Cost, Class: n.Class, Needs: n.Needs, State: Waiting, Created: j.Created, NotBefore: at,
	}
	if n.Kind == Assembly {
		k.State = Blocked
	}
	return k
}

var tasks = table[Task]{name: "tasks", indexes: map[string]index[Task]{
	"id":  {true, func(k *Task) string { return key(string(k.ID)) }},
	"job": {false, func(k *Task) string { return key(string(k.Job), uint64(k.Seq)) }},
	"waiting": {false, func(k *Task) string {
		if k.State != Waiting {
			return ""
		}
		return waitingKey(k.Priority, k.Lane(), string(k.Owner), k.Created, uint64(k.Seq))
	}},
	"node": {false, func(k *Task) string {
		if k.State != Assigned {
			return ""
		}
		return key(string(k.Node))
	}},
	"output": {false, func(k *Task) string {
		if k.Output == nil {
			return ""
		}
		return key(string(k.ID))
	}},
}, names: func(k *Task) naming {
	if k.Output == nil {
		return naming{}
	}
	return k.Output.naming()
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
	k := tasks.get(t.records, "id", key(string(id)))
	if k == nil {
		return nil, nil, Errorf(NotFound, "no such task")
	}
	if k.State != Assigned || k.Attempt != attempt {
		return nil, nil, Errorf(Stale, "attempt %d of task %s was given up on", attempt, id)
	}
	j := jobs.get(t.records, "id", key(string(k.Job)))
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
		k := tasks.get(t.records, "id", key(string(a.Task)))
		if k == nil || k.State != Waiting {
			continue
		}
		tasks.put(t, k.with(func(k *Task) {
			k.State, k.Node, k.AssignedAt = Assigned, a.Node, c.At
			k.Attempt++
		}))
		j := *jobs.get(t.records, "id", key(string(k.Job)))
		if j.State == Queued {
			j.State, j.StartedAt = Running, c.At
		}
		j.Assigned, j.Modified = a.Node, t.index
		jobs.put(t, &j)
	}
	return "", nil
}

// FinishTask reports what an attempt made. It is Stale where the attempt was
// given up on. The task that makes the whole output, a Convert or an Assembly,
// ends the job and puts the output into the owner's library, as item Media.
type FinishTask struct {
	Task    TaskID    `json:"task"`
	Attempt int       `json:"attempt"`
	Output  Content   `json:"output"`
	Media   MediaID   `json:"media,omitempty"`
	Began   time.Time `json:"began,omitzero"` // when the converter was started
	Usage   Usage     `json:"usage,omitzero"`
	Notes   []string  `json:"notes,omitempty"` // what turned out while it was done: those that are new are added to the job's
	Log     string    `json:"log,omitempty"`
	At      time.Time `json:"at"`
}

func (c FinishTask) apply(t *tx) (string, error) {
	k, old, err := t.held(c.Task, c.Attempt)
	if err != nil {
		return "", err
	}
	t.count(k.Node, func(n *Node) { n.succeed(c.At) })
	t.learn(k.Class, c.Usage)
	j := *old
	j.Modified = t.index
	j.Notes = slices.Clone(j.Notes)
	for _, note := range c.Notes {
		if !slices.Contains(j.Notes, note) {
			j.Notes = append(j.Notes, note)
		}
	}
	done := k.with(func(k *Task) {
		k.State, k.BeganAt, k.FinishedAt, k.Usage, k.Log = Finished, c.Began, c.At, c.Usage, c.Log
		k.Output = &c.Output
	})
	if k.Kind == Segment || k.Kind == Audio {
		tasks.put(t, done)
		jobs.put(t, &j)
		t.openAssembly(j.ID)
		return string(k.ID), nil
	}
	for _, other := range collect(tasks.each(t.records, "job", key(string(j.ID)))) {
		if other.Output != nil {
			tasks.put(t, other.with(func(k *Task) { k.Output = nil }))
		}
	}
	done.Output = nil // the item holds the bytes from here on
	tasks.put(t, done)
	if err := t.completeJob(&j, c.Output, c.Media, c.At); err != nil {
		t.endJob(&j, Failed, err.Error(), c.At)
	}
	return string(k.ID), nil
}

// openAssembly lets the assembly of the job wait for a node once all that it
// joins is there, and blocks it where something is not.
func (t *tx) openAssembly(id JobID) {
	ready := true
	var assembly *Task
	for k := range tasks.each(t.records, "job", key(string(id))) {
		switch {
		case k.Kind == Assembly:
			assembly = k
		case k.State != Finished && k.State != Dropped:
			ready = false
		}
	}
	if assembly == nil || assembly.State != Blocked && assembly.State != Waiting {
		return
	}
	want := Blocked
	if ready {
		want = Waiting
	}
	if assembly.State != want {
		tasks.put(t, assembly.with(func(k *Task) { k.State = want }))
	}
}

// ConvertWhole reports that the parts of a job do not make what the input was:
// they are dropped, and Task does all of it again. It is Stale where the attempt
// was given up on.
type ConvertWhole struct {
	Task    TaskID    `json:"task"` // that found out
	Attempt int       `json:"attempt"`
	Reason  string    `json:"reason"` // words of ours, safe to show
	Log     string    `json:"log,omitempty"`
	New     NewTask   `json:"new"`
	At      time.Time `json:"at"`
}

func (c ConvertWhole) apply(t *tx) (string, error) {
	k, old, err := t.held(c.Task, c.Attempt)
	if err != nil {
		return "", err
	}
	if c.New.ID == "" || c.New.Kind != Convert || k.Kind == Convert {
		return "", Errorf(Invalid, "only what was cut is done again whole, by a conversion with an id")
	}
	seq := 0
	for _, other := range collect(tasks.each(t.records, "job", key(string(k.Job)))) {
		seq = max(seq, other.Seq+1)
		tasks.put(t, other.with(func(o *Task) {
			if o.ID == k.ID {
				o.Tries = o.tried(Attempt{o.Attempt, o.Node, Broke, c.Reason, c.Log, o.AssignedAt, c.At})
			}
			o.State, o.Output = Dropped, nil
		}))
	}
	j := *old
	j.Whole, j.Redone, j.Modified = c.Reason, c.Reason, t.index
	jobs.put(t, &j)
	tasks.put(t, c.New.task(&j, seq, c.At))
	return string(c.New.ID), nil
}

// Task returns the task with that id.
func (v *View) Task(id TaskID) (Task, bool) {
	return deref(tasks.get(v.records, "id", key(string(id))))
}

// TasksOf yields the tasks of a job in their order.
func (v *View) TasksOf(job JobID) func(yield func(*Task) bool) {
	return tasks.each(v.records, "job", key(string(job)))
}

// TasksOn yields the tasks that are assigned to that node.
func (v *View) TasksOn(node NodeID) func(yield func(*Task) bool) {
	return tasks.each(v.records, "node", key(string(node)))
}

// TasksAssigned yields every assigned task, by node.
func (v *View) TasksAssigned() func(yield func(*Task) bool) {
	return tasks.each(v.records, "node", "")
}
