package state

import (
	"encoding/json"
	"path"
	"slices"
	"strings"
	"time"

	"malla/blobs"
)

// JobID names a job.
type JobID string

// A JobState is where a job is in its life:
//
//	            AddJob ---------------------------> Done, where the mesh has the output already
//	              |
//	+--------> Queued --------------------+
//	|             | AssignTasks (first)   | CancelJob
//	|          Running -------------------+----> Canceled
//	|    last    |         |                        |
//	| FinishTask |         | FailTask, ReleaseTasks |
//	|            |         | with no try left       |
//	|          Done      Failed                     |
//	+----------------------+------------------------+
//	                   RetryJob
//
// A job whose parts did not fit together goes on, as one task: ConvertWhole.
type JobState string

const (
	Queued   JobState = "queued"
	Running  JobState = "running"
	Done     JobState = "done"
	Failed   JobState = "failed"
	Canceled JobState = "canceled"
)

// A Priority orders jobs before everything else. Higher goes first.
type Priority int

const (
	Low    Priority = -1
	Normal Priority = 0
	High   Priority = 1
)

// A Conversion is what a user asks for when a file is to be converted.
type Conversion struct {
	Purpose  string          // a name that stands for a format and options; may be empty
	Format   string          // may be empty where the purpose names one
	Options  json.RawMessage // of the format; they win over the purpose's
	Priority Priority
}

// A Job is a conversion that a user asked for. Its work is done by its tasks.
type Job struct {
	ID         JobID           `json:"id"`
	Owner      UserID          `json:"owner"`
	Priority   Priority        `json:"priority,omitempty"`
	Input      Input           `json:"input"`
	Format     string          `json:"format"`
	Options    json.RawMessage `json:"options,omitempty"` // validated; only ffmpeg reads them
	Recipe     string          `json:"recipe"`            // canonical text of the format and the options
	Whole      string          `json:"whole,omitempty"`   // why it is not cut into segments, for people; empty where it is
	Notes      []string        `json:"notes,omitempty"`   // what the output cannot keep of the input, for people
	Redone     string          `json:"redone,omitempty"`  // why its segments were thrown away and all was done again whole
	Reused     bool            `json:"reused,omitempty"`  // the owner had the output already
	State      JobState        `json:"state"`
	Error      string          `json:"error,omitempty"` // words of ours, safe to show
	Assigned   NodeID          `json:"assigned,omitempty"`
	CreatedAt  time.Time       `json:"created_at"`
	RetriedAt  time.Time       `json:"retried_at,omitzero"` // tries before that do not count any more
	StartedAt  time.Time       `json:"started_at,omitzero"`
	FinishedAt time.Time       `json:"finished_at,omitzero"`
	Output     MediaID         `json:"output,omitempty"`
	OutputName string          `json:"output_name,omitempty"`
	OutputSize int64           `json:"output_size,omitempty"` // bytes
	OutputRef  blobs.Ref       `json:"output_ref,omitzero"`
	Created    uint64          `json:"created"`  // log index
	Modified   uint64          `json:"modified"` // log index of the last change
}

// Input is what a job reads, kept by value: the item may be renamed or removed
// while the job waits.
type Input struct {
	Media   MediaID `json:"media"`
	Name    string  `json:"name"`
	Content Content `json:"content"`
}

// Ended tells whether nothing will change about the job any more, unless it is
// retried.
func (j Job) Ended() bool { return j.State == Done || j.State == Failed || j.State == Canceled }

var jobs = table[Job]{name: "jobs", indexes: map[string]index[Job]{
	"id":       {true, func(j *Job) string { return key(string(j.ID)) }},
	"created":  {false, func(j *Job) string { return key(j.Created) }},
	"owner":    {false, func(j *Job) string { return key(string(j.Owner), j.Created) }},
	"modified": {false, func(j *Job) string { return key(string(j.Owner), j.Modified) }},
	"state": {false, func(j *Job) string {
		if j.Ended() {
			return "" // these are counted, and found by their owners
		}
		return key(string(j.State), j.Created)
	}},
	"ended": {false, func(j *Job) string {
		if !j.Ended() {
			return ""
		}
		return key(uint64(j.FinishedAt.Unix()))
	}},
	"recipe": {false, func(j *Job) string {
		if j.State != Done || j.Recipe == "" || j.OutputRef.IsZero() {
			return ""
		}
		return recipeKey(j.Input.Content.Blob.SHA256, j.Recipe)
	}},
}, counts: map[string]func(*Job) string{
	"state": func(j *Job) string { return key(string(j.State)) },
	"owner": func(j *Job) string { return key(string(j.Owner), string(j.State)) },
}, names: func(j *Job) naming {
	if j.Ended() {
		return naming{}
	}
	return j.Input.Content.naming()
}, prepare: (*Job).shareInput}

