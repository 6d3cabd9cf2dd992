package ffmpeg

import (
	"context"
	"log/slog"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// newRunner fails where ffmpeg is missing: make test installs it.
func newRunner(t testing.TB, limits Limits) *Runner {
	t.Helper()
	r, err := New(context.Background(), Config{Logger: slog.New(slog.DiscardHandler), Limits: limits})
	if err != nil {
		t.Fatalf("these tests need ffmpeg: %v", err)
	}
	return r
}

// made keeps what makeMedia made: arguments -> bytes.
var made sync.Map

// makeMedia runs ffmpeg with arguments of the test's own and returns the path
// of what it made.
func makeMedia(t testing.TB, name string, args ...string) string {
	t.Helper()
	key := filepath.Ext(name) + " " + strings.Join(args, " ")
	if data, ok := made.Load(key); ok {
		return writeFile(t, name, data.([]byte))
	}
	path := filepath.Join(t.TempDir(), name)
	args = append([]string{"-nostdin", "-v", "error", "-y"}, args...)
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if out, err := exec.CommandContext(ctx, "ffmpeg", append(args, path)...).CombinedOutput(); err != nil {
		t.Fatalf("make %s: %v\n%s", name, err, out)
	}
	made.Store(key, readFile(t, path))
	return path
}

func writeFile(t testing.TB, name string, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func readFile(t testing.TB, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// Two small media of two seconds, as arguments for makeMedia.
var (
	toneArgs = []string{"-f", "lavfi", "-i", "sine=frequency=440:sample_rate=44100:duration=2"}
	filmArgs = []string{"-f", "lavfi", "-i", "testsrc2=size=160x120:rate=25:duration=2",
		"-f", "lavfi", "-i", "sine=frequency=330:sample_rate=48000:duration=2", "-pix_fmt", "yuv420p", "-threads", "1"}
)

// The example media are made once: many tests read them.
var examples struct {
	once       sync.Once
	song, film []byte
}

func loadExamples(t testing.TB) {
	examples.once.Do(func() {
		r := newRunner(t, Limits{})
		dir := t.TempDir()
		for kind, name := range map[MediaKind]string{Audio: "song.mp3", Video: "film.mp4"} {
			if err := r.Generate(t.Context(), kind, 2*time.Second, filepath.Join(dir, name)); err != nil {
				t.Fatalf("generate %s: %v", name, err)
			}
		}
		examples.song = readFile(t, filepath.Join(dir, "song.mp3"))
		examples.film = readFile(t, filepath.Join(dir, "film.mp4"))
	})
}

func song(t testing.TB) string {
	loadExamples(t)
	return writeFile(t, "song.mp3", examples.song)
}

func film(t testing.TB) string {
	loadExamples(t)
	return writeFile(t, "film.mp4", examples.film)
}

func probe(t testing.TB, r *Runner, path string) Info {
	t.Helper()
	info, err := r.Probe(t.Context(), path)
	if err != nil {
		t.Fatalf("probe %s: %v%s", filepath.Base(path), err, details(err))
	}
	return info
}

// details shows what an Error keeps for the log.
func details(err error) string {
	if e, ok := err.(*Error); ok && e.Log != "" {
		return "\n" + e.Log
	}
	return ""
}

// convert converts and probes the result.
func convert(t testing.TB, r *Runner, p Params) Info {
	t.Helper()
	if p.Output == "" {
		p.Output = filepath.Join(t.TempDir(), "out."+p.Format)
	}
	if len(p.Info.Streams) == 0 {
		p.Info = probe(t, r, p.Input)
	}
	if _, err := r.Convert(t.Context(), p, nil); err != nil {
		t.Fatalf("convert to %s: %v%s", p.Format, err, details(err))
	}
	out := probe(t, r, p.Output)
	if err := CheckOutput(p.Info, out, p.Format, p.Options); err != nil {
		t.Fatalf("check %s: %v (%+v)", p.Format, err, out)
	}
	return out
}

func near(a, b, within float64) bool { return math.Abs(a-b) <= within }
