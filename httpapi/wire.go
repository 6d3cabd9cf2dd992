package httpapi

import (
	"encoding/json"
	"math"
	"time"
)

// A Token is the answer to a sign-in.
type Token struct {
	OK          bool   `json:"ok"`
	AccessToken string `json:"access_token"`
	TokenType   string `json:"token_type"` // bearer
}

// Me is who a token belongs to.
type Me struct {
	Username string `json:"username"`
	Role     string `json:"role"` // user or admin
}

// Media is an item of a library.
type Media struct {
	ID        string            `json:"id"`
	Name      string            `json:"name"`
	Kind      string            `json:"kind"` // audio or video
	Type      string            `json:"type"` // MIME type
	Size      int64             `json:"size"` // bytes
	SHA256    string            `json:"sha256"`
	Duration  float64           `json:"duration"` // seconds
	Streams   []Stream          `json:"streams"`
	Tags      map[string]string `json:"tags"`
	CreatedAt time.Time         `json:"created_at"`
	JobID     string            `json:"job_id,omitempty"` // of the conversion that made it
}

// Stream is one track of an item.
type Stream struct {
	Type       string  `json:"type"` // video, audio, subtitle, cover, data
	Codec      string  `json:"codec"`
	Width      int     `json:"width,omitzero"`
	Height     int     `json:"height,omitzero"`
	FPS        float64 `json:"fps,omitzero"`
	Channels   int     `json:"channels,omitzero"`
	SampleRate int     `json:"sample_rate,omitzero"` // hertz
	BitRate    int64   `json:"bit_rate,omitzero"`    // bits per second
	Language   string  `json:"language,omitempty"`
}

// MediaList is a part of a library. Next is the cursor of the part after it,
// empty at the end.
type MediaList struct {
	Objects []string `json:"objects"` // the names alone
	Items   []Media  `json:"items"`
	Next    string   `json:"next,omitempty"`
}

// Uploaded is the answer to an upload.
type Uploaded struct {
	OK   bool   `json:"ok"`
	Name string `json:"name"` // under which it is in the library
	ID   string `json:"id"`
	Item Media  `json:"item"`
}

// Deleted is the answer to a deletion.
type Deleted struct {
	OK     bool      `json:"ok"`
	ID     string    `json:"id"`
	Name   string    `json:"name"`
	GoesAt time.Time `json:"goes_at,omitzero"` // in the trash until then; zero: it is gone
}

// Trashed is an item in the trash.
type Trashed struct {
	Media
	DeletedAt time.Time `json:"deleted_at"`
	GoesAt    time.Time `json:"goes_at"` // it can be restored at least until then
}

// TrashList is a part of the trash. Next is the cursor of the part after it,
// empty at the end.
type TrashList struct {
	Items []Trashed `json:"items"`
	Next  string    `json:"next,omitempty"`
	Total int       `json:"total"`        // items in the whole trash
	Index uint64    `json:"index"`        // of the state that was looked at; emptying takes it
	Keep  int64     `json:"keep_seconds"` // how long what is deleted now will be there; 0: nothing is kept
}

// Restored is the answer to a restore.
type Restored struct {
	OK   bool   `json:"ok"`
	Name string `json:"name"` // under which it is in the library
	ID   string `json:"id"`
	Item Media  `json:"item"`
}

// Emptied is the answer to the emptying of the trash.
type Emptied struct {
	OK      bool `json:"ok"`
	Deleted int  `json:"deleted"` // items
}

// The states of a job on the wire.
const (
	Pending    = "pending"
	Processing = "processing"
	Completed  = "completed"
	Failed     = "failed" // canceled ones too
)

