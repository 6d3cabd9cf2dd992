package ffmpeg

import (
	"encoding/json"
	"errors"
	"math"
	"strings"
	"testing"
)

func TestParseOptionsAccepts(t *testing.T) {
	rows := []struct{ format, raw, recipe string }{
		{"mp3", ``, "v2 mp3 libmp3lame bitrate=192k"},
		{"MP3", `null`, "v2 mp3 libmp3lame bitrate=192k"},
		{"mp3", ` {} `, "v2 mp3 libmp3lame bitrate=192k"},
		{"mp3", `{"bitrate": "192000"}`, "v2 mp3 libmp3lame bitrate=192k"},
		{"mp3", `{"bitrate": 64000}`, "v2 mp3 libmp3lame bitrate=64k"},
		{"mp3", `{"bitrate": " 96K ", "crf": null}`, "v2 mp3 libmp3lame bitrate=96k"},
		{"aac", `{"bitrate": "512k"}`, "v2 aac aac bitrate=512k"},
		{"m4a", `{"bitrate": "12.5k"}`, "v2 m4a aac bitrate=12500"},
		{"flac", `{"compression": "12"}`, "v2 flac flac compression=12"},
		{"flac", `{"compression": 0}`, "v2 flac flac compression=0"},
		{"wav", `{}`, "v2 wav pcm_s16le"},
		{"ogg", `{"quality": -1}`, "v2 ogg libvorbis quality=-1"},
		{"ogg", `{"quality": "6.5"}`, "v2 ogg libvorbis quality=6.5"},
		{"Mp4", `{"crf": "18", "preset": "Slow"}`, "v2 mp4 libx264 crf=18 preset=slow aac bitrate=128k"},
		{"mp4", `{"video_codec": "libx265", "crf": 28.0}`, "v2 mp4 libx265 crf=28 preset=medium aac bitrate=128k"},
		{"mp4", `{"video_codec": "mpeg4"}`, "v2 mp4 mpeg4 aac bitrate=128k"},
		{"avi", `{}`, "v2 avi mpeg4 libmp3lame bitrate=128k"},
		{"avi", `{"video_codec": "libx264", "crf": 0}`, "v2 avi libx264 crf=0 preset=medium libmp3lame bitrate=128k"},
		{"mkv", `{"video_codec": "libvpx-vp9", "crf": 63}`, "v2 mkv libvpx-vp9 crf=63 preset=medium aac"},
		{"webm", `{}`, "v2 webm libvpx-vp9 crf=23 preset=medium libopus"},
		{"mov", `{}`, "v2 mov libx264 crf=23 preset=medium aac"},
		{"mp4", `{"encoder": "software", "copy": "auto", "resolution": "", "fps": "", "from": 0, "size_mb": ""}`, "v2 mp4 libx264 crf=23 preset=medium aac bitrate=128k"},
		{"mp4", `{"encoder": "Hardware", "copy": "never"}`, "v2 mp4 libx264 crf=23 preset=medium aac bitrate=128k encoder=hardware copy=never"},
		{"mp4", `{"resolution": "720P", "fps": "23.976", "profile": "main"}`, "v2 mp4 libx264 crf=23 preset=medium aac bitrate=128k profile=main resolution=720p fps=23.976"},
		{"mp4", `{"fps": "24000/1001"}`, "v2 mp4 libx264 crf=23 preset=medium aac bitrate=128k fps=23.976"},
		{"mp4", `{"fps": 29.97003}`, "v2 mp4 libx264 crf=23 preset=medium aac bitrate=128k fps=29.97"},
		{"mp4", `{"fps": "12.5"}`, "v2 mp4 libx264 crf=23 preset=medium aac bitrate=128k fps=12.5"},
		{"mp4", `{"video_bitrate": "2M"}`, "v2 mp4 libx264 preset=medium aac bitrate=128k video_bitrate=2000k"},
		{"mp4", `{"video_bitrate": "2000k", "audio_bitrate": "128k"}`, "v2 mp4 libx264 preset=medium aac bitrate=128k video_bitrate=2000k"},
		{"mp4", `{"size_mb": "25"}`, "v2 mp4 libx264 preset=medium aac size_mb=25"},
		{"mp4", `{"size_mb": 25.5, "audio_bitrate": "128k"}`, "v2 mp4 libx264 preset=medium aac bitrate=128k size_mb=25.5"},
		{"avi", `{"size_mb": 25, "channels": 1}`, "v2 avi mpeg4 libmp3lame size_mb=25 channels=1"},
		{"mkv", `{"video_codec": "ffv1", "channels": "6"}`, "v2 mkv ffv1 flac channels=6"},
		{"webm", `{"audio_bitrate": "64k"}`, "v2 webm libvpx-vp9 crf=23 preset=medium libopus bitrate=64k"},
		{"mp3", `{"loudness": "-16", "channels": 2}`, "v2 mp3 libmp3lame bitrate=192k channels=2 loudness=-16"},
		{"mp3", `{"from": "1:02:03.5", "to": "4000"}`, "v2 mp3 libmp3lame bitrate=192k from=3723.5 to=4000"},
		{"mp3", `{"from": "62:03", "to": "1:02:03.000001"}`, "v2 mp3 libmp3lame bitrate=192k from=3723 to=3723.000001"},
		{"mp3", `{"to": "0:10"}`, "v2 mp3 libmp3lame bitrate=192k to=10"},
		{"ogg", `{"size_mb": 3}`, "v2 ogg libvorbis size_mb=3"},
	}
	for _, row := range rows {
		o, err := ParseOptions(row.format, json.RawMessage(row.raw))
		if err != nil {
			t.Errorf("%s %s: %v", row.format, row.raw, err)
			continue
		}
		recipe, err := Recipe(row.format, o)
		if err != nil || recipe != row.recipe {
			t.Errorf("%s %s: recipe %q, %v; want %q", row.format, row.raw, recipe, err, row.recipe)
		}
		// What is written is read again as the same.
		back, err := json.Marshal(o)
		if err != nil {
			t.Fatal(err)
		}
		again, err := ParseOptions(row.format, back)
		if r, _ := Recipe(row.format, again); err != nil || r != row.recipe {
			t.Errorf("%s %s: %s is read as %q, %v", row.format, row.raw, back, r, err)
		}
		var plain Options
		if err := json.Unmarshal(back, &plain); err != nil {
			t.Errorf("%s: %v", back, err)
		}
	}
}

