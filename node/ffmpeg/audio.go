package ffmpeg

import (
	"context"
	"errors"
	"os"
	"strconv"
)

// Audio makes a file of everything but the film: its sound, tags and
// chapters, encoded for the format and ready for [Runner.Assemble]. Progress,
// blocking and errors are those of [Runner.Convert].
func (r *Runner) Audio(ctx context.Context, p Params, progress func(Progress)) (Report, error) {
	if p.MaxSeconds <= 0 {
		p.MaxSeconds = r.usualSeconds()
	}
	p = p.orDefaults()
	if err := errors.Join(r.policy.Check(p.Info), r.CanConvert(p.Format, p.Options)); err != nil {
		return Report{}, err
	}
	args, err := audioFileArgs(p)
	if err != nil {
		return Report{}, err
	}
	rest := restOf(p)
	sound, _ := p.Info.Audio()
	report, err := r.make(ctx, making{
		args: args, output: p.Output, inputs: []string{p.Input}, duration: soundSeconds(p.Info, sound),
		threads: p.Threads, maxBytes: p.MaxBytes, maxSeconds: p.MaxSeconds,
	}, progress)
	if err == nil && rest.container == Matroska {
		err = r.settle(ctx, p, rest)
	}
	if err != nil {
		r.discard(p.Output)
	}
	return report, err
}

// A restFormat is the file in which everything but the film is kept.
type restFormat struct {
	muxer     string
	container Container
	shift     int64 // microseconds that all times in it are late, so that none is negative
}

// tagsOnly is our own kind of file of tags and chapters alone, of silent films.
const tagsOnly Container = "ffmetadata"

// restOf chooses a container that holds whatever the format's own holds.
// Matroska makes all times positive by moving them, so they are before.
func restOf(p Params) restFormat {
	f, _ := Lookup(p.Format)
	_, sound := p.Info.Audio()
	switch {
	case !sound:
		return restFormat{"ffmetadata", tagsOnly, 0}
	case f.container == MOV:
		return restFormat{f.muxer, MOV, 0}
	}
	return restFormat{"matroska", Matroska, 1_000_000}
}

// audioFileArgs are the arguments of the ffmpeg that makes everything but the
// film.
func audioFileArgs(p Params) ([]string, error) {
	if err := errors.Join(checkPath(p.Input), checkPath(p.Output)); err != nil {
		return nil, err
	}
	s, err := resolve(p.Format, p.Options)
	if err != nil {
		return nil, err
	}
	p = p.orDefaults()
	rest := restOf(p)
	args := append(global(p.Threads), "-threads", strconv.Itoa(p.Threads))
	args = append(args, guards(p.Info.Container, convertList)...)
	args = append(args, "-i", "file:"+p.Input)
	args = append(args, audioArgs(p, s)...)
	args = append(args, tagArgs(p.Info, s)...)
	args = append(args, "-vn", "-sn", "-dn",
		"-threads", strconv.Itoa(p.Threads),
		"-t", number(p.MaxSeconds),
		"-fs", strconv.FormatInt(p.MaxBytes, 10),
		"-output_ts_offset", timeText(rest.shift))
	return append(args, "-f", rest.muxer, "file:"+p.Output), nil
}

// settle makes the times in a Matroska file true when they are read back. Some
// releases of FFmpeg leave the delay of Opus out when they write and subtract
// it when they read: copying the file once shows what this one does.
func (r *Runner) settle(ctx context.Context, p Params, rest restFormat) error {
	made, err := r.listPackets(ctx, p.Output, rest.container)
	if err != nil || len(made.streams) == 0 || len(made.streams[0].times) == 0 {
		return err
	}
	again := p.Output + ".again"
	defer os.Remove(again)
	first := func(shift int64) (int64, error) {
		m := making{args: recopyArgs(p, rest, again, shift), output: again, inputs: []string{p.Output},
			threads: 1, maxBytes: p.MaxBytes, maxSeconds: p.MaxSeconds + 1}
		if _, err := r.make(ctx, m, nil); err != nil {
			return 0, err
		}
		copied, err := r.listPackets(ctx, again, rest.container)
		if err != nil || len(copied.streams) == 0 || len(copied.streams[0].times) == 0 {
			return 0, err
		}
		s := copied.streams[0]
		return rescale(s.times[0], s.base, microseconds), nil
	}
	before := rescale(made.streams[0].times[0], made.streams[0].base, microseconds)
	after, err := first(0)
	if err != nil || after == before {
		return err
	}
	if _, err := first(2 * (before - after)); err != nil {
		return err
	}
	return os.Rename(again, p.Output)
}

// recopyArgs copy the file of everything but the film, moved in time.
func recopyArgs(p Params, rest restFormat, output string, shift int64) []string {
	args := append(global(1), "-threads", "1", "-seek_timestamp", "1")
	args = append(args, guards(rest.container, convertList)...)
	args = append(args, "-i", "file:"+p.Output, "-map", "0", "-c", "copy", "-map_metadata", "0", "-map_chapters", "0", "-dn",
		"-t", number(p.MaxSeconds+1), "-fs", strconv.FormatInt(p.MaxBytes, 10), "-output_ts_offset", timeText(shift))
	return append(args, "-f", rest.muxer, "file:"+output)
}
