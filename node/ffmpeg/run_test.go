package ffmpeg

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// slowFilm takes ffmpeg many seconds to convert with the returned Params.
func slowFilm(t *testing.T, r *Runner) Params {
	t.Helper()
	path := makeMedia(t, "slow.mp4", "-f", "lavfi", "-i", "testsrc2=size=640x480:rate=30:duration=20", "-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p")
	return Params{Input: path, Output: filepath.Join(t.TempDir(), "out"), Info: probe(t, r, path), Format: "webm", Threads: 1}
}

// processesWith counts the running processes that have a word among their
// arguments.
func processesWith(t *testing.T, word string) int {
	t.Helper()
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	count := 0
	for _, dir := range dirs {
		line, err := os.ReadFile(filepath.Join(dir, "cmdline"))
		if err == nil && bytes.Contains(line, []byte(word)) {
			count++
		}
	}
	return count
}

func mustBeGone(t *testing.T, path string) {
	t.Helper()
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a half-made output stays: %v", err)
	}
}

func TestCancelKillsWithinASecondAndLeavesNothing(t *testing.T) {
	r := newRunner(t, Limits{})
	p := slowFilm(t, r)
	ctx, cancel := context.WithCancel(t.Context())
	var at time.Time
	_, err := r.Convert(ctx, p, func(Progress) {
		if at.IsZero() {
			if n := processesWith(t, p.Output); n != 1 {
				t.Errorf("%d processes while it runs", n)
			}
			at = time.Now()
			cancel()
		}
	})
	if took := time.Since(at); at.IsZero() || took > time.Second {
		t.Errorf("took %v after cancel", took)
	}
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if n := processesWith(t, p.Output); n != 0 {
		t.Errorf("%d processes stay", n)
	}
	mustBeGone(t, p.Output)
	if _, err := r.Convert(ctx, p, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("with a dead context: got %v", err)
	}
}

func TestTheChildIsConfined(t *testing.T) {
	r := newRunner(t, Limits{})
	p := slowFilm(t, r)
	t.Setenv("FOO_SECRET", "canary")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	seen := false
	_, err := r.Convert(ctx, p, func(Progress) {
		if seen {
			return
		}
		seen = true
		defer cancel()
		dirs, _ := filepath.Glob("/proc/[0-9]*")
		for _, dir := range dirs {
			line, _ := os.ReadFile(filepath.Join(dir, "cmdline"))
			if bytes.Contains(line, []byte(p.Output)) {
				checkConfined(t, dir)
				return
			}
		}
		t.Error("no child")
	})
	if !seen || !errors.Is(err, context.Canceled) {
		t.Errorf("seen %v, got %v", seen, err)
	}
}

func checkConfined(t *testing.T, dir string) {
	t.Helper()
	env := string(readFile(t, filepath.Join(dir, "environ")))
	names := regexp.MustCompile(`([A-Z_]+)=[^\x00]*\x00`).ReplaceAllString(env, "$1 ")
	if strings.Contains(env, "canary") || strings.TrimSuffix(names, "LD_PRELOAD ") != "PATH HOME LC_ALL " {
		t.Errorf("environment %q", env)
	}
	limits := string(readFile(t, filepath.Join(dir, "limits")))
	for _, want := range []string{"Max address space         2147483648", "Max open files            64", "Max core file size        0", "Max cpu time              86400"} {
		if !strings.Contains(limits, want) {
			t.Errorf("no %q in\n%s", want, limits)
		}
	}
	stat := string(readFile(t, filepath.Join(dir, "stat")))
	fields := strings.Fields(stat[strings.LastIndex(stat, ")")+2:]) // from the third field on
	if pid := filepath.Base(dir); fields[2] != pid {
		t.Errorf("process %s is in group %s", pid, fields[2])
	}
	if fields[16] != strconv.Itoa(int(FilmNiceness)) {
		t.Errorf("niceness %s", fields[16])
	}
	if target, _ := os.Readlink(filepath.Join(dir, "fd", "0")); target != "/dev/null" {
		t.Errorf("stdin is %s", target)
	}
}

