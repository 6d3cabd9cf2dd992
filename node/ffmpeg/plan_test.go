package ffmpeg

import (
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
)

// feature720 is a film of so many seconds at 25 pictures a second, with a key
// picture every two.
func feature720(seconds int) (Info, Index) {
	info := Info{Container: Matroska, Kind: Video, Duration: float64(seconds), Streams: []Stream{
		{Index: 0, Type: "video", Codec: "h264", Width: 1280, Height: 720, FPS: 25},
		{Index: 1, Type: "audio", Codec: "aac", Channels: 2, SampleRate: 48000},
	}}
	x := Index{TimeBase: Rational{1, 1000}, Rate: Rational{25, 1}, Size: int64(seconds) * 500_000}
	for i := range seconds * 25 {
		x.Pictures = append(x.Pictures, int64(i)*40)
		if i%50 == 0 {
			x.Keys = append(x.Keys, Key{Picture: i, Pos: int64(i) * 20_000, Gap: 2000})
		}
	}
	return info, x
}

func split(t *testing.T, info Info, x Index, format string, o Options, rate float64) Plan {
	t.Helper()
	plan, err := Split(info, x, format, o, rate)
	if err != nil {
		t.Fatal(err)
	}
	if plan.Whole != "" {
		if plan.Segments != nil {
			t.Errorf("whole and cut: %s", plan.Whole)
		}
		return plan
	}
	at, sum := 0, 0.0
	for _, s := range plan.Segments {
		if s.From != at || s.To <= s.From || s.Cost <= 0 {
			t.Fatalf("%+v follows picture %d", s, at)
		}
		if at > 0 && !slices.ContainsFunc(x.Keys, func(k Key) bool { return k.Picture == s.From }) {
			t.Fatalf("%+v begins at no key", s)
		}
		at, sum = s.To, sum+s.Cost
	}
	if at != len(x.Pictures) || sum > plan.Cost+1e-6 {
		t.Fatalf("segments end at %d of %d and cost %.1f of %.1f", at, len(x.Pictures), sum, plan.Cost)
	}
	return plan
}

func TestFilmsAreCutByCost(t *testing.T) {
	for _, row := range []struct {
		name     string
		seconds  int
		format   string
		rate     float64
		min, max int     // segments
		most     float64 // CPU seconds of a segment
	}{
		{"a clip with x264", 60, "mp4", 0, 20, 30, 9},
		{"a clip with slow VP9, a key picture a segment", 60, "webm", 1000, 30, 30, 100},
		{"a film of two hours", 7200, "mp4", 0, 300, 400, 100},
		{"a film of two hours on a fast machine", 7200, "mp4", 10, 200, 300, 10},
		{"a heavy film of two hours", 7200, "webm", 0, 350, 400, 2000},
	} {
		info, x := feature720(row.seconds)
		plan := split(t, info, x, row.format, Options{}, row.rate)
		n := len(plan.Segments)
		if n < row.min || n > row.max {
			t.Errorf("%s: %d segments, want %d to %d (%s)", row.name, n, row.min, row.max, plan.Whole)
		}
		least, most := math.Inf(1), 0.0
		for _, s := range plan.Segments {
			least, most = min(least, s.Cost), max(most, s.Cost)
		}
		if most > row.most || most > 3*least {
			t.Errorf("%s: segments cost %.1f to %.1f s", row.name, least, most)
		}
	}
}

