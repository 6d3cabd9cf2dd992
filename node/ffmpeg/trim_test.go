package ffmpeg

import (
	"encoding/json"
	"path/filepath"
	"slices"
	"strings"
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
	t.Parallel()
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

// Two subtitles lie in the part, one over each of its ends.
func TestTrimKeepsWhatLiesInThePart(t *testing.T) {
	r := newRunner(t, Limits{})
	srt := writeFile(t, "s.srt", []byte("1\n00:00:00,200 --> 00:00:01,500\nover the beginning\n\n2\n00:00:01,600 --> 00:00:02,000\nfirst\n\n"+
		"3\n00:00:02,200 --> 00:00:02,800\nsecond\n\n4\n00:00:02,900 --> 00:00:03,900\nover the end\n"))
	meta := writeFile(t, "m.txt", []byte(";FFMETADATA1\n[CHAPTER]\nTIMEBASE=1/1000\nSTART=0\nEND=2000\ntitle=One\n[CHAPTER]\nTIMEBASE=1/1000\nSTART=2000\nEND=3500\ntitle=Two\n[CHAPTER]\nTIMEBASE=1/1000\nSTART=3500\nEND=4000\ntitle=Three\n"))
	in := makeMedia(t, "in.mkv", "-i", makeMedia(t, "in.mp4", countArgs...), "-i", srt, "-i", meta, "-map", "0", "-map", "1", "-map_chapters", "2", "-c", "copy", "-c:s", "srt")
	for _, format := range []string{"mkv", "mp4", "mov", "webm"} {
		t.Run(format, func(t *testing.T) {
			t.Parallel()
			raw := `{"from": 1, "to": 3, "preset": "ultrafast"}`
			out, path := asked(t, r, in, format, raw)
			// FFmpeg puts all a little later, for the beginning of the sound.
			film, _ := out.Video()
			var at []float64
			var lines []string
			for _, word := range strings.Fields(subtitle(t, path, "0")) {
				if when, ok := parseTime(strings.Replace(word, ",", ".", 1)); ok && strings.Contains(word, ":") {
					at = append(at, when-film.Start)
				} else {
					lines = append(lines, word)
				}
			}
			if got := strings.Join(lines, " "); got != "1 --> first 2 --> second" {
				t.Errorf("subtitles %s", got)
			}
			for i, want := range []float64{0.6, 1, 1.2, 1.8} {
				if i >= len(at) || !near(at[i], want, 0.011) {
					t.Errorf("subtitles at %v", at)
				}
			}
			if out.Chapters != 2 || !near(out.Duration, 2, 0.12) || film.Start > 0.05 {
				t.Errorf("%d chapters, %v s, from %v s", out.Chapters, out.Duration, film.Start)
			}
		})
	}
	if notes := Notes(probe(t, r, in), "mkv", Options{From: 1}); !slices.Contains(notes, "Subtitles that reach over an end of the part were left out.") {
		t.Errorf("notes %q", notes)
	}
}
