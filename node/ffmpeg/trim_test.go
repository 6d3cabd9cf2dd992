package ffmpeg

import (
	"encoding/json"
	"path/filepath"
	"slices"
	"testing"
)

func TestTrimIsExact(t *testing.T) {
	r := newRunner(t, Limits{})
	mp4 := makeMedia(t, "in.mp4", countArgs...)
	rows := []struct {
		raw      string
		from, to float64
	}{
		{`{"video_codec": "ffv1", "from": 1, "to": 2.2}`, 1, 2.2},
		{`{"video_codec": "ffv1", "from": "0:02.52"}`, 2.52, 10},
		{`{"video_codec": "ffv1", "to": "0:00:01.04"}`, 0, 1.04},
		{`{"video_codec": "ffv1", "from": 1.02, "to": 2.2}`, 1.02, 2.2}, // between two frames
	}
	for ext, some := range map[string]int{"mp4": 4, "mkv": 1, "avi": 1, "ts": 1} {
		in := mp4
		switch ext {
		case "mkv", "ts":
			in = makeMedia(t, "in."+ext, "-i", mp4, "-map", "0", "-c", "copy")
		case "avi":
			in = makeMedia(t, "in."+ext, "-i", mp4, "-c:v", "ffv1", "-c:a", "mp3")
		}
		t.Run(ext, func(t *testing.T) {
			t.Parallel()
			all := frames(t, in)
			for _, row := range rows[:some] {
				_, path := asked(t, r, in, "mkv", row.raw)
				got := frames(t, path)
				if want := hashes(all, row.from, row.to); len(want) < 20 || !slices.Equal(hashes(got, 0, 10), want) {
					t.Errorf("%s: %d frames instead of %d", row.raw, len(got), len(want))
				}
				if got[0].at > 0.041 {
					t.Errorf("%s: begins at %v s", row.raw, got[0].at)
				}
			}
		})
	}
	samples := func(path string) int {
		return len(say(t, "-v", "error", "-i", path, "-f", "s16le", "-ac", "1", "-")) / 2
	}
	for _, in := range []string{song(t), makeMedia(t, "in.ogg", with(toneArgs, "-c:a", "libvorbis")...), makeMedia(t, "in.aac", with(toneArgs, "-c:a", "aac")...)} {
		_, path := asked(t, r, in, "wav", `{"from": 0.5, "to": 1.25}`)
		if n := samples(path); !near(float64(n), 0.75*44100, 50) {
			t.Errorf("%s: %d samples", filepath.Base(in), n)
		}
	}
}

func TestTrimKeepsCoverAndChapters(t *testing.T) {
	r := newRunner(t, Limits{})
	for _, format := range []string{"mp3", "m4a", "flac"} {
		out, _ := asked(t, r, songWithCover(t, "a.mp3", "c.jpg"), format, `{"from": 0.5, "to": 1.5}`)
		if _, ok := out.Cover(); !ok || !near(out.Duration, 1, 0.1) || out.Tags["title"] != "Ça va" {
			t.Errorf("%s: %+v", format, out)
		}
	}
}

func TestTrimBeyondTheEndIsRefused(t *testing.T) {
	for raw, want := range map[string]string{
		`{"from": 10}`:            "options.from: the file is 10.0 s long; choose an earlier time",
		`{"from": 2, "to": 10.4}`: "",
		`{"to": 11}`:              "options.to: the file is 10.0 s long; choose an earlier time or leave it out",
	} {
		o, err := ParseOptions("mp3", json.RawMessage(raw))
		if err != nil {
			t.Fatal(err)
		}
		err = CheckOptions(songInfo, "mp3", o)
		if (err == nil) != (want == "") || err != nil && err.Error() != want {
			t.Errorf("%s: got %v", raw, err)
		}
		guess := songInfo
		guess.Estimated = true
		if err := CheckOptions(guess, "mp3", o); err != nil {
			t.Errorf("%s, the duration is a guess: %v", raw, err)
		}
	}
}