func TestParseOptionsNamesTheFieldAndTheCure(t *testing.T) {
	rows := []struct{ format, raw, want string }{
		{"", ``, "output_format: choose one of mp3, flac"},
		{"exe", ``, "output_format: choose one of mp3, flac"},
		{"mp3 ", ``, "output_format: choose"},
		{"mp3", `[]`, "options: must be a small JSON object"},
		{"mp3", `"x"`, "options: must be"},
		{"mp3", `{"bitrate": NaN}`, "options: must be"},
		{"mp3", `{"bitrate": "` + strings.Repeat("1", 5000) + `"}`, "options: must be"},
		{"mp3", `{"x": NaN}`, "options: must be"},
		{"mp3", `{"speed": 2}`, "options.speed: there is no such option; mp3 takes bitrate"},
		{"wav", `{"speed": 2}`, "options.speed: there is no such option; wav takes channels, loudness, from, to, copy"},
		{"mp3", `{"<script>": 2}`, "options.?: there is no such option"},
		{"mp3", `{"bitrate": "fast"}`, "options.bitrate: must be a bitrate such as 192k in 8k..320k"},
		{"mp3", `{"bitrate": "<b>"}`, "options.bitrate: must be a bitrate"},
		{"mp3", `{"bitrate": ""}`, "options.bitrate: must be"},
		{"mp3", `{"bitrate": true}`, "options.bitrate: must be"},
		{"mp3", `{"bitrate": {}}`, "options.bitrate: must be"},
		{"mp3", `{"bitrate": "NaN"}`, "options.bitrate: must be"},
		{"mp3", `{"bitrate": "0x1000"}`, "options.bitrate: must be"},
		{"mp3", `{"bitrate": 1e5}`, "options.bitrate: must be"},
		{"mp3", `{"bitrate": "192.0005k"}`, "options.bitrate: must be"},
		{"mp3", `{"bitrate": "192"}`, "options.bitrate: 192 is not in 8k..320k"},
		{"aac", `{"bitrate": "513k"}`, "options.bitrate: 513k is not in 8k..512k"},
		{"flac", `{"compression": 13}`, "options.compression: 13 is not in 0..12"},
		{"flac", `{"compression": 1.5}`, "options.compression: must be a whole number in 0..12"},
		{"ogg", `{"quality": "-1.1"}`, "options.quality: -1.1 is not in -1..10"},
		{"mp4", `{"crf": 99}`, "options.crf: 99 is not in 0..51"},
		{"mp4", `{"crf": -1}`, "options.crf: -1 is not in 0..51"},
		{"mkv", `{"crf": 60}`, "options.crf: 60 is not in 0..51"},
		{"mkv", `{"video_codec": "libvpx", "crf": 3}`, "options.crf: 3 is not in 4..63"},
		{"mp4", `{"preset": "quick"}`, "options.preset: choose one of ultrafast"},
		{"mp4", `{"preset": 5}`, "options.preset: choose one of ultrafast"},
		{"mp4", `{"preset": "medium -vf x"}`, "options.preset: choose one of"},
		{"mp4", `{"video_codec": "copy"}`, "options.video_codec: choose one of libx264, libx265, mpeg4"},
		{"webm", `{"video_codec": "libx264"}`, "options.video_codec: choose one of libvpx-vp9, libvpx"},
		{"mp4", `{"video_codec": "mpeg4", "crf": 20}`, "options.crf: is not for the codec mpeg4"},
		{"avi", `{"preset": "fast"}`, "options.preset: is not for the codec mpeg4"},
		{"mp3", `{"crf": 23}`, "options.crf: is not for mp3; mp3 takes bitrate"},
		{"mp4", `{"bitrate": "192k"}`, "options.bitrate: is not for mp4; mp4 takes video_codec, crf, preset"},
		{"mp4", `{"resolution": "4k"}`, "options.resolution: choose one of 2160p, 1440p"},
		{"mp4", `{"fps": 0.5}`, "options.fps: 0.5 is not in 1..120"},
		{"mp4", `{"fps": "25/0"}`, "options.fps: must be a number such as 25, 29.97 or 30000/1001 in 1..120"},
		{"mp4", `{"fps": "25/1/1"}`, "options.fps: must be a number"},
		{"mp4", `{"fps": "setpts=0"}`, "options.fps: must be a number"},
		{"mp4", `{"channels": 3}`, "options.channels: choose one of 1, 2, 6"},
		{"mp3", `{"channels": 6}`, "options.channels: choose one of 1, 2"},
		{"avi", `{"channels": 6}`, "options.channels: choose one of 1, 2"},
		{"mp3", `{"loudness": -8}`, "options.loudness: -8 is not in -31..-9"},
		{"mp3", `{"loudness": 0}`, "options.loudness: 0 is not in -31..-9"},
		{"mp3", `{"from": "1:60"}`, "options.from: must be seconds or a time such as 1:02:03.5 in 0..359999"},
		{"mp3", `{"from": "1:60:00"}`, "options.from: must be seconds"},
		{"mp3", `{"from": -1}`, "options.from: -1 is not in 0..359999"},
		{"mp3", `{"from": 10, "to": "0:10"}`, "options.to: must be later than from"},
		{"mp3", `{"to": 0}`, "options.to: 0 is not in 0.001..359999"},
		{"mp4", `{"video_bitrate": "1k"}`, "options.video_bitrate: 1k is not in 16k..200000k"},
		{"mp4", `{"video_bitrate": "2M", "crf": 20}`, "options.video_bitrate: cannot be asked for together with crf; leave one of them out"},
		{"mp4", `{"size_mb": 20, "crf": 20}`, "options.size_mb: cannot be asked for together with crf"},
		{"mp4", `{"size_mb": 20, "video_bitrate": "2M"}`, "options.size_mb: cannot be asked for together with video_bitrate"},
		{"mp3", `{"size_mb": 20, "bitrate": "96k"}`, "options.size_mb: cannot be asked for together with bitrate"},
		{"ogg", `{"size_mb": 20, "quality": 3}`, "options.size_mb: cannot be asked for together with quality"},
		{"mp4", `{"size_mb": 0}`, "options.size_mb: 0 is not in 0.01..60000"},
		{"flac", `{"size_mb": 20}`, "options.size_mb: is not for flac; flac takes compression, channels"},
		{"mkv", `{"video_codec": "ffv1", "size_mb": 20}`, "options.size_mb: is not for the codec ffv1"},
		{"mkv", `{"video_codec": "ffv1", "audio_bitrate": "96k"}`, "options.audio_bitrate: is not for the codec ffv1"},
		{"mp3", `{"audio_bitrate": "96k"}`, "options.audio_bitrate: is not for mp3"},
		{"mp3", `{"fps": 25}`, "options.fps: is not for mp3"},
		{"mp4", `{"audio_bitrate": "600k"}`, "options.audio_bitrate: 600k is not in 8k..512k"},
		{"mp4", `{"profile": "main", "crf": 0}`, "options.crf: must be 1 or more for the profile main"},
		{"webm", `{"profile": "main"}`, "options.profile: is not for webm"},
		{"mp4", `{"video_codec": "mpeg4", "encoder": "hardware"}`, "options.encoder: is not for the codec mpeg4"},
		{"mp4", `{"encoder": "vaapi"}`, "options.encoder: choose one of software, hardware"},
		{"mp4", `{"copy": "always"}`, "options.copy: choose one of auto, never"},
		{"flac", `{"video_codec": "libx264"}`, "options.video_codec: is not for flac; flac takes compression"},
	}
	for _, row := range rows {
		_, err := ParseOptions(row.format, json.RawMessage(row.raw))
		var oe *OptionError
		if !errors.As(err, &oe) || !strings.HasPrefix(err.Error(), row.want) {
			t.Errorf("%s %.60s: got %v, want %q", row.format, row.raw, err, row.want)
		}
	}
}