func TestWhatStaysWholeSaysWhy(t *testing.T) {
	info, x := feature720(60)
	cheap, few := feature720(3)
	uneven := x
	uneven.Pictures = slices.Clone(x.Pictures)
	uneven.Pictures[7] = uneven.Pictures[6] + 1
	fine := x
	fine.TimeBase = Rational{1, 90000}
	alone := x
	alone.Keys = x.Keys[:1]
	for _, row := range []struct {
		name   string
		info   Info
		x      Index
		format string
		codec  string
		why    string
	}{
		{"sound", info, x, "mp3", "", "in one piece"},
		{"no index", info, Index{}, "mp4", "", "no index"},
		{"an index that says no", info, Index{Unfit: "It is damaged."}, "mp4", "", "It is damaged."},
		{"short work", cheap, few, "mp4", "", "short work"},
		{"a fast encoder", info, x, "avi", "", "fast"},
		{"one key picture", info, alone, "mp4", "", "for 60 s"},
		{"no rate", info, uneven, "avi", "libx264", "AVI has one rate"},
	} {
		plan := split(t, row.info, row.x, row.format, Options{VideoCodec: row.codec}, 0)
		if !strings.Contains(plan.Whole, row.why) {
			t.Errorf("%s: %q, want %q", row.name, plan.Whole, row.why)
		}
	}
	long, frames := feature720(3600)
	frames.TimeBase = Rational{1, 90000}
	if plan := split(t, long, frames, "mp4", Options{VideoCodec: "mpeg4"}, 0); !strings.Contains(plan.Whole, "too fine") {
		t.Errorf("MPEG-4 video at 90 kHz: %q", plan.Whole)
	}
	if _, err := Split(info, x, "txt", Options{}, 0); err == nil {
		t.Error("an unknown format")
	}
	if _, err := Split(Info{Streams: info.Streams[1:]}, x, "mp4", Options{}, 0); !errors.Is(err, ErrUnfit) {
		t.Errorf("a film from sound: %v", err)
	}
}

func TestReorderingFilmsOfVariableRateAreCutWhereTimesStayInOrder(t *testing.T) {
	info, x := feature720(60)
	last := int64(0)
	for i := range x.Pictures {
		x.Pictures[i] = last
		if last += 20; i%50 >= 45 { // pictures before a key are due long apart, those behind it close
			last += 200
		}
	}
	if plan := split(t, info, x, "mp4", Options{}, 0); plan.Whole != "" {
		t.Errorf("slow before a key: %s", plan.Whole)
	}
	last = 0
	for i := range x.Pictures {
		x.Pictures[i] = last
		if last += 20; i%50 < 5 {
			last += 200
		}
	}
	if plan := split(t, info, x, "mp4", Options{}, 0); plan.Whole == "" {
		t.Errorf("slow behind a key: %+v", plan.Segments[:2])
	}
	if plan := split(t, info, x, "webm", Options{}, 0); plan.Whole != "" {
		t.Errorf("VP9 does not reorder: %s", plan.Whole)
	}
}

func TestCostsAreLearnedByClass(t *testing.T) {
	info, _ := feature720(100)
	song := Info{Container: MP3, Kind: Audio, Duration: 318, Streams: []Stream{{Type: "audio", Codec: "mp3", Channels: 2, SampleRate: 44100}}}
	classes := map[string]bool{}
	for _, f := range Formats() {
		codecs := []VideoCodec{{}}
		if f.Kind == Video {
			codecs = f.VideoCodecs
		}
		for _, c := range codecs {
			o := Options{VideoCodec: c.Name, Copy: copyNever}
			class := CostClass(f.Name, o)
			if class == "" {
				t.Errorf("%s %s has no class", f.Name, c.Name)
			}
			classes[class] = true
			in := info
			if f.Kind == Audio {
				in = song
			}
			guess, units := Cost(in, f.Name, o, 0), Units(in, f.Name, o)
			if guess <= 0 || units <= 0 {
				t.Errorf("%s: %.1f s for %d units", class, guess, units)
			}
			if a, b := Cost(in, f.Name, o, 1000), Cost(in, f.Name, o, 2000); b-a < 0.9*1000*float64(units)/1e9 {
				t.Errorf("%s: what is learned does not count: %.3f, %.3f", class, a, b)
			}
		}
	}
	if len(classes) < 10 || CostClass("mp4", Options{Preset: "slow"}) == CostClass("mp4", Options{}) {
		t.Errorf("classes %v", classes)
	}
	if slow, fast := Cost(info, "mp4", Options{Preset: "veryslow"}, 0), Cost(info, "mp4", Options{Preset: "ultrafast"}, 0); slow < 5*fast {
		t.Errorf("veryslow %.1f s, ultrafast %.1f s", slow, fast)
	}
	if got := (Segment{From: 10, To: 20}).Units(info, Options{}); got != 10*1280*720 {
		t.Errorf("%d", got)
	}
	for _, p := range presets {
		for _, c := range []VideoCodec{x264, x265, vp8, vp9} {
			if rates[c.Name+" "+p] == 0 {
				t.Errorf("no rate of %s %s", c.Name, p)
			}
		}
	}
}