func recipeKey(input blobs.Ref, recipe string) string { return key(input, recipe) }

// AddJob queues a conversion of the owner's item. The tasks are made with it.
// Where the mesh still has what the same recipe made of the same bytes, the job
// is done at once, with item Output; without a name for that item it never is.
type AddJob struct {
	ID       JobID           `json:"id"`
	Owner    UserID          `json:"owner"`
	Media    MediaID         `json:"media"`
	Priority Priority        `json:"priority,omitempty"`
	Format   string          `json:"format"`
	Options  json.RawMessage `json:"options,omitempty"`
	Recipe   string          `json:"recipe"`
	Whole    string          `json:"whole,omitempty"`
	Notes    []string        `json:"notes,omitempty"`
	Tasks    []NewTask       `json:"tasks"`
	Output   MediaID         `json:"output"` // names the item, where it is made at once
	At       time.Time       `json:"at"`
}

func (c AddJob) apply(t *tx) (string, error) {
	m, err := t.mediaOf(c.Owner, c.Media)
	if err != nil {
		return "", err
	}
	if c.ID == "" || c.Format == "" || len(c.Tasks) == 0 {
		return "", Errorf(Invalid, "a job needs an id, a format and tasks")
	}
	if jobs.get(t.records, "id", key(string(c.ID))) != nil {
		return "", Errorf(Conflict, "job %s is there already", c.ID)
	}
	j := &Job{
		ID: c.ID, Owner: c.Owner, Priority: c.Priority, Format: c.Format, Options: c.Options, Recipe: c.Recipe, Whole: c.Whole, Notes: c.Notes,
		State: Queued, CreatedAt: c.At, Input: Input{Media: m.ID, Name: m.Name, Content: m.Content},
		Created: t.index, Modified: t.index,
	}
	if made, by, there := t.made(m.Content.Blob.SHA256, c.Recipe); there && c.Output != "" {
		// That somebody else had the same file is nobody's business.
		j.StartedAt, j.Reused = c.At, by.Owner == c.Owner
		for _, note := range by.Notes {
			if !slices.Contains(j.Notes, note) {
				j.Notes = append(j.Notes, note)
			}
		}
		jobs.put(t, j)
		return string(c.ID), t.completeJob(j, made, c.Output, c.At)
	}
	jobs.put(t, j)
	for i, n := range c.Tasks {
		tasks.put(t, n.task(j, i, c.At))
	}
	return string(c.ID), nil
}

// made is what a job that is done made of those bytes by that recipe, and the
// job, as long as some item holds it.
func (t *tx) made(input blobs.Ref, recipe string) (Content, *Job, bool) {
	if recipe == "" {
		return Content{}, nil, false
	}
	for j := range jobs.each(t.records, "recipe", recipeKey(input, recipe)) {
		if m := media.get(t.records, "blob", key(j.OutputRef)); m != nil {
			return m.Content, j, true
		}
	}
	return Content{}, nil, false
}

// CancelJob ends a job that has not ended. Its workers see that their tasks are
// not theirs any more and stop. An ended job is a Conflict.
type CancelJob struct {
	ID    JobID     `json:"id"`
	Owner UserID    `json:"owner"`
	At    time.Time `json:"at"`
}

func (c CancelJob) apply(t *tx) (string, error) {
	j, err := t.jobOf(c.Owner, c.ID)
	if err != nil {
		return "", err
	}
	if j.Ended() {
		return "", Errorf(Conflict, "the job has ended already")
	}
	t.endJob(j, Canceled, "canceled", c.At)
	return string(j.ID), nil
}

func (t *tx) jobOf(owner UserID, id JobID) (*Job, error) {
	j := jobs.get(t.records, "id", key(string(id)))
	if j == nil || j.Owner != owner {
		return nil, Errorf(NotFound, "no such job")
	}
	return j, nil
}

// RetryJob queues a job again that failed or was canceled. What its tasks had
// finished is kept as long as the mesh holds it. Another state is a Conflict.
type RetryJob struct {
	ID    JobID     `json:"id"`
	Owner UserID    `json:"owner"`
	At    time.Time `json:"at"`
}

