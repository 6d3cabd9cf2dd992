package upload

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"testing/iotest"
	"time"

	"malla/blobs"
	"malla/blobs/blobstest"
)

func create(t testing.TB, s *Store, size int64) string {
	t.Helper()
	i, err := s.Create(t.Context(), New{Owner: "ana", Size: size, Meta: map[string]string{"filename": "a.mp4"}})
	if err != nil {
		t.Fatal(err)
	}
	return i.ID
}

func appendAll(t testing.TB, s *Store, id string, offset int64, data []byte) {
	t.Helper()
	n, err := s.Append(t.Context(), id, offset, bytes.NewReader(data))
	if err != nil || n != int64(len(data)) {
		t.Fatalf("append at %d = %d, %v", offset, n, err)
	}
}

func offset(t testing.TB, s *Store, id string) int64 {
	t.Helper()
	i, err := s.Get(id)
	if err != nil {
		t.Fatal(err)
	}
	return i.Offset
}

func TestUploadGoesOnAfterEachRestart(t *testing.T) {
	const size = 3*blobs.ChunkSize + 4321
	data := blobstest.Bytes(size, 1)
	d, dir := newFolder(t), t.TempDir()
	id := create(t, openStore(t, d, dir), size)
	for _, end := range []int64{1000, 5_000_000, blobs.ChunkSize, blobs.ChunkSize + 1, 3 * blobs.ChunkSize, size - 1, size} {
		s := openStore(t, d, dir)
		i, err := s.Get(id)
		if err != nil {
			t.Fatal(err)
		}
		if i.Owner != "ana" || i.Size != size || i.Meta["filename"] != "a.mp4" {
			t.Errorf("after a restart: %+v", i)
		}
		appendAll(t, s, id, i.Offset, data[i.Offset:end])
		if got := offset(t, s, id); got != end {
			t.Fatalf("offset = %d, want %d", got, end)
		}
	}
	s := openStore(t, d, dir)
	blob, err := s.Finish(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(d.content(t, blob), data) {
		t.Error("the bytes came back different")
	}
	s = openStore(t, d, dir)
	if again, err := s.Finish(t.Context(), id); err != nil || again != blob {
		t.Errorf("finish after a restart = %+v, %v", again, err)
	}
	if err := s.Terminate(t.Context(), id); !errors.Is(err, ErrFinished) {
		t.Errorf("terminate = %v, want ErrFinished", err)
	}
	if err := s.Forget(id); err != nil {
		t.Fatal(err)
	}
	wantEmpty(t, dir)
	wantNothingReserved(t, d)
}

func TestABrokenLineLosesNothing(t *testing.T) {
	const size = blobs.ChunkSize + 500_000
	data := blobstest.Bytes(size, 1)
	d := newFolder(t)
	s := openStore(t, d, t.TempDir())
	id := create(t, s, size)
	for _, end := range []int64{100, 3_000_000, blobs.ChunkSize + 7} {
		at := offset(t, s, id)
		r := io.MultiReader(bytes.NewReader(data[at:end]), iotest.ErrReader(io.ErrUnexpectedEOF))
		if n, err := s.Append(t.Context(), id, at, r); n != end-at || !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Fatalf("append = %d, %v", n, err)
		}
	}
	appendAll(t, s, id, offset(t, s, id), data[offset(t, s, id):])
	blob, err := s.Finish(t.Context(), id)
	if err != nil || !bytes.Equal(d.content(t, blob), data) {
		t.Errorf("finish: %v", err)
	}
}

func TestWhatWasNotSyncedIsNotTrusted(t *testing.T) {
	const size = 1_000_000
	data := blobstest.Bytes(size, 1)
	for _, c := range []struct {
		name string
		harm func(t *testing.T, path string)
		want int64 // offset afterwards
	}{
		{"bytes behind the ones that were acknowledged", func(t *testing.T, path string) {
			f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
			if err != nil {
				t.Fatal(err)
			}
			f.WriteString("garbage of a write that was cut by power")
			f.Close()
		}, 400_000},
		{"the part is shorter", func(t *testing.T, path string) { os.Truncate(path, 1234) }, 0},
		{"the part is gone", func(t *testing.T, path string) { os.Remove(path) }, 0},
		{"the part has other bytes", func(t *testing.T, path string) {
			os.WriteFile(path, make([]byte, 400_000), 0o600)
		}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			d, dir := newFolder(t), t.TempDir()
			s := openStore(t, d, dir)
			id := create(t, s, size)
			appendAll(t, s, id, 0, data[:400_000])
			c.harm(t, s.part(id, 0))
			s = openStore(t, d, dir)
			if got := offset(t, s, id); got != c.want {
				t.Fatalf("offset = %d, want %d", got, c.want)
			}
			appendAll(t, s, id, c.want, data[c.want:])
			blob, err := s.Finish(t.Context(), id)
			if err != nil || !bytes.Equal(d.content(t, blob), data) {
				t.Errorf("finish: %v", err)
			}
		})
	}
}

