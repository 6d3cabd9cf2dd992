package ffmpeg

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"
)

// A Report tells how a conversion went.
type Report struct {
	OutTime float64       // seconds of output
	Frames  int64         // pictures of output
	Bytes   int64         // size of the output
	Wall    time.Duration // how long it took
	CPU     time.Duration // of all threads together
	PeakRSS int64         // most memory at once in bytes, 0 where unknown
	Log     string        // what ffmpeg complained about, without paths; mostly empty
	Notes   []string      // sentences for people about what is lost, changed or copied
	Copied  Copying       // what was not encoded

	made *Info // what the output is, where that was looked at already
}

// A making is one ffmpeg that writes a file, or looks at one.
type making struct {
	args       []string
	dir        string   // its working folder; empty: none of its own
	output     string   // empty: it only looks
	inputs     []string // which the log must not name
	duration   float64  // expected seconds of output, 0 for unknown
	threads    int
	nice       Niceness
	memory     uint64        // bytes of address space
	spent      time.Duration // of the time that all children together have
	maxBytes   int64
	maxSeconds float64
}

// making is p's share of one ffmpeg.
func (r *Runner) making(p Params, args []string) making {
	m := making{args: args, output: p.Output, inputs: p.inputs(), threads: p.Threads, nice: p.niceness(),
		memory: r.limits.memoryFor(p.Threads), maxBytes: p.MaxBytes, maxSeconds: p.MaxSeconds}
	if p.Hardware != "" && r.limits.Memory == 0 {
		m.memory = hardwareMemory
	}
	return m
}

// make runs one ffmpeg with progress and judges what it made. Nothing is left
// at the output after an error.
func (r *Runner) make(ctx context.Context, m making, progress func(Progress)) (Report, error) {
	if progress == nil {
		progress = func(Progress) {}
	}
	report, _, err := r.run(ctx, m, progress)
	if err == nil {
		report.Bytes, err = finish(m, report)
	}
	if err != nil {
		r.discard(m.output)
		return report, err
	}
	progress(Progress{OutTime: report.OutTime, Frame: report.Frames, Fraction: 1, Bytes: report.Bytes})
	return report, nil
}

// run runs one ffmpeg with progress and limits to its end, which must be good.
func (r *Runner) run(ctx context.Context, m making, progress func(Progress)) (Report, outcome, error) {
	reader := &progressReader{duration: m.duration, report: progress}
	left := max(r.limits.Wall-m.spent, time.Millisecond)
	limits := childLimits{
		wall:   left,
		stall:  r.limits.Stall,
		cpu:    left * time.Duration(m.threads),
		memory: m.memory,
		file:   uint64(m.maxBytes) + headroom,
		nice:   m.nice,
	}
	res, err := runChild(ctx, child{
		path:   r.tools.FFmpeg,
		env:    r.tools.env,
		args:   r.tools.adapted(m.args),
		dir:    m.dir,
		stdout: reader,
		alive:  reader.advance.Load,
		limits: limits,
	})
	said := res
	if talks(m.args) {
		said.stderr = complaints(res.stderr)
	}
	report := Report{
		OutTime: reader.last.OutTime,
		Frames:  reader.last.Frame,
		Wall:    res.wall,
		CPU:     res.cpu,
		PeakRSS: res.peakRSS,
		Log:     logText(said.stderr, append(slices.Clone(m.inputs), m.output)...),
	}
	switch {
	case err != nil:
		err = stopped(ctx, err, report.Log)
	case !res.ok:
		err = failure(said, report.Log, reader.last, limits.cpu)
	}
	return report, res, err
}

// discard removes what an ffmpeg left that did not end well.
func (r *Runner) discard(path string) {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		r.log.Warn("half-made output stays", "err", err)
	}
}

// headroom is what a file may grow over the size at which ffmpeg is told to
// stop, for the packets and the index that it still writes then.
const headroom = 64 << 20

