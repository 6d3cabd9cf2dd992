package ffmpeg

import (
	"context"
	"errors"
	"fmt"
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
	Notes   []string      // sentences for people about what is lost, changed or copied
	Copied  Copying       // what was not encoded

	made *Info // what the output is, where that was looked at already
}

// memoryOf is the address space that a conversion may have.
func (r *Runner) memoryOf(p Params) uint64 {
	if p.Hardware != "" && r.limits.Memory == 0 {
		return hardwareMemory
	}
	return r.limits.memoryFor(p.Threads)
}

// headroom is what a file may grow over the size at which ffmpeg is told to
// stop, for the packets and the index that it still writes then.
const headroom = 64 << 20

// finish judges what an ffmpeg that ended well has made and returns its size.
// At its bounds ffmpeg stops without a word, so they are looked at here.
func finish(p Params, log string, last Progress) (int64, error) {
	st, err := os.Stat(p.Output)
	switch {
	case err != nil:
		return 0, &Error{Kind: Unexpected, Msg: "FFmpeg ended well but left no output.", Log: log}
	case st.Size() == 0:
		return 0, &Error{Kind: Damaged, Msg: "Nothing in the file could be decoded.", Log: log}
	case st.Size() >= p.MaxBytes-p.MaxBytes/100:
		return 0, &Error{Kind: TooLarge, Msg: fmt.Sprintf("The output would be larger than %d MB.", p.MaxBytes/1_000_000), Log: log}
	case last.OutTime >= p.MaxSeconds-0.1:
		return 0, &Error{Kind: TooLarge, Msg: "The output would be longer than " + hours(p.MaxSeconds) + ".", Log: log}
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
