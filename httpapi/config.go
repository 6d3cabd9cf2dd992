package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"malla/blobs"
	"malla/blobs/upload"
	"malla/cluster/state"
	"malla/httpapi/auth"
)

// Config is what the API needs of the rest of a node. Fields without a word
// about their zero value must be set.
type Config struct {
	State    States
	Proposer Proposer
	Library  Library
	Blobs    Blobs
	Uploads  *upload.Store // bytes on their way in, in one go or resumable
	Mesh     Mesh
	Peers    Peers        // to pass requests on to other nodes; nil: there are none
	Progress Progress     // nil: jobs under way show no progress
	Formats  []Format     // what GET /formats answers
	Purposes []Purpose    // and with them
	Health   func() error // why this node cannot serve at all; nil: it always can
	Backup   BackupFunc   // nil: there are none
	Imports  func() error // why this node cannot take uploads, asked before their first byte; nil: it always can

	TokenKeys    func() [][]byte // of the mesh, secret, at least 32 bytes each: the first signs, all are accepted
	MeshID       string          // public, hexadecimal
	SetupToken   func() string   // makes the first administrator; nil: nobody can
	SignupOpen   bool
	PublicURL    string        // under which people reach the mesh; "": the address they used, or the node's own
	TrashKeep    time.Duration // how long what is deleted here stays restorable; 0: not at all
	MetricsToken string        // bearer that /metrics asks for; "": anyone may read it
	Version      string

	Pages    http.Handler  // the pages for people, asked for whatever is no route; nil: there are none
	PagesCSP func() string // Content-Security-Policy of the pages; nil: theirs

	Registerer prometheus.Registerer
	Gatherer   prometheus.Gatherer
	Logger     *slog.Logger
	MaxUpload  int64            // bytes; 0: what a blob can hold
	Passwords  auth.Cost        // of a password's hash; zero: the default
	Now        func() time.Time // nil: time.Now
}

// States gives the agreed state.
type States interface {
	View() *state.View
	// WaitIndex returns when the state is at least that new.
	WaitIndex(ctx context.Context, index uint64) error
}

// Proposer puts a command into the log, on any node, and returns when this
// node's own state has it. Refusals are *state.Error.
type Proposer interface {
	Propose(ctx context.Context, cmd state.Command) (state.Result, error)
	// ReadIndex returns when this node's own state shows everything that
	// anybody was told of before, at any node.
	ReadIndex(ctx context.Context) (uint64, error)
}

// Library turns what users intend into commands. The indexes are those of a
// state that shows the effect.
type Library interface {
	Import(ctx context.Context, owner state.UserID, name string, blob blobs.Blob, replace bool) (state.Media, uint64, error)
	Convert(ctx context.Context, item state.Media, ask state.Conversion) (state.Job, uint64, error)
}

// Blobs reads stored bytes.
type Blobs interface {
	Open(ctx context.Context, ref blobs.Ref) (blobs.Reader, error)
}

// A BackupFunc writes a backup of the state as it is when it is called, and of
// the files that it names where files says so. An error means that what was
// written is none.
type BackupFunc func(ctx context.Context, w io.Writer, files bool) error

// Mesh is the picture of the nodes that this node has.
type Mesh interface {
	Self() NodeStatus
	Nodes() []NodeStatus // all, dead ones too, with this one
	Ready() error        // why this node is not ready: no leader, not caught up
	// CanDrain returns why a node cannot be emptied now, a *state.Error, or nil.
	CanDrain(id string) error
	// CanForget returns why a node cannot be forgotten without a loss now, a
	// *state.Error, or nil.
	CanForget(ctx context.Context, id string) error
	// Forget takes a node out of the mesh for good.
	Forget(ctx context.Context, id string) error
	Strength() Strength
	// RotateSecret begins to replace the mesh's secret, without waiting for
	// some nodes; users' tokens of the old one stay good for keepSessions.
	RotateSecret(ctx context.Context, without []state.NodeID, keepSessions time.Duration) error
}

// Strength is what the agreement of the mesh bears.
type Strength struct {
	Nodes    int    `json:"nodes"`    // dead ones too
	Voters   int    `json:"voters"`   // nodes whose votes count
	Alive    int    `json:"alive"`    // of those, that answer
	Survives int    `json:"survives"` // of those, so many may be lost and the mesh still agrees; negative: it does not now
	Text     string `json:"text"`     // the same for people, and what to do
}

// Progress asks the nodes that run tasks how far they are. Tasks that nobody can
// tell about are missing in the answer.
type Progress interface {
	Progress(ctx context.Context, tasks []state.Task) map[state.TaskID]TaskProgress
}

// TaskProgress is how far a task under way is.
type TaskProgress struct {
	Fraction float64 `json:"fraction"`          // 0 to 1
	Speed    float64 `json:"speed,omitempty"`   // seconds of media a second; 0 while unknown
	Waiting  bool    `json:"waiting,omitempty"` // it is on its node but others run before it
	Moved    int64   `json:"moved,omitempty"`   // bytes fetched, written and stored: what moves where the others do not
}

