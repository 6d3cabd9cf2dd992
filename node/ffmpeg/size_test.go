package ffmpeg

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestSizeFitsAndIsUsed(t *testing.T) {
	r := newRunner(t, Limits{})
	noise := makeMedia(t, "in.wav", noiseArgs...)
	grain := makeMedia(t, "in.mkv", grainArgs...)
	for _, row := range []struct {
		in, format, raw string
		size            float64 // in MB
	}{
		{noise, "mp3", `{"size_mb": 0.1}`, 0.1},
		{noise, "m4a", `{"size_mb": 0.15}`, 0.15},
		{noise, "aac", `{"size_mb": "0.1", "channels": 1}`, 0.1},
		{noise, "ogg", `{"size_mb": 0.12}`, 0.12},
		{grain, "mp4", `{"size_mb": 0.25, "preset": "veryfast"}`, 0.25},
		{grain, "mp4", `{"size_mb": 0.12, "from": 1, "to": 3, "loudness": -16}`, 0.12},
		{grain, "mp4", `{"size_mb": 0.25, "video_codec": "libx265", "preset": "ultrafast"}`, 0.25},
		{grain, "avi", `{"size_mb": 0.5, "audio_bitrate": "64k"}`, 0.5},
		{grain, "webm", `{"size_mb": 0.1, "preset": "ultrafast", "to": 1.5}`, 0.1},
		{grain, "webm", `{"size_mb": 0.3, "preset": "ultrafast", "video_codec": "libvpx"}`, 0.3},
		{grain, "mkv", `{"size_mb": 0.3, "preset": "ultrafast", "resolution": "240p"}`, 0.3},
	} {
		t.Run(row.format+" "+row.raw, func(t *testing.T) {
			t.Parallel()
			out, _ := asked(t, r, row.in, row.format, row.raw)
			share := float64(out.Size) / (row.size * 1e6)
			t.Logf("%.3f of the size", share)
			if share > 1 || share < 0.8 {
				t.Errorf("%d bytes are %.3f of the size", out.Size, share)
			}
		})
	}
}

func TestImpossibleSizesNameTheSmallest(t *testing.T) {
	for _, row := range []struct {
		info              Info
		format, raw, want string
	}{
		{songInfo, "mp3", `{"size_mb": 0.02}`, "options.size_mb: 0.02 is too small for 10.0 s; choose 0.05 or more, or a shorter part"},
		{filmInfo, "mp4", `{"size_mb": 0.05}`, "options.size_mb: 0.05 is too small for 10.0 s; choose"},
		{Info{Kind: Audio, Container: AAC, Streams: songInfo.Streams[:1]}, "mp3", `{"size_mb": 1}`, "options.size_mb: needs a file that tells how long it is"},
	} {
		o, err := ParseOptions(row.format, json.RawMessage(row.raw))
		if err != nil {
			t.Fatal(err)
		}
		err = CheckOptions(row.info, row.format, o)
		if err == nil || !strings.HasPrefix(err.Error(), row.want) {
			t.Errorf("%s %s: got %v", row.format, row.raw, err)
		}
		var smallest float64
		if _, after, ok := strings.Cut(err.Error(), "choose "); ok && json.Unmarshal([]byte(strings.Fields(after)[0]), &smallest) == nil {
			if err := CheckOptions(row.info, row.format, Options{SizeMB: smallest}); err != nil {
				t.Errorf("%s: the smallest is no good: %v", row.format, err)
			}
		}
	}
}

func TestWhatCannotFitIsAnError(t *testing.T) {
	t.Parallel()
	r := newRunner(t, Limits{})
	// The picture of a song is worth more than the size: no bitrate is low enough.
	cover := makeMedia(t, "c.png", "-f", "lavfi", "-i", "color=size=400x400,noise=alls=100:all_seed=1", "-frames:v", "1")
	in := makeMedia(t, "in.flac", "-i", song(t), "-i", cover, "-map", "0:a", "-map", "1:v", "-c:v", "copy", "-disposition:v:0", "attached_pic")
	p := Params{Input: in, Info: probe(t, r, in), Output: filepath.Join(t.TempDir(), "out"), Format: "mp3", Options: Options{SizeMB: 0.1}, Threads: 1}
	_, err := r.Convert(t.Context(), p, nil)
	if !errors.Is(err, ErrTooLarge) || !strings.Contains(err.Error(), "does not fit in 0.1 MB") {
		t.Errorf("got %v", err)
	}
	if _, err := os.Stat(p.Output); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the output stays: %v", err)
	}
}

func TestVideoBitrateInTwoPasses(t *testing.T) {
	t.Parallel()
	r := newRunner(t, Limits{})
	in := makeMedia(t, "in.mkv", grainArgs...)
	for format, raw := range map[string]string{
		"mp4":  `{"video_bitrate": "400k"}`,
		"avi":  `{"video_bitrate": "800k"}`,
		"webm": `{"video_bitrate": "0.5M", "preset": "ultrafast"}`,
	} {
		o, err := ParseOptions(format, json.RawMessage(raw))
		if err != nil {
			t.Fatal(err)
		}
		var all []Progress
		p := Params{Input: in, Info: probe(t, r, in), Output: filepath.Join(t.TempDir(), "out"), Format: format, Options: o, Threads: 1}
		if _, err := r.Convert(t.Context(), p, func(now Progress) { all = append(all, now) }); err != nil {
			t.Fatal(err)
		}
		mustBeAlone(t, p.Output)
		for i := range all[1:] {
			if all[i+1].Fraction < all[i].Fraction {
				t.Errorf("%s: progress falls from %v to %v", format, all[i].Fraction, all[i+1].Fraction)
			}
		}
		if all[0].Fraction > 0.5 || all[len(all)-1].Fraction != 1 {
			t.Errorf("%s: progress from %v to %v", format, all[0].Fraction, all[len(all)-1].Fraction)
		}
		var bits float64
		for line := range strings.Lines(say(t, "-v", "error", "-i", p.Output, "-map", "0:v", "-c", "copy", "-f", "framecrc", "-")) {
			if f := strings.Split(line, ","); !strings.HasPrefix(line, "#") {
				n, _ := parseNumber(strings.TrimSpace(f[4]))
				bits += n * 8
			}
		}
		want, _ := parseBitrate(o.VideoBitrate.String())
		if got := bits / 4; !near(got/want, 1, 0.15) {
			t.Errorf("%s: %.0f bits a second, want %.0f", format, got, want)
		}
	}
}

func TestACancelledPassLeavesNothing(t *testing.T) {
	r := newRunner(t, Limits{})
	p := slowFilm(t, r)
	p.Options = Options{VideoBitrate: 500_000}
	ctx, cancel := context.WithCancel(t.Context())
	if _, err := r.Convert(ctx, p, func(Progress) { cancel() }); err == nil {
		t.Error("it ended well")
	}
	entries, err := os.ReadDir(filepath.Dir(p.Output))
	if err != nil || len(entries) != 0 {
		t.Errorf("%v stay, %v", entries, err)
	}
}