func TestResolveTrustsNoOptions(t *testing.T) {
	n, q := 99, 11.0
	for _, row := range []struct {
		format string
		o      Options
	}{
		{"mp4", Options{CRF: &n}}, {"mp4", Options{Preset: "x"}}, {"mp4", Options{VideoCodec: "-y"}}, {"mp4", Options{Bitrate: 192000}},
		{"mp3", Options{Bitrate: 1}}, {"ogg", Options{Quality: &q}}, {"flac", Options{Compression: &n}}, {"wav", Options{CRF: &n}}, {"none", Options{}},
		{"mp4", Options{Resolution: "-1p"}}, {"mp4", Options{FPS: -1}}, {"mp4", Options{FPS: math.NaN()}}, {"mp4", Options{Profile: "-y"}}, {"mp4", Options{Encoder: "-y"}},
		{"mp4", Options{Copy: "-y"}}, {"mp4", Options{Channels: 5}}, {"mp3", Options{Channels: 6}}, {"mp4", Options{Loudness: 1}}, {"mp4", Options{From: -1}},
		{"mp4", Options{From: 2, To: 1}}, {"mp4", Options{From: math.Inf(1)}}, {"mp4", Options{VideoBitrate: 1}}, {"mp4", Options{AudioBitrate: -5}},
		{"mp4", Options{SizeMB: 1e9}}, {"mp4", Options{SizeMB: 5, VideoBitrate: 500_000}}, {"mp4", Options{From: 11}},
	} {
		var oe *OptionError
		_, err := ConvertArgs(Params{Input: "/in", Output: "/out", Info: filmInfo, Format: row.format, Options: row.o})
		if !errors.As(err, &oe) {
			t.Errorf("%+v: got %v", row, err)
		}
	}
}

