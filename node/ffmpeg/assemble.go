package ffmpeg

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
)

// Assemble joins the encoded segments of a film, in order, with the file that
// [Runner.Audio] made, into p.Output, without encoding again, and then
// compares every time in it with the film's. p.Input is not read. Progress,
// blocking and errors are those of [Runner.Convert]. Besides, its error is
// [ErrMismatch] when the outcome is not what the film is.
func (r *Runner) Assemble(ctx context.Context, p Params, x Index, j Join, progress func(Progress)) (Report, error) {
	p, err := r.admit(p)
	if err != nil {
		return Report{}, err
	}
	s, err := resolve(p.Format, p.Options)
	if err != nil {
		return Report{}, err
	}
	p.Threads = 1
	p = p.orDefaults()
	if err := j.check(x); err != nil {
		return Report{}, err
	}
	list, err := j.list(x)
	if err != nil {
		return Report{}, err
	}
	listed := p.Output + ".segments"
	defer os.Remove(listed)
	if err := os.WriteFile(listed, []byte(list), 0o600); err != nil {
		return Report{}, fmt.Errorf("assemble: %w", err)
	}
	args, err := joinArgs(p, x, j, listed)
	if err != nil {
		return Report{}, err
	}
	m := r.making(p, args)
	m.inputs, m.duration = append(slices.Clone(j.Parts), j.Rest, listed), expected(p.Info, s)
	report, err := r.make(ctx, m, progress)
	if told := (*Error)(nil); errors.As(err, &told) && ofTheCut[told.Kind] {
		err = &Error{Kind: Mismatch, Msg: "The parts cannot be joined.", Log: told.Log, crashed: told.crashed}
	}
	if err == nil {
		err = r.verify(ctx, p, s, x, j)
	}
	if err != nil {
		r.discard(p.Output)
	}
	return report, err
}

// A Join is what an assembly is made of.
type Join struct {
	Segments []Segment // in order, without gaps
	Parts    []string  // absolute path of each segment's file
	Rest     string    // absolute path of what [Runner.Audio] made
}

func (j Join) check(x Index) error {
	if len(j.Segments) == 0 || len(j.Segments) != len(j.Parts) {
		return &Error{Kind: Mismatch, Msg: "Not every segment is there."}
	}
	for i, s := range j.Segments {
		if !x.has(s) || i > 0 && s.From != j.Segments[i-1].To {
			return &Error{Kind: Mismatch, Msg: "The segments are not those of the film."}
		}
	}
	return nil
}

// list is the script of ffmpeg's concat demuxer. Durations are differences of
// rounded starts, so that roundings do not add up.
func (j Join) list(x Index) (string, error) {
	var b strings.Builder
	b.WriteString("ffconcat version 1.0\n")
	for i, s := range j.Segments {
		path := j.Parts[i]
		if err := checkPath(path); err != nil {
			return "", err
		}
		if strings.ContainsAny(path, `'\`) {
			return "", errPath
		}
		fmt.Fprintf(&b, "file 'file:%s'\n", path)
		if i+1 < len(j.Segments) {
			fmt.Fprintf(&b, "duration %s\n", timeText(x.since(j, s.To)-x.since(j, s.From)))
		}
	}
	return b.String(), nil
}

// since is when a picture is due after the first one, in microseconds.
func (x Index) since(j Join, picture int) int64 {
	return rescale(x.Pictures[picture]-x.Pictures[j.Segments[0].From], x.TimeBase, microseconds)
}

// joinArgs are the arguments of the ffmpeg that joins. Dispositions are said
// again, since ffmpeg chooses some by itself where streams come together.
func joinArgs(p Params, x Index, j Join, list string) ([]string, error) {
	if err := errors.Join(checkPath(p.Output), checkPath(j.Rest), checkPath(list)); err != nil {
		return nil, err
	}
	s, err := resolve(p.Format, p.Options)
	if err != nil {
		return nil, err
	}
	c := carry(p.Info, s, p.Options)
	rest := restOf(s, c)
	begin := rescale(x.offset(j.Segments[0].From), x.TimeBase, microseconds)
	args := append(global(1), "-threads", "1", "-seek_timestamp", "1", "-itsoffset", timeText(begin+rest.shift))
	args = append(args, ownGuards("concat", "concat", string(MOV), demuxers[0], string(nut))...)
	args = append(args, "-safe", "0", "-i", "file:"+list)
	args = append(args, "-threads", "1", "-seek_timestamp", "1")
	args = append(args, ownGuards(rest.container, demuxers[0], "matroska,webm", string(tagsOnly))...)
	args = append(args, "-i", "file:"+j.Rest, "-map", "0:v:0")
	if rest.container != tagsOnly {
		args = append(args, "-map", "1")
	}
	args = append(args, "-c", "copy", "-map_metadata", "1", "-map_chapters", "1", "-dn", "-disposition:v:0", disposition(p.Info))
	args = append(args, switchedOff(c)...)
	if p.Info.Container != MOV { // notes of the segments' container, which the film's had not
		args = append(args, "-metadata:s:v:0", "handler_name=", "-metadata:s:v:0", "vendor_id=")
	}
	if s.format.container == AVI {
		args = append(args, "-r", x.Rate.String())
	}
	if s.video.Name == x265.Name && s.format.container == MOV {
		args = append(args, "-tag:v:0", "hvc1")
	}
	if rest.container == MOV {
		args = append(args, "-metadata", "major_brand=", "-metadata", "minor_version=", "-metadata", "compatible_brands=")
	}
	args = append(args, "-output_ts_offset", timeText(-rest.shift),
		"-t", number(p.MaxSeconds),
		"-fs", strconv.FormatInt(p.MaxBytes, 10))
	args = append(args, s.format.muxArgs...)
	return append(args, "-f", s.format.muxer, "file:"+p.Output), nil
}

// disposition is the film's, which joining would lose.
func disposition(info Info) string {
	if film, _ := info.Video(); film.Default {
		return "default"
	}
	return "0"
}

// ownGuards are [guards] for files that malla made itself.
func ownGuards(c Container, demuxers ...string) []string {
	args := guards(c, probeList)
	for i, arg := range args {
		if arg == demuxerList {
			args[i] = strings.Join(demuxers, ",")
		}
	}
	return args
}
