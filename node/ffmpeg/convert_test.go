package ffmpeg

import (
	"testing"
)

func TestEveryFormatFromASongAndAFilm(t *testing.T) {
	r := newRunner(t, Limits{})
	inputs := map[MediaKind]string{Audio: song(t), Video: film(t)}
	infos := map[MediaKind]Info{Audio: probe(t, r, inputs[Audio]), Video: probe(t, r, inputs[Video])}
	for _, f := range Formats() {
		for kind, input := range inputs {
			if f.Kind == Video && kind == Audio {
				continue
			}
			t.Run(string(kind)+" to "+f.Name, func(t *testing.T) {
				t.Parallel()
				in := infos[kind]
				out := convert(t, r, Params{Input: input, Info: in, Format: f.Name, Threads: 1})
				if !near(out.Duration, in.Duration, 0.1) {
					t.Errorf("duration %.3f, input has %.3f", out.Duration, in.Duration)
				}
				if out.Type != f.Type {
					t.Errorf("type %q, want %q", out.Type, f.Type)
				}
				src, _ := in.Audio()
				got, _ := out.Audio()
				if got.Channels != src.Channels {
					t.Errorf("channels %d, want %d", got.Channels, src.Channels)
				}
				if got.SampleRate != src.SampleRate && f.Name != "webm" {
					t.Errorf("sample rate %d, want %d", got.SampleRate, src.SampleRate)
				}
				if f.Kind == Video {
					a, _ := in.Video()
					b, _ := out.Video()
					if !near(a.FPS, b.FPS, 0.01) || a.Width != b.Width || a.Height != b.Height || b.PixFmt != "yuv420p" {
						t.Errorf("picture %+v, input has %+v", b, a)
					}
				}
			})
		}
	}
}

func TestOddSizesLoseOneRow(t *testing.T) {
	t.Parallel()
	r := newRunner(t, Limits{})
	in := makeMedia(t, "odd.mkv", "-f", "lavfi", "-i", "testsrc2=size=161x121:rate=25:duration=1", "-c:v", "ffv1", "-pix_fmt", "yuv444p")
	for _, format := range []string{"mp4", "avi", "webm"} {
		out := convert(t, r, Params{Input: in, Format: format, Threads: 1})
		if s, _ := out.Video(); s.Width != 160 || s.Height != 120 || s.SampleAspect != 0 && s.SampleAspect != 1 {
			t.Errorf("%s: %d×%d, pixels %v", format, s.Width, s.Height, s.SampleAspect)
		}
	}
}

func TestRotatedFilmsAreTurned(t *testing.T) {
	t.Parallel()
	r := newRunner(t, Limits{})
	in := makeMedia(t, "r.mp4", "-i", film(t), "-c", "copy", "-metadata:s:v", "rotate=90")
	out := convert(t, r, Params{Input: in, Format: "mp4", Options: Options{Copy: copyNever}, Threads: 1})
	if s, _ := out.Video(); s.Width != 240 || s.Height != 320 || s.Rotation != 0 {
		t.Errorf("%+v", s)
	}
}

func TestSoundsOfAnyShapeFitEveryFormat(t *testing.T) {
	r := newRunner(t, Limits{})
	lossy := []string{"mp3", "aac", "ogg"}
	rows := []struct {
		name    string
		args    []string
		formats []string
	}{
		{"5.1 side at 48 kHz", []string{"-ar", "48000", "-af", "aformat=channel_layouts=5.1(side)"}, lossy},
		{"7.1 at 44.1 kHz", []string{"-af", "aformat=channel_layouts=7.1"}, []string{"mp3", "aac", "ogg", "flac", "wav", "m4a"}},
		{"2.1", []string{"-af", "aformat=channel_layouts=2.1"}, lossy},
		{"three without names", []string{"-af", "pan=3c|c0=c0|c1=c0|c2=c0"}, lossy},
		{"96 kHz 24 bit", []string{"-ar", "96000", "-c:a", "pcm_s24le"}, []string{"mp3"}},
		{"192 kHz mono", []string{"-ar", "192000"}, append(lossy, "flac")},
		{"4 kHz mono", []string{"-ar", "4000"}, append(lossy, "flac")},
	}
	for _, row := range rows {
		in := makeMedia(t, "in.wav", with(toneArgs, row.args...)...)
		info := probe(t, r, in)
		src, _ := info.Audio()
		for _, format := range row.formats {
			t.Run(row.name+" to "+format, func(t *testing.T) {
				t.Parallel()
				out := convert(t, r, Params{Input: in, Info: info, Format: format, Threads: 1})
				want := src.Channels
				if format == "mp3" || want == 3 {
					want = min(want, 2) // a bass channel of three is left out
				}
				if got, _ := out.Audio(); got.Channels < want {
					t.Errorf("%d channels, want %d", got.Channels, want)
				}
				// At 4 kHz a frame of padding is a quarter of a second.
				if !near(out.Duration, info.Duration, 0.26) {
					t.Errorf("duration %v, want %v", out.Duration, info.Duration)
				}
			})
		}
	}
}