// The test program runs itself as a node that is killed while it converts.
func TestAChildDiesWithItsNode(t *testing.T) {
	if in := os.Getenv("MALLA_TEST_NODE_INPUT"); in != "" {
		r := newRunner(t, Limits{})
		p := Params{Input: in, Output: os.Getenv("MALLA_TEST_NODE_OUTPUT"), Info: probe(t, r, in), Format: "webm", Threads: 1}
		_, err := r.Convert(t.Context(), p, func(Progress) { os.Stdout.WriteString("converting\n") })
		t.Fatalf("it ended by itself: %v", err)
	}
	p := slowFilm(t, newRunner(t, Limits{}))
	node := exec.Command(os.Args[0], "-test.run=^TestAChildDiesWithItsNode$")
	node.Env = append(os.Environ(), "MALLA_TEST_NODE_INPUT="+p.Input, "MALLA_TEST_NODE_OUTPUT="+p.Output)
	out, err := node.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := node.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	if n := processesWith(t, p.Output); n != 1 {
		t.Errorf("%d processes while it runs", n)
	}
	if err := node.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = node.Wait() // killed
	for deadline := time.Now().Add(5 * time.Second); processesWith(t, p.Output) > 0; {
		if time.Now().After(deadline) {
			t.Fatal("ffmpeg goes on without its node")
		}
		<-time.After(10 * time.Millisecond)
	}
}

func TestManyChildrenAtOnceLive(t *testing.T) {
	// Children are killed when the thread that started them ends, so here
	// many threads come and go.
	r := newRunner(t, Limits{})
	in := song(t)
	info := probe(t, r, in)
	var all sync.WaitGroup
	for i := range 12 {
		all.Go(func() {
			p := Params{Input: in, Output: filepath.Join(t.TempDir(), strconv.Itoa(i)), Info: info, Format: "wav", Threads: 1}
			if _, err := r.Convert(t.Context(), p, nil); err != nil {
				t.Errorf("%v%s", err, details(err))
			}
		})
	}
	all.Wait()
}

func TestProgressRisesToOne(t *testing.T) {
	r := newRunner(t, Limits{})
	path := makeMedia(t, "a.mp4", "-f", "lavfi", "-i", "testsrc2=size=240x180:rate=25:duration=6", "-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p")
	p := Params{Input: path, Output: filepath.Join(t.TempDir(), "out"), Info: probe(t, r, path), Format: "webm", Threads: 1}
	var all []Progress
	report, err := r.Convert(t.Context(), p, func(p Progress) { all = append(all, p) })
	if err != nil {
		t.Fatal(err)
	}
	between := 0
	for i, now := range all {
		if i > 0 && now.Fraction < all[i-1].Fraction {
			t.Errorf("falls from %v to %v", all[i-1].Fraction, now.Fraction)
		}
		if now.Fraction > 0.01 && now.Fraction < 0.99 {
			between++
		}
	}
	last := all[len(all)-1]
	if last.Fraction != 1 || last.Frame != 150 || last.Bytes == 0 || between == 0 {
		t.Errorf("%d reports, %d between, last %+v", len(all), between, last)
	}
	if report.Frames != 150 || !near(report.OutTime, 6, 0.1) || report.Bytes != last.Bytes || report.CPU <= 0 || report.PeakRSS < 1<<20 || report.Wall <= 0 || report.Log != "" {
		t.Errorf("report %+v", report)
	}
}

func TestAStalledConversionIsKilled(t *testing.T) {
	r := newRunner(t, Limits{Stall: 300 * time.Millisecond})
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	pipe, err := os.OpenFile(fifo, os.O_RDWR, 0) // so that opening it never blocks
	if err != nil {
		t.Fatal(err)
	}
	defer pipe.Close()
	p := Params{Input: fifo, Output: filepath.Join(t.TempDir(), "out"), Info: songInfo, Format: "wav"}
	begin := time.Now()
	_, err = r.Convert(t.Context(), p, nil)
	if !errors.Is(err, ErrStalled) {
		t.Errorf("got %v%s", err, details(err))
	}
	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("took %v", took)
	}
	mustBeGone(t, p.Output)
}

