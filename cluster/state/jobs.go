package state

import (
	"encoding/json"
	"path"
	"strings"
	"time"

	"malla/blobs"
)

// JobID names a job.
type JobID string

// A JobState is where a job is in its life:
//
//	          AddJob
//	            |
//	         Queued --------------------+
//	            | AssignTasks (first)   | CancelJob
//	         Running -------------------+----> Canceled
//	   last     |        |
//	FinishTask  |        | FailTask, ReleaseTasks with no attempt left
//	          Done     Failed
type JobState string

const (
	Queued   JobState = "queued"
	Running  JobState = "running"
	Done     JobState = "done"
	Failed   JobState = "failed"
	Canceled JobState = "canceled"
)

// A Job is a conversion that a user asked for. Its work is done by its tasks.
type Job struct {
	ID         JobID           `json:"id"`
	Owner      UserID          `json:"owner"`
	Input      Input           `json:"input"`
	Format     string          `json:"format"`
	Options    json.RawMessage `json:"options,omitempty"` // validated; only ffmpeg reads them
	Recipe     string          `json:"recipe"`            // canonical text of the format and the options
	State      JobState        `json:"state"`
	Error      string          `json:"error,omitempty"` // words of ours, safe to show
	Assigned   NodeID          `json:"assigned,omitempty"`
	CreatedAt  time.Time       `json:"created_at"`
	StartedAt  time.Time       `json:"started_at,omitzero"`
	FinishedAt time.Time       `json:"finished_at,omitzero"`
	Output     MediaID         `json:"output,omitempty"`
	OutputName string          `json:"output_name,omitempty"`
	OutputSize int64           `json:"output_size,omitempty"` // bytes
	Created    uint64          `json:"created"`               // log index
	Modified   uint64          `json:"modified"`              // log index of the last change
}

// Input is what a job reads, kept by value: the item may be renamed or removed
// while the job waits.
type Input struct {
	Media    MediaID    `json:"media"`
	Name     string     `json:"name"`
	Kind     string     `json:"kind"`
	Duration float64    `json:"duration"` // seconds
	Blob     blobs.Blob `json:"blob"`
}

// Ended tells whether nothing will change about the job any more.
func (j Job) Ended() bool { return j.State == Done || j.State == Failed || j.State == Canceled }

var jobs = table[Job]{"jobs", map[string]index[Job]{
	"id":       {true, func(j *Job) []byte { return key(string(j.ID)) }},
	"created":  {false, func(j *Job) []byte { return key(j.Created) }},
	"owner":    {false, func(j *Job) []byte { return key(string(j.Owner), j.Created) }},
	"modified": {false, func(j *Job) []byte { return key(string(j.Owner), j.Modified) }},
	"state":    {false, func(j *Job) []byte { return key(string(j.State), j.Created) }},
}}

// AddJob queues a conversion of the owner's item. The tasks are made with it.
type AddJob struct {
	ID      JobID           `json:"id"`
	Owner   UserID          `json:"owner"`
	Media   MediaID         `json:"media"`
	Format  string          `json:"format"`
	Options json.RawMessage `json:"options,omitempty"`
	Recipe  string          `json:"recipe"`
	Tasks   []NewTask       `json:"tasks"`
	At      time.Time       `json:"at"`
}

func (c AddJob) apply(t *tx) (string, error) {
	m := media.get(t.Txn, "id", key(string(c.Media)))
	if m == nil || m.Owner != c.Owner {
		return "", Errorf(NotFound, "no such file")
	}
	if c.ID == "" || c.Format == "" || len(c.Tasks) == 0 {
		return "", Errorf(Invalid, "a job needs an id, a format and tasks")
	}
	if jobs.get(t.Txn, "id", key(string(c.ID))) != nil {
		return "", Errorf(Conflict, "job %s is there already", c.ID)
	}
	jobs.put(t, &Job{
		ID: c.ID, Owner: c.Owner, Format: c.Format, Options: c.Options, Recipe: c.Recipe, State: Queued, CreatedAt: c.At,
		Input:   Input{Media: m.ID, Name: m.Name, Kind: m.Content.Kind, Duration: m.Content.Duration, Blob: m.Content.Blob},
		Created: t.index, Modified: t.index,
	})
	for _, n := range c.Tasks {
		tasks.put(t, &Task{ID: n.ID, Job: c.ID, Kind: n.Kind, State: Waiting, Created: t.index, NotBefore: c.At})
	}
	return string(c.ID), nil
}

