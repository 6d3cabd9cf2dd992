package httpapi

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"malla/blobs"
	"malla/blobs/upload"
	"malla/cluster/state"
	"malla/httpapi/auth"
)

// rig is a whole API over a real state and a real store of uploads; around them
// are small fakes: a log of one node, a library that believes what it is told.
type rig struct {
	t        testing.TB
	api      *API
	url      string
	log      *oneNode
	library  *plainLibrary
	disk     *folder
	mesh     *fewNodes
	progress *figures
	clock    *clock
	tokens   map[string]string // user -> token
	logged   *lockedBuffer
}

// testTrashKeep is how long the mesh of a rig keeps what is deleted.
const testTrashKeep = 7 * 24 * time.Hour

const setupToken = "one-time-setup-token"

func newRig(t testing.TB, change ...func(*Config)) *rig {
	t.Helper()
	r := &rig{t: t, clock: &clock{now: time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)}, tokens: map[string]string{}, logged: &lockedBuffer{}}
	r.log = &oneNode{State: state.New()}
	r.disk = &folder{dir: t.TempDir()}
	uploads, err := upload.Open(upload.Config{Dir: t.TempDir(), Dest: r.disk, Self: "n1", Peers: alone{}})
	if err != nil {
		t.Fatal(err)
	}
	r.library = &plainLibrary{log: r.log, disk: r.disk, now: r.clock.Now}
	r.mesh = &fewNodes{}
	r.mesh.set(
		NodeStatus{ID: "n1", Name: "worker_a", Role: "leader", State: "alive", URL: "http://10.0.0.1:8000", CPU: 0.5, MemoryUsed: 2e6, Tasks: 1, Slots: 2, LoadScore: 40, Converted: 7},
		NodeStatus{ID: "n2", Name: "worker_b", Role: "voter", State: "dead", URL: "http://10.0.0.2:8000", CPU: 0.9, Failed: 2},
	)
	r.log.must(t, state.RegisterNode{ID: "n1", Name: "worker_a", At: r.clock.Now()}, state.RegisterNode{ID: "n2", Name: "worker_b", At: r.clock.Now()})
	r.progress = &figures{}
	registry := prometheus.NewRegistry()
	cfg := Config{
		State: r.log, Proposer: r.log, Library: r.library, Blobs: r.disk, Uploads: uploads, Mesh: r.mesh, Progress: r.progress,
		Formats:   []Format{{Name: "mp3", Kind: "audio", Options: []FormatOption{{Name: "bitrate", Type: "bitrate", Default: "192k"}}}, {Name: "wav", Kind: "audio"}},
		Purposes:  []Purpose{{Name: "phone", Kind: "video", Format: "webm", Options: json.RawMessage(`{"crf":33}`), Text: "for a phone"}},
		TokenKeys: func() [][]byte { return [][]byte{bytes.Repeat([]byte("k"), 32)} }, MeshID: "00ff00ff00ff00ff", SetupToken: func() string { return setupToken }, SignupOpen: true, TrashKeep: testTrashKeep, Version: "test",
		Registerer: registry, Gatherer: registry, Logger: slog.New(slog.NewTextHandler(r.logged, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Passwords: auth.Cost{Memory: 64, Passes: 1, Lanes: 1}, Now: r.clock.Now,
	}
	for _, f := range change {
		f(&cfg)
	}
	if r.api, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	r.api.tick = 10 * time.Millisecond
	server := httptest.NewServer(r.api.Handler())
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	r.url = server.URL
	return r
}

// alone is how a node alone keeps the records of uploads.
type alone struct{}

func (alone) Nodes() []upload.Peer { return nil }

func (alone) Do(context.Context, string, *http.Request) (*http.Response, error) {
	return nil, errors.New("no such node")
}

// req is a request of a test. A body that is no text, bytes or reader is sent as JSON.
type req struct {
	method, path string
	as           string // user; "" nobody
	header       []string
	body         any
}

type reply struct {
	t      testing.TB
	what   string
	status int
	header http.Header
	body   []byte
}

func (r *rig) do(q req) *reply {
	r.t.Helper()
	var body io.Reader
	switch b := q.body.(type) {
	case nil:
	case string:
		body = strings.NewReader(b)
	case []byte:
		body = bytes.NewReader(b)
	case io.Reader:
		body = b
	default:
		text, err := json.Marshal(b)
		if err != nil {
			r.t.Fatal(err)
		}
		body = bytes.NewReader(text)
	}
	request, err := http.NewRequest(q.method, r.url+q.path, body)
	if err != nil {
		r.t.Fatal(err)
	}
	if q.as != "" {
		request.Header.Set("Authorization", "Bearer "+r.token(q.as))
	}
	for i := 0; i+1 < len(q.header); i += 2 {
		if q.header[i] == "Host" {
			request.Host = q.header[i+1]
			continue
		}
		request.Header.Set(q.header[i], q.header[i+1])
	}
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	res, err := client.Do(request)
	if err != nil {
		r.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		r.t.Fatalf("%s %s: %v", q.method, q.path, err)
	}
	return &reply{r.t, q.method + " " + q.path, res.StatusCode, res.Header, text}
}

// want fails unless the status is that, and a refusal is a whole problem.
func (p *reply) want(status int) *reply {
	p.t.Helper()
	if p.status != status {
		p.t.Fatalf("%s: status %d, want %d; body %s", p.what, p.status, status, p.body)
	}
	if status < 400 || strings.HasPrefix(p.what, "HEAD") {
		return p
	}
	var problem Problem
	p.read(&problem)
	if p.header.Get("Content-Type") != "application/problem+json" || problem.Status != status || problem.Type == "" || problem.Title == "" || problem.Detail == "" || problem.Instance == "" {
		p.t.Errorf("%s: not a whole problem: %s %s", p.what, p.header.Get("Content-Type"), p.body)
	}
	return p
}

// refused is want for a problem that names a field, or says some words.
func (p *reply) refused(status int, field string) *reply {
	p.t.Helper()
	p.want(status)
	if got := read[Problem](p).Field; got != field {
		p.t.Errorf("%s: field %q, want %q: %s", p.what, got, field, p.body)
	}
	return p
}

func (p *reply) read(v any) {
	p.t.Helper()
	if err := json.Unmarshal(p.body, v); err != nil {
		p.t.Fatalf("%s: %v in %s", p.what, err, p.body)
	}
}

func read[T any](p *reply) T {
	p.t.Helper()
	var v T
	p.read(&v)
	return v
}

const password = "correct horse"

// token signs the user up where that has not happened. "root" is the administrator.
func (r *rig) token(name string) string {
	r.t.Helper()
	if r.tokens[name] == "" {
		q := req{method: "POST", path: "/auth/signup", body: credentials{name, password}}
		if name == "root" {
			q = req{method: "POST", path: "/auth/setup", body: map[string]string{"token": setupToken, "username": name, "password": password}}
		}
		r.tokens[name] = read[Token](r.do(q).want(200)).AccessToken
	}
	return r.tokens[name]
}

func (r *rig) user(name string) state.User {
	r.t.Helper()
	r.token(name)
	u, ok := r.log.View().UserByName(name)
	if !ok {
		r.t.Fatalf("no user %s", name)
	}
	return u
}

// put uploads a file for the user.
func (r *rig) put(as, name, content string) Media {
	r.t.Helper()
	body, kind := form(r.t, name, content)
	return read[Uploaded](r.do(req{method: "POST", path: "/upload", as: as, header: []string{"Content-Type", kind}, body: body}).want(200)).Item
}

func form(t testing.TB, name, content string) ([]byte, string) {
	t.Helper()
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	part, err := w.CreateFormFile("file", name)
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(part, content)
	w.Close()
	return b.Bytes(), w.FormDataContentType()
}

// queue makes a job of the user's, on a file of that name.
func (r *rig) queue(as, name string) string {
	r.t.Helper()
	r.put(as, name, "sound of "+name)
	return read[Converting](r.do(req{method: "POST", path: "/convert", as: as, body: map[string]string{"input_file": name, "output_format": "mp3"}}).want(200)).JobID
}

// assign gives the job's task to the first node; finish makes it end well.
func (r *rig) assign(job string) {
	r.t.Helper()
	r.log.must(r.t, state.AssignTasks{Assignments: []state.Assignment{{Task: state.TaskID(job + "-t"), Node: "n1"}}, At: r.clock.Now()})
}

func (r *rig) finish(job, content string) {
	r.t.Helper()
	r.log.must(r.t, state.FinishTask{Task: state.TaskID(job + "-t"), Attempt: 1, Output: r.disk.content(r.t, content), Media: state.MediaID(rand.Text()), At: r.clock.Now()})
}

// oneNode is a log of one node: what is proposed is agreed, unless there is no leader.
type oneNode struct {
	*state.State
	mu         sync.Mutex
	index      uint64
	leaderless bool
}

func (l *oneNode) Propose(_ context.Context, cmd state.Command) (state.Result, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.leaderless {
		return state.Result{}, state.Errorf(state.NoLeader, "the mesh has no leader")
	}
	data, err := state.Encode("", cmd)
	if err != nil {
		return state.Result{}, err
	}
	l.index++
	return l.Apply(l.index, data)
}

// ReadIndex confirms what is there: this node is all there is.
func (l *oneNode) ReadIndex(context.Context) (uint64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.leaderless {
		return 0, state.Errorf(state.NoLeader, "the mesh has no leader")
	}
	return l.index, nil
}

func (l *oneNode) lead(on bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.leaderless = !on
}

func (l *oneNode) must(t testing.TB, cmds ...state.Command) {
	t.Helper()
	for _, cmd := range cmds {
		if _, err := l.Propose(t.Context(), cmd); err != nil {
			t.Fatalf("%T: %v", cmd, err)
		}
	}
}

// plainLibrary believes what names and first bytes say.
type plainLibrary struct {
	log  *oneNode
	disk *folder
	now  func() time.Time
	fail error
}

func (l *plainLibrary) Import(ctx context.Context, owner state.UserID, name string, blob blobs.Blob, replace bool) (state.Media, uint64, error) {
	if l.fail != nil {
		return state.Media{}, 0, l.fail
	}
	r, err := l.disk.Open(ctx, blob.Ref)
	if err != nil {
		return state.Media{}, 0, err
	}
	defer r.Close()
	head := make([]byte, 8)
	n, _ := io.ReadFull(r, head)
	if strings.HasPrefix(string(head[:n]), "text") {
		return state.Media{}, 0, state.Errorf(state.NotMedia, "this is text, not audio or video")
	}
	content := state.Content{Blob: blob, Type: "audio/mpeg", Kind: "audio", Duration: 3}
	switch filepath.Ext(name) {
	case ".mp4":
		content.Type, content.Kind = "video/mp4", "video"
	case ".svg":
		content.Type = "image/svg+xml"
	}
	done, err := l.log.Propose(ctx, state.AddMedia{ID: state.MediaID(rand.Text()), Owner: owner, Name: name, Content: content, Replace: replace, At: l.now()})
	if err != nil {
		return state.Media{}, 0, err
	}
	m, _ := l.log.View().Media(state.MediaID(done.ID))
	return m, done.Index, nil
}

func (l *plainLibrary) Convert(ctx context.Context, item state.Media, ask state.Conversion) (state.Job, uint64, error) {
	format, options := ask.Format, ask.Options
	if ask.Purpose != "" && ask.Purpose != "phone" {
		return state.Job{}, 0, state.InvalidField("purpose", "%q is none of phone", ask.Purpose)
	}
	if ask.Purpose == "phone" && format == "" {
		format = "webm"
	}
	if format != "mp3" && format != "webm" {
		return state.Job{}, 0, state.InvalidField("output_format", "%q is none of mp3, webm", format)
	}
	var o struct{ CRF *int }
	if len(options) > 0 && (json.Unmarshal(options, &o) != nil || o.CRF != nil && *o.CRF > 63) {
		return state.Job{}, 0, state.InvalidField("options.crf", "must be from 0 to 63")
	}
	id := rand.Text()
	done, err := l.log.Propose(ctx, state.AddJob{ID: state.JobID(id), Owner: item.Owner, Media: item.ID, Priority: ask.Priority, Format: format, Options: options, Recipe: format,
		Tasks: []state.NewTask{{ID: state.TaskID(id + "-t"), Kind: state.Convert}}, At: l.now()})
	if err != nil {
		return state.Job{}, 0, err
	}
	job, _ := l.log.View().Job(state.JobID(done.ID))
	return job, done.Index, nil
}

// folder keeps chunks as files, and reads blobs from them.
type folder struct {
	dir string

	mu   sync.Mutex
	full bool
	gone bool // nothing can be read
}

func (d *folder) Reserve(int64) (func(), error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.full {
		return nil, blobs.ErrFull
	}
	return func() {}, nil
}

func (d *folder) Spread(_ context.Context, _ string, ref blobs.Ref, path string) error {
	return os.Rename(path, filepath.Join(d.dir, ref.String()))
}

func (d *folder) Confirm(context.Context, string, []blobs.Ref) error { return nil }

func (d *folder) Discard(_ context.Context, _ string, refs []blobs.Ref) error {
	for _, ref := range refs {
		os.Remove(filepath.Join(d.dir, ref.String()))
	}
	return nil
}

func (d *folder) set(full, gone bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.full, d.gone = full, gone
}

// chunks is how many chunks are there.
func (d *folder) chunks(t testing.TB) int {
	t.Helper()
	entries, err := os.ReadDir(d.dir)
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

type openBlob struct{ *bytes.Reader }

func (openBlob) Close() error { return nil }

func (d *folder) Open(_ context.Context, ref blobs.Ref) (blobs.Reader, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.gone {
		return nil, blobs.ErrUnavailable
	}
	text, err := os.ReadFile(filepath.Join(d.dir, ref.String()))
	if err != nil {
		return nil, blobs.ErrNotFound
	}
	m, err := blobs.DecodeManifest(text)
	if err != nil {
		return nil, err
	}
	var all []byte
	for _, chunk := range m.Chunks {
		part, err := os.ReadFile(filepath.Join(d.dir, chunk.String()))
		if err != nil {
			return nil, blobs.ErrNotFound
		}
		all = append(all, part...)
	}
	return openBlob{bytes.NewReader(all)}, nil
}

// content stores bytes as a finished output.
func (d *folder) content(t testing.TB, text string) state.Content {
	t.Helper()
	m := blobs.Manifest{Size: int64(len(text)), SHA256: blobs.RefOf([]byte(text)), Chunks: []blobs.Ref{blobs.RefOf([]byte(text))}}
	for ref, data := range map[blobs.Ref][]byte{m.Chunks[0]: []byte(text), m.Blob().Ref: m.Encode()} {
		if err := os.WriteFile(filepath.Join(d.dir, ref.String()), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return state.Content{Blob: m.Blob(), Type: "audio/mpeg", Kind: "audio", Duration: 3}
}

// fewNodes is the picture of a mesh.
type fewNodes struct {
	mu    sync.Mutex
	nodes []NodeStatus
	ready error

	forgotten    []string
	without      []state.NodeID // of the last rotation asked for
	keepSessions time.Duration
}

func (m *fewNodes) set(nodes ...NodeStatus) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.nodes = nodes
}

func (m *fewNodes) unready(why error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ready = why
}

func (m *fewNodes) Self() NodeStatus { return m.Nodes()[0] }

func (m *fewNodes) Nodes() []NodeStatus {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]NodeStatus(nil), m.nodes...)
}

func (m *fewNodes) CanDrain(id string) error {
	if id == "n2" {
		return state.Errorf(state.Conflict, "it does not answer")
	}
	return nil
}

func (m *fewNodes) CanForget(_ context.Context, id string) error { return m.CanDrain(id) }

func (m *fewNodes) Forget(_ context.Context, id string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.forgotten = append(m.forgotten, id)
	return nil
}

func (m *fewNodes) Strength() Strength {
	return Strength{Nodes: 2, Voters: 2, Alive: 2, Text: "survives the loss of no node"}
}

func (m *fewNodes) RotateSecret(_ context.Context, without []state.NodeID, keepSessions time.Duration) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.without, m.keepSessions = without, keepSessions
	return nil
}

func (m *fewNodes) Ready() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.ready
}

// figures is how far tasks are: all the same.
type figures struct {
	mu    sync.Mutex
	value float64
	speed float64
	asked int
}

func (f *figures) set(v float64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.value = v
}

func (f *figures) Progress(_ context.Context, tasks []state.Task) map[state.TaskID]TaskProgress {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked++
	all := map[state.TaskID]TaskProgress{}
	for _, k := range tasks {
		all[k.ID] = TaskProgress{Fraction: f.value, Speed: f.speed}
	}
	return all
}

// clock is the time of a test.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

var errBoom = errors.New("boom: /secret/path")

func quoted(s string) string { return fmt.Sprintf("%q", s) }

func failTask(job, reason string, at time.Time) state.Command {
	return state.FailTask{Task: state.TaskID(job + "-t"), Attempt: 1, Reason: reason, Final: true, At: at}
}
