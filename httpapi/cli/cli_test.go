package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/alecthomas/kong"

	"malla/httpapi"
	"malla/node/nodetest"
)

// shell runs commands as a person would type them.
type shell struct {
	t   *testing.T
	env Env
}

func newShell(t *testing.T) *shell {
	return &shell{t: t, env: Env{ConfigDir: filepath.Join(t.TempDir(), "malla"), ctx: t.Context()}}
}

// run returns what the command printed, and its exit code with what was said.
func (s *shell) run(stdin string, args ...string) (stdout, stderr string, code int) {
	s.t.Helper()
	var out, errs bytes.Buffer
	env := s.env
	env.Stdin, env.Stdout, env.Stderr = strings.NewReader(stdin), &out, &errs
	var commands Commands
	parser, err := kong.New(&commands, append(Options(), kong.Exit(func(int) {}))...)
	if err != nil {
		s.t.Fatal(err)
	}
	chosen, err := parser.Parse(args)
	if err == nil {
		err = chosen.Run(&env)
	}
	code = Report(&errs, err)
	return out.String(), errs.String(), code
}

// ok runs a command that must work, and returns what it printed.
func (s *shell) ok(args ...string) string {
	s.t.Helper()
	out, said, code := s.run("", args...)
	if code != 0 {
		s.t.Fatalf("malla %s: exit code %d: %s", strings.Join(args, " "), code, said)
	}
	return out
}

// fails runs a command that must end with the code and say the text.
func (s *shell) fails(code int, text string, args ...string) {
	s.t.Helper()
	_, said, got := s.run("", args...)
	if got != code || !strings.Contains(said, text) {
		s.t.Errorf("malla %s: exit code %d, %q; want %d and %q", strings.Join(args, " "), got, said, code, text)
	}
}

// tone is a WAV file of so many seconds.
func tone(seconds float64, pitch float64) []byte {
	n := int(seconds * 8000)
	data := []byte("RIFF\x00\x00\x00\x00WAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00\x40\x1f\x00\x00\x80\x3e\x00\x00\x02\x00\x10\x00data")
	data = append(data, byte(2*n), byte(2*n>>8), byte(2*n>>16), byte(2*n>>24))
	for i := range n {
		v := int16(8000 * math.Sin(2*math.Pi*pitch*float64(i)/8000))
		data = append(data, byte(v), byte(v>>8))
	}
	size := len(data) - 8
	copy(data[4:], []byte{byte(size), byte(size >> 8), byte(size >> 16), byte(size >> 24)})
	return data
}