func TestBoundsAreErrorsNotShortFiles(t *testing.T) {
	film := slowFilm(t, newRunner(t, Limits{}))
	film.Format = "avi"
	rows := []struct {
		name   string
		limits Limits
		change func(*Params)
		want   error
	}{
		{"wall clock", Limits{Wall: 200 * time.Millisecond}, func(p *Params) { p.Format = "webm" }, ErrTimeLimit},
		{"size", Limits{}, func(p *Params) { p.MaxBytes = 100_000 }, ErrTooLarge},
		{"duration", Limits{}, func(p *Params) { p.MaxSeconds = 1 }, ErrTooLarge},
		{"memory", Limits{Memory: 300 << 20}, func(p *Params) { p.Format, p.Options.Copy = "mp4", copyNever }, ErrMemory},
		{"memory for the program itself", Limits{Memory: 100 << 20}, func(p *Params) { p.Format = "mp4" }, ErrMemory},
		{"processor time", Limits{Wall: time.Second}, func(p *Params) { p.Format = "webm" }, ErrTimeLimit},
		{"stall", Limits{Stall: time.Hour}, func(*Params) {}, nil},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			r, p := newRunner(t, row.limits), film
			p.Output = filepath.Join(t.TempDir(), "out")
			row.change(&p)
			_, err := r.Convert(t.Context(), p, nil)
			if row.want == nil && err == nil {
				return
			}
			if !errors.Is(err, row.want) {
				t.Fatalf("got %v, want %v%s", err, row.want, details(err))
			}
			mustBeGone(t, p.Output)
		})
	}
}

func TestConvertTellsWhatIsWrongWithTheFile(t *testing.T) {
	r := newRunner(t, Limits{})
	good := film(t)
	info := probe(t, r, good)
	data := readFile(t, good)
	noise := bytes.Clone(data)
	for i := len(noise) / 10; i < len(noise); i++ {
		noise[i] = byte(i * 7919 >> 3)
	}
	rows := []struct {
		name   string
		data   []byte
		format string
		want   error
	}{
		{"text instead of a film", bytes.Repeat([]byte("hello\n"), 1000), "mp4", ErrDamaged},
		{"noise instead of frames", noise, "avi", ErrDamaged},
		{"nothing", nil, "mp3", ErrDamaged},
	}
	for _, row := range rows {
		p := Params{Input: writeFile(t, "in", row.data), Output: filepath.Join(t.TempDir(), "out"), Info: info, Format: row.format}
		report, err := r.Convert(t.Context(), p, nil)
		var e *Error
		if !errors.Is(err, row.want) || !errors.As(err, &e) || !e.Permanent() {
			t.Errorf("%s: got %v%s", row.name, err, details(err))
			continue
		}
		if strings.Contains(e.Log+e.Msg+report.Log, filepath.Dir(p.Input)) || e.Log == "" {
			t.Errorf("%s: log %q", row.name, e.Log)
		}
		mustBeGone(t, p.Output)
	}
}

func TestAFileCutShortConvertsAndSaysSo(t *testing.T) {
	r := newRunner(t, Limits{})
	data := readFile(t, film(t))
	in := writeFile(t, "in", data[:len(data)*2/3]) // its index is in front
	info := probe(t, r, in)
	p := Params{Input: in, Output: filepath.Join(t.TempDir(), "out"), Info: info, Format: "mkv", Threads: 1}
	report, err := r.Convert(t.Context(), p, nil)
	if err != nil {
		t.Fatal(err)
	}
	out := probe(t, r, p.Output)
	if out.Duration > 1.6 || out.Duration < 0.5 || report.Log == "" {
		t.Fatalf("duration %v, log %q", out.Duration, report.Log)
	}
	info.Duration *= 10 // so that what is missing is more than the slack
	for i := range info.Streams {
		info.Streams[i].Duration *= 10
	}
	err = CheckOutput(info, out, "mkv", Options{})
	if !errors.Is(err, ErrShort) || !strings.Contains(err.Error(), "damaged or cut short") {
		t.Errorf("got %v", err)
	}
}

