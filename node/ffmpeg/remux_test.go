package ffmpeg

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestCopiesOnlyWhatNeedsNoEncoding(t *testing.T) {
	film := func(c Container, codec, pix, sound string) Info {
		return Info{Container: c, Kind: Video, Duration: 1, Streams: []Stream{
			{Index: 0, Type: "video", Codec: codec, PixFmt: pix, Width: 64, Height: 64, FPS: 25},
			{Index: 1, Type: "audio", Codec: sound, Profile: "LC", Channels: 2, SampleRate: 48000}}}
	}
	song := func(c Container, codec string, channels int) Info {
		return Info{Container: c, Kind: Audio, Duration: 1, Streams: []Stream{{Type: "audio", Codec: codec, Channels: channels, SampleRate: 44100}}}
	}
	with := func(info Info, change func(*Info)) Info {
		info.Streams = slices.Clone(info.Streams)
		change(&info)
		return info
	}
	good := film(Matroska, "h264", "yuv420p", "aac")
	rows := []struct {
		name    string
		info    Info
		format  string
		options string
		want    Copying
	}{
		{"the film of a Matroska file into MP4", good, "mp4", ``, Copying{true, true}},
		{"a codec that was asked for and is there", film(MOV, "hevc", "yuv420p", "aac"), "mkv", `{"video_codec":"libx265"}`, Copying{true, true}},
		{"a codec that is not the default one", film(MOV, "hevc", "yuv420p", "aac"), "mkv", ``, Copying{false, true}},
		{"a sound that MP4 is not made with", film(Matroska, "h264", "yuv420p", "opus"), "mp4", ``, Copying{true, false}},
		{"a quality that was asked for", good, "mp4", `{"crf":20}`, Copying{false, true}},
		{"a preset that was asked for", good, "mp4", `{"preset":"fast"}`, Copying{false, true}},
		{"ten bits", film(MOV, "h264", "yuv420p10le", "aac"), "mp4", ``, Copying{false, true}},
		{"all colours", film(MOV, "h264", "yuv444p", "aac"), "mp4", ``, Copying{false, true}},
		{"the range of a computer's screen", film(MOV, "h264", "yuvj420p", "aac"), "mp4", ``, Copying{false, true}},
		{"AVI has no timestamps", film(AVI, "h264", "yuv420p", "aac"), "mp4", ``, Copying{}},
		{"transport streams jump", film(MPEGTS, "h264", "yuv420p", "aac"), "mp4", ``, Copying{}},
		{"AVI cannot tell the order of pictures", film(MOV, "mpeg4", "yuv420p", "mp3"), "avi", ``, Copying{}},
		{"VP9 into WebM", film(WebM, "vp9", "yuv420p", "opus"), "webm", ``, Copying{true, true}},
		{"an odd size", with(good, func(i *Info) { i.Streams[0].Width = 63 }), "mp4", ``, Copying{false, true}},
		{"turned from MP4 to MOV", with(film(MOV, "h264", "yuv420p", "aac"), func(i *Info) { i.Streams[0].Rotation = 90 }), "mov", ``, Copying{true, true}},
		{"turned from MP4 to Matroska", with(film(MOV, "h264", "yuv420p", "aac"), func(i *Info) { i.Streams[0].Rotation = 90 }), "mkv", ``, Copying{false, true}},
		{"an estimated duration", with(good, func(i *Info) { i.Estimated = true }), "mp4", ``, Copying{}},
		{"one of two sounds is another", with(good, func(i *Info) {
			i.Streams = append(i.Streams, Stream{Index: 2, Type: "audio", Codec: "mp3", Channels: 2, SampleRate: 48000})
		}), "mp4", ``, Copying{true, false}},
		{"AAC that not all players know", with(good, func(i *Info) { i.Streams[1].Profile = "HE-AAC" }), "mp4", ``, Copying{true, false}},
		{"MP3 to MP3", song(MP3, "mp3", 2), "mp3", ``, Copying{false, true}},
		{"MP3 to MP3 of another bitrate", song(MP3, "mp3", 2), "mp3", `{"bitrate":"192k"}`, Copying{}},
		{"FLAC to FLAC", song(FLAC, "flac", 8), "flac", ``, Copying{false, true}},
		{"FLAC to FLAC of another compression", song(FLAC, "flac", 2), "flac", `{"compression":8}`, Copying{}},
		{"Vorbis in Ogg", song(Ogg, "vorbis", 2), "ogg", ``, Copying{false, true}},
		{"Opus in Ogg, which becomes Vorbis", song(Ogg, "opus", 2), "ogg", ``, Copying{}},
		{"WAV of 24 bits", song(WAV, "pcm_s24le", 2), "wav", ``, Copying{}},
		{"the sound of a film", film(MOV, "h264", "yuv420p", "mp3"), "mp3", ``, Copying{false, true}},
	}
	for _, row := range rows {
		o, err := ParseOptions(row.format, []byte(row.options))
		if err != nil {
			t.Fatalf("%s: %v", row.name, err)
		}
		if got, err := Copies(row.info, row.format, o); err != nil || got != row.want {
			t.Errorf("%s: %+v %v", row.name, got, err)
		}
		recipe, err := RecipeOf(row.info, row.format, o)
		if err != nil || strings.Contains(recipe, "film=copied") != row.want.Film || strings.Contains(recipe, "sound=copied") != row.want.Sound {
			t.Errorf("%s: recipe %q, %v", row.name, recipe, err)
		}
		o.Copy = copyNever
		if got, err := Copies(row.info, row.format, o); err != nil || got != (Copying{}) {
			t.Errorf("%s: copied in spite of never", row.name)
		}
	}
}

