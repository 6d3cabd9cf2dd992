package ffmpeg

import (
	"slices"
	"strings"
	"testing"
)

// pieceCalls adds the calls that read a user's file to make pieces of it.
func pieceCalls(t *testing.T, calls map[string][]string, input string, info Info) {
	t.Helper()
	film, ok := info.Video()
	if !ok {
		return
	}
	calls["probe packets of "+input] = packetArgs("/job/in", info.Container, film.Index)
	x := Index{TimeBase: Rational{1, 12800}, Rate: Rational{25, 1}, Pictures: []int64{0, 512, 1024, 1536}, Keys: []Key{{0, 5, 1024}, {2, 50, 0}}}
	for format, codecs := range map[string][]string{"mp4": {"libx264", "libx265"}, "webm": {"libvpx", "libvpx-vp9"}, "avi": {"mpeg4"}} {
		for _, codec := range codecs {
			p := Params{Input: "/job/in", Output: "/job/out", Info: info, Format: format, Options: Options{VideoCodec: codec}, Threads: 2}
			args, err := segmentArgs(p, x, Segment{From: 2, To: 4})
			if err != nil {
				t.Fatal(err)
			}
			calls["segment of "+input+" for "+format+" "+codec] = args
			if args, err = RestArgs(p); err != nil {
				t.Fatal(err)
			}
			calls["sound of "+input+" for "+format] = args
		}
	}
}

func TestOurOwnFilesAreReadWithGuards(t *testing.T) {
	x := Index{TimeBase: Rational{1, 12800}, Rate: Rational{25, 1}, Pictures: []int64{0, 512, 1024, 1536}}
	p := Params{Input: "/job/in", Output: "/job/out", Info: filmInfo, Format: "webm"}
	j := Join{Segments: []Segment{{From: 0, To: 2}, {From: 2, To: 4}}, Parts: []string{"/job/a", "/job/b"}, Rest: "/job/rest"}
	joined, err := joinArgs(p, x, j, "/job/list")
	if err != nil {
		t.Fatal(err)
	}
	for name, args := range map[string][]string{
		"join": joined, "recopy": recopyArgs(p, target{muxer: "webm", container: WebM}, "/job/again", -7000), "times": timesArgs("/job/out", MOV),
	} {
		inputs := 0
		for i, arg := range args {
			if arg != "-i" {
				continue
			}
			inputs++
			for _, guard := range []string{"-protocol_whitelist", "-format_whitelist", "-codec_whitelist", "-max_pixels", "-max_streams", "-f"} {
				if !slices.Contains(args[:i], guard) {
					t.Errorf("%s: input %s has no %s", name, args[i+1], guard)
				}
			}
			if !strings.HasPrefix(args[i+1], "file:/job/") {
				t.Errorf("%s: input %s", name, args[i+1])
			}
		}
		if inputs == 0 || !slices.Contains(args, "-max_alloc") {
			t.Errorf("%s: %v", name, args)
		}
	}
}

func TestPathsThatCouldMeanSomethingAreNotListed(t *testing.T) {
	x := Index{TimeBase: Rational{1, 25}, Pictures: []int64{0, 1}}
	j := Join{Segments: []Segment{{From: 0, To: 1}, {From: 1, To: 2}}, Parts: []string{"/job/a", "/job/b"}}
	list, err := j.list(x)
	if want := "ffconcat version 1.0\nfile 'file:/job/a'\nduration 0.040000\nfile 'file:/job/b'\n"; err != nil || list != want {
		t.Errorf("%v\n%s", err, list)
	}
	for _, path := range []string{"b", "/job/b'", `/job/\b`, "/job/b\nfile '/etc/passwd'", "/job/../b", "/job/%d"} {
		j.Parts[1] = path
		if list, err := j.list(x); err == nil {
			t.Errorf("%q is listed:\n%s", path, list)
		}
	}
}

// Durations in a list are in microseconds, in which a picture of 30000/1001 a
// second has none: roundings must not add up over a film.
func TestRoundingsDoNotAddUp(t *testing.T) {
	x := Index{TimeBase: Rational{1, 30000}}
	j := Join{}
	for i := range 100_000 {
		x.Pictures = append(x.Pictures, int64(i)*1001)
		if i%10 == 0 {
			j.Segments = append(j.Segments, Segment{From: i, To: i + 10})
		}
	}
	at := int64(0)
	for i, s := range j.Segments[:len(j.Segments)-1] {
		at += x.since(j, s.To) - x.since(j, s.From)
		if got, want := rescale(at, microseconds, x.TimeBase), x.Pictures[s.To]; got != want {
			t.Fatalf("segment %d begins at %d instead of %d", i+1, got, want)
		}
	}
}

func TestRescaleIsFFmpegs(t *testing.T) {
	for _, row := range []struct {
		ticks    int64
		from, to Rational
		want     int64
	}{
		{1, Rational{1, 2}, Rational{1, 1}, 1},
		{-1, Rational{1, 2}, Rational{1, 1}, -1},
		{-312, Rational{1, 48000}, Rational{1, 1000}, -7},
		{1 << 60, Rational{1<<31 - 1, 1}, Rational{1, 1<<31 - 1}, 1<<63 - 1},
		{90000 * 3600 * 6, Rational{1, 90000}, microseconds, 6 * 3600 * 1_000_000},
	} {
		if got := rescale(row.ticks, row.from, row.to); got != row.want {
			t.Errorf("%d of %v in %v: %d, want %d", row.ticks, row.from, row.to, got, row.want)
		}
	}
	for us, want := range map[int64]string{0: "0.000000", -1: "-0.000001", 1_500_000: "1.500000", -61_000_001: "-61.000001"} {
		if got := timeText(us); got != want {
			t.Errorf("%d: %s", us, got)
		}
	}
}
