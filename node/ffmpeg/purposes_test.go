package ffmpeg

import (
	"encoding/json"
	"errors"
	"path/filepath"
	"strings"
	"testing"
)

func TestPurposesAreAsks(t *testing.T) {
	rows := []struct{ name, raw, format, recipe string }{
		{"phone", ``, "mp4", "v2 mp4 libx264 crf=23 preset=medium aac bitrate=128k profile=main resolution=720p channels=2"},
		{"Web", `{}`, "mp4", "v2 mp4 libx264 crf=23 preset=medium aac bitrate=160k resolution=1080p channels=2"},
		{"web-open", ``, "webm", "v2 webm libvpx-vp9 crf=31 preset=veryfast libopus bitrate=128k resolution=1080p channels=2"},
		{"small", ``, "mp4", "v2 mp4 libx264 crf=28 preset=medium aac bitrate=64k resolution=480p channels=2"},
		{"lossless", ``, "mkv", "v2 mkv ffv1 flac"},
		{"podcast", ``, "mp3", "v2 mp3 libmp3lame bitrate=96k channels=2 loudness=-16"},
		{"music-archive", ``, "flac", "v2 flac flac compression=8"},
		// What the user chose counts.
		{"web", `{"crf": 20, "resolution": "720p", "from": 5}`, "mp4", "v2 mp4 libx264 crf=20 preset=medium aac bitrate=160k resolution=720p channels=2 from=5"},
		{"web", `{"size_mb": 25}`, "mp4", "v2 mp4 libx264 preset=medium aac bitrate=160k size_mb=25 resolution=1080p channels=2"},
		{"web", `{"video_bitrate": "2M"}`, "mp4", "v2 mp4 libx264 preset=medium aac bitrate=160k video_bitrate=2000k resolution=1080p channels=2"},
		{"phone", `{"video_codec": "mpeg4"}`, "mp4", "v2 mp4 mpeg4 aac bitrate=128k resolution=720p channels=2"},
		{"phone", `{"crf": 0}`, "mp4", "v2 mp4 libx264 crf=0 preset=medium aac bitrate=128k resolution=720p channels=2"},
		{"podcast", `{"size_mb": 20, "channels": 1}`, "mp3", "v2 mp3 libmp3lame size_mb=20 channels=1 loudness=-16"},
		{"lossless", `{"video_codec": "libx264"}`, "mkv", "v2 mkv libx264 crf=23 preset=medium aac"},
	}
	for _, row := range rows {
		format, o, err := Wish(row.name, "", json.RawMessage(row.raw))
		if err != nil || format != row.format {
			t.Errorf("%s %s: %q, %v", row.name, row.raw, format, err)
			continue
		}
		if recipe, err := Recipe(format, o); err != nil || recipe != row.recipe {
			t.Errorf("%s %s: recipe %q, %v; want %q", row.name, row.raw, recipe, err, row.recipe)
		}
	}
	for _, row := range []struct{ name, raw, want string }{
		{"tv", ``, "purpose: choose one of phone, web, web-open, small, lossless, podcast, music-archive"},
		{"phone", `{"crf": 99}`, "options.crf: 99 is not in 0..51"},
		{"podcast", `{"crf": 20}`, "options.crf: is not for mp3"},
		{"lossless", `{"crf": 20}`, "options.crf: is not for the codec ffv1; leave it out or choose another video_codec"},
	} {
		_, _, err := Wish(row.name, "", json.RawMessage(row.raw))
		var oe *OptionError
		if !errors.As(err, &oe) || !strings.HasPrefix(err.Error(), row.want) {
			t.Errorf("%s %s: got %v", row.name, row.raw, err)
		}
	}
}

