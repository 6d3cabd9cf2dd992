package ffmpeg

import (
	"math"
	"strings"
	"testing"
	"unicode/utf8"
)

const goodProbe = `{"programs": [], "streams": [
 {"index": 0, "codec_name": "h264", "profile": "High", "codec_type": "video", "width": 1920, "height": 1080, "sample_aspect_ratio": "1:1",
  "pix_fmt": "yuv420p", "field_order": "tt", "avg_frame_rate": "30000/1001", "start_time": "0.000000", "duration": "12.5", "bit_rate": "116920",
  "disposition": {"default": 1, "attached_pic": 0}, "tags": {"language": "und"}, "side_data_list": [{"rotation": -90}, {}]},
 {"index": 1, "codec_name": "aac", "codec_type": "audio", "sample_rate": "44100", "channels": 2, "channel_layout": "stereo", "avg_frame_rate": "0/0",
  "bit_rate": "N/A", "disposition": {"default": 0}, "tags": {"LANGUAGE": "spa", "DURATION": "00:00:12.480000000"}}],
 "chapters": [{}, {"id": 7}],
 "format": {"duration": "12.500000", "bit_rate": "245335", "tags": {"major_brand": "isom", "TITLE": "A\u0000 b\nc", "date": "1999", "YEAR": "2001", "unknown_tag": "x"}}}`

func TestParseProbeReadsWhatFFprobeWrites(t *testing.T) {
	info, err := parseProbe([]byte(goodProbe), MOV)
	if err != nil {
		t.Fatal(err)
	}
	v, _ := info.Video()
	a, _ := info.Audio()
	switch {
	case info.Type != "video/mp4" || info.Kind != Video || info.Duration != 12.5 || info.BitRate != 245335 || info.Chapters != 2:
		t.Errorf("file %+v", info)
	case info.Tags["title"] != "A b c" || info.Tags["date"] != "1999" || len(info.Tags) != 2:
		t.Errorf("tags %q", info.Tags)
	case v.Width != 1920 || v.Rotation != 90 || !near(v.FPS, 29.97, 0.01) || !v.Interlaced || !v.Default || v.Language != "" || v.SampleAspect != 1:
		t.Errorf("video %+v", v)
	case a.Channels != 2 || a.SampleRate != 44100 || a.BitRate != 0 || a.Language != "spa" || a.Duration != 12.48 || a.FPS != 0:
		t.Errorf("audio %+v", a)
	}
}

func TestParseProbeRefusesWhatIsNoAnswer(t *testing.T) {
	for _, bad := range []string{
		``, `{`, `[]`, `"x"`, `{"streams": {}}`, `{"streams": [{}]}`, `{"streams": [{"index": -1}]}`, `{"streams": [{"index": 0}, {"index": 0}]}`,
		`{"streams": [{"index": 1e3}]}`, `{"streams": [{"index": "0"}]}`, `{"streams": [` + strings.Repeat(`{"index": 1},`, 70) + `{"index": 2}]}`,
	} {
		if info, err := parseProbe([]byte(bad), MOV); err == nil {
			t.Errorf("%.60s: accepted as %+v", bad, info)
		}
	}
}

func TestParseProbeBearsOddValues(t *testing.T) {
	for _, odd := range []string{`"N/A"`, `"nan"`, `"inf"`, `"-1"`, `-5`, `1e400`, `"1e400"`, `null`, `{}`, `[]`, `true`, `""`, `"99999999999999999999999"`, `"0x10"`} {
		data := `{"streams": [{"index": 0, "codec_type": "audio", "channels": ODD, "sample_rate": ODD, "bit_rate": ODD, "duration": ODD, "start_time": ODD,
		 "avg_frame_rate": ODD, "sample_aspect_ratio": "1:0", "tags": {"language": ODD}, "side_data_list": [{"rotation": ODD}]}],
		 "format": {"duration": ODD, "bit_rate": ODD, "tags": {"title": ODD}}}`
		info, err := parseProbe([]byte(strings.ReplaceAll(data, "ODD", odd)), WAV)
		if err != nil {
			t.Errorf("%s: %v", odd, err)
			continue
		}
		checkSane(t, info)
	}
}

