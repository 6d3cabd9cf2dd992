package worker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"malla/blobs"
	"malla/cluster/state"
	"malla/node/ffmpeg"
)

// mesh is a mesh of one worker: a state, a log that may be without a leader,
// blobs in memory, and a converter that the test holds in its hand.
type mesh struct {
	t     *testing.T
	state *state.State

	mu         sync.Mutex // guards the fields below
	leaderless int        // so many proposals find no leader
	stored     map[string]string
	kept       map[blobs.Ref][]byte
	discarded  int
	redone     int

	mismatch  bool                      // parts do not fit
	misshapen int                       // so many outputs are not what was asked for
	short     bool                      // outputs end early
	encode    func(ffmpeg.Params) error // what the encoder of a segment does

	convert  func(ctx context.Context) error
	started  chan struct{}
	attempts int
}

func newMesh(t *testing.T) *mesh {
	m := &mesh{t: t, state: state.New(), stored: map[string]string{}, kept: map[blobs.Ref][]byte{}, started: make(chan struct{}, 16),
		convert: func(context.Context) error { return nil }}
	m.must(state.AddUser{ID: "u1", Name: "ana", Password: "phc"})
	m.must(state.RegisterNode{ID: "n1", Name: "node1"})
	m.must(state.AddMedia{ID: "m1", Owner: "u1", Name: "a.mp3", Content: state.Content{Blob: m.keep([]byte("song"))}})
	return m
}

// run starts a worker, which stop ends and waits for; the end of the test does
// so at the latest.
func (m *mesh) run() (stop func()) {
	_, stop = m.start()
	return stop
}

// start is run for who wants to look at the worker.
func (m *mesh) start() (w *Worker, stop func()) {
	w = New(Config{Node: "n1", State: m.state, Proposer: m, Blobs: m, Intake: m, FFmpeg: m, Metrics: m, Scratch: filepath.Join(m.t.TempDir(), "tasks"),
		Describe: func(b blobs.Blob, _ ffmpeg.Info) state.Content { return state.Content{Blob: b} }, Recall: recall, Slots: 2, Logger: slog.New(slog.DiscardHandler)})
	ctx, cancel := context.WithCancel(m.t.Context())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			m.t.Errorf("run: %v", err)
		}
	})
	m.t.Cleanup(stop)
	return w, stop
}

// assign queues a job and gives its task to the node.
func (m *mesh) assign(id string) {
	m.t.Helper()
	m.must(state.AddJob{ID: state.JobID(id), Owner: "u1", Media: "m1", Format: "flac", Tasks: []state.NewTask{{ID: state.TaskID(id), Kind: state.Convert}}})
	m.must(state.AssignTasks{Assignments: []state.Assignment{{Task: state.TaskID(id), Node: "n1"}}})
}

// until waits for a state of the job.
func (m *mesh) until(id string, want state.JobState) state.Job {
	m.t.Helper()
	ctx, cancel := context.WithTimeout(m.t.Context(), 10*time.Second)
	defer cancel()
	for {
		v := m.state.View()
		j, _ := v.Job(state.JobID(id))
		if j.State == want {
			return j
		}
		select {
		case <-v.Changed():
		case <-ctx.Done():
			m.t.Fatalf("job %s is %s, not %s", id, j.State, want)
		}
	}
}

func (m *mesh) must(cmd state.Command) {
	m.t.Helper()
	if _, err := m.apply(cmd); err != nil {
		m.t.Fatalf("%T: %v", cmd, err)
	}
}

func (m *mesh) apply(cmd state.Command) (state.Result, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	entry, err := state.Encode("", cmd)
	if err != nil {
		return state.Result{}, err
	}
	return m.state.Apply(m.state.Index()+1, entry)
}

func (m *mesh) Propose(_ context.Context, cmd state.Command) (state.Result, error) {
	m.mu.Lock()
	without := m.leaderless > 0
	if without {
		m.leaderless--
	}
	m.mu.Unlock()
	if without {
		return state.Result{}, state.ErrNoLeader
	}
	return m.apply(cmd)
}

func (m *mesh) View() *state.View { return m.state.View() }

func (m *mesh) Reserve(int64) (func(), error) { return func() {}, nil }