func TestPurposesConvert(t *testing.T) {
	r := newRunner(t, Limits{})
	film := makeMedia(t, "in.mp4", countArgs...)
	for _, p := range Purposes() {
		t.Run(p.Name, func(t *testing.T) {
			t.Parallel()
			format, o, err := Wish(p.Name, "", json.RawMessage(`{"to": 1.5}`))
			if err != nil {
				t.Fatal(err)
			}
			if p.Text == "" || p.Kind != Video && p.Kind != Audio {
				t.Errorf("%+v", p)
			}
			out := filepath.Join(t.TempDir(), "out")
			info := convert(t, r, Params{Input: film, Output: out, Format: format, Options: o, Threads: 1})
			if info.Kind != p.Kind || !near(info.Duration, 1.5, 0.1) {
				t.Errorf("%+v", info)
			}
			if s, _ := info.Video(); p.Name == "phone" && s.Profile != "Main" {
				t.Errorf("profile %q", s.Profile)
			}
		})
	}
}

func TestTheArchiveIsExact(t *testing.T) {
	t.Parallel()
	r := newRunner(t, Limits{})
	for name, args := range map[string][]string{
		"10 bit 4:2:2": {"-f", "lavfi", "-i", "testsrc2=size=64x48:rate=10:duration=1", "-pix_fmt", "yuv422p10le", "-c:v", "ffv1"},
		"odd 4:4:4":    {"-f", "lavfi", "-i", "testsrc=size=65x49:rate=10:duration=1", "-pix_fmt", "yuv444p", "-c:v", "ffv1"},
		"RGB":          {"-f", "lavfi", "-i", "testsrc=size=64x48:rate=10:duration=1", "-pix_fmt", "gbrp", "-c:v", "ffv1"},
	} {
		in := makeMedia(t, "in.mkv", args...)
		_, path := asked(t, r, in, "mkv", `{"video_codec": "ffv1"}`)
		if a, b := hashes(frames(t, in), 0, 10), hashes(frames(t, path), 0, 10); len(a) != 10 || strings.Join(a, " ") != strings.Join(b, " ") {
			t.Errorf("%s: frames differ", name)
		}
	}
}

func TestWishes(t *testing.T) {
	for _, row := range []struct{ purpose, format, raw, recipe, problem string }{
		{"", "MP4", ``, "v2 mp4 libx264 crf=23 preset=medium aac bitrate=128k", ""},
		{"", "mp3", `{"bitrate": "96k"}`, "v2 mp3 libmp3lame bitrate=96k", ""},
		{"phone", "mkv", ``, "v2 mkv libx264 crf=23 preset=medium aac bitrate=128k profile=main resolution=720p channels=2", ""},
		{"phone", "webm", `{"crf": 40}`, "v2 webm libvpx-vp9 crf=40 preset=medium libopus bitrate=128k resolution=720p channels=2", ""},
		{"music-archive", "wav", ``, "v2 wav pcm_s16le", ""},
		{"", "", ``, "", "output_format: choose one of"},
		{"", "txt", ``, "", "output_format: choose one of"},
		{"lossless", "mp4", ``, "", "output_format: cannot be mp4 for the purpose lossless; leave it out for mkv"},
		{"podcast", "mp4", ``, "", "output_format: cannot be mp4"},
		{"podcast", "txt", ``, "", "output_format: choose one of"},
		{"tv", "mp4", ``, "", "purpose: choose one of phone,"},
		{"", "mp4", `{"crf": 99}`, "", "options.crf: 99"},
	} {
		format, o, err := Wish(row.purpose, row.format, json.RawMessage(row.raw))
		var oe *OptionError
		if row.problem != "" {
			if !errors.As(err, &oe) || !strings.HasPrefix(err.Error(), row.problem) {
				t.Errorf("%s %s %s: %v", row.purpose, row.format, row.raw, err)
			}
			continue
		}
		if recipe, _ := Recipe(format, o); err != nil || recipe != row.recipe {
			t.Errorf("%s %s %s: %q, %v", row.purpose, row.format, row.raw, recipe, err)
		}
	}
}
