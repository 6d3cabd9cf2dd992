package disk

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"malla/blobs"
	"malla/blobs/blobstest"
)

// summary is the findings in short: kind, file and what was done.
func summary(findings []blobs.Finding) []string {
	var all []string
	for _, f := range findings {
		all = append(all, strings.TrimSpace(string(f.Kind)+" "+f.File+" "+f.Fixed))
	}
	slices.Sort(all)
	return all
}

func write(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestCheckFindsWhatIsWrong(t *testing.T) {
	s := openStore(t, Config{})
	data := blobstest.Bytes(300_000, 1)
	chunk := put(t, s, data)
	whole := blobs.Manifest{Size: 300_000, SHA256: chunk, Chunks: []blobs.Ref{chunk}}
	put(t, s, whole.Encode())
	elsewhere := blobs.Manifest{Size: 5, SHA256: chunk, Chunks: []blobs.Ref{blobs.RefOf([]byte("on another node"))}}
	put(t, s, elsewhere.Encode())
	odd := put(t, s, append(whole.Encode(), 1)) // a user's file may be like that
	check := func(repair bool) *Checked {
		t.Helper()
		c, err := Check(t.Context(), CheckConfig{Dir: s.dir, Repair: repair})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	wantOdd := "odd " + odd.String()
	c := check(true)
	if got := summary(c.Findings); !slices.Equal(got, []string{wantOdd}) {
		t.Errorf("found %q", got)
	}
	if c.Chunks != 4 || c.Manifests != 2 || c.Complete != 1 || c.Bytes < 300_000 {
		t.Errorf("%+v", c)
	}

	flipped, torn, long := put(t, s, blobstest.Bytes(1000, 2)), put(t, s, blobstest.Bytes(1000, 3)), blobs.RefOf([]byte("long"))
	damage(t, s, flipped)
	if err := os.Truncate(s.path(torn), 10); err != nil {
		t.Fatal(err)
	}
	write(t, s.path(long), make([]byte, blobs.ChunkSize+1))
	write(t, filepath.Join(s.staging(), "put-1"), data)
	write(t, filepath.Join(s.dir, ScrubFile+".new"), data)
	write(t, filepath.Join(s.dir, ScrubFile), []byte("{}"))
	write(t, filepath.Join(s.dir, "quarantine", "old"), data)
	write(t, filepath.Join(s.prefix(7), "stray"), data)
	write(t, filepath.Join(s.dir, "notes.txt"), data)
	rel := func(ref blobs.Ref) string { return filepath.Join("chunks", ref.String()[:2], ref.String()[2:]) }
	want := []string{
		"damaged " + rel(flipped), "damaged " + rel(torn), "damaged " + rel(long),
		"half_made staging/put-1", "half_made scrub.json.new", "quarantined quarantine/old", "stray chunks/07/stray", "stray notes.txt", wantOdd,
	}
	slices.Sort(want)
	before := files(t, s.dir)
	if got := summary(check(false).Findings); !slices.Equal(got, want) {
		t.Errorf("found %q\nwant %q", got, want)
	}
	if after := files(t, s.dir); !slices.Equal(after, before) {
		t.Errorf("without repair the files changed to %q", after)
	}

	for i, text := range want {
		switch kind, _, _ := strings.Cut(text, " "); kind {
		case "damaged":
			want[i] += " moved to quarantine"
		case "half_made":
			want[i] += " removed"
		}
	}
	if got := summary(check(true).Findings); !slices.Equal(got, want) {
		t.Errorf("repaired %q\nwant %q", got, want)
	}
	for _, f := range check(false).Findings {
		if f.Kind == blobs.FoundDamaged || f.Kind == blobs.FoundHalfMade {
			t.Errorf("after the repair: %+v", f)
		}
	}
	if n := len(files(t, filepath.Join(s.dir, "quarantine"))); n != 4 {
		t.Errorf("%d files in quarantine, want 4: what is damaged is kept", n)
	}
	if _, err := s.Open(t.Context(), chunk); err != nil {
		t.Errorf("a sound chunk after the repair: %v", err)
	}
}

func TestCheckTellsItsProgressAndCanBeStopped(t *testing.T) {
	s := openStore(t, Config{})
	for i := range 20 {
		put(t, s, blobstest.Bytes(1000, uint64(i)))
	}
	var last, of int64
	ctx, cancel := context.WithCancel(t.Context())
	progress := func(done, all, _ int64) {
		if done != last+1 {
			t.Errorf("%d comes after %d", done, last)
		}
		last, of = done, all
	}
	if _, err := Check(ctx, CheckConfig{Dir: s.dir, Progress: progress}); err != nil || last != 20 || of != 20 {
		t.Errorf("%d of %d, %v", last, of, err)
	}
	_, err := Check(ctx, CheckConfig{Dir: s.dir, Progress: func(int64, int64, int64) { cancel() }})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("stopped in the middle: %v", err)
	}
	if _, err := Check(t.Context(), CheckConfig{Dir: filepath.Join(s.dir, "none")}); err == nil {
		t.Error("a folder that is not there is clean")
	}
}
