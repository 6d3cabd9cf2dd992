package state

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"runtime"
	"strconv"
	"testing"
	"time"

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

// grow makes a state of so many items, and as many jobs, done.
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
		l.do(tb, FinishTask{Task: task, Attempt: 1, Output: film(items + n/2), Media: MediaID(id("o", n)), Usage: Usage{CPU: 1e9, Memory: 1 << 28, Units: 1e6}, At: now})
	}
	return l
}

func heap() float64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc)
}

// size is how many items and jobs the benchmarks have, MALLA_BENCH_ITEMS or
// twenty thousand.
func size() int {
	if n, err := strconv.Atoi(os.Getenv("MALLA_BENCH_ITEMS")); err == nil {
		return n
	}
	return 20_000
}

func BenchmarkLarge(b *testing.B) {
	before := heap()
	began := time.Now()
	l := grow(b, size(), size())
	fmt.Printf("grow %d: %v, heap %.0f MB\n", size(), time.Since(began), (heap()-before)/1e6)
	var snap bytes.Buffer
	b.Run("apply", func(b *testing.B) {
		n := 0
		for b.Loop() {
			n++
			l.do(b, AddMedia{ID: MediaID(id("x", int(l.index))), Owner: UserID(id("u", 1)), Name: fmt.Sprint(l.index, ".mp4"), Content: film(int(l.index)), At: now})
		}
	})
	began = time.Now()
	if err := l.s.Snapshot().Write(io.Discard); err != nil {
		b.Fatal(err)
	}
	fmt.Printf("snapshot: %v\n", time.Since(began))
	if err := l.s.Snapshot().Write(&snap); err != nil {
		b.Fatal(err)
	}
	before = heap()
	began = time.Now()
	again := New()
	if err := again.Restore(&snap); err != nil {
		b.Fatal(err)
	}
	fmt.Printf("restore: %v %d bytes, heap %.0f MB\n", time.Since(began), snap.Cap(), (heap()-before)/1e6)
	runtime.KeepAlive(again)
	runtime.KeepAlive(l)
}
