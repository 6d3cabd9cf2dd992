package upload

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"malla/blobs"
	"malla/blobs/blobstest"
)

func TestCheckFindsWhatIsWrong(t *testing.T) {
	d, dir := newFolder(t), t.TempDir()
	s := openStore(t, d, dir)
	ids := map[string]string{} // what is to become of it -> upload
	for _, what := range []string{"sound", "changed", "short", "gone", "unreadable", "torn", "spread"} {
		ids[what] = create(t, s, 3*blobs.ChunkSize)
		appendAll(t, s, ids[what], 0, blobstest.Bytes(blobs.ChunkSize+5000, uint64(len(ids))))
	}
	check := func(repair bool) (*Checked, []string) {
		t.Helper()
		c, err := Check(dir, repair)
		if err != nil {
			t.Fatal(err)
		}
		var all []string
		for _, f := range c.Findings {
			name := f.File
			for what, id := range ids {
				name = strings.ReplaceAll(name, id, what)
			}
			all = append(all, strings.TrimSpace(string(f.Kind)+" "+name+" "+f.Fixed))
		}
		slices.Sort(all)
		return c, all
	}
	if c, all := check(true); len(all) > 0 || c.Uploads != 7 || c.Bytes != 7*5000 {
		t.Errorf("sound uploads: %+v", c)
	}

	part := func(what string) string { return s.part(ids[what], 1) }
	data, err := os.ReadFile(part("changed"))
	if err != nil {
		t.Fatal(err)
	}
	data[4000] ^= 1
	journal, err := os.ReadFile(s.journal(ids["torn"]))
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{
		os.WriteFile(part("changed"), data, 0o600),
		os.Truncate(part("short"), 4999),
		os.Remove(part("gone")),
		os.Rename(part("spread"), keptName(part("spread"))), // the node died while it was being spread
		os.WriteFile(s.journal(ids["unreadable"]), []byte("what is this\n"), 0o600),
		os.WriteFile(s.journal(ids["torn"]), append(journal, "00ab12cd {"...), 0o600),
		os.WriteFile(filepath.Join(dir, "nobodys.3.part"), data, 0o600),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	want := []string{
		"damaged changed.1.part", "damaged gone.1.part", "damaged short.1.part", "damaged unreadable.journal",
		"half_made nobodys.3.part", "half_made torn.journal", "half_made unreadable.1.part",
	}
	if c, all := check(false); !slices.Equal(all, want) || c.Uploads != 6 {
		t.Errorf("%d uploads; found %q\nwant %q", c.Uploads, all, want)
	}
	want[4] += " removed"
	want[6] += " removed"
	if _, all := check(true); !slices.Equal(all, want) {
		t.Errorf("repaired %q\nwant %q", all, want)
	}
	// What the check calls sound a node goes on with.
	s = openStore(t, d, dir)
	for what, want := range map[string]int64{"sound": blobs.ChunkSize + 5000, "spread": blobs.ChunkSize + 5000, "torn": blobs.ChunkSize + 5000, "changed": blobs.ChunkSize} {
		if got := offset(t, s, ids[what]); got != want {
			t.Errorf("%s goes on at %d, want %d", what, got, want)
		}
	}
	if _, err := Check(filepath.Join(dir, "none"), false); err == nil {
		t.Error("a folder that is not there is clean")
	}
}