func (m *mesh) Fill(_ context.Context, ref blobs.Ref, path string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	data, there := m.kept[ref]
	if !there {
		return blobs.ErrNotFound
	}
	return os.WriteFile(path, data, 0o600)
}

func (m *mesh) FillFiles(ctx context.Context, ref blobs.Ref, path string, _ int) ([]string, error) {
	return []string{path}, m.Fill(ctx, ref, path)
}

// keep makes bytes a blob of the mesh.
func (m *mesh) keep(data []byte) blobs.Blob {
	m.mu.Lock()
	defer m.mu.Unlock()
	ref := blobs.RefOf(data)
	m.kept[ref] = data
	return blobs.Blob{Ref: ref, Size: int64(len(data)), SHA256: ref}
}

func (m *mesh) Open(_ context.Context, ref blobs.Ref) (blobs.Reader, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return memory{bytes.NewReader(m.kept[ref])}, nil
}

// memory is a blob in memory.
type memory struct{ *bytes.Reader }

func (memory) Close() error { return nil }

func recall(state.Content) ffmpeg.Info {
	return ffmpeg.Info{Container: ffmpeg.FLAC, Kind: ffmpeg.Audio, Duration: 1,
		Streams: []ffmpeg.Stream{{Type: "audio", Codec: "flac", Channels: 2, SampleRate: 44100, Duration: 1}}}
}

func (m *mesh) Describe(context.Context, ffmpeg.Params, ffmpeg.Report) (ffmpeg.Info, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	info := recall(state.Content{})
	if m.misshapen > 0 {
		m.misshapen--
		info.Kind = ffmpeg.Video
	}
	if m.short {
		info.Duration = 0.1
	}
	return info, nil
}

func (m *mesh) Segment(ctx context.Context, p ffmpeg.Params, _ ffmpeg.Index, s ffmpeg.Segment, _ func(ffmpeg.Progress)) (ffmpeg.Report, error) {
	if m.encode != nil {
		if err := m.encode(p); err != nil {
			return ffmpeg.Report{}, err
		}
	}
	return ffmpeg.Report{CPU: time.Second}, os.WriteFile(p.Output, fmt.Appendf(nil, "[%d-%d]", s.From, s.To), 0o600)
}

func (m *mesh) Audio(_ context.Context, p ffmpeg.Params, _ func(ffmpeg.Progress)) (ffmpeg.Report, error) {
	return ffmpeg.Report{}, os.WriteFile(p.Output, []byte("sound"), 0o600)
}

func (m *mesh) Assemble(_ context.Context, p ffmpeg.Params, _ ffmpeg.Index, j ffmpeg.Join, _ func(ffmpeg.Progress)) (ffmpeg.Report, error) {
	if m.mismatch {
		return ffmpeg.Report{}, &ffmpeg.Error{Kind: ffmpeg.Mismatch, Msg: "a picture is missing"}
	}
	var all []byte
	for _, path := range append(j.Parts, j.Rest) {
		data, err := os.ReadFile(path)
		if err != nil {
			return ffmpeg.Report{}, err
		}
		all = append(all, data...)
	}
	if len(j.Segments) != len(j.Parts) {
		return ffmpeg.Report{}, fmt.Errorf("%d segments in %d files", len(j.Segments), len(j.Parts))
	}
	return ffmpeg.Report{}, os.WriteFile(p.Output, all, 0o600)
}

func (m *mesh) Convert(ctx context.Context, p ffmpeg.Params, _ func(ffmpeg.Progress)) (ffmpeg.Report, error) {
	m.mu.Lock()
	m.attempts++
	convert := m.convert
	m.mu.Unlock()
	m.started <- struct{}{}
	if err := convert(ctx); err != nil {
		return ffmpeg.Report{}, err
	}
	return ffmpeg.Report{}, os.WriteFile(p.Output, []byte("converted"), 0o600)
}

func (m *mesh) Write(_ context.Context, id string, r io.Reader, _ int64) (blobs.Blob, error) {
	data, err := io.ReadAll(r)
	if err != nil {
		return blobs.Blob{}, err
	}
	blob := m.keep(data)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.stored[id] = string(data)
	return blob, nil
}

func (m *mesh) Forget(id string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.stored, id)
	return nil
}