func TestSurroundFilmToOpus(t *testing.T) {
	r := newRunner(t, Limits{})
	in := makeMedia(t, "in.mkv", "-f", "lavfi", "-i", "testsrc2=size=64x64:rate=10:duration=1", "-f", "lavfi", "-i", "sine=duration=1",
		"-af", "aformat=channel_layouts=5.1(side)", "-c:a", "ac3", "-c:v", "mpeg4")
	out := convert(t, r, Params{Input: in, Format: "webm", Threads: 1})
	if s, _ := out.Audio(); s.Codec != "opus" || s.Channels != 6 {
		t.Errorf("%+v", s)
	}
}

func TestCoverAndTagsAreKept(t *testing.T) {
	t.Parallel()
	r := newRunner(t, Limits{})
	for _, cover := range []string{"c.jpg", "c.png"} {
		path := songWithCover(t, "a.mp3", cover)
		for _, format := range map[string][]string{"c.jpg": {"m4a", "flac", "mp3"}, "c.png": {"m4a", "flac"}}[cover] {
			out := convert(t, r, Params{Input: path, Format: format, Threads: 1})
			if s, ok := out.Cover(); !ok || s.Width != 64 {
				t.Errorf("%s to %s: no cover", cover, format)
			}
			if out.Kind != Audio || out.Tags["title"] != "Ça va" || out.Tags["artist"] != "Someone" || out.Tags["track"] != "3" {
				t.Errorf("%s: %s, tags %v", format, out.Kind, out.Tags)
			}
		}
	}
	ogg := makeMedia(t, "a.ogg", with(toneArgs, "-c:a", "libvorbis", "-metadata", "title=Ça va")...)
	for _, format := range []string{"mp3", "flac", "wav", "ogg", "m4a"} {
		if out := convert(t, r, Params{Input: ogg, Format: format, Threads: 1}); out.Tags["title"] != "Ça va" {
			t.Errorf("ogg to %s: tags %v", format, out.Tags)
		}
	}
}

func TestChaptersAreKept(t *testing.T) {
	t.Parallel()
	r := newRunner(t, Limits{})
	meta := writeFile(t, "m.txt", []byte(";FFMETADATA1\ntitle=Two parts\n[CHAPTER]\nTIMEBASE=1/1000\nSTART=0\nEND=1000\ntitle=One\n[CHAPTER]\nTIMEBASE=1/1000\nSTART=1000\nEND=2000\ntitle=Two\n"))
	in := makeMedia(t, "in.mkv", with(filmArgs[:8], "-i", meta, "-map", "0", "-map", "1", "-map_metadata", "2", "-map_chapters", "2", "-c:v", "mpeg4")...)
	for _, format := range []string{"mp4", "mkv", "m4a", "mp3"} {
		out := convert(t, r, Params{Input: in, Format: format, Threads: 1})
		if out.Chapters != 2 || out.Tags["title"] != "Two parts" {
			t.Errorf("%s: %d chapters, tags %v", format, out.Chapters, out.Tags)
		}
	}
}

func TestOptionsReachTheEncoder(t *testing.T) {
	t.Parallel()
	r := newRunner(t, Limits{})
	tune := song(t)
	info := probe(t, r, tune)
	size := func(format, raw string) int64 {
		t.Helper()
		o, err := ParseOptions(format, []byte(raw))
		if err != nil {
			t.Fatal(err)
		}
		return convert(t, r, Params{Input: tune, Info: info, Format: format, Options: o, Threads: 1}).Size
	}
	for format, raws := range map[string][2]string{
		"mp3":  {`{"bitrate": "8k"}`, `{"bitrate": "320k"}`},
		"aac":  {`{"bitrate": "8k"}`, `{"bitrate": "512k"}`},
		"ogg":  {`{"quality": 0}`, `{"quality": 9}`},
		"flac": {`{"compression": 12}`, `{"compression": 0}`},
	} {
		if small, large := size(format, raws[0]), size(format, raws[1]); small >= large {
			t.Errorf("%s: %d bytes with %s, %d with %s", format, small, raws[0], large, raws[1])
		}
	}
}

func TestEveryVideoCodecOfEveryFormat(t *testing.T) {
	r := newRunner(t, Limits{})
	in := makeMedia(t, "in.mp4", with(filmArgs, "-preset", "ultrafast")...)
	info := probe(t, r, in)
	for _, f := range Formats() {
		for _, c := range f.VideoCodecs {
			t.Run(f.Name+" "+c.Name, func(t *testing.T) {
				t.Parallel()
				o := Options{VideoCodec: c.Name}
				if _, ok := option(c.Options, optPreset); ok {
					o.Preset = "ultrafast"
				}
				out := convert(t, r, Params{Input: in, Info: info, Format: f.Name, Options: o, Threads: 2})
				if s, _ := out.Video(); !near(out.Duration, 2, 0.1) || !near(s.FPS, 25, 0.1) {
					t.Errorf("duration %v, %v pictures a second", out.Duration, s.FPS)
				}
			})
		}
	}
}
