package worker

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	"malla/node/ffmpeg"
)

func TestPagesAreInOrderAndApart(t *testing.T) {
	const page = pageSize
	for _, row := range []struct {
		name string
		in   []ffmpeg.Span
		size int64
		want string
	}{
		{"nothing", nil, 100, "[]"},
		{"the whole of a short file", []ffmpeg.Span{{From: 1, To: 2}}, 100, "[{0 100}]"},
		{"bytes beside the file", []ffmpeg.Span{{From: -5, To: 3}, {From: 10 * page, To: 11 * page}}, page, fmt.Sprint([]ffmpeg.Span{{From: 0, To: page}})},
		{"spans that touch", []ffmpeg.Span{{From: 3 * page, To: 4 * page}, {From: 0, To: page}, {From: page, To: page + 1}}, 9 * page,
			fmt.Sprint([]ffmpeg.Span{{From: 0, To: 2 * page}, {From: 3 * page, To: 4 * page}})},
	} {
		if got := fmt.Sprint(pages(row.in, row.size)); got != row.want {
			t.Errorf("%s: %s, want %s", row.name, got, row.want)
		}
	}
}

func TestASparseFileKnowsWhoReadsItsHoles(t *testing.T) {
	m := newMesh(t)
	data := make([]byte, 24<<20)
	for i := range data {
		data[i] = byte(i>>10) + byte(i)
	}
	blob := m.keep(data)
	path := filepath.Join(t.TempDir(), "part")
	filled := []ffmpeg.Span{{From: 0, To: 1 << 20}, {From: 10<<20 + 5, To: 12 << 20}, {From: 23 << 20, To: 24 << 20}}
	s, err := fillSparse(t.Context(), m, blob.Ref, path, filled)
	if err != nil {
		t.Fatal(err)
	}
	read := func(from, to int64) []byte {
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		got, err := io.ReadAll(io.NewSectionReader(f, from, to-from))
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	for _, span := range filled {
		if !bytes.Equal(read(span.From, span.To), data[span.From:span.To]) {
			t.Errorf("bytes %d to %d are others", span.From, span.To)
		}
	}
	if s.readOutside() {
		t.Error("reading what is filled counts as reading a hole")
	}
	if got := read(17<<20, 17<<20+4096); !bytes.Equal(got, make([]byte, 4096)) {
		t.Fatal("a hole is not empty")
	}
	if !holesAreCached(t) {
		t.Skip("the file system of the temporary folder keeps no trace of reading holes")
	}
	if !s.readOutside() {
		t.Error("reading a hole was not noticed")
	}
}

// holesAreCached tells whether this file system lets it be seen that a hole was
// read.
func holesAreCached(t *testing.T) bool {
	f, err := os.Create(filepath.Join(t.TempDir(), "hole"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(1 << 20); err != nil {
		t.Fatal(err)
	}
	io.ReadAll(f)
	return cached(f, ffmpeg.Span{From: 0, To: 1 << 20})
}
