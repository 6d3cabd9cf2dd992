package ffmpeg

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
)

// Segment encodes one segment of a film without its sound into p.Output, with
// one thread, the way [Runner.Convert] would encode the whole. p.Input may be
// a file that has only the bytes that [Index.Needs] names. Progress, blocking
// and errors are those of Convert. Besides, its error is [ErrStarved] when
// ffmpeg complained about the input or pictures are missing: with all bytes
// there it may succeed; when it does not then, the film cannot be cut.
func (r *Runner) Segment(ctx context.Context, p Params, x Index, s Segment, progress func(Progress)) (Report, error) {
	p, err := r.admit(p)
	if err != nil {
		return Report{}, err
	}
	if err := r.CanConvert(p.Format, p.Options); err != nil {
		return Report{}, err
	}
	p.Threads = 1
	args, err := segmentArgs(p, x, s)
	if err != nil {
		return Report{}, err
	}
	m := r.making(p.orDefaults(), args)
	m.duration = x.seconds(s)
	report, err := r.make(ctx, m, progress)
	if err == nil {
		err = r.checkSegment(ctx, p, x, s, report)
	}
	if told := (*Error)(nil); errors.As(err, &told) && ofTheCut[told.Kind] {
		err = &Error{Kind: Starved, Msg: "The film cannot be decoded there.", Log: told.Log, crashed: told.crashed}
	}
	if err != nil {
		r.discard(p.Output)
	}
	return report, err
}

// ofTheCut are the kinds of failure that cutting a film may bring about: holes
// in the input of a segment, parts that cannot be joined. Whole it may be sound.
var ofTheCut = map[Kind]bool{Damaged: true, Unexpected: true, BadOutput: true}

// checkSegment counts what came out and looks at each time.
func (r *Runner) checkSegment(ctx context.Context, p Params, x Index, s Segment, report Report) error {
	if report.Log != "" {
		return &Error{Kind: Starved, Msg: "FFmpeg complained about the film there.", Log: report.Log}
	}
	part, err := r.listPackets(ctx, p.Output, partOf(p).container)
	if err != nil {
		return err
	}
	film := part.film()
	if len(film.times) != s.To-s.From {
		return &Error{Kind: Starved, Msg: fmt.Sprintf("A segment has %d pictures instead of %d.", len(film.times), s.To-s.From)}
	}
	for i, got := range film.times {
		want := rescale(x.Pictures[s.From+i]-x.Pictures[s.From], x.TimeBase, film.base)
		if got != want {
			return &Error{Kind: Mismatch, Msg: fmt.Sprintf("Picture %d of a segment is due at another time than in the film.", i)}
		}
	}
	return nil
}

// seconds is how long a segment is, without its last picture.
func (x Index) seconds(s Segment) float64 {
	return float64(x.Pictures[s.To-1]-x.Pictures[s.From]) * x.TimeBase.float()
}

func (x Index) has(s Segment) bool {
	return s.From >= 0 && s.From < s.To && s.To <= len(x.Pictures) && x.Unfit == ""
}

// A partFormat is the file that a segment is kept in: exact in time, unlike
// Matroska, which counts milliseconds.
type partFormat struct {
	muxer     string
	container Container
}

// NUT is known only for our own files: MP4 has no place for VP8.
const nut Container = "nut"

func partOf(p Params) partFormat {
	if s, err := resolve(p.Format, p.Options); err == nil && s.video.Name == vp8.Name {
		return partFormat{"nut", nut}
	}
	return partFormat{"mp4", MOV}
}