func (c RetryJob) apply(t *tx) (string, error) {
	old, err := t.jobOf(c.Owner, c.ID)
	if err != nil {
		return "", err
	}
	if old.State != Failed && old.State != Canceled {
		return "", Errorf(Conflict, "only a job that failed or was canceled can be tried again")
	}
	m := media.get(t.records, "id", key(string(old.Input.Media)))
	if m == nil || m.Content.Blob.Ref != old.Input.Content.Blob.Ref {
		return "", Errorf(Conflict, "the file is not in the library any more: restore it from the trash, or upload it again and convert that")
	}
	j := *old
	j.State, j.Error, j.RetriedAt, j.Modified = Queued, "", c.At, t.index
	j.StartedAt, j.FinishedAt, j.Assigned = time.Time{}, time.Time{}, ""
	jobs.put(t, &j)
	for _, k := range collect(tasks.each(t.records, "job", key(string(j.ID)))) {
		if k.State == Finished && k.Output != nil || k.State == Dropped {
			continue
		}
		tasks.put(t, k.with(func(k *Task) { k.State, k.Node, k.NotBefore, k.Priority = Waiting, "", c.At, j.Priority }))
	}
	t.openAssembly(j.ID)
	return string(j.ID), nil
}

// SetPriority moves a job that has not ended forward or back in the queue.
type SetPriority struct {
	ID       JobID    `json:"id"`
	Owner    UserID   `json:"owner"`
	Priority Priority `json:"priority"`
}

func (c SetPriority) apply(t *tx) (string, error) {
	old, err := t.jobOf(c.Owner, c.ID)
	if err != nil {
		return "", err
	}
	if old.Ended() {
		return "", Errorf(Conflict, "the job has ended already")
	}
	if c.Priority < Low || c.Priority > High {
		return "", InvalidField("priority", "must be low, normal or high")
	}
	j := *old
	j.Priority, j.Modified = c.Priority, t.index
	jobs.put(t, &j)
	for _, k := range collect(tasks.each(t.records, "job", key(string(j.ID)))) {
		tasks.put(t, k.with(func(k *Task) { k.Priority = c.Priority }))
	}
	return string(j.ID), nil
}

// endJob ends a job without an output, and with it the tasks that had not
// ended. What a failed job's tasks have made is kept for a retry; that of a
// canceled one is let go.
func (t *tx) endJob(old *Job, to JobState, reason string, at time.Time) {
	j := *old
	j.State, j.Error, j.FinishedAt, j.Modified = to, reason, at, t.index
	jobs.put(t, &j)
	for _, task := range collect(tasks.each(t.records, "job", key(string(j.ID)))) {
		switch {
		case task.State == Finished && to == Canceled:
			task = task.with(func(k *Task) { k.Output = nil })
		case task.State != Finished && task.State != Dropped:
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
	m := media.get(t.records, "id", key(made))
	j.State, j.FinishedAt, j.Modified = Done, at, t.index
	j.Output, j.OutputName, j.OutputSize, j.OutputRef = m.ID, m.Name, m.Content.Blob.Size, m.Content.Blob.Ref
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
func (v *View) Job(id JobID) (Job, bool) { return deref(jobs.get(v.records, "id", key(string(id)))) }

// Jobs yields all jobs, newest first.
func (v *View) Jobs() func(yield func(*Job) bool) { return jobs.eachBackward(v.records, "created", "") }

// JobsOf yields the owner's jobs, newest first.
func (v *View) JobsOf(owner UserID) func(yield func(*Job) bool) {
	return jobs.eachBackward(v.records, "owner", key(string(owner)))
}

// JobsIn yields the jobs that are Queued, or those that are Running, oldest first.
func (v *View) JobsIn(s JobState) func(yield func(*Job) bool) {
	return jobs.each(v.records, "state", key(string(s)))
}

// CountJobs is how many jobs are in that state, of one owner, or of all where
// owner is empty. It costs the same however many there are.
func (v *View) CountJobs(owner UserID, s JobState) int {
	if owner == "" {
		return jobs.count(v.records, "state", key(string(s)))
	}
	return jobs.count(v.records, "owner", key(string(owner), string(s)))
}

// JobsSince yields the owner's jobs that changed after index, oldest change first.
func (v *View) JobsSince(owner UserID, index uint64) func(yield func(*Job) bool) {
	return jobs.from(v.records, "modified", key(string(owner)), key(string(owner), index+1))
}

// QueuePositions tells of queued jobs how many begin before them if nothing
// changes, from 1: higher priorities first, then older ones. Turns of users are
// not foreseen.
func (v *View) QueuePositions() map[JobID]int {
	places := make(map[JobID]int, v.CountJobs("", Queued))
	for p := High; p >= Low; p-- {
		for j := range v.JobsIn(Queued) {
			if j.Priority == p {
				places[j.ID] = len(places) + 1
			}
		}
	}
	return places
}