// packets are the hashes of a stream's packets, in order.
func packets(t *testing.T, path, stream string) string {
	t.Helper()
	sums := makeMedia(t, "sums.txt", "-i", path, "-map", "0:"+stream+":0", "-c", "copy", "-bsf:v", "h264_mp4toannexb", "-f", "framehash", "-hash", "md5")
	var b strings.Builder
	for line := range strings.Lines(string(readFile(t, sums))) {
		if fields := strings.Split(line, ","); len(fields) > 5 {
			b.WriteString(strings.TrimSpace(fields[5]) + "\n")
		}
	}
	return b.String()
}

// h264Film is a film of one second in MP4 with sound in AAC.
func h264Film(t *testing.T) string {
	return makeMedia(t, "film.mp4", "-f", "lavfi", "-i", "testsrc2=size=160x120:rate=25:duration=1", "-f", "lavfi", "-i", "sine=duration=1:sample_rate=48000",
		"-c:v", "libx264", "-preset", "ultrafast", "-g", "10", "-pix_fmt", "yuv420p", "-c:a", "aac", "-threads", "1")
}

func TestACopyHasTheSamePackets(t *testing.T) {
	t.Parallel()
	r := newRunner(t, Limits{})
	in := h264Film(t)
	info := probe(t, r, in)
	for _, format := range []string{"mp4", "mkv", "mov"} {
		p := Params{Input: in, Output: filepath.Join(t.TempDir(), "out"), Info: info, Format: format, Threads: 1}
		report, err := r.Convert(t.Context(), p, nil)
		if err != nil {
			t.Fatalf("%s: %v%s", format, err, details(err))
		}
		if report.Copied != (Copying{true, true}) || !slices.Contains(report.Notes, "The film was copied without encoding.") {
			t.Errorf("%s: %+v", format, report)
		}
		if err := CheckOutput(info, probe(t, r, p.Output), format, Options{}); err != nil {
			t.Errorf("%s: %v", format, err)
		}
		if packets(t, in, "v") != packets(t, p.Output, "v") {
			t.Errorf("%s: other packets", format)
		}
		p.Options.Copy, p.Output = copyNever, filepath.Join(t.TempDir(), "encoded")
		if report, err = r.Convert(t.Context(), p, nil); err != nil || report.Copied != (Copying{}) || packets(t, in, "v") == packets(t, p.Output, "v") {
			t.Errorf("%s: copied in spite of never: %v", format, err)
		}
	}
}

func TestSongsAreCopied(t *testing.T) {
	t.Parallel()
	r := newRunner(t, Limits{})
	for name, encoder := range map[string]string{"a.mp3": "libmp3lame", "a.flac": "flac", "a.wav": "pcm_s16le", "a.ogg": "libvorbis", "a.m4a": "aac", "a.aac": "aac"} {
		in := makeMedia(t, name, with(toneArgs, "-c:a", encoder, "-metadata", "title=Tone")...)
		format := filepath.Ext(name)[1:]
		p := Params{Input: in, Output: filepath.Join(t.TempDir(), "out"), Info: probe(t, r, in), Format: format, Threads: 1}
		report, err := r.Convert(t.Context(), p, nil)
		if err != nil || !report.Copied.Sound {
			t.Errorf("%s: %+v %v", name, report, err)
			continue
		}
		a := makeMedia(t, "a.raw", "-i", in, "-f", "s16le")
		b := makeMedia(t, "b.raw", "-i", p.Output, "-f", "s16le")
		if string(readFile(t, a)) != string(readFile(t, b)) {
			t.Errorf("%s: the copy sounds otherwise", name)
		}
	}
}

