package transport

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestParseSecret(t *testing.T) {
	good := strings.Repeat("0a", 32)
	for name, tc := range map[string]struct {
		text string
		ok   bool
	}{
		"64 hex digits":              {good, true},
		"upper case digits":          {strings.ToUpper(good), true},
		"too short":                  {good[2:], false},
		"too long":                   {good + "00", false},
		"not hex":                    {good[:62] + "zz", false},
		"a passphrase of the length": {strings.Repeat("password", 8), false},
		"all zeros":                  {strings.Repeat("0", 64), false},
		"empty":                      {"", false},
	} {
		s, err := ParseSecret(tc.text)
		if (err == nil) != tc.ok {
			t.Errorf("%s: err %v", name, err)
		}
		if err == nil && s.Text() != strings.ToLower(tc.text) {
			t.Errorf("%s: read back as %s", name, s.Text())
		}
		if err != nil && tc.text != "" && strings.Contains(err.Error(), tc.text) {
			t.Errorf("%s: the error repeats the secret: %v", name, err)
		}
	}
}

func TestDerive(t *testing.T) {
	a, b := Generate(), Generate()
	if a == b {
		t.Fatal("two generated secrets are equal")
	}
	if !bytes.Equal(a.Derive("gossip", 32), a.Derive("gossip", 32)) {
		t.Error("the same purpose gives other bytes")
	}
	if bytes.Equal(a.Derive("gossip", 32), a.Derive("token", 32)) || bytes.Equal(a.Derive("gossip", 32), b.Derive("gossip", 32)) {
		t.Error("another purpose or secret gives the same bytes")
	}
	if n := len(a.Derive("ca", 17)); n != 17 {
		t.Errorf("asked for 17 bytes, got %d", n)
	}
	// Fixed for ever: changing it would split every mesh at its next upgrade.
	fixed, err := ParseSecret(strings.Repeat("01", 32))
	if err != nil {
		t.Fatal(err)
	}
	if id := fixed.MeshID(); id != fixedMeshID {
		t.Errorf("mesh id is %s, was %s", id, fixedMeshID)
	}
}

const fixedMeshID = "d5f3b71be04cc19a"

func TestSecretNeverPrintsItself(t *testing.T) {
	s := Generate()
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("starting", "secret", s, "config", fmt.Sprintf("%+v", struct{ S Secret }{s}))
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%o"} {
		fmt.Fprintf(&log, verb+"\n", s)
	}
	fmt.Fprintln(&log, s, []Secret{s})
	out := strings.ToLower(log.String())
	decimals := strings.Trim(fmt.Sprint(s.key), "[]")
	for _, leak := range []string{s.Text(), s.Text()[:12], decimals, decimals[:20]} {
		if strings.Contains(out, leak) {
			t.Fatalf("%q found in:\n%s", leak, out)
		}
	}
}

func TestLoadSecretFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "secret")
	s := Generate()
	write := func(text string, mode os.FileMode) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	for _, mode := range []os.FileMode{0o600, 0o400} {
		write(s.Text()+"\n", mode)
		if got, err := LoadSecretFile(path); err != nil || got != s {
			t.Errorf("mode %04o: %v", mode, err)
		}
	}
	for _, mode := range []os.FileMode{0o640, 0o604, 0o644, 0o660, 0o602} {
		write(s.Text(), mode)
		_, err := LoadSecretFile(path)
		if err == nil || !strings.Contains(err.Error(), "chmod 600 "+path) {
			t.Errorf("mode %04o: want a refusal that names the cure, got %v", mode, err)
		}
		if _, err := LoadOrCreateSecret(path); err == nil {
			t.Errorf("mode %04o: LoadOrCreateSecret accepted it", mode)
		}
	}
	write("not a secret", 0o600)
	if _, err := LoadSecretFile(path); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("a file without a secret: %v", err)
	}
	if _, err := LoadSecretFile(dir); err == nil {
		t.Error("a directory was read as a secret")
	}
}

func TestLoadOrCreateSecret(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "secret")
	first, err := LoadOrCreateSecret(path)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	again, err := LoadOrCreateSecret(path)
	if err != nil || again != first {
		t.Errorf("the second start has another secret: %v", err)
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 1 {
		t.Errorf("left behind: %v", entries)
	}
	if _, err := LoadOrCreateSecret(filepath.Join(dir, "no", "such", "dir")); err == nil {
		t.Error("made a secret in a directory that is not there")
	}
}
