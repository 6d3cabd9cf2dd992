package ffmpeg

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// An awkward is a kind of input that cuts badly.
type awkward struct {
	name  string
	file  string // its extension names the container
	make  []string
	spoil func([]byte) []byte // what is done to the file then
	whole string              // part of the reason why it stays whole; empty when it is cut
	like  string              // format to convert it to; empty: mp4
}

const (
	moving = "testsrc2=size=128x96:rate=15:duration=3"
	tone   = "sine=frequency=330:sample_rate=48000:duration=3"
)

// of are the arguments for a film from moving and tone.
func of(args ...string) []string {
	return with([]string{"-f", "lavfi", "-i", moving, "-f", "lavfi", "-i", tone, "-g", "15", "-pix_fmt", "yuv420p", "-threads", "1"}, args...)
}

// copied are the arguments for a copy of a film made of args.
func copied(t testing.TB, before []string, after ...string) []string {
	in := makeMedia(t, "first.mp4", of("-c:v", "libx264", "-preset", "veryfast")...)
	return with(with(before, "-i", in, "-c", "copy"), after...)
}

func awkwards(t testing.TB) []awkward {
	x264 := []string{"-c:v", "libx264", "-preset", "veryfast"}
	jitter := []string{"-vf", "settb=1/1000,setpts=N*66+mod(N*7\\,29)", "-fps_mode", "passthrough", "-enc_time_base", "1/1000"}
	cover := makeMedia(t, "c.jpg", "-f", "lavfi", "-i", "testsrc2=size=64x64:rate=1:duration=1", "-frames:v", "1")
	return []awkward{
		{name: "reordered pictures", file: "in.mp4", make: of(x264...)},
		{name: "variable rate without reordering", file: "in.mkv", make: of(with(with(x264, jitter...), "-bf", "0")...), like: "webm"},
		{name: "variable rate with reordering", file: "in.mp4", make: of(with(x264, jitter...)...), like: "mkv"},
		{name: "variable rate to AVI", file: "in.mp4", make: of(with(x264, jitter...)...), like: "avi"},
		{name: "open groups", file: "in.mkv", make: of(with(x264, "-x264-params", "open-gop=1:keyint=15:bframes=3:b-adapt=0:scenecut=0")...), whole: "no key pictures"},
		{name: "an edit list that begins between keys", file: "in.mp4", make: copied(t, []string{"-ss", "0.7"})},
		{name: "a start far from zero", file: "in.mkv", make: copied(t, nil, "-output_ts_offset", "5.1")},
		{name: "film later than sound", file: "in.mp4", make: copied(t, []string{"-f", "lavfi", "-i", tone, "-itsoffset", "0.7"}, "-map", "1:v", "-map", "0:a", "-c:a", "aac")},
		{name: "times below zero", file: "in.mov", make: copied(t, nil, "-output_ts_offset", "-0.5", "-avoid_negative_ts", "disabled")},
		{name: "AVI", file: "in.avi", make: of("-c:v", "mpeg4")},
		{name: "AVI to AVI", file: "in.avi", make: of("-c:v", "mpeg4"), like: "avi"},
		{name: "AVI without index", file: "in.avi", make: of("-c:v", "mpeg4"), whole: "without an index",
			spoil: func(b []byte) []byte { return b[:bytes.LastIndex(b, []byte("idx1"))] }},
		{name: "AVI that reorders", file: "in.avi", make: of(x264...), whole: "no time"},
		{name: "no key picture for long", file: "in.mp4", make: of(with(x264, "-g", "1000", "-sc_threshold", "0")...), whole: "no key pictures"},
		{name: "interlaced", file: "in.mp4", make: of(with(x264, "-flags", "+ildct+ilme", "-x264-params", "tff=1")...)},
		{name: "rotated", file: "in.mp4", make: copied(t, nil, "-metadata:s:v", "rotate=90")},
		{name: "odd size", file: "in.mkv", make: of("-vf", "scale=129:97", "-c:v", "ffv1", "-pix_fmt", "yuv444p")},
		{name: "ten bits", file: "in.mkv", make: of("-c:v", "libx265", "-preset", "ultrafast", "-pix_fmt", "yuv420p10le", "-x265-params", "log-level=error:pools=1:open-gop=0")},
		{name: "HDR tags", file: "in.mp4", make: of(with(x264, "-color_primaries", "bt2020", "-color_trc", "smpte2084", "-colorspace", "bt2020nc")...)},
		{name: "several sounds", file: "in.mkv", make: of(with(x264, "-map", "0:v", "-map", "1:a", "-map", "1:a", "-metadata:s:a:1", "language=deu", "-metadata:s:v", "language=fra")...)},
		{name: "sound longer than film", file: "in.mp4", make: of(with(x264, "-af", "apad=pad_dur=2")...)},
		{name: "no sound", file: "in.mp4", make: of(with(x264, "-an", "-metadata", "title=Silent")...)},
		{name: "no sound to WebM", file: "in.mp4", make: of(with(x264, "-an", "-metadata", "title=Silent")...), like: "webm"},
		{name: "eight channels", file: "in.mkv", make: of(with(x264, "-af", "aformat=channel_layouts=7.1", "-c:a", "flac")...)},
		{name: "damaged tail of Matroska", file: "in.mkv", make: of(x264...), whole: "damaged", spoil: func(b []byte) []byte { return b[:len(b)*3/4] }},
		{name: "damaged tail of MP4", file: "in.mp4", make: of(with(x264, "-movflags", "+faststart")...), whole: "damaged",
			spoil: func(b []byte) []byte { return b[:len(b)*3/4] }},
		{name: "fragments", file: "in.mp4", make: of(with(x264, "-movflags", "+frag_keyframe+empty_moov")...)},
		{name: "a live recording", file: "in.webm", make: of("-c:v", "libvpx", "-deadline", "realtime", "-cpu-used", "8", "-live", "1")},
		{name: "transport stream", file: "in.ts", make: of(x264...), whole: "transport stream"},
		{name: "every picture is a key", file: "in.mov", make: of("-c:v", "mjpeg", "-pix_fmt", "yuvj420p")},
		{name: "music with a cover", file: "in.mp3", make: []string{"-f", "lavfi", "-i", tone, "-i", cover, "-map", "0", "-map", "1", "-c:v", "copy", "-disposition:v", "attached_pic"}, whole: "no moving picture"},
		{name: "music", file: "in.mp3", make: []string{"-f", "lavfi", "-i", tone}, whole: "no moving picture"},
	}
}