// finish judges what an ffmpeg that ended well has made and returns its size.
// At its bounds ffmpeg stops without a word, so they are looked at here.
func finish(m making, made Report) (int64, error) {
	log := made.Log
	st, err := os.Stat(m.output)
	switch {
	case err != nil:
		return 0, &Error{Kind: Unexpected, Msg: "FFmpeg ended well but left no output.", Log: log}
	case st.Size() == 0:
		return 0, &Error{Kind: Damaged, Msg: "Nothing in the file could be decoded.", Log: log}
	case st.Size() >= m.maxBytes-m.maxBytes/100:
		return 0, &Error{Kind: TooLarge, Msg: fmt.Sprintf("The output would be larger than %d MB.", m.maxBytes/1_000_000), Log: log}
	case made.OutTime >= m.maxSeconds-0.1:
		return 0, &Error{Kind: TooLarge, Msg: "The output would be longer than " + hours(m.maxSeconds) + ".", Log: log}
	}
	return st.Size(), nil
}

// stopped translates why a child had to be stopped.
func stopped(ctx context.Context, err error, log string) error {
	switch {
	case errors.Is(err, errWall):
		return &Error{Kind: TimeLimit, Msg: "The conversion took longer than allowed.", Log: log}
	case errors.Is(err, errStall):
		return &Error{Kind: Stalled, Msg: "The conversion made no progress any more.", Log: log}
	case ctx.Err() != nil:
		return fmt.Errorf("conversion stopped: %w", err)
	}
	return err
}

// symptoms are what FFmpeg says on stderr -> what that means. The first one
// that is found counts.
var symptoms = []struct {
	words string
	kind  Kind
	msg   string
}{
	{"No space left on device", DiskFull, "There is no room for the output on this node."},
	{"Cannot allocate memory", Memory, "The conversion needs more memory than allowed."},
	{"failed to map segment", Memory, "The conversion needs more memory than allowed."}, // said by the dynamic linker
	{"malloc", Memory, "The conversion needs more memory than allowed."},
	{"Unknown encoder", NoEncoder, "The FFmpeg of this node lacks an encoder."},
	{"Invalid data found", Damaged, ""},
	{"Error while decoding", Damaged, ""},
	{"Error submitting packet to decoder", Damaged, ""},
	{"does not contain any stream", Damaged, ""},
	{"matches no streams", Damaged, ""},
	{"not on whitelist", Refused, "The file uses a codec that malla does not decode."}, // last: it is said of streams that nobody wants, too
}

// crashes tells an end by a signal that a program brings on itself.
func crashes(state string) bool {
	for _, signal := range []string{"segmentation fault", "bus error", "illegal instruction", "floating point exception", "aborted"} {
		if strings.HasPrefix(state, "signal: "+signal) {
			return true
		}
	}
	return false
}

// failure explains an ffmpeg that ended badly by itself.
func failure(res outcome, log string, last Progress, cpu time.Duration) error {
	switch {
	case res.cpu >= cpu:
		return &Error{Kind: TimeLimit, Msg: "The conversion took more processor time than allowed.", Log: log}
	case strings.Contains(res.state, "file size limit"):
		return &Error{Kind: TooLarge, Msg: "The output would be larger than allowed.", Log: log}
	case res.state == "signal: killed":
		return &Error{Kind: Memory, Msg: "The system stopped the conversion, most likely for want of memory.", Log: log}
	}
	crash := crashes(res.state)
	for _, s := range symptoms {
		if !strings.Contains(res.stderr, s.words) || crash && s.kind != Memory {
			continue
		}
		if s.msg == "" {
			s.msg = fmt.Sprintf("The file is damaged: it cannot be decoded beyond %.1f s.", last.OutTime)
		}
		return &Error{Kind: s.kind, Msg: s.msg, Log: log}
	}
	if crash {
		return &Error{Kind: Unexpected, Msg: "FFmpeg crashed over the file.", Log: res.state + "\n" + log, crashed: true}
	}
	return &Error{Kind: Unexpected, Msg: "FFmpeg could not convert the file.", Log: res.state + "\n" + log}
}
