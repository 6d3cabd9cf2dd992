package ffmpeg

import (
	"errors"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// ErrMissing tells that this machine has no ffmpeg or ffprobe that malla can
// use. A node runs without conversions then.
var ErrMissing = errors.New("ffmpeg is missing")

// A Kind says what went wrong with a file or its conversion.
type Kind string

// The kinds of [Error].
const (
	NotMedia   Kind = "not_media"  // not audio or video that we know, or unreadable
	Refused    Kind = "refused"    // media, but beyond our policy
	Unfit      Kind = "unfit"      // cannot become the format that was asked for
	Damaged    Kind = "damaged"    // cannot be decoded
	Short      Kind = "short"      // output is sound but ends early, as its input does
	BadOutput  Kind = "bad_output" // output is not what was asked for
	NoEncoder  Kind = "no_encoder" // this node's ffmpeg lacks the encoder
	Memory     Kind = "memory"     // needs more memory than allowed
	TooLarge   Kind = "too_large"  // output is larger or longer than allowed
	DiskFull   Kind = "disk_full"  // no room for the output on this node
	TimeLimit  Kind = "time_limit" // took longer than allowed
	Stalled    Kind = "stalled"    // no progress for too long
	Starved    Kind = "starved"    // a segment's input lacks bytes that it needs
	Mismatch   Kind = "mismatch"   // joined segments are not what the film is
	Unexpected Kind = "failed"     // none of the above
)

// Sentinels for errors.Is, one a kind.
var (
	ErrNotMedia  error = &Error{Kind: NotMedia, Msg: "not media"}
	ErrRefused   error = &Error{Kind: Refused, Msg: "refused"}
	ErrUnfit     error = &Error{Kind: Unfit, Msg: "unfit"}
	ErrDamaged   error = &Error{Kind: Damaged, Msg: "damaged"}
	ErrShort     error = &Error{Kind: Short, Msg: "short"}
	ErrBadOutput error = &Error{Kind: BadOutput, Msg: "bad output"}
	ErrNoEncoder error = &Error{Kind: NoEncoder, Msg: "no encoder"}
	ErrMemory    error = &Error{Kind: Memory, Msg: "memory"}
	ErrTooLarge  error = &Error{Kind: TooLarge, Msg: "too large"}
	ErrDiskFull  error = &Error{Kind: DiskFull, Msg: "disk full"}
	ErrTimeLimit error = &Error{Kind: TimeLimit, Msg: "time limit"}
	ErrStalled   error = &Error{Kind: Stalled, Msg: "stalled"}
	ErrStarved   error = &Error{Kind: Starved, Msg: "starved"}
	ErrMismatch  error = &Error{Kind: Mismatch, Msg: "mismatch"}
)

// An Error is what went wrong with a file. Two Errors are the same to
// errors.Is when their kinds are.
type Error struct {
	Kind Kind
	Msg  string // one sentence for people: no path, no text from the file
	Log  string // for the log and the owner: ffmpeg's last lines without paths; may be empty

	crashed bool
}

func (e *Error) Error() string { return e.Msg }

// Is compares kinds.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Kind == e.Kind
}

// Permanent tells that the file itself is the reason: another try, here or on
// another node, ends the same way.
func (e *Error) Permanent() bool {
	switch e.Kind {
	case NotMedia, Refused, Unfit, Damaged, Short, TooLarge:
		return true
	}
	return false
}

// Crash tells that FFmpeg broke down over the file: by a signal of its own
// doing, such as a segmentation fault, or for want of memory. Other files may
// do well on the same node.
func (e *Error) Crash() bool { return e.crashed || e.Kind == Memory }

const (
	logLines = 20
	logBytes = 4 << 10
)

// noise is what tells nobody anything: memory addresses, our own long lists.
var noise = regexp.MustCompile(` @ 0x[0-9a-f]+| on whitelist '[^']*'?`)

// logText makes the end of a child's stderr fit for a log: the last lines,
// valid printable text, without the given paths and memory addresses.
func logText(stderr string, paths ...string) string {
	for _, p := range paths {
		if p != "" {
			stderr = strings.ReplaceAll(stderr, "file:"+p, "the file")
			stderr = strings.ReplaceAll(stderr, p, "the file")
		}
	}
	stderr = noise.ReplaceAllString(stderr, "")
	stderr = strings.Map(func(r rune) rune {
		switch {
		case r == '\n':
			return r
		case r == '\r':
			return '\n'
		case r == utf8.RuneError || !unicode.IsPrint(r):
			return -1
		}
		return r
	}, stderr)
	lines := strings.Split(strings.TrimSpace(stderr), "\n")
	if len(lines) > logLines {
		lines = lines[len(lines)-logLines:]
	}
	text := strings.Join(lines, "\n")
	if len(text) > logBytes {
		text = strings.ToValidUTF8(text[len(text)-logBytes:], "")
	}
	return text
}