func TestTheWholeLifeOfAFile(t *testing.T) {
	t.Parallel()
	node := nodetest.New(t, 1).Node(0)
	s := newShell(t)
	s.fails(exitUsage, "malla login --server", "ls")
	s.fails(exitDenied, "not logged in to "+node.URL(), "ls", "--server", node.URL())

	if _, said, code := s.run("correct horse\n", "login", "ana", "--signup", "--password-stdin", "--server", node.URL()+"/"); code != 0 {
		t.Fatalf("login: %d, %s", code, said)
	}
	info, err := os.Stat(filepath.Join(s.env.ConfigDir, "config.json"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("config.json: %v, %v", info.Mode(), err)
	}
	dir, err := os.Stat(s.env.ConfigDir)
	if err != nil || dir.Mode().Perm() != 0o700 {
		t.Errorf("its folder: %v, %v", dir.Mode(), err)
	}

	music := t.TempDir()
	song := tone(2, 440)
	for name, data := range map[string][]byte{"song.wav": song, "more/other.wav": tone(1, 220), "notes.txt": []byte("not sent")} {
		path := filepath.Join(music, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, data, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	if out := s.ok("put", music); !strings.Contains(out, "song.wav\n") || !strings.Contains(out, "other.wav\n") {
		t.Errorf("put: %q", out)
	}
	if out := s.ok("put", music); strings.Count(out, "is there already") != 2 {
		t.Errorf("put again: %q", out)
	}
	s.fails(exitFailed, "notes.txt", "put", filepath.Join(music, "notes.txt"))

	if out := s.ok("ls"); !strings.Contains(out, "song.wav") || !strings.Contains(out, "audio") || !strings.Contains(out, "0:02") {
		t.Errorf("ls: %q", out)
	}
	if out := s.ok("ls", "oth", "--names", "--consistency", "strong"); out != "other.wav\n" {
		t.Errorf("a strong ls: %q", out)
	}
	s.fails(exitUsage, "stale\",\"session\",\"strong", "ls", "--consistency", "new")
	if out := s.ok("ls", "oth", "--names"); out != "other.wav\n" {
		t.Errorf("ls oth: %q", out)
	}
	var items []httpapi.Media
	if err := json.Unmarshal([]byte(s.ok("ls", "--json")), &items); err != nil || len(items) != 2 {
		t.Errorf("ls --json: %v, %v", items, err)
	}

	if out := s.ok("convert", "song.wav", "mp3", "--bitrate", "128k", "--wait"); out != "song_converted.mp3\n" {
		t.Errorf("convert: %q", out)
	}
	s.fails(exitFailed, "bitrate", "convert", "song.wav", "mp3", "--bitrate", "loud")
	s.fails(exitNotFound, "no file of that name", "convert", "nothing.wav", "mp3")
	if out := s.ok("jobs"); !strings.Contains(out, "song_converted.mp3") || !strings.Contains(out, "completed") {
		t.Errorf("jobs: %q", out)
	}
	if out := s.ok("jobs", "--status", "failed", "--json"); strings.TrimSpace(out) != "[]" {
		t.Errorf("failed jobs: %q", out)
	}

	if out := s.ok("convert", "song.wav", "other.wav", "flac", "--wait", "--priority", "low", "--option", "compression=3"); out != "song_converted.flac\nother_converted.flac\n" {
		t.Errorf("convert two: %q", out)
	}
	if out, said, code := s.run("", "convert", "song.wav", "nothing.wav", "--format", "wav", "--wait"); code != exitFailed || !strings.HasPrefix(out, "song_converted") || !strings.Contains(said, "nothing.wav: there is no file of that name") {
		t.Errorf("convert one of two: %d, %q, %q", code, out, said)
	}
	s.fails(exitDenied, "administrators", "convert", "song.wav", "mp3", "--priority", "high")
	s.fails(exitUsage, "to what", "convert", "song.wav")

	there := t.TempDir()
	got := filepath.Join(there, "song.wav")
	s.ok("get", "--dir", there, "song.wav", "song_converted.mp3")
	if data, err := os.ReadFile(got); err != nil || !bytes.Equal(data, song) {
		t.Errorf("get: %d bytes, %v", len(data), err)
	}
	if out := s.ok("get", "song.wav", "--output", got); !strings.Contains(out, "is here already") {
		t.Errorf("get again: %q", out)
	}
	if err := os.WriteFile(got, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.fails(exitFailed, "--force", "get", "song.wav", "--output", got)
	s.ok("get", "song.wav", "--output", got, "--force")
	if out := s.ok("get", "song.wav", "-o", "-"); out != string(song) {
		t.Errorf("get to the standard output: %d bytes", len(out))
	}

	link := strings.TrimSpace(s.ok("share", "song.wav", "--minutes", "5"))
	res, err := http.Get(link)
	if err != nil {
		t.Fatal(err)
	}
	if data := nodetest.Read(t, res.Body); !bytes.Equal(data, song) {
		t.Errorf("the share %s gave %d bytes, %s", link, len(data), res.Status)
	}

	if out := s.ok("nodes"); !strings.Contains(out, "node1") || !strings.Contains(out, "leader") {
		t.Errorf("nodes: %q", out)
	}
	if out := s.ok("status"); !strings.Contains(out, "ana") || !strings.Contains(out, "node1") || !strings.Contains(out, "4 done") {
		t.Errorf("status: %q", out)
	}
	s.ok("health", node.URL(), "--ready")

	s.fails(exitUsage, "--yes", "rm", "song.wav")
	s.fails(exitNotFound, "nothing.wav", "rm", "--yes", "song.wav", "nothing.wav")
	if out := s.ok("ls", "--names"); strings.Contains(out, "song.wav\n") {
		t.Errorf("after rm: %q", out)
	}

	s.ok("logout")
	s.fails(exitDenied, "not logged in", "ls")
	if out := s.ok("status"); strings.Contains(out, "ana") {
		t.Errorf("status after logout: %q", out)
	}
	if _, said, code := s.run("wrong password\n", "login", "ana", "--password-stdin"); code != exitFailed || !strings.Contains(said, "wrong user name or password") {
		t.Errorf("login with a wrong password: %d, %s", code, said)
	}
}

// TestTheTrash deletes and restores as a person types it.
func TestTheTrash(t *testing.T) {
	t.Parallel()
	node := nodetest.New(t, 1).Node(0)
	s := newShell(t)
	if _, said, code := s.run("correct horse\n", "login", "ana", "--signup", "--password-stdin", "--server", node.URL()); code != 0 {
		t.Fatalf("login: %d, %s", code, said)
	}
	if _, said, _ := s.run("", "trash"); !strings.Contains(said, "The trash is empty") {
		t.Errorf("trash: %q", said)
	}
	s.ok("put", nodetest.File(t, "song.wav", tone(1, 440)))
	if out, said, code := s.run("", "rm", "--yes", "song.wav"); code != 0 || out != "deleted song.wav\n" || !strings.Contains(said, "In the trash until 2") {
		t.Errorf("rm: %d, %q, %q", code, out, said)
	}
	if out := s.ok("trash"); !strings.Contains(out, "song.wav") || !strings.Contains(out, "GOES") {
		t.Errorf("trash: %q", out)
	}
	s.ok("put", nodetest.File(t, "song.wav", tone(1, 220)))
	if out := s.ok("trash", "restore", "song.wav"); out != "restored song (2).wav\n" {
		t.Errorf("restore: %q", out)
	}
	s.fails(exitNotFound, "no such file in the trash", "trash", "restore", "song.wav")
	s.ok("rm", "--yes", "song.wav")
	s.ok("put", nodetest.File(t, "song.wav", tone(1, 330)))
	s.ok("rm", "--yes", "song.wav", "song (2).wav")
	s.fails(exitUsage, "2 files of that name", "trash", "rm", "--yes", "song.wav")
	s.fails(exitUsage, "add --yes", "trash", "rm", "song (2).wav")
	s.fails(exitUsage, "add --yes", "trash", "empty")
	if out := s.ok("trash", "rm", "--yes", "song (2).wav"); out != "deleted song (2).wav for good\n" {
		t.Errorf("trash rm: %q", out)
	}
	if out := s.ok("trash", "empty", "--yes"); out != "deleted 2 files for good\n" {
		t.Errorf("trash empty: %q", out)
	}
	if out := s.ok("trash", "--json"); out != "[]\n" {
		t.Errorf("trash --json: %q", out)
	}
}

func TestCanceledJob(t *testing.T) {
	t.Parallel()
	node := nodetest.New(t, 1).Node(0)
	s := newShell(t)
	if _, said, code := s.run("correct horse\n", "login", "ana", "--signup", "--password-stdin", "--server", node.URL()); code != 0 {
		t.Fatalf("login: %d, %s", code, said)
	}
	s.ok("put", nodetest.File(t, "long.wav", tone(300, 300)))
	var asked httpapi.Converting
	if err := json.Unmarshal([]byte(s.ok("convert", "long.wav", "aac", "--json")), &asked); err != nil {
		t.Fatal(err)
	}
	if out := s.ok("cancel", asked.JobID); out != "canceled "+asked.JobID+"\n" {
		t.Errorf("cancel: %q", out)
	}
	if out := s.ok("jobs"); !strings.Contains(out, "canceled") {
		t.Errorf("jobs: %q", out)
	}
	s.fails(exitFailed, "ended already", "cancel", asked.JobID)
	if out := s.ok("job", asked.JobID); !strings.Contains(out, "long.wav to aac") || !strings.Contains(out, "canceled, 0%") || !strings.Contains(out, "given_up") {
		t.Errorf("job: %q", out)
	}
	if out := s.ok("log", asked.JobID); !strings.HasPrefix(out, "long.wav to aac\n") || !strings.Contains(out, "canceled") {
		t.Errorf("log: %q", out)
	}
	s.fails(exitFailed, "ended already", "priority", asked.JobID, "low")
	if out := s.ok("retry", asked.JobID); out != "retried "+asked.JobID+"\n" {
		t.Errorf("retry: %q", out)
	}
	if out := s.ok("job", asked.JobID, "--watch"); !strings.Contains(out, "completed, 100%") {
		t.Errorf("job --watch: %q", out)
	}
	s.fails(exitFailed, "failed or was canceled", "retry", asked.JobID)
	s.fails(exitNotFound, "no job with that id", "cancel", "NOSUCHJOB")
}

// A put that is interrupted goes on where it stopped; nothing is sent twice.
func TestPutGoesOnAfterAnInterrupt(t *testing.T) {
	t.Parallel()
	node := nodetest.New(t, 1).Node(0)
	var received atomic.Int64 // by PATCH, in all
	var interrupt atomic.Pointer[context.CancelFunc]
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var body io.Reader = r.Body
		if r.Method == http.MethodPatch {
			body = readerFunc(func(b []byte) (int, error) {
				n, err := r.Body.Read(b)
				if stop := interrupt.Load(); received.Add(int64(n)) > 5<<20 && stop != nil {
					(*stop)()
				}
				return n, err
			})
		}
		req, err := http.NewRequestWithContext(r.Context(), r.Method, node.URL()+r.URL.RequestURI(), body)
		if err != nil {
			t.Error(err)
			return
		}
		req.Header, req.ContentLength = r.Header.Clone(), r.ContentLength
		res, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		defer res.Body.Close()
		for name, values := range res.Header {
			w.Header()[name] = values
		}
		if at := res.Header.Get("Location"); at != "" {
			w.Header().Set("Location", strings.TrimPrefix(at, node.URL()))
		}
		w.WriteHeader(res.StatusCode)
		io.Copy(w, res.Body)
	}))
	defer proxy.Close()

	s := newShell(t)
	if _, said, code := s.run("correct horse\n", "login", "ana", "--signup", "--password-stdin", "--server", proxy.URL); code != 0 {
		t.Fatalf("login: %d, %s", code, said)
	}
	film := tone(700, 440) // 11 MB
	path := nodetest.File(t, "long.wav", film)
	ctx, cancel := context.WithCancel(t.Context())
	s.env.ctx = ctx
	interrupt.Store(&cancel)
	s.fails(exitInterrupted, "interrupted", "put", path)
	interrupt.Store(nil)
	s.env.ctx = t.Context()

	before := received.Load()
	if out := s.ok("put", path); out != "long.wav\n" {
		t.Errorf("put again: %q", out)
	}
	if again := received.Load() - before; again >= int64(len(film)) {
		t.Errorf("the second run sent %d bytes of %d", again, len(film))
	}
	if out := s.ok("get", "long.wav", "-o", "-"); out != string(film) {
		t.Errorf("%d bytes came back, sent were %d", len(out), len(film))
	}
	left, err := os.ReadFile(filepath.Join(s.env.ConfigDir, "uploads.json"))
	if err != nil || strings.TrimSpace(string(left)) != "{}" {
		t.Errorf("uploads.json: %s, %v", left, err)
	}
}
