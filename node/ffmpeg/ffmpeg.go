// Package ffmpeg says what a media file is, converts it, and is the only
// package that runs ffmpeg and ffprobe.
//
// What users send is hostile until proven otherwise. So every file is named by
// our own [Sniff] first, read by ffprobe and ffmpeg with fixed allow lists for
// containers, decoders and protocols, judged by [Policy] before any
// conversion, and the work runs in a process group of its own with limits on
// memory, processor time, output and silence. Nothing that a user typed ever
// becomes an argument: formats, codecs and options are looked up in tables
// and numbers are parsed and printed again.
//
// Deciding is pure: [Sniff], [ParseOptions], [Wish], [CheckFit],
// [CheckOptions], [Carry], [Copies], [ConvertArgs], [RestArgs], [RecipeOf],
// [Needs], [NeedBits], [Policy.Check] and [CheckOutput] are functions without
// I/O. Acting is [Runner]: [Runner.Probe], [Runner.Convert],
// [Runner.Describe], [Runner.Generate], [Runner.ProbeHardware].
//
// # Pieces
//
// A film may be encoded by many nodes at once. [Runner.Index] looks at its
// packets when it comes in; [Split] decides from that, purely, where to cut or
// why not to; [Runner.Segment] encodes a piece from a file that has only the
// bytes of [Index.Needs]; [Runner.Audio] makes everything but the film;
// [Runner.Assemble] joins them without encoding and compares every time with
// the index. Its rules:
//   - A cut is a key picture that no other picture crosses, in the order of
//     decoding and in that of showing.
//   - Times stay whole ticks of the film from the packet to the piece; only the
//     output's own container rounds them.
//   - A doubt makes the conversion whole. [ErrStarved] means to try again with
//     all of the input, then whole; [ErrMismatch] means whole.
//
// # Errors
//
// What goes wrong with a file is an [*Error]: a kind to decide by, one text
// that is safe for people, and ffmpeg's last lines for the log. What is wrong
// with a request is an [*OptionError] that names the field and the cure.
//
// # Concurrency
//
// A Runner may be used by many goroutines. Each call starts at most one child
// at a time and returns only when that child is gone.
package ffmpeg

import (
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"sync/atomic"
	"time"
)

// Config is what a [Runner] needs. The zero Config finds everything itself.
type Config struct {
	FFmpeg  string // absolute path; empty: looked for in PATH
	FFprobe string // absolute path; empty: looked for in PATH
	Logger  *slog.Logger
	Limits  Limits
	Policy  Policy
}

// Limits bound one child process. A zero field takes its default.
type Limits struct {
	Wall   time.Duration // a whole conversion; default 24 h
	Stall  time.Duration // without progress, reading or writing; default 2 min
	Probe  time.Duration // looking at one file; default 30 s
	Memory uint64        // bytes of address space; default 1 GiB + 256 MiB a thread, at least 2 GiB
}

func (l Limits) orDefaults() Limits {
	if l.Wall <= 0 {
		l.Wall = 24 * time.Hour
	}
	if l.Stall <= 0 {
		l.Stall = 2 * time.Minute
	}
	if l.Probe <= 0 {
		l.Probe = 30 * time.Second
	}
	return l
}

func (l Limits) memoryFor(threads int) uint64 {
	if l.Memory > 0 {
		return l.Memory
	}
	return max(2<<30, 1<<30+uint64(threads)*256<<20)
}

// A Runner looks at media files and converts them.
type Runner struct {
	tools  Tools
	log    *slog.Logger
	limits Limits
	policy Policy

	hardware atomic.Pointer[[]string] // encoders that were found to work
}

// New finds the tools, asks them what they can do, and returns a Runner. It
// blocks for a fraction of a second. Its error is [ErrMissing] when there is
// no ffmpeg or ffprobe, or one that is too old; the node then runs without
// conversions.
func New(ctx context.Context, cfg Config) (*Runner, error) {
	tools, err := locate(ctx, cfg.FFmpeg, cfg.FFprobe)
	if err != nil {
		return nil, err
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &Runner{
		tools:  tools,
		log:    cfg.Logger,
		limits: cfg.Limits.orDefaults(),
		policy: cfg.Policy.orDefaults(),
	}, nil
}

// Tools says which programs the Runner uses and what they can encode.
func (r *Runner) Tools() Tools { return r.tools }

// CanConvert tells whether this node's ffmpeg has every encoder that the
// conversion needs. Its error is [ErrNoEncoder], or an [*OptionError] for an
// unknown format.
func (r *Runner) CanConvert(format string, o Options) error {
	needs, err := Needs(format, o)
	if err != nil {
		return err
	}
	have := r.Encoders()
	for _, name := range needs {
		if !slices.Contains(have, name) {
			return &Error{Kind: NoEncoder, Msg: fmt.Sprintf("The FFmpeg of this node has no encoder %s.", name)}
		}
	}
	return nil
}

// Formats lists the output formats that this node's ffmpeg can make, with
// only the video codecs that it has.
func (r *Runner) Formats() []Format {
	var have []Format
	for _, f := range Formats() {
		if f, ok := f.with(r.tools); ok {
			have = append(have, f)
		}
	}
	return have
}

// threadsOr returns n, or the number of processors for n below one.
func threadsOr(n int) int {
	if n < 1 {
		return runtime.NumCPU()
	}
	return n
}
