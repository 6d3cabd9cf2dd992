package library

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"malla/blobs"
	"malla/cluster/state"
	"malla/node/ffmpeg"
)

// rig is a library over real FFmpeg, a state of its own, and files as blobs.
type rig struct {
	*Library
	t     *testing.T
	state *state.State
	ff    *ffmpeg.Runner
	files map[blobs.Ref]string
	read  int64 // bytes of blobs that were read
	full  bool  // the disk has no room
	taken int   // reservations that were not given back
}

func newRig(t *testing.T) *rig {
	t.Helper()
	ff, err := ffmpeg.New(t.Context(), ffmpeg.Config{})
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{t: t, state: state.New(), ff: ff, files: map[blobs.Ref]string{}}
	r.Library, err = New(Config{State: r.state, Proposer: r, Blobs: r, Intake: r, FFmpeg: ff, Scratch: filepath.Join(t.TempDir(), "scratch"), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Propose(t.Context(), state.AddUser{ID: "u1", Name: "ana", Password: "phc"}); err != nil {
		t.Fatal(err)
	}
	return r
}

// Propose applies a command as the only node of a mesh would.
func (r *rig) Propose(_ context.Context, cmd state.Command) (state.Result, error) {
	entry, err := state.Encode("", cmd)
	if err != nil {
		return state.Result{}, err
	}
	return r.state.Apply(r.state.Index()+1, entry)
}

func (r *rig) View() *state.View { return r.state.View() }

// Open reads a file as a blob.
func (r *rig) Open(_ context.Context, ref blobs.Ref) (blobs.Reader, error) {
	f, err := os.Open(r.files[ref])
	if err != nil {
		return nil, err
	}
	return &file{f, r}, nil
}

// Write keeps bytes as a file of their own.
func (r *rig) Write(_ context.Context, id string, from io.Reader, limit int64) (blobs.Blob, error) {
	path := filepath.Join(r.t.TempDir(), id)
	data, err := io.ReadAll(io.LimitReader(from, limit))
	if err != nil {
		return blobs.Blob{}, err
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		return blobs.Blob{}, err
	}
	return r.blob(path), nil
}

func (r *rig) Forget(string) error { return nil }

func (r *rig) Reserve(int64) (func(), error) {
	if r.full {
		return nil, blobs.ErrFull
	}
	r.taken++
	return func() { r.taken-- }, nil
}

type file struct {
	*os.File
	rig *rig
}

func (f *file) Read(p []byte) (int, error) {
	n, err := f.File.Read(p)
	f.rig.read += int64(n)
	return n, err
}

func (f *file) Size() int64 {
	info, err := f.Stat()
	if err != nil {
		return 0
	}
	return info.Size()
}

func (r *rig) blob(path string) blobs.Blob {
	r.t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		r.t.Fatal(err)
	}
	ref := blobs.RefOf(data)
	r.files[ref] = path
	return blobs.Blob{Ref: ref, Size: int64(len(data)), SHA256: ref}
}

// made runs ffmpeg to make a film of about 8 MB and returns its path.
func made(t *testing.T, name string, args ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	all := append([]string{"-v", "error", "-f", "lavfi", "-i", "testsrc2=s=640x480:r=25:d=4,noise=alls=60:allf=t", "-f", "lavfi", "-i", "sine=d=4",
		"-c:v", "mpeg4", "-q:v", "2", "-c:a", "libmp3lame"}, args...)
	if out, err := exec.CommandContext(t.Context(), "ffmpeg", append(all, path)...).CombinedOutput(); err != nil {
		t.Fatalf("make %s: %v\n%s", name, err, out)
	}
	return path
}

func TestAProbeOfTwoEndsIsAProbeOfTheWhole(t *testing.T) {
	for _, row := range []struct {
		name  string
		args  []string
		whole bool // the ends are not enough
	}{
		{"index-first.mp4", []string{"-movflags", "+faststart"}, false},
		{"index-last.mp4", nil, false},
		{"film.mkv", nil, false},
		{"film.avi", nil, false},
		{"stream.ts", nil, true},
		{"recording.mkv", []string{"-live", "1"}, false}, // no duration and no index in the header
	} {
		t.Run(row.name, func(t *testing.T) {
			r := newRig(t)
			path := made(t, row.name, row.args...)
			blob := r.blob(path)
			if blob.Size <= 2*edge {
				t.Fatalf("the film has only %d bytes", blob.Size)
			}
			want, err := r.ff.Probe(t.Context(), path)
			if err != nil {
				t.Fatal(err)
			}
			item, _, err := r.Import(t.Context(), "u1", row.name, blob, false)
			if err != nil {
				t.Fatal(err)
			}
			got, _ := json.Marshal(item.Content)
			if all, _ := json.Marshal(Describe(blob, want)); string(got) != string(all) {
				t.Errorf("got  %s\nwant %s", got, all)
			}
			if all := r.read >= blob.Size; all != row.whole {
				t.Errorf("%d of %d bytes were read", r.read, blob.Size)
			}
			if left, err := os.ReadDir(r.cfg.Scratch); err != nil || len(left) != 0 {
				t.Errorf("left behind: %v %v", left, err)
			}
		})
	}
}

func TestAFullDiskKeepsAFilmWhole(t *testing.T) {
	r := newRig(t)
	film, _, err := r.Import(t.Context(), "u1", "film.mkv", r.blob(made(t, "film.mkv", "-vf", "loop=loop=2:size=100")), false)
	if err != nil {
		t.Fatal(err)
	}
	r.full = true
	job, _, err := r.Convert(t.Context(), film, state.Conversion{Format: "webm"})
	if err != nil {
		t.Fatal(err)
	}
	if kinds := r.kinds(job.ID); kinds != "convert" || job.Whole == "" {
		t.Errorf("tasks without room for a look at the film: %s, %q", kinds, job.Whole)
	}
	if _, _, err := r.Import(t.Context(), "u1", "stream.ts", r.blob(made(t, "stream.ts")), false); !errors.Is(err, blobs.ErrFull) {
		t.Errorf("an upload that must be read whole: %v", err)
	}
	r.full = false
	if job, _, err = r.Convert(t.Context(), film, state.Conversion{Format: "webm"}); err != nil || r.kinds(job.ID) == "convert" {
		t.Errorf("with room: %s, %q, %v", r.kinds(job.ID), job.Whole, err)
	}
	if r.taken != 0 {
		t.Errorf("%d reservations are kept", r.taken)
	}
}

func TestWhatIsNoMediaIsNotNamed(t *testing.T) {
	r := newRig(t)
	path := filepath.Join(t.TempDir(), "text.mp4")
	if err := os.WriteFile(path, []byte(strings.Repeat("only text ", 1000)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := r.Import(t.Context(), "u1", "text.mp4", r.blob(path), false); !errors.Is(err, state.ErrNotMedia) {
		t.Errorf("text: %v", err)
	}
	if _, _, err := r.Import(t.Context(), "u1", "a/b.mp4", r.blob(path), false); !errors.Is(err, state.ErrInvalid) {
		t.Errorf("a name with a slash: %v", err)
	}
	for range r.View().MediaOf("u1") {
		t.Error("something was named")
	}
}

// kinds are those of the job's tasks in their order.
func (r *rig) kinds(id state.JobID) string {
	var kinds []string
	for k := range r.View().TasksOf(id) {
		kind := string(k.Kind)
		if k.Kind == state.Segment {
			kind += "+"
		}
		if n := len(kinds); n == 0 || kinds[n-1] != kind {
			kinds = append(kinds, kind)
		}
	}
	return strings.Join(kinds, " ")
}

func TestAFilmIsIndexedWhenItComesIn(t *testing.T) {
	for name, indexed := range map[string]bool{"film.mp4": true, "film.mkv": false} { // which is read whole only when it must be
		r := newRig(t)
		path := made(t, name, "-t", "6", "-vf", "loop=50:1")
		item, _, err := r.Import(t.Context(), "u1", name, r.blob(path), false)
		if err != nil {
			t.Fatal(err)
		}
		if got := !item.Content.Index.Ref.IsZero(); got != indexed {
			t.Errorf("%s: indexed %v", name, got)
		}
		x, err := r.indexOf(t.Context(), &item)
		if err != nil || len(x.Pictures) == 0 || x.Unfit != "" || item.Content.Index.Ref.IsZero() {
			t.Errorf("%s: %d pictures, %q, %v", name, len(x.Pictures), x.Unfit, err)
		}
	}
}

func TestConvertQueuesTasksOrSaysWhyNot(t *testing.T) {
	r := newRig(t)
	film, _, err := r.Import(t.Context(), "u1", "film.mp4", r.blob(made(t, "film.mp4", "-vf", "loop=loop=2:size=100")), false)
	if err != nil {
		t.Fatal(err)
	}
	silent, _, err := r.Import(t.Context(), "u1", "silent.mp4", r.blob(made(t, "silent.mp4", "-an")), false)
	if err != nil {
		t.Fatal(err)
	}
	job, index, err := r.Convert(t.Context(), film, state.Conversion{Format: "WebM", Options: json.RawMessage(`{"crf":"30"}`)})
	if err != nil {
		t.Fatal(err)
	}
	if job.Format != "webm" || job.State != state.Queued || index == 0 || !strings.Contains(job.Recipe, "crf=30") {
		t.Errorf("job: %+v", job)
	}
	if kinds := r.kinds(job.ID); kinds != "audio segment+ assembly" || job.Whole != "" {
		t.Errorf("tasks of a film: %s; %s", kinds, job.Whole)
	}
	if m, _ := r.View().Media(film.ID); m.Content.Index.Ref.IsZero() {
		t.Error("the index was not noted")
	}
	for _, row := range []struct {
		ask   state.Conversion
		whole bool // says why it is not cut
	}{
		{state.Conversion{Format: "avi"}, true},
		{state.Conversion{Format: "mp3"}, false},
		{state.Conversion{Purpose: "podcast"}, false},
		{state.Conversion{Format: "webm", Options: json.RawMessage(`{"size_mb": 1}`)}, true},
	} {
		row.ask.Priority = state.Low
		job, _, err := r.Convert(t.Context(), film, row.ask)
		if err != nil {
			t.Errorf("%+v: %v", row.ask, err)
			continue
		}
		if kinds := r.kinds(job.ID); kinds != "convert" || (job.Whole != "") != row.whole || job.Priority != state.Low {
			t.Errorf("%+v: tasks %s, whole: %q, priority %d", row.ask, kinds, job.Whole, job.Priority)
		}
	}
	for _, row := range []struct {
		item            state.Media
		format, options string
		field           string
	}{
		{film, "exe", ``, "output_format"},
		{film, "webm", `{"crf":99}`, "options.crf"},
		{film, "webm", `{"bitrate":"192k"}`, "options.bitrate"},
		{silent, "mp3", ``, "output_format"},
	} {
		_, _, err := r.Convert(t.Context(), row.item, state.Conversion{Format: row.format, Options: json.RawMessage(row.options)})
		var refused *state.Error
		if !errors.As(err, &refused) || refused.Kind != state.Invalid || refused.Field != row.field {
			t.Errorf("%s to %s with %s: %v", row.item.Name, row.format, row.options, err)
		}
	}
}
