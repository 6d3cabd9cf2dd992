package state

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"sync"
	"testing"

	"malla/blobs"
)

// A large state is made by the same commands as any: users with libraries of
// songs and films, and jobs that are done, whose output is in the library.
type large struct {
	s     *State
	index uint64
}

func (l *large) do(tb testing.TB, cmd Command) {
	l.index++
	data, err := Encode(fmt.Sprint("request-", l.index), cmd)
	if err != nil {
		tb.Fatal(err)
	}
	if _, err := l.s.Apply(l.index, data); err != nil {
		tb.Fatalf("%T: %v", cmd, err)
	}
}

// id is as long as those that nodes draw.
func id(kind string, n int) string { return fmt.Sprintf("%s-%022d", kind, n) }

func film(n int) Content {
	ref := blobs.RefOf(strconv.AppendInt(nil, int64(n), 10))
	return Content{
		Blob: blobs.Blob{Ref: ref, Size: 1 << 30, SHA256: ref}, Type: "video/mp4", Kind: "video", Duration: 5400.5, Container: "mp4", BitRate: 1_500_000,
		Streams: []Stream{
			{Type: "video", Codec: "h264", Width: 1920, Height: 1080, FPS: 25, BitRate: 1_300_000, Profile: "High", PixFmt: "yuv420p", SampleAspect: 1, Duration: 5400.5, Default: true, Color: "tv/bt709/bt709/bt709"},
			{Type: "audio", Codec: "aac", Channels: 2, SampleRate: 48000, BitRate: 128_000, Language: "eng", Index: 1, Layout: "stereo", Duration: 5400.5, Default: true},
		},
		Tags:  map[string]string{"title": fmt.Sprint("A film of number ", n), "artist": fmt.Sprint("Director ", n%97)},
		Index: blobs.Blob{Ref: ref, Size: 1 << 16, SHA256: ref},
	}
}

// grow makes a state of items-jobs/2 uploads and so many jobs that are done, each
// with an output.
func grow(tb testing.TB, items, jobs int) *large {
	l := &large{s: New()}
	users := max(2, items/100)
	for u := range users {
		l.do(tb, AddUser{ID: UserID(id("u", u)), Name: fmt.Sprint("user-", u), Password: "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$c29tZWhhc2hzb21laGFzaHNvbWVoYXNo", At: now})
	}
	l.do(tb, RegisterNode{ID: "n1", Name: "node1", At: now})
	for n := range items - jobs/2 {
		l.do(tb, AddMedia{ID: MediaID(id("m", n)), Owner: UserID(id("u", n%users)), Name: fmt.Sprintf("film %07d.mp4", n), Content: film(n), At: now})
	}
	for n := range jobs {
		m := n % (items - jobs/2)
		task := TaskID(id("t", n))
		l.do(tb, AddJob{ID: JobID(id("j", n)), Owner: UserID(id("u", m%users)), Media: MediaID(id("m", m)), Format: "webm", Recipe: fmt.Sprint("webm crf=32 speed=4 ", n), Tasks: []NewTask{{ID: task, Kind: Convert, Cost: 100, Class: "vp9"}}, At: now})
		l.do(tb, AssignTasks{Assignments: []Assignment{{task, "n1"}}, At: now})
		l.do(tb, FinishTask{Task: task, Attempt: 1, Output: film(items + n), Media: MediaID(id("o", n)), Usage: Usage{CPU: 1e9, Memory: 1 << 28, Units: 1e6}, At: now})
	}
	return l
}

// TestALargeState: what was written while it grew on is what was there, and comes
// back the same, with all that is found by indexes.
func TestALargeState(t *testing.T) {
	l := grow(t, 1000, 1000)
	snapshot, index := l.s.Snapshot(), l.s.Index()
	var before, after, again bytes.Buffer
	if err := snapshot.Write(&before); err != nil {
		t.Fatal(err)
	}
	var writes sync.WaitGroup
	writes.Go(func() {
		if err := snapshot.Write(&after); err != nil {
			t.Error(err)
		}
	})
	for n := range 200 {
		l.do(t, RemoveMedia{ID: MediaID(id("m", n)), Owner: UserID(id("u", n%10))})
	}
	writes.Wait()
	if !bytes.Equal(before.Bytes(), after.Bytes()) {
		t.Error("a snapshot shows what came after it")
	}
	old := New()
	if err := errors.Join(old.Restore(&after), old.Snapshot().Write(&again)); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(before.Bytes(), again.Bytes()) || old.Index() != index {
		t.Error("another state came back")
	}
	for name, c := range map[string]struct {
		v    *View
		gone int
	}{"restored": {old.View(), 0}, "grown on": {l.s.View(), 200}} {
		items, found := 0, 0
		for u := range 10 {
			last := ""
			for m := range c.v.MediaOf(UserID(id("u", u))) {
				if m.Name <= last {
					t.Errorf("%s: %s comes behind %s", name, m.Name, last)
				}
				last = m.Name
				items++
				if m.Matches([]string{"director", "000003"}) {
					found++
				}
				if same, _ := c.v.MediaByName(m.Owner, m.Name); same.ID != m.ID {
					t.Errorf("%s: %s is another item by its name", name, m.Name)
				}
			}
		}
		if items != 1500-c.gone || c.v.CountJobs("", Done) != 1000 {
			t.Errorf("%s: %d items and %d jobs", name, items, c.v.CountJobs("", Done))
		}
		if name == "restored" && found == 0 {
			t.Error("nothing is found")
		}
	}
}

// size is how many items and jobs the benchmarks have, MALLA_BENCH_ITEMS or
// twenty thousand.
func size() int {
	if n, err := strconv.Atoi(os.Getenv("MALLA_BENCH_ITEMS")); err == nil {
		return n
	}
	return 20_000
}

// BenchmarkLarge is what is done all the time, in a state with many items and
// finished jobs: none of it may cost more the more there are, but for the
// snapshot and its reading.
func BenchmarkLarge(b *testing.B) {
	l := grow(b, size(), size())
	var snapshot bytes.Buffer
	if err := l.s.Snapshot().Write(&snapshot); err != nil {
		b.Fatal(err)
	}
	b.Run("apply", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			l.do(b, AddMedia{ID: MediaID(id("x", int(l.index))), Owner: UserID(id("u", 1)), Name: fmt.Sprint(l.index, ".mp4"), Content: film(int(l.index)), At: now})
		}
	})
	b.Run("round", func(b *testing.B) { // of the leader, the worker and the pages after a change
		for b.Loop() {
			v := l.s.View()
			if v.NeedsSweep(Sweep{At: now}) || v.CountJobs("", Queued) > 0 || len(v.QueuePositions()) > 0 || v.BlobsChanged() == 0 {
				b.Fatal("there is something to do")
			}
			for range v.TasksWaiting() {
				b.Fatal("a task waits")
			}
			for range v.TasksOn("n1") {
				b.Fatal("a task is under way")
			}
		}
	})
	b.Run("snapshot", func(b *testing.B) {
		for b.Loop() {
			if err := l.s.Snapshot().Write(io.Discard); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(snapshot.Len()), "bytes")
	})
	b.Run("restore", func(b *testing.B) {
		for b.Loop() {
			if err := New().Restore(bytes.NewReader(snapshot.Bytes())); err != nil {
				b.Fatal(err)
			}
		}
	})
}