// checkSane holds for every Info, whatever ffprobe said.
func checkSane(t *testing.T, info Info) {
	t.Helper()
	sane := func(what string, f float64) {
		if f < 0 || math.IsNaN(f) || math.IsInf(f, 0) {
			t.Errorf("%s is %v", what, f)
		}
	}
	sane("duration", info.Duration)
	if info.BitRate < 0 || info.Type == "" || len(info.Streams) > maxStreams {
		t.Errorf("file %+v", info)
	}
	for _, s := range info.Streams {
		sane("duration", s.Duration)
		sane("fps", s.FPS)
		sane("aspect", s.SampleAspect)
		if s.Width < 0 || s.Height < 0 || s.Channels < 0 || s.SampleRate < 0 || s.BitRate < 0 || s.Rotation < 0 || s.Rotation >= 360 || s.Rotation%90 != 0 {
			t.Errorf("stream %+v", s)
		}
	}
	for name, value := range info.Tags {
		if !utf8.ValidString(value) || len(value) > maxTagBytes || strings.ContainsAny(value, "\x00\n\x1b") {
			t.Errorf("tag %s is %q", name, value)
		}
	}
}

func FuzzProbeJSON(f *testing.F) {
	f.Add([]byte(goodProbe))
	f.Add([]byte(`{"format": {"duration": "nan", "tags": {"title": "\ud800"}}}`))
	f.Add([]byte("{\"format\": {\"tags\": {\"title\": \"\xff\xfe\"}}}"))
	f.Add([]byte(`{"format": {"tags": {"title": "` + strings.Repeat("é", 100_000) + `"}}}`))
	f.Add([]byte(`{"streams": [{"index": 0, "side_data_list": [{"rotation": 1e300}]}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		info, err := parseProbe(data, Matroska)
		if err != nil {
			return
		}
		checkSane(t, info)
		_ = Check(info) // must not panic
		for _, format := range Formats() {
			if CheckFit(info, format.Name) != nil {
				continue
			}
			if _, err := ConvertArgs(Params{Input: "/in", Output: "/out", Info: info, Format: format.Name}); err != nil {
				t.Errorf("%s: %v", format.Name, err)
			}
		}
	})
}

func TestProgressIsReadInAnyPieces(t *testing.T) {
	stream := "frame=0\nout_time_us=N/A\ntotal_size=N/A\nspeed=N/A\nprogress=continue\n" +
		"frame=25\ntotal_size=1000\nout_time_us=1000000\nspeed=2.5x\nprogress=continue\n" +
		"frame=20\nout_time_us=500000\nprogress=continue\n" + // going back is not shown
		"frame=100\ntotal_size=9000\nout_time_us=4000000\nspeed=   3x\nprogress=end\n"
	for size := 1; size < len(stream); size += 7 {
		var got []Progress
		p := &progressReader{duration: 4, report: func(p Progress) { got = append(got, p) }}
		for rest := stream; rest != ""; {
			n := min(size, len(rest))
			if _, err := p.Write([]byte(rest[:n])); err != nil {
				t.Fatal(err)
			}
			rest = rest[n:]
		}
		if len(got) != 4 || got[0].Fraction != 0 || got[1].Fraction != 0.25 || got[2].Fraction != 0.25 || got[3].Fraction != almost ||
			got[1].Speed != 2.5 || got[3].Frame != 100 || got[3].Bytes != 9000 || got[3].Speed != 3 {
			t.Fatalf("in pieces of %d: %+v", size, got)
		}
	}
}

func FuzzProgress(f *testing.F) {
	f.Add([]byte("frame=1\nout_time_us=-9223372036854775808\nprogress=continue\nout_time_us=9223372036854775807\nspeed=nanx\nprogress=end\n"))
	f.Add([]byte("progress\n=\n\n\nframe=\r\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		last := 0.0
		p := &progressReader{duration: 3, report: func(p Progress) {
			if p.Fraction < last || p.Fraction > 1 || math.IsNaN(p.Speed) || p.Frame < 0 {
				t.Fatalf("%+v after %v", p, last)
			}
			last = p.Fraction
		}}
		if n, err := p.Write(data); n != len(data) || err != nil {
			t.Fatal(n, err)
		}
	})
}
