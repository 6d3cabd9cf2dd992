package ffmpeg

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const subRip = "1\n00:00:00,100 --> 00:00:00,900\nGood <i>day</i>\n"

// richFilm has two sounds of which the second is heard, two subtitles,
// chapters, a cover, a font and a title, in Matroska.
func richFilm(t *testing.T, more ...string) string {
	t.Helper()
	srt := writeFile(t, "s.srt", []byte(subRip))
	meta := writeFile(t, "m.txt", []byte(";FFMETADATA1\ntitle=Rich\n[CHAPTER]\nTIMEBASE=1/1000\nSTART=0\nEND=500\ntitle=One\n[CHAPTER]\nTIMEBASE=1/1000\nSTART=500\nEND=1000\ntitle=Two\n"))
	cover := makeMedia(t, "c.jpg", "-f", "lavfi", "-i", "color=red:size=64x64", "-frames:v", "1")
	return makeMedia(t, "rich.mkv", with([]string{"-f", "lavfi", "-i", "testsrc2=size=160x120:rate=25:duration=1", "-f", "lavfi", "-i", "sine=duration=1",
		"-f", "lavfi", "-i", "sine=frequency=880:duration=1", "-i", srt, "-i", srt, "-i", meta, "-map", "0", "-map", "1", "-map", "2", "-map", "3", "-map", "4",
		"-map_metadata", "5", "-map_chapters", "5", "-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-c:a", "aac", "-c:s:0", "srt", "-c:s:1", "ass",
		"-attach", cover, "-metadata:s:5", "mimetype=image/jpeg", "-metadata:s:5", "filename=cover.jpg",
		"-attach", writeFile(t, "font.ttf", []byte("a font")), "-metadata:s:6", "mimetype=application/x-truetype-font",
		"-metadata:s:a:0", "language=eng", "-metadata:s:a:1", "language=spa", "-metadata:s:s:0", "language=fre",
		"-disposition:a:0", "0", "-disposition:a:1", "default", "-disposition:s:0", "0", "-disposition:s:1", "0"}, more...)...)
}

// tracks describes all streams but data in short.
func tracks(info Info) string {
	var words []string
	for _, s := range info.Streams {
		word := s.Type[:1] + ":" + s.Codec
		if s.Language != "" {
			word += ":" + s.Language
		}
		if s.Default && s.Type != "video" {
			word += "*"
		}
		if s.Cover {
			word += "(cover)"
		}
		if s.Type != "data" {
			words = append(words, word)
		}
	}
	return strings.Join(words, " ")
}

func TestEveryStreamIsCarried(t *testing.T) {
	r := newRunner(t, Limits{})
	in := richFilm(t)
	info := probe(t, r, in)
	if info.Chapters != 2 || tracks(info) != "v:h264 a:aac:eng a:aac:spa* s:subrip:fre s:ass v:mjpeg(cover) a:ttf" {
		t.Fatalf("the input is %s, %d chapters", tracks(info), info.Chapters)
	}
	rows := []struct{ format, tracks string }{
		{"mkv", "v:h264 a:aac:eng a:aac:spa* s:subrip:fre s:ass a:ttf"},
		{"mp4", "v:h264 a:aac:eng a:aac:spa* s:mov_text:fre* s:mov_text v:mjpeg(cover)"}, // FFmpeg's muxer always switches one on
		{"mov", "v:h264 a:aac:eng a:aac:spa* s:mov_text* s:mov_text"},                    // QuickTime has numbers for languages, none for fre
		{"webm", "v:vp9 a:opus:eng a:opus:spa* s:webvtt:fre s:webvtt"},
		{"avi", "v:mpeg4 a:mp3 a:mp3"},
		{"m4a", "a:aac:spa* v:mjpeg(cover)"},
	}
	for _, row := range rows {
		t.Run(row.format, func(t *testing.T) {
			t.Parallel()
			out := convert(t, r, Params{Input: in, Info: info, Format: row.format, Options: Options{Copy: "never"}, Threads: 1})
			if tracks(out) != row.tracks {
				t.Errorf("got %s\nwant %s", tracks(out), row.tracks)
			}
			if want := map[bool]int{true: 2}[rooms[row.format].chapters]; out.Chapters != want || out.Tags["title"] != "Rich" {
				t.Errorf("%d chapters, tags %v", out.Chapters, out.Tags)
			}
		})
	}
}