// CancelJob ends a job that has not ended. Its workers see that their tasks are
// not theirs any more and stop. An ended job is a Conflict.
type CancelJob struct {
	ID    JobID     `json:"id"`
	Owner UserID    `json:"owner"`
	At    time.Time `json:"at"`
}

func (c CancelJob) apply(t *tx) (string, error) {
	j := jobs.get(t.Txn, "id", key(string(c.ID)))
	if j == nil || j.Owner != c.Owner {
		return "", Errorf(NotFound, "no such job")
	}
	if j.Ended() {
		return "", Errorf(Conflict, "the job has ended already")
	}
	t.endJob(j, Canceled, "canceled", c.At)
	return string(j.ID), nil
}

// endJob ends a job without an output, and with it the tasks that had not ended.
func (t *tx) endJob(old *Job, to JobState, reason string, at time.Time) {
	j := *old
	j.State, j.Error, j.FinishedAt, j.Modified = to, reason, at, t.index
	jobs.put(t, &j)
	for _, task := range collect(tasks.each(t.Txn, "job", key(string(j.ID)))) {
		if task.State == Finished {
			task = task.with(func(k *Task) { k.Output = nil })
		} else {
			task = task.with(func(k *Task) { k.State = GivenUp })
		}
		tasks.put(t, task)
	}
}

// completeJob gives the owner the output of the job's last task.
func (t *tx) completeJob(old *Job, out Content, id MediaID, at time.Time) error {
	j := *old
	name := ConvertedName(j.Input.Name, j.Format)
	made, err := AddMedia{ID: id, Owner: j.Owner, Name: name, Content: out, At: at, from: j.ID}.apply(t)
	if err != nil {
		return err
	}
	m := media.get(t.Txn, "id", key(made))
	j.State, j.FinishedAt, j.Modified = Done, at, t.index
	j.Output, j.OutputName, j.OutputSize = m.ID, m.Name, m.Content.Blob.Size
	jobs.put(t, &j)
	return nil
}

// ConvertedName is the name of a conversion: "song_converted.flac" of "song.mp3".
func ConvertedName(input, format string) string {
	tail := "_converted." + format
	stem := strings.TrimSuffix(input, path.Ext(input))
	return cut(stem, MaxNameLen-len(tail)) + tail
}

// Job returns the job with that id.
func (v *View) Job(id JobID) (Job, bool) { return deref(jobs.get(v.txn, "id", key(string(id)))) }

// Jobs yields all jobs, newest first.
func (v *View) Jobs() func(yield func(*Job) bool) { return jobs.eachBackward(v.txn, "created", nil) }

// JobsOf yields the owner's jobs, newest first.
func (v *View) JobsOf(owner UserID) func(yield func(*Job) bool) {
	return jobs.eachBackward(v.txn, "owner", key(string(owner)))
}

// JobsIn yields the jobs in that state, oldest first.
func (v *View) JobsIn(s JobState) func(yield func(*Job) bool) {
	return jobs.each(v.txn, "state", key(string(s)))
}

// JobsSince yields the owner's jobs that changed after index, oldest change first.
func (v *View) JobsSince(owner UserID, index uint64) func(yield func(*Job) bool) {
	return jobs.from(v.txn, "modified", key(string(owner)), key(string(owner), index+1))
}