func TestFilmCopiedAndSoundEncoded(t *testing.T) {
	t.Parallel()
	r := newRunner(t, Limits{})
	in := makeMedia(t, "in.mkv", "-i", h264Film(t), "-c:v", "copy", "-c:a", "libvorbis")
	p := Params{Input: in, Output: filepath.Join(t.TempDir(), "out"), Info: probe(t, r, in), Format: "mp4", Threads: 1}
	report, err := r.Convert(t.Context(), p, nil)
	if err != nil || report.Copied != (Copying{Film: true}) {
		t.Fatalf("%+v %v", report, err)
	}
	if sound, _ := probe(t, r, p.Output).Audio(); sound.Codec != "aac" || packets(t, in, "v") != packets(t, p.Output, "v") {
		t.Errorf("sound %+v", sound)
	}
}

// A clip that was cut without encoding hides pictures behind an edit list.
func TestACopyThatShowsHiddenPicturesIsEncoded(t *testing.T) {
	t.Parallel()
	r := newRunner(t, Limits{})
	in := makeMedia(t, "clip.mp4", "-ss", "0.3", "-i", h264Film(t), "-c", "copy")
	info := probe(t, r, in)
	for format, copied := range map[string]bool{"mkv": false, "mov": true} {
		last := 0.0
		p := Params{Input: in, Output: filepath.Join(t.TempDir(), "out"), Info: info, Format: format, Threads: 1}
		report, err := r.Convert(t.Context(), p, func(p Progress) {
			if p.Fraction < last {
				t.Errorf("progress falls from %v to %v", last, p.Fraction)
			}
			last = p.Fraction
		})
		if err != nil {
			t.Fatalf("%s: %v%s", format, err, details(err))
		}
		if report.Copied.Film != copied || last != 1 || copied == slices.ContainsFunc(report.Notes, func(n string) bool { return strings.Contains(n, "did not work") }) {
			t.Errorf("%s: %+v", format, report)
		}
		frames := strings.Count(string(readFile(t, makeMedia(t, "f.txt", "-i", p.Output, "-map", "0:v", "-f", "framemd5"))), "\n0,")
		want := strings.Count(string(readFile(t, makeMedia(t, "f.txt", "-i", in, "-map", "0:v", "-f", "framemd5"))), "\n0,")
		if frames != want {
			t.Errorf("%s: %d pictures instead of %d", format, frames, want)
		}
	}
}

func TestRotationStaysInACopy(t *testing.T) {
	t.Parallel()
	r := newRunner(t, Limits{})
	in := makeMedia(t, "r.mp4", "-i", h264Film(t), "-c", "copy", "-metadata:s:v", "rotate=90")
	info := probe(t, r, in)
	film, _ := info.Video()
	for format, want := range map[string]Stream{"mov": {Width: 160, Height: 120, Rotation: film.Rotation}, "mkv": {Width: 120, Height: 160}} {
		out := convert(t, r, Params{Input: in, Info: info, Format: format, Threads: 1})
		if s, _ := out.Video(); s.Width != want.Width || s.Height != want.Height || s.Rotation != want.Rotation {
			t.Errorf("%s: %+v", format, s)
		}
	}
}

func TestSubtitlesThatCannotBeKeptAreLeftOut(t *testing.T) {
	t.Parallel()
	r := newRunner(t, Limits{})
	in := richFilm(t)
	info := probe(t, r, in)
	for i := range info.Streams { // what a damaged header may say of text
		if info.Streams[i].Codec == "subrip" {
			info.Streams[i].Codec = "mov_text"
			info.Streams[i].Index = 60
		}
	}
	p := Params{Input: in, Output: filepath.Join(t.TempDir(), "out"), Info: info, Format: "mkv", Threads: 1}
	report, err := r.Convert(t.Context(), p, nil)
	if err != nil || !strings.Contains(strings.Join(report.Notes, " "), "could not be converted, so they were left out") {
		t.Fatalf("%v: %q", err, report.Notes)
	}
	if out := probe(t, r, p.Output); sounds(out) != 2 || strings.Contains(tracks(out), "s:") {
		t.Error(tracks(out))
	}
}
