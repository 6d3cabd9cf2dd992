package cli

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"malla/httpapi"
)

// server answers like a node with one file, whose bytes are not always those
// that it announces.
func server(t *testing.T, announced, bytesOf []byte) (url string, ranges *[]string) {
	sum := sha256.Sum256(announced)
	asked := []string{}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /media/{ref}/info", func(w http.ResponseWriter, r *http.Request) {
		json.NewEncoder(w).Encode(httpapi.Media{ID: "ID", Name: "../../etc/a song.wav", Size: int64(len(announced)), SHA256: hex.EncodeToString(sum[:])})
	})
	mux.HandleFunc("GET /media/{ref}", func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.Header.Get("Range"))
		w.Header().Set("ETag", `"one"`)
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(bytesOf))
	})
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s.URL, &asked
}

// loggedIn is a shell that knows the server.
func loggedIn(t *testing.T, url string) *shell {
	t.Helper()
	s := newShell(t)
	c := &config{dir: s.env.ConfigDir, Server: url, Logins: map[string]account{url: {User: "ana", Token: "t"}}}
	if err := c.save(); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestGetGoesOnWhereItStopped(t *testing.T) {
	data := bytes.Repeat([]byte("0123456789"), 1000)
	url, ranges := server(t, data, data)
	s := loggedIn(t, url)
	dir := t.TempDir()
	sum := sha256.Sum256(data)
	dst := filepath.Join(dir, "__.._etc_a song.wav") // no folder of the server's choice
	part := dst + "." + hex.EncodeToString(sum[:])[:8] + ".part"
	if err := os.WriteFile(part, data[:4321], 0o600); err != nil {
		t.Fatal(err)
	}
	s.ok("get", "song", "--dir", dir)
	if got, err := os.ReadFile(dst); err != nil || !bytes.Equal(got, data) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if len(*ranges) != 1 || (*ranges)[0] != "bytes=4321-" {
		t.Errorf("asked for %q", *ranges)
	}
	if _, err := os.Stat(part); err == nil {
		t.Error("the part is still there")
	}
}

func TestGetRefusesOtherBytes(t *testing.T) {
	data := bytes.Repeat([]byte("0123456789"), 1000)
	damaged := bytes.Clone(data)
	damaged[5000] ^= 1
	url, _ := server(t, data, damaged)
	s := loggedIn(t, url)
	dir := t.TempDir()
	s.fails(exitFailed, "SHA-256", "get", "song", "--dir", dir)
	s.fails(exitFailed, "SHA-256", "get", "song", "-o", "-")
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestLocalName(t *testing.T) {
	for name, want := range map[string]string{
		"song.mp3":                        "song.mp3",
		"día ñ 日本.mp4":                    "día ñ 日本.mp4",
		"../../etc/passwd":                "__.._etc_passwd",
		".bashrc":                         "_bashrc",
		"":                                "_",
		"..":                              "_",
		"a\x1b[2Jb\n.mp3":                 "a_[2Jb_.mp3",
		`c:\con?.wav`:                     "c__con_.wav",
		strings.Repeat("é", 150) + ".mp3": strings.Repeat("é", 98) + ".mp3",
	} {
		if got := localName(name); got != want {
			t.Errorf("%q becomes %q, want %q", name, got, want)
		}
	}
}
