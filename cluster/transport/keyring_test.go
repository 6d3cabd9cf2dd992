package transport

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func openRing(t *testing.T, dir string, given Secret) *Keyring {
	t.Helper()
	k, _, err := OpenKeyring(dir, given)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestKeyring walks through a rotation, with a restart after each step.
func TestKeyring(t *testing.T) {
	dir := t.TempDir()
	first := Generate()
	next := first.Successor()
	k := openRing(t, dir, first)
	restart := func(want ...Secret) {
		t.Helper()
		k = openRing(t, dir, first) // the flag in its unit file stays what it was
		got := k.Accepted()
		if len(got) != len(want) {
			t.Fatalf("%d secrets after a restart, want %d", len(got), len(want))
		}
		for i := range want {
			if got[i] != want[i] {
				t.Fatalf("secret %d after a restart is another one", i)
			}
		}
		if k.MeshID() != first.MeshID() {
			t.Fatalf("the mesh is called %s now, was %s", k.MeshID(), first.MeshID())
		}
	}
	restart(first)
	if err := k.Switch(next.Fingerprint()); err == nil {
		t.Fatal("switched to a secret that it does not hold")
	}
	must(t, k.Prepare(first.Successor())) // of a rotation that came to nothing
	must(t, k.Prepare(next))
	restart(first, next)
	must(t, k.Switch(next.Fingerprint()))
	must(t, k.Switch(next.Fingerprint()))
	restart(next, first)
	must(t, k.Drop(map[string]time.Time{first.Fingerprint(): time.Now().Add(time.Hour)}))
	restart(next)
	if keys := k.TokenKeys(); len(keys) != 2 || string(keys[0]) != string(next.TokenKey()) || string(keys[1]) != string(first.TokenKey()) {
		t.Errorf("%d token keys where the old one is still good", len(keys))
	}
	must(t, k.Drop(nil))
	restart(next)
	if keys := k.TokenKeys(); len(keys) != 1 {
		t.Errorf("%d token keys after all sessions were ended", len(keys))
	}
	if s, err := LoadSecretFile(filepath.Join(dir, SecretFile)); err != nil || s != next {
		t.Errorf("the file for nodes that join: %v", err)
	}
	info, err := os.Stat(filepath.Join(dir, keyringFile))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

// TestTheSecretGiven: which of the secret on the command line and those in the
// data directory counts.
func TestTheSecretGiven(t *testing.T) {
	dir := t.TempDir()
	first := Generate()
	next := first.Successor()
	k := openRing(t, dir, first)
	must(t, k.Prepare(next))
	must(t, k.Switch(next.Fingerprint()))
	for _, name := range []string{"the previous one", "a retired one"} {
		if name == "a retired one" {
			must(t, k.Drop(nil))
		}
		if k, outdated, err := OpenKeyring(dir, first); err != nil || !outdated || k.Current() != next {
			t.Errorf("%s: outdated %v, %v", name, outdated, err)
		}
	}
	if k, outdated, err := OpenKeyring(dir, next); err != nil || outdated || k.Current() != next {
		t.Errorf("the one in use: outdated %v, %v", outdated, err)
	}
	newer := next.Successor()
	if k, outdated, err := OpenKeyring(dir, newer); err != nil || outdated || k.Current() != newer {
		t.Errorf("one from another node: outdated %v, %v", outdated, err)
	}
	if k := openRing(t, dir, next); k.Current() != next {
		t.Error("a secret that found no mesh replaced the one kept")
	}
	k = openRing(t, dir, newer)
	must(t, k.Drop(nil))
	if k := openRing(t, dir, next); k.Current() != newer || len(k.Accepted()) != 1 {
		t.Error("a secret that found its mesh was not kept")
	}
	must(t, os.WriteFile(filepath.Join(dir, keyringFile), []byte("{"), 0o600))
	if _, _, err := OpenKeyring(dir, next); err == nil || !strings.Contains(err.Error(), "--secret-file") {
		t.Errorf("a damaged file: %v", err)
	}
}

func TestASuccessorBelongsToTheSameMesh(t *testing.T) {
	first := Generate()
	second := first.Successor()
	third := second.Successor()
	for _, s := range []Secret{second, third} {
		if s.MeshID() != first.MeshID() {
			t.Errorf("mesh %s, was %s", s.MeshID(), first.MeshID())
		}
		back, err := ParseSecret(s.Text())
		if err != nil || back != s {
			t.Errorf("read back: %v", err)
		}
	}
	for name, text := range map[string]string{
		"a short name": "abc-" + first.Text(), "no name": "-" + first.Text(), "a name that is no hex": "zzzzzzzzzzzzzzzz-" + first.Text(), "two names": second.Text() + "-" + first.Text(),
	} {
		if _, err := ParseSecret(text); err == nil {
			t.Errorf("%s: read as a secret", name)
		}
	}
	if back, err := ParseSecret(first.MeshID() + "-" + first.Text()); err != nil || back != first {
		t.Errorf("the first secret with its own name: %v", err)
	}
}

func TestNodeKey(t *testing.T) {
	path := filepath.Join(t.TempDir(), "node-key")
	first, err := LoadOrCreateKey(path)
	must(t, err)
	again, err := LoadOrCreateKey(path)
	if err != nil || !again.Equal(first) {
		t.Errorf("the second start has another key: %v", err)
	}
	must(t, os.Chmod(path, 0o644))
	if _, err := LoadOrCreateKey(path); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("others can read it: %v", err)
	}
	must(t, os.Chmod(path, 0o600))
	must(t, os.WriteFile(path, []byte("abc"), 0o600))
	if _, err := LoadOrCreateKey(path); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("damaged: %v", err)
	}
}
