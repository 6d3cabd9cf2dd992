package ffmpeg

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Oldest version that knows every argument of ours (-stats_period).
const (
	oldestMajor = 4
	oldestMinor = 4
)

// Tools are the programs of one machine.
type Tools struct {
	FFmpeg   string   // absolute path
	FFprobe  string   // absolute path
	Version  string   // of ffmpeg, such as 5.1.9-0+deb12u1
	Encoders []string // names, sorted

	env []string // that makes them start sooner
}

// Has tells whether the ffmpeg has the encoder.
func (t Tools) Has(encoder string) bool {
	_, ok := slices.BinarySearch(t.Encoders, encoder)
	return ok
}

// Locate finds ffmpeg and ffprobe in PATH and asks for version and encoders.
// Its error is [ErrMissing] when one is not there or too old.
func Locate(ctx context.Context) (Tools, error) { return locate(ctx, "", "") }

func locate(ctx context.Context, ffmpeg, ffprobe string) (Tools, error) {
	var t Tools
	var err error
	if t.FFmpeg, err = absolute("ffmpeg", ffmpeg); err != nil {
		return Tools{}, err
	}
	if t.FFprobe, err = absolute("ffprobe", ffprobe); err != nil {
		return Tools{}, err
	}
	out, err := ask(ctx, t.FFmpeg, "-version")
	if err != nil {
		return Tools{}, err
	}
	if t.Version = parseVersion(out); tooOld(t.Version) {
		return Tools{}, fmt.Errorf("%w: version %s is too old, install %d.%d or newer", ErrMissing, t.Version, oldestMajor, oldestMinor)
	}
	if out, err = ask(ctx, t.FFmpeg, "-encoders"); err != nil {
		return Tools{}, err
	}
	t.Encoders = parseEncoders(out)
	t.env = startEnv(ctx, t.FFmpeg, t.FFprobe)
	return t, nil
}

// absolute resolves once where a program is, so that a later change of PATH or
// of the working folder cannot put another in its place.
func absolute(name, given string) (string, error) {
	if given == "" {
		given = name
	}
	path, err := exec.LookPath(given)
	if err != nil {
		return "", fmt.Errorf("%w: no %s (install FFmpeg or name its path)", ErrMissing, name)
	}
	return filepath.Abs(path)
}

// ask runs a program that reads no file and returns what it prints.
func ask(ctx context.Context, program, question string) (string, error) {
	return askWith(ctx, program, question)
}

// askWith is ask with variables in the program's environment.
func askWith(ctx context.Context, program, question string, env ...string) (string, error) {
	out := &cappedBuffer{limit: 1 << 20}
	res, err := runChild(ctx, child{
		path:   program,
		args:   []string{"-nostdin", "-hide_banner", question},
		env:    env,
		stdout: out,
		// On a machine that is busy enough the answer takes half a minute, and a
		// node must start there too.
		limits: childLimits{wall: 2 * time.Minute, memory: 2 << 30, cpu: 20 * time.Second},
	})
	if err != nil {
		return "", fmt.Errorf("%s %s: %w", filepath.Base(program), question, err)
	}
	if !res.ok {
		return "", fmt.Errorf("%w: %s %s does not run: %s", ErrMissing, filepath.Base(program), question, logText(res.stderr))
	}
	return out.String(), nil
}

// parseVersion reads the third word of "ffmpeg version 5.1.9-0+deb12u1 …".
func parseVersion(text string) string {
	words := strings.Fields(text)
	if len(words) < 3 || words[1] != "version" {
		return "unknown"
	}
	return words[2][:min(len(words[2]), 64)]
}

// pacing is the option that says what becomes of the times of the film's
// pictures. FFmpeg 9 knows only this name of it, which older ones than 5.1 do
// not.
const pacing = "-fps_mode:v:0"

// adapted are arguments as these programs know them.
func (t Tools) adapted(args []string) []string {
	if !before(t.Version, 5, 1) {
		return args
	}
	args = slices.Clone(args)
	for i, arg := range args {
		if arg == pacing {
			args[i] = "-vsync"
		}
	}
	return args
}

func tooOld(version string) bool { return before(version, oldestMajor, oldestMinor) }

// before tells which version is older only of those that have a number: builds
// from git have none.
func before(version string, wantMajor, wantMinor int) bool {
	digits, rest, _ := strings.Cut(strings.TrimPrefix(version, "n"), ".")
	major, err := strconv.Atoi(digits)
	if err != nil {
		return false
	}
	end := strings.IndexFunc(rest, func(r rune) bool { return r < '0' || r > '9' })
	if end < 0 {
		end = len(rest)
	}
	minor, err := strconv.Atoi(rest[:end])
	if err != nil {
		return false
	}
	return major < wantMajor || major == wantMajor && minor < wantMinor
}

// parseEncoders reads the table that "ffmpeg -encoders" prints: six flags, a
// name, words; above it a legend that ends with a line of dashes.
func parseEncoders(text string) []string {
	var names []string
	_, table, _ := strings.Cut(text, "------")
	for line := range strings.Lines(table) {
		words := strings.Fields(line)
		if len(words) >= 2 && len(words[0]) == 6 && strings.ContainsRune("VAS", rune(words[0][0])) {
			names = append(names, words[1])
		}
	}
	slices.Sort(names)
	return names
}

var errTooMuchOutput = errors.New("output is over its cap")

// A cappedBuffer keeps what a child prints and refuses more than its limit,
// which ends the child.
type cappedBuffer struct {
	bytes.Buffer
	limit int
}

func (b *cappedBuffer) Write(p []byte) (int, error) {
	if b.Len()+len(p) > b.limit {
		return 0, errTooMuchOutput
	}
	return b.Buffer.Write(p)
}
