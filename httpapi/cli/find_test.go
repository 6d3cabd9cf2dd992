package cli

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestFind(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"a.mp3", "deep/er/b.MKV", "notes.txt", ".hidden.mp3", ".git/c.mp3", "deep/no-extension"} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(filepath.Join(dir, "a.mp3"), filepath.Join(dir, "deep", "link.mp3")); err != nil {
		t.Fatal(err)
	}
	files, passed, err := find([]string{dir, filepath.Join(dir, "notes.txt"), filepath.Join(dir, "a.mp3")})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, f := range files {
		rel, _ := filepath.Rel(dir, f.path)
		names = append(names, filepath.ToSlash(rel))
	}
	slices.Sort(names)
	want := []string{"a.mp3", "deep/er/b.MKV", "deep/link.mp3", "notes.txt"} // notes.txt was asked for by name
	if !slices.Equal(names, want) || passed != 2 {
		t.Errorf("found %q and passed %d, want %q and 2", names, passed, want)
	}
	if _, _, err := find([]string{filepath.Join(dir, "gone.mp3")}); err == nil {
		t.Error("a path that does not exist is no error")
	}
}