func TestATornJournalLineDidNotHappen(t *testing.T) {
	const size = 1_000_000
	data := blobstest.Bytes(size, 1)
	d, dir := newFolder(t), t.TempDir()
	s := openStore(t, d, dir)
	id := create(t, s, size)
	appendAll(t, s, id, 0, data[:300_000])
	appendAll(t, s, id, 300_000, data[300_000:600_000])
	journal, err := os.ReadFile(s.journal(id))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(s.journal(id), int64(len(journal)-9)); err != nil {
		t.Fatal(err)
	}
	s = openStore(t, d, dir)
	if got := offset(t, s, id); got != 300_000 {
		t.Fatalf("offset = %d, want 300000", got)
	}
	appendAll(t, s, id, 300_000, data[300_000:])
	s = openStore(t, d, dir)
	blob, err := s.Finish(t.Context(), id)
	if err != nil || !bytes.Equal(d.content(t, blob), data) {
		t.Errorf("finish: %v", err)
	}
}

func TestAFailedSpreadMovesTheOffsetBack(t *testing.T) {
	const size = 2*blobs.ChunkSize + 1000
	data := blobstest.Bytes(size, 1)
	for fail := 1; fail <= 4; fail++ {
		d := newFolder(t)
		s := openStore(t, d, t.TempDir())
		id := create(t, s, size)
		d.spread = func(_ blobs.Ref, n int) error {
			if n == fail {
				return blobs.ErrUnavailable
			}
			return nil
		}
		failures := 0
		var blob blobs.Blob
		for blob.Size == 0 {
			if failures > 1 {
				t.Fatalf("spread %d failed once, the upload twice", fail)
			}
			at := offset(t, s, id)
			_, err := s.Append(t.Context(), id, at, bytes.NewReader(data[at:]))
			if err == nil {
				blob, err = s.Finish(t.Context(), id)
			}
			if err != nil {
				failures++
				if !errors.Is(err, blobs.ErrUnavailable) {
					t.Fatal(err)
				}
			}
		}
		if failures != 1 || !bytes.Equal(d.content(t, blob), data) {
			t.Errorf("after spread %d failed: %d failures, or other bytes", fail, failures)
		}
		wantNothingReserved(t, d)
	}
}

func TestWhatWasAcknowledgedDoesNotMoveBack(t *testing.T) {
	const size = blobs.ChunkSize + 1000
	data := blobstest.Bytes(size, 1)
	for _, restart := range []bool{false, true} {
		d, dir := newFolder(t), t.TempDir()
		s := openStore(t, d, dir)
		id := create(t, s, size)
		again := func(want int64) {
			t.Helper()
			if restart {
				s = openStore(t, d, dir)
			}
			if got := offset(t, s, id); got != want {
				t.Fatalf("goes on at %d, %d bytes were acknowledged", got, want)
			}
		}
		fail := func(fail bool) {
			d.spread = func(blobs.Ref, int) error {
				if fail {
					return blobs.ErrUnavailable
				}
				return nil
			}
		}
		appendAll(t, s, id, 0, data[:500_000])
		for range 2 {
			fail(true)
			if _, err := s.Append(t.Context(), id, 500_000, bytes.NewReader(data[500_000:])); !errors.Is(err, blobs.ErrUnavailable) {
				t.Fatalf("append = %v, want ErrUnavailable", err)
			}
			again(500_000)
		}
		fail(false)
		appendAll(t, s, id, 500_000, data[500_000:])
		for range 2 {
			fail(true)
			if _, err := s.Finish(t.Context(), id); !errors.Is(err, blobs.ErrUnavailable) {
				t.Fatalf("finish = %v, want ErrUnavailable", err)
			}
			again(size)
		}
		fail(false)
		gone, cancel := context.WithCancel(t.Context())
		cancel() // who sent it has hung up
		blob, err := s.Finish(gone, id)
		if err != nil || !bytes.Equal(d.content(t, blob), data) {
			t.Errorf("finish: %v", err)
		}
		if parts, _ := filepath.Glob(filepath.Join(dir, "*.part")); len(parts) > 0 {
			t.Errorf("left behind: %v", parts)
		}
	}
}

