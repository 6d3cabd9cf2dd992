package ffmpeg

import (
	"context"
	"fmt"
	"os"
	"strconv"
)

// Audio makes a file of everything but the film: sounds, subtitles, fonts,
// cover, tags and chapters, encoded for the format and ready for
// [Runner.Assemble]. Progress, blocking and errors are those of
// [Runner.Convert].
func (r *Runner) Audio(ctx context.Context, p Params, progress func(Progress)) (Report, error) {
	s, err := resolve(p.Format, p.Options)
	if err != nil {
		return Report{}, err
	}
	if !r.tools.Has(s.audio.encoder) {
		return Report{}, &Error{Kind: NoEncoder, Msg: fmt.Sprintf("The FFmpeg of this node has no encoder %s.", s.audio.encoder)}
	}
	p.rest = true
	report, err := r.encode(ctx, p, progress)
	if err != nil {
		return report, err
	}
	if rest := restOf(s, p.carriage(s)); rest.shift != 0 {
		err = r.settle(ctx, p.orDefaults(), rest)
	}
	if err != nil {
		r.discard(p.Output)
	}
	return report, err
}

// settle makes the times in a Matroska file true when they are read back. Some
// releases of FFmpeg leave the delay of Opus out when they write and subtract
// it when they read: copying the file once shows what this one does.
func (r *Runner) settle(ctx context.Context, p Params, rest target) error {
	made, err := r.listPackets(ctx, p.Output, rest.container)
	if err != nil || len(made.streams) == 0 || len(made.streams[0].times) == 0 {
		return err
	}
	again := p.Output + ".again"
	defer os.Remove(again)
	first := func(shift int64) (int64, error) {
		m := r.making(p, recopyArgs(p, rest, again, shift))
		m.output, m.inputs, m.threads = again, []string{p.Output}, 1
		m.maxSeconds++
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

// recopyArgs copy the file of everything but the film, its sounds moved in time
// by microseconds.
func recopyArgs(p Params, rest target, output string, shift int64) []string {
	args := append(global(1), "-threads", "1", "-seek_timestamp", "1")
	args = append(args, ownGuards(rest.container, demuxerList)...)
	args = append(args, "-i", "file:"+p.Output, "-map", "0", "-c", "copy", "-map_metadata", "0", "-map_chapters", "0", "-dn",
		"-t", number(p.MaxSeconds+1), "-fs", strconv.FormatInt(p.MaxBytes, 10))
	if shift != 0 {
		args = append(args, "-bsf:a", "setts=ts=TS+("+timeText(shift)+")/TB")
	}
	return append(args, "-f", rest.muxer, "file:"+output)
}