func TestFormatsDescribeThemselves(t *testing.T) {
	data, err := json.Marshal(Formats())
	if err != nil {
		t.Fatal(err)
	}
	for _, words := range []string{`"name":"mp3","kind":"audio","type":"audio/mpeg"`, `"name":"compression","type":"integer","default":"5","min":0,"max":12`,
		`"video_codecs":[{"name":"libvpx-vp9"`, `"options":[]`} {
		if !strings.Contains(string(data), words) {
			t.Errorf("no %s in %s", words, data)
		}
	}
	want := "mp3, flac, wav, aac, ogg, m4a, mp4, avi, mkv, webm, mov"
	if got := formatNames(""); got != want {
		t.Errorf("formats %s, want %s", got, want)
	}
	// Every default is a value that the option allows.
	for _, f := range Formats() {
		for _, o := range f.Options {
			raw, _ := json.Marshal(map[string]string{o.Name: o.Default})
			if _, err := ParseOptions(f.Name, raw); err != nil {
				t.Errorf("%s: default of %s: %v", f.Name, o.Name, err)
			}
		}
	}
}

func TestFormatsOfAPoorFFmpeg(t *testing.T) {
	r := &Runner{tools: Tools{Encoders: []string{"aac", "libx264", "mpeg4"}}}
	var names []string
	for _, f := range r.Formats() {
		names = append(names, f.Name)
		for _, c := range f.VideoCodecs {
			if c.Name == "libx265" {
				t.Errorf("%s offers a codec that is not there", f.Name)
			}
		}
	}
	if got := strings.Join(names, " "); got != "aac m4a mp4 mkv mov" {
		t.Errorf("formats %s", got)
	}
	if err := r.CanConvert("mp4", Options{VideoCodec: "libx265"}); !errors.Is(err, ErrNoEncoder) || !strings.Contains(err.Error(), "libx265") {
		t.Errorf("got %v", err)
	}
	if err := r.CanConvert("mp4", Options{}); err != nil {
		t.Error(err)
	}
	needs, err := Needs("webm", Options{})
	if err != nil || strings.Join(needs, " ") != "libvpx-vp9 libopus" {
		t.Errorf("needs %v, %v", needs, err)
	}
}