func TestEveryKindOfTextBecomesTheTargetsKind(t *testing.T) {
	t.Parallel()
	r := newRunner(t, Limits{})
	srt := writeFile(t, "s.srt", []byte(subRip))
	rows := []struct{ name, encoder, mkv string }{
		{"in.mp4", "mov_text", "subrip"}, {"in.webm", "webvtt", "subrip"}, {"in.mkv", "ass", "ass"}, {"text.mkv", "text", "subrip"},
	}
	for _, row := range rows {
		codec := map[string]string{"in.webm": "libvpx"}[row.name]
		if codec == "" {
			codec = "mpeg4"
		}
		in := makeMedia(t, row.name, "-f", "lavfi", "-i", "testsrc2=size=64x64:rate=10:duration=1", "-i", srt, "-map", "0", "-map", "1", "-c:v", codec, "-c:s", row.encoder)
		for format, want := range map[string]string{"mp4": "mov_text", "mkv": row.mkv, "webm": "webvtt"} {
			out := convert(t, r, Params{Input: in, Format: format, Threads: 1})
			if !strings.Contains(tracks(out), "s:"+want) {
				t.Errorf("%s in %s to %s: %s", row.encoder, row.name, format, tracks(out))
			}
		}
	}
}

func TestPicturesOfSubtitlesStayInMatroska(t *testing.T) {
	t.Parallel()
	r := newRunner(t, Limits{})
	// FFmpeg makes no pictures of text, but a subtitle of DVD that is never
	// shown is one, too: the packets of another one, named as such.
	srt := writeFile(t, "s.srt", []byte(subRip))
	in := makeMedia(t, "in.mkv", "-f", "lavfi", "-i", "testsrc2=size=64x64:rate=10:duration=1", "-i", srt, "-map", "0", "-map", "1", "-c:v", "mpeg4", "-c:s", "srt")
	data := readFile(t, in)
	named := []byte(strings.ReplaceAll(string(data), "S_TEXT/UTF8", "S_HDMV/PGS\x00"))
	in = writeFile(t, "pgs.mkv", named)
	info := probe(t, r, in)
	if !strings.Contains(tracks(info), "s:hdmv_pgs_subtitle") {
		t.Fatal(tracks(info))
	}
	if out := convert(t, r, Params{Input: in, Info: info, Format: "mkv", Threads: 1}); !strings.Contains(tracks(out), "s:hdmv_pgs_subtitle") {
		t.Error(tracks(out))
	}
	if out := convert(t, r, Params{Input: in, Info: info, Format: "mp4", Threads: 1}); strings.Contains(tracks(out), "s:") {
		t.Error(tracks(out))
	}
}

func TestColorTagsArrive(t *testing.T) {
	t.Parallel()
	r := newRunner(t, Limits{})
	in := makeMedia(t, "hdr.mkv", "-f", "lavfi", "-i", "testsrc2=size=64x64:rate=10:duration=0.5", "-c:v", "ffv1", "-pix_fmt", "yuv420p10le",
		"-color_primaries", "bt2020", "-color_trc", "smpte2084", "-colorspace", "bt2020nc", "-color_range", "tv")
	info := probe(t, r, in)
	want := Color{Range: "tv", Matrix: "bt2020nc", Transfer: "smpte2084", Primaries: "bt2020"}
	if film, _ := info.Video(); film.Color != want {
		t.Fatalf("input has %+v", film.Color)
	}
	for _, format := range []string{"mp4", "mov", "mkv", "webm"} {
		out := convert(t, r, Params{Input: in, Info: info, Format: format, Threads: 1})
		if film, _ := out.Video(); film.Color != want {
			t.Errorf("%s: %+v", format, film.Color)
		}
	}
}