func TestCheckOutputFindsTheWrongFile(t *testing.T) {
	r := newRunner(t, Limits{})
	in := probe(t, r, film(t))
	tone := probe(t, r, song(t))
	if err := CheckOutput(in, in, "mp4", Options{}); err != nil {
		t.Errorf("a film as itself: %v", err)
	}
	silent := in
	silent.Streams = in.Streams[:1]
	small := in
	small.Streams = append([]Stream{}, in.Streams...)
	small.Streams[0].Width = 100
	long := in
	long.Duration = 20
	for name, row := range map[string]struct {
		out    Info
		format string
		o      Options
	}{
		"a song for a film":   {tone, "mp4", Options{}},
		"mp4 for mkv":         {in, "mkv", Options{}},
		"h264 for hevc":       {in, "mp4", Options{VideoCodec: "libx265"}},
		"a silent film":       {silent, "mp4", Options{}},
		"another size":        {small, "mp4", Options{}},
		"ten times too long":  {long, "mp4", Options{}},
		"mp3 for flac":        {tone, "flac", Options{}},
		"a film for a sound":  {in, "m4a", Options{}},
		"nothing for a sound": {Info{}, "mp3", Options{}},
	} {
		if err := CheckOutput(in, row.out, row.format, row.o); !errors.Is(err, ErrBadOutput) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestStderrIsBounded(t *testing.T) {
	tail := &tailBuffer{limit: 100}
	for i := range 1000 {
		fmt.Fprintf(tail, "line %d\n", i)
	}
	if got := tail.String(); len(got) > 100 || !strings.HasSuffix(got, "line 998\nline 999\n") || cap(tail.buf) > 1000 {
		t.Errorf("%d bytes kept in %d: %q", len(got), cap(tail.buf), got)
	}
	big := bytes.Repeat([]byte("x"), 1000)
	if n, err := tail.Write(big); n != 1000 || err != nil || len(tail.String()) != 100 {
		t.Errorf("%d %v %d", n, err, len(tail.String()))
	}
}

func TestOverlongOutputEndsTheChild(t *testing.T) {
	r := newRunner(t, Limits{})
	out := &cappedBuffer{limit: 100}
	_, err := runChild(t.Context(), child{path: r.tools.FFmpeg, args: []string{"-hide_banner", "-encoders"}, stdout: out, limits: childLimits{wall: time.Minute}})
	if !errors.Is(err, errTooMuchOutput) || out.Len() > 100 {
		t.Errorf("%d bytes, %v", out.Len(), err)
	}
}

func TestGenerateEveryFormat(t *testing.T) {
	t.Parallel()
	r := newRunner(t, Limits{})
	dir := t.TempDir()
	for _, f := range Formats() {
		if f.Name == "webm" || f.Name == "mkv" || f.Name == "mov" {
			continue // slow, and built like mp4
		}
		path := filepath.Join(dir, "example."+f.Name)
		if err := r.Generate(t.Context(), f.Kind, time.Second, path); err != nil {
			t.Errorf("%s: %v%s", f.Name, err, details(err))
			continue
		}
		info := probe(t, r, path)
		if info.Type != f.Type || !near(info.Duration, 1, 0.1) || info.Tags["title"] != "Malla example" && f.Name != "aac" {
			t.Errorf("%s: %+v", f.Name, info)
		}
	}
	if err := r.Generate(t.Context(), Video, time.Second, filepath.Join(dir, "x.mp3")); err == nil {
		t.Error("a film as mp3")
	}
	if err := r.Generate(t.Context(), Video, time.Second, filepath.Join(dir, "x.txt")); err == nil {
		t.Error("a film as text")
	}
}

func TestCrashesAreToldApart(t *testing.T) {
	for _, row := range []struct {
		state, stderr string
		kind          Kind
		crash         bool
	}{
		{"signal: segmentation fault", "", Unexpected, true},
		{"signal: aborted", "Error while decoding stream", Unexpected, true},
		{"signal: aborted", "malloc of 99 failed", Memory, true},
		{"signal: illegal instruction", "", Unexpected, true},
		{"signal: killed", "", Memory, true},
		{"signal: file size limit exceeded", "", TooLarge, false},
		{"exit status 255", "", Unexpected, false},
		{"exit status 1", "Invalid data found", Damaged, false},
	} {
		err := failure(outcome{state: row.state, stderr: row.stderr}, "", Progress{}, time.Hour)
		var told *Error
		if !errors.As(err, &told) || told.Kind != row.kind || told.Crash() != row.crash {
			t.Errorf("%s %s: %+v", row.state, row.stderr, err)
		}
	}
}

func TestSongsGoBeforeFilms(t *testing.T) {
	for _, row := range []struct {
		p    Params
		want Niceness
	}{
		{Params{Format: "mp4"}, FilmNiceness}, {Params{Format: "mp3"}, SongNiceness},
		{Params{Format: "mp4", Priority: SongNiceness}, SongNiceness}, {Params{Format: "mp3", Priority: FilmNiceness}, FilmNiceness},
	} {
		if got := row.p.niceness(); got != row.want {
			t.Errorf("%+v: %d", row.p, got)
		}
	}
}