func TestCheckFit(t *testing.T) {
	silent := filmInfo
	silent.Streams = filmInfo.Streams[:1]
	for _, f := range Formats() {
		if err := CheckFit(filmInfo, f.Name); err != nil {
			t.Errorf("film to %s: %v", f.Name, err)
		}
		if err := CheckFit(songInfo, f.Name); (err == nil) != (f.Kind == Audio) || err != nil && (!errors.Is(err, ErrUnfit) || !strings.Contains(err.Error(), "no moving picture")) {
			t.Errorf("song with cover to %s: %v", f.Name, err)
		}
		if err := CheckFit(silent, f.Name); (err == nil) != (f.Kind == Video) || err != nil && (!errors.Is(err, ErrUnfit) || !strings.Contains(err.Error(), "no sound")) {
			t.Errorf("silent film to %s: %v", f.Name, err)
		}
	}
	var oe *OptionError
	if err := CheckFit(filmInfo, "doc"); !errors.As(err, &oe) {
		t.Errorf("got %v", err)
	}
}

func FuzzParseOptions(f *testing.F) {
	f.Add("mp4", []byte(`{"crf": "23", "preset": "slow", "video_codec": "libx264"}`))
	f.Add("mp3", []byte(`{"bitrate": "192k"}`))
	f.Add("ogg", []byte(`{"quality": 5e0}`))
	f.Add("mp4", []byte(`{"fps": "24000/1001", "from": "1:02:03.5", "to": 4000, "resolution": "720p", "channels": 2, "loudness": -16}`))
	f.Add("mkv", []byte(`{"size_mb": 12.5, "audio_bitrate": "0.1M", "copy": "never", "encoder": "hardware", "profile": "main"}`))
	f.Fuzz(func(t *testing.T, format string, raw []byte) {
		o, err := ParseOptions(format, raw)
		if err != nil {
			var oe *OptionError
			if !errors.As(err, &oe) || oe.Field == "" || oe.Reason == "" {
				t.Fatalf("got %v", err)
			}
			if strings.ContainsAny(oe.Error(), "<>&'") {
				t.Fatalf("unsafe text %q", oe.Error())
			}
			return
		}
		if _, err := Recipe(format, o); err != nil {
			t.Fatalf("%s %s parses but has no recipe: %v", format, raw, err)
		}
	})
}