// segmentArgs are the arguments of the ffmpeg that encodes a segment. The
// input is entered at the segment's key picture and its times are moved so
// that the first picture is due at 0, all in whole ticks of the film.
func segmentArgs(p Params, x Index, s Segment) ([]string, error) {
	p.Threads = 1
	p, set, err := prepare(p)
	if err != nil {
		return nil, err
	}
	if !x.has(s) {
		return nil, &Error{Kind: Starved, Msg: "The film has no such segment."}
	}
	args := append(global(1), "-threads", "1")
	args = append(args, x.enter(s)...)
	args = append(args, p.guards()...)
	args = append(args, "-i", p.source())
	args = append(args, onlySegment(videoArgs(p, set), x, s)...)
	if set.video.Name == x264.Name {
		args = append(args, "-x264-params", "stitchable=1") // same headers in all segments
	}
	if film, _ := p.Info.Video(); set.video.Name == vp9.Name && max(film.Width, film.Height) <= untiled {
		args = append(args, "-tile-columns", "0")
	}
	args = append(args, "-an", "-sn", "-dn", "-map_chapters", "-1",
		pacing, "passthrough", "-enc_time_base:v:0", x.TimeBase.String(),
		"-threads", "1",
		"-t", number(p.MaxSeconds),
		"-frames:v", strconv.Itoa(s.To-s.From+1), // one more than there may be, to notice
		"-fs", strconv.FormatInt(p.MaxBytes, 10))
	if part := partOf(p); part.container == MOV {
		args = append(args, "-video_track_timescale", strconv.FormatInt(x.TimeBase.Den, 10))
	}
	return append(args, "-f", partOf(p).muxer, "file:"+p.Output), nil
}

// untiled is up to which width, in pixels, VP9 is not cut into columns: one
// thread encodes those 3 % faster and smaller, and any player decodes them with
// one thread. Larger films need more to be played.
const untiled = 1920

// reordering is by how much ffmpeg seeks too early in containers that are
// searched by decoding time, in microseconds: 3/23 s.
const reordering = 130_435

// enter are the options of the input that begin reading at the key picture.
func (x Index) enter(s Segment) []string {
	first := x.micros(s.From)
	args := []string{"-noaccurate_seek", "-seek_timestamp", "1"}
	key, ok := x.key(s.From)
	if !ok || key.Picture == 0 {
		return append(args, "-itsoffset", timeText(-first))
	}
	at := x.micros(key.Picture) + x.lead(key)
	return append(args, "-ss", timeText(at), "-itsoffset", timeText(at-first))
}

// lead is by how much behind a key picture to aim, in microseconds, so that
// rounding does not land before it: enough to land on it whether ffmpeg seeks
// too early or not, and always before the next key picture.
func (x Index) lead(k Key) int64 {
	gap := rescale(k.Gap, x.TimeBase, microseconds)
	if gap == 0 || gap > 2*reordering+10_000 {
		return reordering + 5_000
	}
	return gap / 2
}

// exactArgs keep the film's own times in a whole conversion as well, where
// ffmpeg would move them to a grid of its rate, and repeat or drop pictures of
// a film without one. AVI has nothing but such a grid, and MPEG-4 video cannot
// count in every unit that a film may come in. Where the user asked for a rate,
// that is the grid. To a bitrate the encoders of VP8 and VP9 take every tick
// for a picture, and most of the bits are never used.
func exactArgs(s settings) []string {
	vpx := s.video.Name == vp8.Name || s.video.Name == vp9.Name
	if s.format.container == AVI || s.video.Name == mpeg4.Name || s.fps != 0 || vpx && s.rated() {
		return nil
	}
	return []string{pacing, "vfr", "-enc_time_base:v:0", "-1"}
}

// onlySegment puts the filter that drops what is not of the segment in front of
// the filters that videoArgs chose.
func onlySegment(args []string, x Index, s Segment) []string {
	trim := "trim=start_pts=0"
	if s.To < len(x.Pictures) {
		trim += ":end_pts=" + strconv.FormatInt(x.Pictures[s.To]-x.Pictures[s.From], 10)
	}
	args = slices.Clone(args)
	i := slices.Index(args, "-filter:v:0") + 1
	args[i] = trim + "," + args[i]
	return args
}
