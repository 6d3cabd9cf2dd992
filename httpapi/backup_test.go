package httpapi

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"malla/cluster/state"
)

func TestBackupIsForAdministrators(t *testing.T) {
	asked := map[bool]int{}
	r := newRig(t, func(cfg *Config) {
		cfg.Backup = func(_ context.Context, w io.Writer, files bool) error {
			asked[files]++
			_, err := io.WriteString(w, "all there is")
			return err
		}
	})
	r.do(req{method: "GET", path: "/cluster/backup"}).want(401)
	r.do(req{method: "GET", path: "/cluster/backup", as: "ana"}).want(403)
	r.do(req{method: "GET", path: "/cluster/backup?files=maybe", as: "root"}).want(400)
	if len(asked) != 0 {
		t.Fatalf("backups were made: %v", asked)
	}
	got := r.do(req{method: "GET", path: "/cluster/backup", as: "root"}).want(200)
	if string(got.body) != "all there is" || got.header.Get("Content-Type") != "application/x-tar" || !strings.Contains(got.header.Get("Content-Disposition"), ".tar") {
		t.Errorf("got %q, %v", got.body, got.header)
	}
	r.do(req{method: "GET", path: "/cluster/backup?files=true", as: "root"}).want(200)
	if asked[false] != 1 || asked[true] != 1 {
		t.Errorf("asked for %v", asked)
	}
}

// TestABackupThatFailsIsNotTakenForWhole: before its first byte it is a problem,
// after it a broken connection.
func TestABackupThatFailsIsNotTakenForWhole(t *testing.T) {
	first := ""
	r := newRig(t, func(cfg *Config) {
		cfg.Backup = func(_ context.Context, w io.Writer, _ bool) error {
			if _, err := io.WriteString(w, first); err != nil {
				return err
			}
			return state.Errorf(state.Internal, "the disk is gone")
		}
	})
	c := &Client{Base: r.url, Token: r.token("root")}
	first = strings.Repeat("half of it", 10_000)
	body, err := c.Backup(t.Context(), true)
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	if got, err := io.ReadAll(body); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("%d bytes of half a backup, and %v", len(got), err)
	}
}
