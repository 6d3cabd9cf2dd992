package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"

	"malla/blobs"
	"malla/httpapi/cli"
)

func TestFsckTellsByItsExitCode(t *testing.T) {
	sound, hurt := t.TempDir(), t.TempDir()
	for dir, data := range map[string]string{sound: "bytes", hurt: "other bytes"} {
		name := blobs.RefOf([]byte("bytes")).String()
		path := filepath.Join(dir, "blobs", "chunks", name[:2], name[2:])
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		name string
		dir  string
		want int
	}{
		{"clean", sound, 0}, {"damaged", hurt, 1}, {"nothing to check", filepath.Join(sound, "none"), 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			var stderr bytes.Buffer
			if code := cli.Report(&stderr, fsckCmd{Data: c.dir}.Run(t.Context())); code != c.want {
				t.Errorf("exit code %d, want %d: %s", code, c.want, &stderr)
			}
		})
	}
}

func TestScrubEvery(t *testing.T) {
	for text, want := range map[string]time.Duration{"30d": 720 * time.Hour, "12h": 12 * time.Hour, "0": 0, "0d": 0, "1h30m": 90 * time.Minute} {
		if got, err := parseDays(text); err != nil || got != want {
			t.Errorf("%s is %v, %v, want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "soon", "5s", "-3d", "1.5d", "99999999999d", "-2h"} {
		if got, err := parseDays(text); err == nil {
			t.Errorf("%q is %v", text, got)
		}
	}
}
