package cli

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"malla/blobs"
	"malla/httpapi/backup"
)

// aBackup is the stream of one, which lacks a chunk if wanted.
func aBackup(t *testing.T, lacks bool) []byte {
	t.Helper()
	var stream bytes.Buffer
	chunk := []byte("bytes of a file")
	b, err := backup.NewWriter(&stream, backup.Header{Version: "test", Mesh: "00ff", Index: 7, At: time.Now(), Files: true})
	if err != nil {
		t.Fatal(err)
	}
	err = b.State(func(w io.Writer) error { _, err := io.WriteString(w, "the state\n"); return err })
	err = errors.Join(err, b.Chunk(blobs.RefOf(chunk), int64(len(chunk)), bytes.NewReader(chunk)))
	if lacks {
		b.Missing(blobs.RefOf([]byte("lost")))
	}
	if err := errors.Join(err, b.Close()); err != nil {
		t.Fatal(err)
	}
	return stream.Bytes()
}

func TestBackupCommand(t *testing.T) {
	whole := aBackup(t, false)
	sent := len(whole)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/auth/login":
			io.WriteString(w, `{"access_token": "t", "token_type": "bearer"}`)
		case "/cluster/backup":
			w.Write(whole[:sent])
			if sent < len(whole) {
				panic(http.ErrAbortHandler)
			}
		default:
			io.WriteString(w, "{}")
		}
	}))
	defer server.Close()
	s := newShell(t)
	if _, said, code := s.run("correct horse\n", "login", "root", "--server", server.URL, "--password-stdin"); code != 0 {
		t.Fatal(said)
	}

	file := filepath.Join(t.TempDir(), "monday.tar")
	s.ok("backup", "--with-files", "-o", file)
	if got, err := os.ReadFile(file); err != nil || !bytes.Equal(got, whole) {
		t.Errorf("saved %d bytes of %d: %v", len(got), len(whole), err)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if out, said, code := s.run("", "backup", "-o", "-"); code != 0 || out != string(whole) {
		t.Errorf("to the standard output: %d, %d bytes, %s", code, len(out), said)
	}
	s.ok("backup", "--check", file)
	if _, said, code := s.run(string(whole[:len(whole)-3000]), "backup", "--check", "-"); code != exitFailed {
		t.Errorf("a file cut off is whole: %s", said)
	}

	sent = len(whole) - 2048
	again := filepath.Join(filepath.Dir(file), "tuesday.tar")
	s.fails(exitFailed, "", "backup", "-o", again)
	if left, err := os.ReadDir(filepath.Dir(file)); err != nil || len(left) != 1 {
		t.Errorf("a backup that was cut off left %v", left)
	}
	whole = aBackup(t, true)
	sent = len(whole)
	s.fails(exitFailed, "complete but for 1 chunks", "backup", "-o", again)
	if got, err := os.ReadFile(again); err != nil || !bytes.Equal(got, whole) {
		t.Errorf("what the mesh has was not saved: %v", err)
	}
	s.fails(exitUsage, "either -o FILE or --check FILE", "backup")
	s.fails(exitUsage, "not for --check", "backup", "--check", file, "--with-files")
}