// Job is a conversion. What is not known yet is left out.
type Job struct {
	ID             string          `json:"job_id"`
	Owner          string          `json:"owner"`
	InputFile      string          `json:"input_file"`
	OutputFormat   string          `json:"output_format"`
	Options        json.RawMessage `json:"options"`
	Status         string          `json:"status"`
	Canceled       bool            `json:"canceled,omitempty"` // it failed because somebody stopped it
	Progress       float64         `json:"progress"`           // 0 to 100
	CreatedAt      time.Time       `json:"created_at"`
	StartedAt      time.Time       `json:"started_at,omitzero"`
	CompletedAt    time.Time       `json:"completed_at,omitzero"`
	AssignedWorker string          `json:"assigned_worker,omitempty"` // name of a node
	WorkerID       string          `json:"worker_id,omitempty"`       // name of a node
	OutputFile     string          `json:"output_file,omitempty"`
	OutputID       string          `json:"output_id,omitempty"`
	Error          string          `json:"error,omitempty"`
	Duration       *float64        `json:"duration_seconds,omitempty"`
	InputSize      int64           `json:"input_size_bytes"`
	OutputSize     int64           `json:"output_size_bytes,omitzero"`
	SizeReduction  *float64        `json:"size_reduction_percent,omitempty"` // negative where the output is larger
	Attempt        int             `json:"attempt,omitzero"`                 // the highest of its tasks
	Priority       string          `json:"priority"`                         // low, normal, high
	QueuePosition  int             `json:"queue_position,omitzero"`          // of a pending job, from 1
	Speed          float64         `json:"speed,omitzero"`                   // seconds of media a second, all nodes together
	ETA            *float64        `json:"eta_seconds,omitempty"`            // until it is done, as far as can be told
	Segments       int             `json:"segments,omitzero"`                // pieces that the film is cut into
	SegmentsDone   int             `json:"segments_done,omitzero"`
	Whole          string          `json:"whole_reason,omitempty"`  // why the film is not cut
	Redone         string          `json:"redone_reason,omitempty"` // why all was done again whole
	Reused         bool            `json:"reused,omitempty"`        // the mesh had the output already
	Notes          []string        `json:"notes,omitempty"`         // what the output could not keep of the input
	Tasks          []Task          `json:"tasks,omitempty"`         // only where one job is asked for
}

// Ended tells whether nothing will change about the job any more.
func (j Job) Ended() bool { return j.Status == Completed || j.Status == Failed }

// Task is the piece of a job that one node runs.
type Task struct {
	ID         string    `json:"task_id"`
	Seq        int       `json:"seq"`            // place among the tasks of its job, from 0; segments in the order of the film
	Kind       string    `json:"kind"`           // convert, segment, audio, assembly
	State      string    `json:"state"`          // blocked, waiting, assigned, finished, given_up, dropped
	Attempt    int       `json:"attempt"`        // of the try under way, or the last one; 0 before the first
	Node       string    `json:"node,omitempty"` // name
	Progress   float64   `json:"progress"`       // 0 to 100
	AssignedAt time.Time `json:"assigned_at,omitzero"`
	FinishedAt time.Time `json:"finished_at,omitzero"`
	Took       float64   `json:"took_seconds,omitzero"` // of the attempt that worked
	CPU        float64   `json:"cpu_seconds,omitzero"`  // of all its threads
	Memory     int64     `json:"memory_bytes,omitzero"` // at the most
	Speed      float64   `json:"speed,omitzero"`        // seconds of media a second, while it runs
	Attempts   []Attempt `json:"attempts"`              // tries that did not work out
}

// Attempt is one try at a task that did not work out.
type Attempt struct {
	Number int       `json:"number"`
	Node   string    `json:"node"`  // name
	Cause  string    `json:"cause"` // failed, crashed, lost, stalled, moved
	Reason string    `json:"reason"`
	Began  time.Time `json:"began_at,omitzero"`
	Ended  time.Time `json:"ended_at,omitzero"`
}

// ConvertRequest asks for a conversion, or for the same one of several files.
type ConvertRequest struct {
	InputFile    string          `json:"input_file,omitempty"`    // name or id
	InputFiles   []string        `json:"input_files,omitempty"`   // instead of it: names or ids
	OutputFormat string          `json:"output_format,omitempty"` // may be left out where the purpose names one
	Purpose      string          `json:"purpose,omitempty"`       // such as phone, web, podcast: see GET /formats
	Options      json.RawMessage `json:"options,omitempty"`       // an object; wins over the purpose
	Priority     string          `json:"priority,omitempty"`      // low, normal (default), high (administrators)
}

// Converting is the answer to a ConvertRequest.
type Converting struct {
	OK             bool    `json:"ok"`
	JobID          string  `json:"job_id"`
	AssignedWorker *string `json:"assigned_worker"` // name of a node, or null where none was chosen yet

	Jobs []Queueing `json:"jobs,omitempty"` // of input_files: one each, in their order
}

// JobChange changes a job that has not ended.
type JobChange struct {
	Priority string `json:"priority"` // low, normal, high (administrators)
}

// Queueing is what became of one file of several. A file that cannot be
// converted does not keep the others from it.
type Queueing struct {
	InputFile string `json:"input_file"`
	JobID     string `json:"job_id,omitempty"`
	Error     string `json:"error,omitempty"`
}

