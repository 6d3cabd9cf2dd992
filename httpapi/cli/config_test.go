package cli

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"malla/httpapi"
)

func TestConfigThatOthersMayReadIsRefused(t *testing.T) {
	s := loggedIn(t, "http://localhost:1")
	file := filepath.Join(s.env.ConfigDir, "config.json")
	if err := os.Chmod(file, 0o640); err != nil {
		t.Fatal(err)
	}
	s.fails(exitFailed, "chmod 600", "ls")
	if err := os.WriteFile(file, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(file, 0o600); err != nil {
		t.Fatal(err)
	}
	s.fails(exitFailed, "log in again", "ls")
}

func TestServerNames(t *testing.T) {
	for given, want := range map[string]string{
		"localhost:8000":             "http://localhost:8000",
		"http://a:1/":                "http://a:1",
		"https://media.example.org":  "https://media.example.org",
		"https://example.org/malla/": "https://example.org/malla",
		"ftp://a":                    "",
		"http://":                    "",
		"http://user:pass@a":         "",
		"http://a/?q=1":              "",
		"http://a b":                 "",
	} {
		got, err := checkServer(given)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%q becomes %q, %v; want %q", given, got, err, want)
		}
	}
	for listen, want := range map[string]string{
		"": "http://127.0.0.1:8000", ":9000": "http://127.0.0.1:9000", "0.0.0.0:1": "http://127.0.0.1:1",
		"[::]:1": "http://127.0.0.1:1", "10.0.0.7:8000": "http://10.0.0.7:8000",
	} {
		if got := ownAddress(listen); got != want {
			t.Errorf("a node that listens on %q is at %q, want %q", listen, got, want)
		}
	}
}

func TestUploadsAreRemembered(t *testing.T) {
	u := &uploads{file: filepath.Join(t.TempDir(), "malla", "uploads.json")}
	if at := u.location("a"); at != "" {
		t.Errorf("before anything: %q", at)
	}
	for _, err := range []error{u.remember("a", "http://n/files/1"), u.remember("b", "http://n/files/2"), u.remember("b", ""), u.remember("c", "")} {
		if err != nil {
			t.Fatal(err)
		}
	}
	again := &uploads{file: u.file}
	if again.location("a") != "http://n/files/1" || again.location("b") != "" {
		t.Errorf("%q, %q", again.location("a"), again.location("b"))
	}
}

func TestExitCodes(t *testing.T) {
	for name, tc := range map[string]struct {
		err  error
		code int
	}{
		"nothing wrong":      {nil, exitDone},
		"no such file":       {&httpapi.Problem{Status: http.StatusNotFound, Detail: "x"}, exitNotFound},
		"session ended":      {&httpapi.Problem{Status: http.StatusUnauthorized, Detail: "x"}, exitDenied},
		"mesh has no leader": {&httpapi.Problem{Status: http.StatusServiceUnavailable, Detail: "x"}, exitUnavailable},
		"bad option":         {&httpapi.Problem{Status: http.StatusBadRequest, Detail: "x"}, exitFailed},
		"wrong usage":        {usage("x"), exitUsage},
		"one of several":     {errors.Join(errors.New("x"), &httpapi.Problem{Status: http.StatusNotFound, Detail: "y"}), exitNotFound},
	} {
		var said strings.Builder
		if code := Report(&said, tc.err); code != tc.code {
			t.Errorf("%s: %d, want %d (%s)", name, code, tc.code, said.String())
		}
	}
	s := newShell(t)
	s.fails(exitUnavailable, "no answer", "status", "--server", "127.0.0.1:1")
	s.fails(exitUsage, "--server", "status", "--server", "ftp://x")
	s.fails(exitUsage, "unknown flag", "ls", "--nonsense")
}

func TestPlainTextHidesControls(t *testing.T) {
	if got := plain("a\x1b]0;x\x07b\u202e"); strings.ContainsAny(got, "\x1b\x07\u202e") || !strings.HasPrefix(got, "a") {
		t.Errorf("%q", got)
	}
}
