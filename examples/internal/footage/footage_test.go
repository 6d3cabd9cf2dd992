package footage

import (
	"path/filepath"
	"strings"
	"testing"
)

func TestEveryFormatIsRecognised(t *testing.T) {
	if testing.Short() {
		t.Skip("runs eleven encoders; the whole suite does it")
	}
	const seconds = 2
	dir := t.TempDir()
	film, song := filepath.Join(dir, "film.mp4"), filepath.Join(dir, "song.flac")
	if err := Film(t.Context(), film, seconds, 1); err != nil {
		t.Fatal(err)
	}
	if err := Song(t.Context(), song, seconds, 1); err != nil {
		t.Fatal(err)
	}
	if f, err := Probe(t.Context(), song); err != nil || f.Title != "Song 1" {
		t.Errorf("song: %+v, %v", f, err)
	}
	// What plain ffmpeg makes with the codecs that malla promises must pass.
	args := map[string][]string{
		"ogg": {"-vn", "-c:a", "libvorbis"}, "avi": {"-c:v", "mpeg4", "-c:a", "libmp3lame"},
		"webm": {"-c:v", "libvpx-vp9", "-deadline", "realtime", "-c:a", "libopus"},
		"mkv":  {"-c:v", "libx264", "-c:a", "aac"},
	}
	for _, format := range Formats {
		out := filepath.Join(dir, "out."+format)
		rest, listed := args[format]
		if !listed && !HasPictures(format) {
			rest = []string{"-vn"}
		}
		if err := ffmpeg(t.Context(), append(append([]string{"-i", film}, rest...), out)...); err != nil {
			t.Fatal(format, err)
		}
		f, err := Probe(t.Context(), out)
		if err != nil {
			t.Error(format, err)
		} else if err := f.Check(format, seconds); err != nil {
			t.Errorf("%s: %v", format, err)
		}
	}
}

func TestCheckNamesWhatIsWrong(t *testing.T) {
	for what, tc := range map[string]struct {
		facts  Facts
		format string
		says   string
	}{
		"too short":       {Facts{Audio: "mp3", Seconds: 1.8}, "mp3", "lasts 1.800 s"},
		"other codec":     {Facts{Audio: "aac", Seconds: 2}, "mp3", "holds aac, want mp3"},
		"pictures gone":   {Facts{Audio: "aac", Seconds: 2}, "mp4", "holds aac, want h264+aac"},
		"unknown format":  {Facts{Audio: "mp3", Seconds: 2}, "exe", "not a format"},
		"pictures remain": {Facts{Video: "png", Audio: "mp3", Seconds: 2}, "mp3", "want mp3"},
	} {
		if err := tc.facts.Check(tc.format, 2); err == nil || !strings.Contains(err.Error(), tc.says) {
			t.Errorf("%s: %v", what, err)
		}
	}
}
