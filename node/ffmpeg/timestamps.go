package ffmpeg

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
)

// timing is when the packets of a file are due.
type timing struct {
	streams []streamTiming
	length  float64 // seconds, as the container tells
}

// A streamTiming is when the packets of one stream are due.
type streamTiming struct {
	kind     string // as ffprobe names it: video, audio, …
	codec    string
	base     Rational
	times    []int64 // ascending
	end      int64   // of the last one, in ticks
	timeless int     // packets without a time
}

// seconds is a number of ticks in seconds.
func (s streamTiming) seconds(ticks int64) float64 { return float64(ticks) * s.base.float() }

// film is the first stream of pictures.
func (t timing) film() streamTiming {
	for _, s := range t.streams {
		if s.kind == "video" {
			return s
		}
	}
	return streamTiming{base: microseconds}
}

// timesArgs are the arguments of an ffprobe that lists all packets of one of
// our own files.
func timesArgs(path string, c Container) []string {
	args := []string{"-hide_banner", "-v", "error", "-max_alloc", strconv.Itoa(maxAlloc), "-threads", "1",
		"-print_format", "compact=nokey=1",
		"-show_entries", "packet=stream_index,pts,dts,duration:stream=index,codec_name,codec_type,time_base:format=duration"}
	args = append(args, ownGuards(c, demuxerList, string(nut))...)
	return append(args, "-i", "file:"+path)
}

// listPackets reads when all packets of one of our own files are due.
func (r *Runner) listPackets(ctx context.Context, path string, c Container) (timing, error) {
	if err := checkPath(path); err != nil {
		return timing{}, err
	}
	st, err := os.Stat(path)
	if err != nil {
		return timing{}, fmt.Errorf("look at an output: %w", err)
	}
	table := &timesTable{}
	res, err := runChild(ctx, child{path: r.tools.FFprobe, env: r.tools.env, args: timesArgs(path, c), stdout: table, limits: r.readLimits(st.Size())})
	if err != nil {
		return timing{}, fmt.Errorf("look at an output: %w", err)
	}
	if !res.ok {
		return timing{}, &Error{Kind: BadOutput, Msg: "The output cannot be read.", Log: logText(res.stderr, path)}
	}
	return table.done(), nil
}

// maxListed bounds the packets of a file together: six hours of film with two
// dozen sounds.
const maxListed = 20_000_000

// A timesTable takes what an ffprobe with [timesArgs] writes.
type timesTable struct {
	line    []byte
	packets map[int]*streamTiming
	count   int
	length  float64
}

func (t *timesTable) Write(b []byte) (int, error) {
	for rest := b; len(rest) > 0; {
		line, after, whole := bytes.Cut(rest, []byte("\n"))
		if len(t.line)+len(line) <= 4096 {
			t.line = append(t.line, line...)
		}
		if whole {
			fields := strings.Split(string(t.line), "|")
			t.line = t.line[:0]
			if err := t.take(fields); err != nil {
				return 0, err
			}
		}
		rest = after
	}
	return len(b), nil
}

func (t *timesTable) stream(index string) *streamTiming {
	if t.packets == nil {
		t.packets = map[int]*streamTiming{}
	}
	i := int(text(index).count(1 << 16))
	if t.packets[i] == nil {
		t.packets[i] = &streamTiming{base: microseconds}
	}
	return t.packets[i]
}

func (t *timesTable) take(f []string) error {
	switch {
	case f[0] == "packet" && len(f) >= 5:
		if t.count++; t.count > maxListed {
			return errTooMany
		}
		s := t.stream(f[1])
		at, err := strconv.ParseInt(f[2], 10, 64)
		if err != nil { // AVI has only decoding times, which are the same there
			at, err = strconv.ParseInt(f[3], 10, 64)
		}
		if err != nil || at < -maxTicks || at > maxTicks {
			s.timeless++
			return nil
		}
		s.times = append(s.times, at)
		s.end = max(s.end, at+text(f[4]).count(maxTicks))
	case f[0] == "stream" && len(f) >= 5:
		s := t.stream(f[1])
		s.codec, s.kind = f[2], f[3]
		if base := parseRational(f[4]); base.valid() {
			s.base = base
		}
	case f[0] == "format" && len(f) >= 2:
		t.length = text(f[1]).seconds()
	}
	return nil
}