func TestUploadRefusals(t *testing.T) {
	d := newFolder(t)
	s := openStore(t, d, t.TempDir())
	id := create(t, s, 1000)
	appendAll(t, s, id, 0, make([]byte, 400))
	for _, c := range []struct {
		name string
		do   func() error
		want error
	}{
		{"another offset", func() error {
			_, err := s.Append(t.Context(), id, 0, bytes.NewReader(make([]byte, 10)))
			return err
		}, ErrOffset},
		{"an upload that does not exist", func() error {
			_, err := s.Append(t.Context(), "../../etc/passwd", 0, bytes.NewReader(nil))
			return err
		}, ErrNotFound},
		{"finished too early", func() error { _, err := s.Finish(t.Context(), id); return err }, ErrIncomplete},
		{"a second length", func() error { return s.DeclareLength(t.Context(), id, 2000) }, ErrOffset},
		{"an impossible size", func() error {
			_, err := s.Create(t.Context(), New{Size: blobs.MaxBlobSize + 1})
			return err
		}, blobs.ErrTooLarge},
		{"more bytes than announced", func() error {
			_, err := s.Append(t.Context(), id, 400, bytes.NewReader(make([]byte, 601)))
			return err
		}, blobs.ErrTooLarge},
	} {
		if err := c.do(); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
	if _, err := s.Create(t.Context(), New{ID: "../x", Size: 1}); err == nil {
		t.Error("an id that is a path was taken")
	}
}

func TestOneAtATime(t *testing.T) {
	s := openStore(t, newFolder(t), t.TempDir())
	id := create(t, s, 10)
	r, w := io.Pipe()
	first := make(chan error)
	go func() {
		_, err := s.Append(t.Context(), id, 0, r)
		first <- err
	}()
	if _, err := w.Write([]byte("hello")); err != nil { // the first append reads
		t.Fatal(err)
	}
	if _, err := s.Append(t.Context(), id, 0, bytes.NewReader([]byte("other"))); !errors.Is(err, ErrBusy) {
		t.Errorf("second append = %v, want ErrBusy", err)
	}
	if err := s.Terminate(t.Context(), id); !errors.Is(err, ErrBusy) {
		t.Errorf("terminate = %v, want ErrBusy", err)
	}
	w.Close()
	if err := <-first; err != nil {
		t.Error(err)
	}
	if got := offset(t, s, id); got != 5 {
		t.Errorf("offset = %d, want 5", got)
	}
}

func TestTerminateLeavesNothing(t *testing.T) {
	d, dir := newFolder(t), t.TempDir()
	s := openStore(t, d, dir)
	id := create(t, s, 3*blobs.ChunkSize)
	appendAll(t, s, id, 0, blobstest.Bytes(blobs.ChunkSize+1000, 1))
	if err := s.Terminate(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	wantEmpty(t, dir)
	wantEmpty(t, d.dir)
	if _, err := s.Get(id); !errors.Is(err, ErrNotFound) {
		t.Errorf("get = %v", err)
	}
}

func TestAnOldUploadIsConfirmedBeforeItIsFinished(t *testing.T) {
	d := newFolder(t)
	s := openStore(t, d, t.TempDir())
	s.cfg.ConfirmAfter = time.Nanosecond
	data := blobstest.Bytes(blobs.ChunkSize+1, 1)
	id := create(t, s, int64(len(data)))
	appendAll(t, s, id, 0, data)
	if _, err := s.Finish(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	if len(d.confirmed) != 1 || d.confirmed[0] != blobs.RefOf(data[:blobs.ChunkSize]) {
		t.Errorf("confirmed %v", d.confirmed)
	}
}

func FuzzDecodeJournal(f *testing.F) {
	size := int64(5)
	whole, err := entry{Create: &created{Owner: "ana", Size: -1}}.encode()
	if err != nil {
		f.Fatal(err)
	}
	length, _ := entry{Length: &size}.encode()
	f.Add(append(bytes.Clone(whole), length...))
	f.Add(whole[:len(whole)-2])
	f.Add([]byte("\n00000000 \n"))
	mesh := bytes.Clone(whole)
	for _, e := range []entry{
		{Take: &taken{token: token{2, "b"}, Keepers: []string{"b", "c"}, Need: 2}}, {Chunk: &chunkDone{Len: blobs.ChunkSize, Whole: []byte("state")}},
		{Promise: &token{3, "c"}}, {Part: &partOnDisk{Chunk: 1, Len: 5}}, {Done: &blobs.Blob{Size: blobs.ChunkSize}}, {Named: &Named{"m", "a.mp4"}},
	} {
		line, err := e.encode()
		if err != nil {
			f.Fatal(err)
		}
		mesh = append(mesh, line...)
	}
	f.Add(mesh)
	f.Fuzz(func(t *testing.T, data []byte) {
		entries, n := decodeJournal(data)
		if n > int64(len(data)) || n > 0 && data[n-1] != '\n' {
			t.Fatalf("%d entries end at %d of %d", len(entries), n, len(data))
		}
		again, _ := decodeJournal(data[:n])
		if len(again) != len(entries) {
			t.Fatalf("%d entries, then %d", len(entries), len(again))
		}
		var st state
		for _, e := range entries {
			st.apply(e, 0, time.Hour)
		}
		if st.inherited > len(st.chunks) || st.lines > len(entries) || st.promised.compare(st.taken.token) < 0 {
			t.Fatalf("impossible state %+v", st)
		}
		// What is sent on is what was read, without the lines of one disk.
		sent, err := io.ReadAll(&lineReader{src: bufio.NewReaderSize(bytes.NewReader(data), maxLine), left: st.lines})
		if err != nil {
			t.Fatal(err)
		}
		if again, whole := decodeJournal(sent); len(again) != st.lines || whole != int64(len(sent)) {
			t.Fatalf("%d of %d lines are sent", len(again), st.lines)
		}
	})
}