func TestReasonsThatNeedNoIndex(t *testing.T) {
	info, x := feature720(600)
	good := info
	good.Streams = slices.Clone(info.Streams)
	good.Streams[0].PixFmt = "yuv420p"
	stream := info
	stream.Container = MPEGTS
	for _, row := range []struct {
		name   string
		info   Info
		format string
		o      Options
		rate   float64
		why    string
	}{
		{"a film that fits", good, "mp4", Options{}, 0, "copied without encoding"},
		{"a film that fits, asked for otherwise", good, "mp4", Options{Copy: copyNever}, 0, ""},
		{"a chip", info, "mp4", Options{Encoder: hardware}, 0, "Hardware"},
		{"a size", info, "mp4", Options{SizeMB: 100}, 0, "two passes"},
		{"a bitrate", info, "mp4", Options{VideoBitrate: 1_000_000}, 0, "two passes"},
		{"a rate of pictures", info, "mp4", Options{FPS: 10}, 0, "pictures a second"},
		{"a part", info, "mp4", Options{From: 10}, 0, "Only a part"},
		{"exact pixels", info, "mkv", Options{VideoCodec: "ffv1"}, 0, "FFV1"},
		{"a transport stream", stream, "mp4", Options{}, 0, "transport stream"},
		{"little work, as was learned", info, "mp4", Options{}, 0.1, "short work"},
		{"another size of picture", info, "mp4", Options{Resolution: "480p", Channels: 2, Loudness: -16}, 0, ""},
		{"sound", info, "mp3", Options{}, 0, ""},
	} {
		if got := StaysWhole(row.info, row.format, row.o, row.rate); (got == "") != (row.why == "") || !strings.Contains(got, row.why) {
			t.Errorf("%s: %q, want %q", row.name, got, row.why)
		}
		if plan := split(t, row.info, x, row.format, row.o, row.rate); row.why != "" && !strings.Contains(plan.Whole, row.why) {
			t.Errorf("%s: with an index %q", row.name, plan.Whole)
		} else if row.why == "" && row.format != "mp3" && (plan.RestCost <= 0 || plan.JoinCost <= 0) {
			t.Errorf("%s: %+v", row.name, plan)
		}
	}
}

func TestUnitsCountWhatIsEncoded(t *testing.T) {
	info, _ := feature720(100)
	good := info
	good.Streams = slices.Clone(info.Streams)
	good.Streams[0].PixFmt, good.Streams[1].Profile = "yuv420p", "LC"
	song := Info{Container: WAV, Kind: Audio, Duration: 1, Streams: []Stream{{Type: "audio", Codec: "pcm_s16le", Channels: 2, SampleRate: 44100}}}
	for _, row := range []struct {
		name   string
		info   Info
		format string
		o      Options
		want   int64
	}{
		{"a film", info, "mp4", Options{}, 2500 * 1280 * 720},
		{"a smaller one", info, "mp4", Options{Resolution: "360p"}, 2500 * 640 * 360},
		{"slower", info, "mp4", Options{FPS: 5}, 500 * 1280 * 720},
		{"a part", info, "mp4", Options{From: 10, To: 20}, 250 * 1280 * 720},
		{"a copied film", good, "mp4", Options{}, 0},
		{"a song", song, "mp3", Options{}, 1000},
		{"a copied song", song, "wav", Options{}, 0},
		{"the sound of a film", info, "mp3", Options{To: 2}, 2000},
	} {
		if got := Units(row.info, row.format, row.o); got != row.want {
			t.Errorf("%s: %d, want %d", row.name, got, row.want)
		}
	}
	if got := (Segment{From: 0, To: 2500}).Units(info, Options{Resolution: "360p"}); got != 2500*640*360 {
		t.Errorf("a segment: %d", got)
	}
	if cost := Cost(good, "mp4", Options{}, 0); cost > 0.5 {
		t.Errorf("a remux costs %.1f s", cost)
	}
	if a, b := CostClass("mp4", Options{SizeMB: 1}), CostClass("mp4", Options{}); a == b {
		t.Errorf("two passes are of the class %s", a)
	}
}