func TestNotesNameWhatIsLost(t *testing.T) {
	rows := []struct {
		format string
		want   []string
	}{
		{"mp4", []string{
			"1 sound track was left out (a kind that malla does not know): malla cannot decode such sound.",
			"2 subtitle tracks were left out (dvd_subtitle, ger): MP4 has no place for them.",
			"2 attached files were left out.", "1 data track was left out.",
			"10-bit colour became 8-bit.", "The film keeps its HDR colours but has fewer shades.",
		}},
		{"mkv", []string{
			"1 sound track was left out (a kind that malla does not know): malla cannot decode such sound.",
			"1 attached file was left out.", "1 data track was left out.",
			"10-bit colour became 8-bit.", "The film keeps its HDR colours but has fewer shades.",
			"The cover picture was left out: MKV has no place for it.",
		}},
		{"mp3", []string{
			"1 sound track was left out (aac, eng): MP3 holds one.",
			"1 sound track was left out (a kind that malla does not know): malla cannot decode such sound.",
		}},
		{"wav", []string{
			"1 sound track was left out (aac, eng): WAV holds one.",
			"1 sound track was left out (a kind that malla does not know): malla cannot decode such sound.",
			"The cover picture was left out: WAV has no place for it.",
			"2 chapter marks were left out: WAV has no place for them.",
		}},
	}
	for _, row := range rows {
		c, err := Carry(richInfo, row.format, Options{})
		if err != nil || !slices.Equal(c.Notes, row.want) {
			t.Errorf("%s: %v, notes\n%s", row.format, err, strings.Join(c.Notes, "\n"))
		}
	}
	if c, err := Carry(filmInfo, "webm", Options{}); err != nil || len(c.Notes) != 1 || !strings.Contains(c.Notes[0], "odd") {
		t.Errorf("%v, notes %q", err, c.Notes)
	}
}

func TestTooManyTracksAreBounded(t *testing.T) {
	info := Info{Container: Matroska, Duration: 1, Streams: []Stream{{Type: "video", Codec: "h264", Width: 64, Height: 64}}}
	for i := 1; i < 64; i++ {
		kind, codec := "audio", "aac"
		if i > 25 {
			kind, codec = "subtitle", "subrip"
		}
		info.Streams = append(info.Streams, Stream{Index: i, Type: kind, Codec: codec, Channels: 2, SampleRate: 48000, Default: i == 20})
	}
	c, err := Carry(info, "mkv", Options{})
	if err != nil || len(c.Sounds) != maxSounds || len(c.Subtitles) != maxSubtitles || len(c.Notes) != 2 || c.Sounds[maxSounds-1].Index != 20 {
		t.Errorf("%v: %d sounds, %d subtitles, %q", err, len(c.Sounds), len(c.Subtitles), c.Notes)
	}
}

func TestTheRestIsEverythingButTheFilm(t *testing.T) {
	t.Parallel()
	r := newRunner(t, Limits{})
	in := richFilm(t)
	info := probe(t, r, in)
	for format, want := range map[string]string{
		"mp4":  "a:aac:eng a:aac:spa* s:mov_text:fre* s:mov_text v:mjpeg(cover)",
		"mkv":  "a:aac:eng a:aac:spa* s:subrip:fre s:ass a:ttf",
		"webm": "a:opus:eng a:opus:spa* s:webvtt:fre s:webvtt",
	} {
		path := filepath.Join(t.TempDir(), "rest")
		args, err := RestArgs(Params{Input: in, Output: path, Info: info, Format: format, Threads: 1})
		if err != nil {
			t.Fatal(err)
		}
		if res, err := runChild(t.Context(), child{path: r.tools.FFmpeg, args: args, limits: childLimits{wall: r.limits.Probe}}); err != nil || !res.ok {
			t.Fatalf("%s: %v %s", format, err, res.stderr)
		}
		if got := probe(t, r, path); tracks(got) != want || got.Chapters != 2 {
			t.Errorf("%s: %s, %d chapters", format, tracks(got), got.Chapters)
		}
	}
	silent := Info{Container: MOV, Duration: 1, Streams: []Stream{{Type: "video", Codec: "h264", Width: 64, Height: 64}}}
	args, err := RestArgs(Params{Input: "/in", Output: "/out", Info: silent, Format: "mp4"})
	if err != nil || !slices.Contains(args, "ffmetadata") || slices.Contains(args, "-map") {
		t.Errorf("of a silent film tags and chapters stay: %v, %v", args, err)
	}
}
