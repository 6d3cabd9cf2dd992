package ffmpeg

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
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
}

// Convert makes p.Output out of p.Input and tells progress, if it is not nil,
// about twice a second from one goroutine; the last call has Fraction 1 and
// comes only after success. It blocks until ffmpeg is gone: within a second
// of the end of ctx. The policy is asked again. Nothing is left at p.Output after an error, which is an
// [*Error], an [*OptionError], or the context's.
func (r *Runner) Convert(ctx context.Context, p Params, progress func(Progress)) (Report, error) {
	if p.MaxSeconds <= 0 {
		p.MaxSeconds = (r.policy.MaxDuration + time.Minute).Seconds()
	}
	p = p.orDefaults()
	if err := r.policy.Check(p.Info); err != nil {
		return Report{}, err
	}
	args, err := ConvertArgs(p)
	if err != nil {
		return Report{}, err
	}
	if err := r.CanConvert(p.Format, p.Options); err != nil {
		return Report{}, err
	}
	return r.make(ctx, making{
		args: args, output: p.Output, inputs: []string{p.Input}, duration: expected(p.Info, p.Format),
		threads: p.Threads, maxBytes: p.MaxBytes, maxSeconds: p.MaxSeconds,
	}, progress)
}

// A making is one ffmpeg that writes a file.
type making struct {
	args       []string
	output     string
	inputs     []string // which the log must not name
	duration   float64  // expected seconds of output, 0 for unknown
	threads    int
	maxBytes   int64
	maxSeconds float64
}

// make runs one ffmpeg with progress and limits and judges its end. Nothing is
// left at the output after an error.
func (r *Runner) make(ctx context.Context, m making, progress func(Progress)) (Report, error) {
	if progress == nil {
		progress = func(Progress) {}
	}
	reader := &progressReader{duration: m.duration, report: progress}
	c := child{
		path:   r.tools.FFmpeg,
		args:   m.args,
		stdout: reader,
		alive:  reader.advance.Load,
		limits: childLimits{
			wall:   r.limits.Wall,
			stall:  r.limits.Stall,
			cpu:    r.limits.Wall * time.Duration(m.threads),
			memory: r.limits.memoryFor(m.threads),
			file:   uint64(m.maxBytes) + headroom,
		},
	}
	res, err := runChild(ctx, c)
	report := Report{
		OutTime: reader.last.OutTime,
		Frames:  reader.last.Frame,
		Wall:    res.wall,
		CPU:     res.cpu,
		PeakRSS: res.peakRSS,
		Log:     logText(res.stderr, append(m.inputs, m.output)...),
	}
	if err == nil {
		report.Bytes, err = r.finish(m, res, reader.last, report.Log)
	} else {
		err = stopped(ctx, err, report.Log)
	}
	if err != nil {
		r.discard(m.output)
		return report, err
	}
	done := reader.last
	done.Fraction, done.Bytes = 1, report.Bytes
	progress(done)
	return report, nil
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

// finish judges an ffmpeg that ended by itself and returns the output's size.
// At its bounds ffmpeg stops without a word, so they are looked at here.
func (r *Runner) finish(m making, res outcome, last Progress, log string) (int64, error) {
	if !res.ok {
		return 0, failure(res, log, last, r.limits.Wall*time.Duration(m.threads))
	}
	st, err := os.Stat(m.output)
	switch {
	case err != nil:
		return 0, &Error{Kind: Unexpected, Msg: "FFmpeg ended well but left no output.", Log: log}
	case st.Size() == 0:
		return 0, &Error{Kind: Damaged, Msg: "Nothing in the file could be decoded.", Log: log}
	case st.Size() >= m.maxBytes-m.maxBytes/100:
		return 0, &Error{Kind: TooLarge, Msg: fmt.Sprintf("The output would be larger than %d MB.", m.maxBytes/1_000_000), Log: log}
	case last.OutTime >= m.maxSeconds-0.1:
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
	{"not on whitelist", Refused, "The file uses a codec that malla does not decode."},
	{"Invalid data found", Damaged, ""},
	{"Error while decoding", Damaged, ""},
	{"Error submitting packet to decoder", Damaged, ""},
	{"does not contain any stream", Damaged, ""},
	{"matches no streams", Damaged, ""},
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
	for _, s := range symptoms {
		if !strings.Contains(res.stderr, s.words) {
			continue
		}
		if s.msg == "" {
			s.msg = fmt.Sprintf("The file is damaged: it cannot be decoded beyond %.1f s.", last.OutTime)
		}
		return &Error{Kind: s.kind, Msg: s.msg, Log: log}
	}
	return &Error{Kind: Unexpected, Msg: "FFmpeg could not convert the file.", Log: res.state + "\n" + log}
}