// QueueStats counts the caller's jobs.
type QueueStats struct {
	QueueLength int `json:"queue_length"` // pending and processing
	Stats       struct {
		Pending    int `json:"pending"`
		Processing int `json:"processing"`
		Completed  int `json:"completed"`
		Failed     int `json:"failed"`
	} `json:"stats"`
	TotalJobs int `json:"total_jobs"`
}

// Worker is what a node converts.
type Worker struct {
	ID             string    `json:"worker_id"` // name of the node
	Status         string    `json:"status"`    // available, busy, offline
	CPULoad        float64   `json:"cpu_load"`  // 0 to 1
	MemoryMB       float64   `json:"memory_mb"`
	JobsInProgress int       `json:"jobs_in_progress"`
	LoadScore      int       `json:"load_score"` // 0 to 100
	Success        uint64    `json:"conversions_success"`
	Failed         uint64    `json:"conversions_failed"`
	UpdatedAt      time.Time `json:"updated_at"`

	Role        string  `json:"role,omitempty"` // leader, voter, nonvoter
	Slots       int     `json:"slots,omitzero"`
	MemoryTotal float64 `json:"memory_total_mb,omitzero"`
	DiskFree    uint64  `json:"disk_free_bytes,omitzero"`
	DiskTotal   uint64  `json:"disk_total_bytes,omitzero"`
	Disk        string  `json:"disk,omitempty"`          // full or broken: takes no files; empty: it does
	Log         string  `json:"log,omitempty"`           // low: little room is left for the log, it should not vote; halted: it cannot be written, the node takes no part in what is agreed on
	Damaged     uint64  `json:"damaged_chunks,omitzero"` // found on its disk since it started

	Draining Draining `json:"draining,omitempty"` // it is being emptied, or is empty
	Repair   *Repair  `json:"repair,omitempty"`   // what it has still to copy

	AsideUntil time.Time `json:"aside_until,omitzero"` // gets no tasks before that: those it had failed while others' did not
}

// WorkerStats is what all nodes convert, sorted by name.
type WorkerStats struct {
	Summary struct {
		Active     int     `json:"active_workers"`
		Total      int     `json:"total_workers"`
		Processing int     `json:"total_jobs_processing"`
		CPULoad    float64 `json:"average_cpu_load"` // 0 to 1
		Success    uint64  `json:"total_conversions_success"`
		Failed     uint64  `json:"total_conversions_failed"`
		Queued     int     `json:"queue_length"` // jobs that wait for a node
	} `json:"summary"`
	Workers  []Worker `json:"workers"`
	Strength Strength `json:"strength"`
}

// Shared is the answer to a new share. The URL is shown this once.
type Shared struct {
	URL       string    `json:"url"`
	ExpiresIn int       `json:"expires_in_min"`
	ID        string    `json:"id"`
	ExpiresAt time.Time `json:"expires_at"`
}

// Share is a public link that lives.
type Share struct {
	ID        string    `json:"id"`
	Token     string    `json:"token"` // what DELETE /shares/ takes: the id, never the secret of the link
	Media     string    `json:"media"` // name of the item
	MediaID   string    `json:"media_id"`
	CreatedAt time.Time `json:"created_at"`
	ExpiresAt time.Time `json:"expires_at"`
}

// SignedURL opens one item without credentials. URL is a path on any node.
type SignedURL struct {
	URL       string    `json:"url"`
	ExpiresIn int       `json:"expires_in_min"`
	ExpiresAt time.Time `json:"expires_at"`
}

// VersionInfo says what answers.
type VersionInfo struct {
	Version    string `json:"version"`
	Node       string `json:"node"` // name
	SignupOpen bool   `json:"signup_open"`
	SetupNeed  bool   `json:"setup_needed"` // there is no administrator yet
}

// wireTime is a time as it goes over the wire: in UTC, to the millisecond, which
// every language reads.
func wireTime(t time.Time) time.Time {
	if t.IsZero() {
		return time.Time{}
	}
	return t.UTC().Truncate(time.Millisecond)
}

// done is the answer where there is no more to say.
type done struct {
	OK bool `json:"ok"`
}

// round2 rounds to two decimals, as figures go over the wire.
func round2(x float64) float64 {
	if math.IsNaN(x) || math.IsInf(x, 0) {
		return 0 // JSON has no such number
	}
	return math.Round(x*100) / 100
}