func (m *mesh) Discard(_ context.Context, id string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, there := m.stored[id]; !there {
		return fmt.Errorf("nothing was stored as %s", id)
	}
	delete(m.stored, id)
	m.discarded++
	return nil
}

func (m *mesh) Ended(bool, time.Duration, int64, int64) {}

func (m *mesh) Redone() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.redone++
}

func TestATaskOfThisNodeIsRunAndReported(t *testing.T) {
	m := newMesh(t)
	m.run()
	m.assign("j1")
	if j := m.until("j1", state.Done); j.OutputName != "a_converted.flac" {
		t.Errorf("job: %+v", j)
	}
	if m.attempts != 1 {
		t.Errorf("%d attempts", m.attempts)
	}
}

func TestAnOutputThatEndsEarlySaysSo(t *testing.T) {
	m := newMesh(t)
	m.short = true
	m.run()
	m.assign("j1")
	if j := m.until("j1", state.Done); len(j.Notes) != 1 || !strings.Contains(j.Notes[0], "ends at 0.1 s of 1.0 s") {
		t.Errorf("notes: %q", j.Notes)
	}
}

func TestAReportWaitsForALeader(t *testing.T) {
	m := newMesh(t)
	m.leaderless = 2
	m.run()
	m.assign("j1")
	m.until("j1", state.Done)
	if m.attempts != 1 {
		t.Errorf("converted %d times", m.attempts)
	}
}

func TestATaskThatIsTakenAwayIsStopped(t *testing.T) {
	m := newMesh(t)
	stopped := make(chan struct{})
	m.convert = func(ctx context.Context) error {
		<-ctx.Done()
		close(stopped)
		return ctx.Err()
	}
	m.run()
	m.assign("j1")
	<-m.started
	m.must(state.CancelJob{ID: "j1", Owner: "u1"})
	<-stopped
	if j, _ := m.state.View().Job("j1"); j.State != state.Canceled {
		t.Errorf("job: %+v", j)
	}
}

func TestAResultThatCameTooLateIsDropped(t *testing.T) {
	m := newMesh(t)
	release := make(chan struct{})
	m.convert = func(context.Context) error { <-release; return nil }
	stop := m.run()
	m.assign("j1")
	<-m.started
	m.must(state.CancelJob{ID: "j1", Owner: "u1"})
	close(release)
	stop()
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.stored) != 0 {
		t.Errorf("still stored: %v", m.stored)
	}
}

func TestANodeWithoutFFmpegGivesItsTasksBack(t *testing.T) {
	m := newMesh(t)
	w := New(Config{Node: "n1", State: m.state, Proposer: m, Blobs: m, Intake: m, Metrics: m, Recall: recall, Scratch: filepath.Join(t.TempDir(), "tasks"), Logger: slog.New(slog.DiscardHandler)})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	m.assign("j1")
	for {
		v := m.state.View()
		if k, _ := v.Task("j1"); k.State == state.Waiting {
			if len(k.Tries) != 1 || k.Tries[0].Reason != "the node has no FFmpeg" {
				t.Errorf("task: %+v", k)
			}
			break
		}
		<-v.Changed()
	}
	cancel()
	<-done
}

func TestFailures(t *testing.T) {
	for _, row := range []struct {
		name string
		err  error
		want state.JobState
		text string
	}{
		{"the input is at fault", &ffmpeg.Error{Kind: ffmpeg.Damaged, Msg: "the file is damaged", Log: "secret path"}, state.Failed, "the file is damaged"},
		{"this node is at fault", errors.New("/data/scratch: input/output error"), state.Running, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			m := newMesh(t)
			m.convert = func(context.Context) error { return row.err }
			m.run()
			m.assign("j1")
			<-m.started
			for {
				v := m.state.View()
				if k, _ := v.Task("j1"); k.State != state.Assigned {
					break
				}
				<-v.Changed()
			}
			j := m.until("j1", row.want)
			if j.Error != row.text {
				t.Errorf("the user is told %q", j.Error)
			}
			k, _ := m.state.View().Task("j1")
			if row.want == state.Running && (k.State != state.Waiting || len(k.Tries) != 1) {
				t.Errorf("task: %+v", k)
			}
		})
	}
}