// NodeStatus is a node as GET /nodes shows it. Who is no administrator gets the
// fields before Zone.
type NodeStatus struct {
	ID    string `json:"id"`
	Name  string `json:"name"`
	Role  string `json:"role"`  // leader, voter, nonvoter
	State string `json:"state"` // alive, suspect, dead, left
	URL   string `json:"url"`   // where its API is reached: scheme://host:port
	Self  bool   `json:"self,omitempty"`

	Draining Draining `json:"draining,omitempty"` // it is being emptied, or is empty

	AsideUntil time.Time `json:"aside_until,omitzero"` // gets no tasks before that, since those it had failed while others' did not; zero: it does

	ClockOff bool `json:"clock_off,omitempty"` // its clock is far from the leader's

	Zone        string    `json:"zone,omitempty"`
	Version     string    `json:"version,omitempty"`
	CPU         float64   `json:"cpu,omitzero"`          // 0 to 1
	MemoryUsed  uint64    `json:"memory_used,omitzero"`  // bytes
	MemoryTotal uint64    `json:"memory_total,omitzero"` // bytes
	DiskFree    uint64    `json:"disk_free,omitzero"`    // bytes
	DiskTotal   uint64    `json:"disk_total,omitzero"`   // bytes
	Disk        string    `json:"disk,omitempty"`        // full or broken: takes no files; empty: it does
	Log         string    `json:"log,omitempty"`         // low: little room is left for the log, it should not vote; halted: it cannot be written, the node takes no part in what is agreed on
	Capacity    uint64    `json:"capacity,omitzero"`     // bytes: its weight beside the others'
	Stored      uint64    `json:"stored,omitzero"`       // bytes of the chunks on its disk
	Repair      *Repair   `json:"repair,omitempty"`      // what it has still to copy; nothing: all is in place
	Damaged     uint64    `json:"damaged,omitzero"`      // chunks found damaged on its disk since it started
	NetRx       uint64    `json:"net_rx,omitzero"`       // bytes per second
	NetTx       uint64    `json:"net_tx,omitzero"`       // bytes per second
	Tasks       int       `json:"tasks,omitzero"`        // running
	Slots       int       `json:"slots,omitzero"`        // tasks at once, at most
	LoadScore   int       `json:"load_score,omitzero"`   // 0 idle to 100 full
	Converted   uint64    `json:"converted,omitzero"`
	Failed      uint64    `json:"failed,omitzero"`
	UpdatedAt   time.Time `json:"updated_at,omitzero"` // when it was last heard of
}

// Draining is how far a node is that is being emptied.
type Draining string

const (
	IsDraining Draining = "draining" // its chunks move to the others, it gets no tasks
	IsEmpty    Draining = "empty"    // nothing on it is needed any more: it may be stopped
)

// Repair is what a node has still to copy to its disk, or away from it where it
// is being emptied.
type Repair struct {
	Chunks  uint64 `json:"chunks"`
	Bytes   uint64 `json:"bytes"`
	Rate    uint64 `json:"rate,omitzero"`    // bytes per second; 0 while nothing moves
	Seconds uint64 `json:"seconds,omitzero"` // until all is done at that rate; 0 where that cannot be told
}

// Format is one output format, for GET /formats.
type Format struct {
	Name    string         `json:"name"`
	Kind    string         `json:"kind"` // audio or video
	Options []FormatOption `json:"options"`
}

// Purpose is a name that stands for a format and options, for GET /formats.
type Purpose struct {
	Name    string          `json:"name"`
	Kind    string          `json:"kind"` // audio or video
	Format  string          `json:"format"`
	Options json.RawMessage `json:"options"` // an object, as POST /convert takes it
	Text    string          `json:"text"`    // what it is for, for people
}

// FormatOption is one option of a format. Values lists the choices of a type
// that has choices; Min and Max are the limits of a number, where they differ.
type FormatOption struct {
	Name    string   `json:"name"`
	Type    string   `json:"type"` // bitrate, integer, number, choice, time (seconds or h:mm:ss), size (MB); others are texts
	Default string   `json:"default"`
	Min     float64  `json:"min,omitzero"`
	Max     float64  `json:"max,omitzero"`
	Values  []string `json:"values,omitempty"`
}

// validate fills in what may be missing and names what must not.
func (c *Config) validate() (public *url.URL, err error) {
	for name, missing := range map[string]bool{
		"State": c.State == nil, "Proposer": c.Proposer == nil, "Library": c.Library == nil, "Blobs": c.Blobs == nil, "Uploads": c.Uploads == nil,
		"Mesh": c.Mesh == nil, "Registerer": c.Registerer == nil, "Gatherer": c.Gatherer == nil, "Logger": c.Logger == nil, "MeshID": c.MeshID == "", "TokenKeys": c.TokenKeys == nil,
	} {
		if missing {
			return nil, fmt.Errorf("httpapi: Config.%s is missing", name)
		}
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.MaxUpload <= 0 {
		c.MaxUpload = blobs.MaxBlobSize
	}
	if c.PublicURL == "" {
		return nil, nil
	}
	public, err = url.Parse(strings.TrimRight(c.PublicURL, "/"))
	if err != nil || public.Scheme != "http" && public.Scheme != "https" || public.Host == "" || public.RawQuery != "" {
		return nil, errors.New("the public URL must be http://HOST or https://HOST, as people type it")
	}
	return public, nil
}