// pictures decodes a film to small grey pictures.
func pictures(t testing.TB, path string) [][]byte {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "ffmpeg", "-v", "error", "-i", path, "-map", "0:v:0", "-vf", "scale=32:24,format=gray", "-fps_mode", "passthrough", "-f", "rawvideo", "-")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("decode %s: %v", filepath.Base(path), err)
	}
	return slices.Collect(slices.Chunk(out, 32*24))
}

// unlike is the mean difference of two pictures' pixels.
func unlike(a, b []byte) float64 {
	sum := 0
	for i := range a {
		d := int(a[i]) - int(b[i])
		sum += max(d, -d)
	}
	return float64(sum) / float64(len(a))
}

func TestAwkwardFilmsAreCutExactlyOrNotAtAll(t *testing.T) {
	r := newRunner(t, Limits{})
	for _, row := range awkwards(t) {
		t.Run(strings.ReplaceAll(row.name, " ", "_"), func(t *testing.T) {
			t.Parallel()
			if testing.Short() && row.whole == "" {
				t.Skip("many encodings")
			}
			in := makeMedia(t, row.file, row.make...)
			if row.spoil != nil {
				if err := os.WriteFile(in, row.spoil(readFile(t, in)), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if row.like == "" {
				row.like = "mp4"
			}
			cutOrWhole(t, r, in, row)
		})
	}
}

func cutOrWhole(t *testing.T, r *Runner, in string, row awkward) {
	info := probe(t, r, in)
	p := Params{Input: in, Info: info, Format: row.like}
	p.Options.Preset = map[string]string{"webm": "veryfast", "mp4": "superfast", "mkv": "superfast"}[row.like]
	x, err := r.Index(t.Context(), in, info)
	if err != nil {
		if row.whole == "" || !strings.Contains(err.Error(), row.whole) {
			t.Fatal(err)
		}
		return
	}
	plan, err := Split(info, x, p.Format, p.Options, 1e6)
	if err != nil {
		t.Fatal(err)
	}
	if row.whole != "" {
		if !strings.Contains(plan.Whole, row.whole) {
			t.Fatalf("whole: %q, want %q", plan.Whole, row.whole)
		}
		return
	}
	if plan.Whole != "" {
		t.Fatalf("whole: %s", plan.Whole)
	}
	joined, err := encodeInPieces(t, r, p, x, plan.Segments)
	if err != nil {
		t.Fatal(err)
	}
	p.Output = filepath.Join(t.TempDir(), "whole."+row.like)
	if _, err := r.Convert(t.Context(), p, nil); err != nil {
		t.Fatal(err)
	}
	sameFilm(t, r, p.Output, joined)
}

// sameFilm compares two outputs of one input: streams, times, pictures, sound.
func sameFilm(t *testing.T, r *Runner, whole, pieces string) {
	t.Helper()
	a, b := probe(t, r, whole), probe(t, r, pieces)
	for i := range a.Streams {
		if i >= len(b.Streams) {
			t.Fatalf("%d streams, whole has %d", len(b.Streams), len(a.Streams))
		}
		s, u := a.Streams[i], b.Streams[i]
		s.BitRate, s.Duration, s.Start, s.FPS = u.BitRate, u.Duration, u.Start, u.FPS
		if s != u {
			t.Errorf("stream %d is\n%+v, whole\n%+v", i, u, s)
		}
	}
	if fmt.Sprint(a.Tags, a.Chapters) != fmt.Sprint(b.Tags, b.Chapters) || !near(a.Duration, b.Duration, 0.08) {
		t.Errorf("tags %v, %.3f s, whole %v, %.3f s", b.Tags, b.Duration, a.Tags, a.Duration)
	}
	sameTimes(t, r, a.Container, whole, pieces)
	old, now := pictures(t, whole), pictures(t, pieces)
	for i := range min(len(old), len(now)) {
		if d := unlike(old[i], now[i]); d > 3 {
			t.Errorf("picture %d differs by %.1f", i, d)
			break
		}
	}
}

// sameTimes compares times. AVI may round them to one place or the next.
func sameTimes(t *testing.T, r *Runner, c Container, whole, pieces string) {
	t.Helper()
	a, err := r.listPackets(t.Context(), whole, c)
	if err != nil {
		t.Fatal(err)
	}
	b, err := r.listPackets(t.Context(), pieces, c)
	if err != nil {
		t.Fatal(err)
	}
	for i, s := range a.streams {
		u := b.streams[i]
		if len(s.times) != len(u.times) {
			t.Errorf("stream %d has %d packets, whole %d", i, len(u.times), len(s.times))
			continue
		}
		within := 0.0015
		if c == AVI {
			within += s.base.float()
		}
		for n := range s.times {
			if !near(s.seconds(s.times[n]), u.seconds(u.times[n]), within) {
				t.Errorf("stream %d: packet %d at %.4f s, whole %.4f s", i, n, u.seconds(u.times[n]), s.seconds(s.times[n]))
				break
			}
		}
	}
}