func (t *timesTable) done() timing {
	out := timing{length: t.length}
	for i := range len(t.packets) {
		s, ok := t.packets[i]
		if !ok {
			break
		}
		slices.Sort(s.times)
		out.streams = append(out.streams, *s)
	}
	return out
}

// verify compares an assembly with what it was made of.
func (r *Runner) verify(ctx context.Context, p Params, s settings, x Index, j Join) error {
	out, err := r.listPackets(ctx, p.Output, s.format.container)
	if err != nil && ctx.Err() != nil {
		return err
	}
	if err != nil {
		return &Error{Kind: Mismatch, Msg: "The joined film cannot be read again.", Log: logText(err.Error(), p.Output)}
	}
	var rest timing
	form := restOf(s, carry(p.Info, s, p.Options))
	if form.container != tagsOnly {
		if rest, err = r.listPackets(ctx, j.Rest, form.container); err != nil {
			return err
		}
	}
	if s.format.container == AVI {
		out.placeFirst(x, j.Segments[0].From)
	}
	if why := mismatch(x, j, form, rest, out); why != "" {
		return &Error{Kind: Mismatch, Msg: "The joined film is not what it should be: " + why + "."}
	}
	return nil
}

// placeFirst moves the first picture of an AVI to where it belongs. FFmpeg
// writes none of the empty places before it, also in a whole conversion, so
// that it is shown early and stays.
func (t *timing) placeFirst(x Index, from int) {
	film := t.film()
	if len(film.times) < 2 || from+1 >= len(x.Pictures) {
		return
	}
	gap := rescale(x.Pictures[from+1]-x.Pictures[from], x.TimeBase, film.base)
	film.times[0] = max(film.times[0], film.times[1]-gap)
}

// mismatch says how an assembly differs from the film and from the file of
// everything else, or nothing. It is pure.
func mismatch(x Index, j Join, form target, rest, out timing) string {
	from, to := j.Segments[0].From, j.Segments[len(j.Segments)-1].To
	film := out.film()
	if n := len(film.times) + film.timeless; n != to-from {
		return fmt.Sprintf("it has %d pictures instead of %d", n, to-from)
	}
	if film.timeless > 0 {
		return "a picture has no time"
	}
	for i, got := range film.times {
		want := rescale(x.Pictures[from+i]-x.Pictures[from], x.TimeBase, film.base)
		if off := got - film.times[0] - want; off < -1 || off > 1 || i > 0 && got == film.times[i-1] {
			return fmt.Sprintf("picture %d is due at %.4f s instead of %.4f s", i, film.seconds(got-film.times[0]), film.seconds(want))
		}
	}
	if len(out.streams) != len(rest.streams)+1 {
		return fmt.Sprintf("it has %d streams instead of %d", len(out.streams), len(rest.streams)+1)
	}
	begin := float64(x.offset(from)) * x.TimeBase.float()
	end := begin + film.seconds(film.times[len(film.times)-1]-film.times[0])
	for i, want := range rest.streams {
		if why := astray(want, out.streams[i+1], float64(form.shift)/1e6+begin, film); why != "" {
			return why
		}
		end = max(end, want.seconds(want.end)-float64(form.shift)/1e6)
	}
	const slack = 0.5
	if out.length < end-slack || out.length > end+slack+film.seconds(film.end-film.times[len(film.times)-1]) {
		return fmt.Sprintf("it is %.2f s long instead of %.2f s", out.length, end)
	}
	return ""
}

// trackTick is the unit in which MP4 notes when a track begins.
const trackTick = 0.001

// opusDelay is what some releases of FFmpeg forget when they write Opus to
// Matroska, and then do so for a whole conversion as well.
const opusDelay = 0.0075

// astray says how a stream that was copied differs, or nothing. begin is when
// the film begins in the file that it was copied from.
func astray(want, got streamTiming, begin float64, film streamTiming) string {
	if w, g := len(want.times)+want.timeless, len(got.times)+got.timeless; w != g {
		return fmt.Sprintf("a stream has %d packets instead of %d", g, w)
	}
	if len(want.times) == 0 || len(got.times) == 0 {
		return ""
	}
	tick := trackTick + want.base.float() + got.base.float() + film.base.float()
	if got.codec == "opus" {
		tick += opusDelay
	}
	off := got.seconds(got.times[0]) - film.seconds(film.times[0]) - (want.seconds(want.times[0]) - begin)
	if off < -tick || off > tick {
		return fmt.Sprintf("its sound is %.4f s late", off)
	}
	return ""
}
