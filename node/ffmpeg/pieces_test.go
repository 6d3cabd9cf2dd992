package ffmpeg

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// told is what a file says of itself: streams with dispositions and tags,
// chapters, tags. What differs between any two files is left out.
func told(t *testing.T, path string) string {
	t.Helper()
	var lines []string
	text := probed(t, "-show_entries", "stream=codec_type,codec_name:stream_disposition:stream_tags:chapter=start_time,end_time:chapter_tags:format_tags", "-of", "compact", path)
	for line := range strings.Lines(text) {
		var kept []string
		for _, word := range strings.Split(strings.TrimSpace(line), "|") {
			name, _, _ := strings.Cut(strings.ToLower(word), "=")
			switch strings.TrimPrefix(name, "tag:") {
			case "encoder", "duration", "creation_time", "compatible_brands":
			default:
				kept = append(kept, word)
			}
		}
		lines = append(lines, strings.Join(kept, "|"))
	}
	return strings.Join(lines, "\n")
}

// subtitle are the lines of a subtitle track with their times.
func subtitle(t *testing.T, path string, track string) string {
	t.Helper()
	return say(t, "-v", "error", "-i", path, "-map", "0:s:"+track, "-c:s", "srt", "-f", "srt", "-")
}

func TestPiecesKeepEveryStream(t *testing.T) {
	r := newRunner(t, Limits{})
	in := richFilm(t, "-g", "8", "-metadata:s:v:0", "language=ita")
	info := probe(t, r, in)
	x := index(t, r, in, info)
	for format, raw := range map[string]string{
		"mp4":  `{"preset": "superfast", "copy": "never"}`,
		"mov":  `{"preset": "superfast"}`, // the sounds are copied
		"mkv":  `{"preset": "superfast", "loudness": -20, "resolution": "240p"}`,
		"webm": `{"preset": "superfast"}`,
		"avi":  `{"video_codec": "libx264", "preset": "superfast"}`,
	} {
		t.Run(format, func(t *testing.T) {
			t.Parallel()
			o, err := ParseOptions(format, json.RawMessage(raw))
			if err != nil {
				t.Fatal(err)
			}
			if why := StaysWhole(info, format, o, 1e9); why != "" {
				t.Fatal(why)
			}
			p := Params{Input: in, Info: info, Format: format, Options: o, Threads: 1}
			segments := everyKey(x)
			if len(segments) < 3 {
				t.Fatalf("%d segments", len(segments))
			}
			joined, err := encodeInPieces(t, r, p, x, segments)
			if err != nil {
				t.Fatal(err)
			}
			p.Output = filepath.Join(t.TempDir(), "whole."+format)
			if _, err := r.Convert(t.Context(), p, nil); err != nil {
				t.Fatal(err)
			}
			sameFilm(t, r, p.Output, joined)
			if a, b := told(t, p.Output), told(t, joined); a != b {
				t.Errorf("pieces\n%s\nwhole\n%s", b, a)
			}
			if len(rooms[format].texts) > 0 {
				for _, track := range []string{"0", "1"} {
					if a, b := subtitle(t, p.Output, track), subtitle(t, joined, track); a != b || !strings.Contains(a, "Good") {
						t.Errorf("subtitles %s\npieces\n%s\nwhole\n%s", track, b, a)
					}
				}
			}
		})
	}
}

func TestWhatCannotBeJoinedIsAMismatch(t *testing.T) {
	r := newRunner(t, Limits{})
	in := makeMedia(t, "in.mp4", keyedArgs...)
	info := probe(t, r, in)
	x := index(t, r, in, info)
	dir := t.TempDir()
	p := Params{Input: in, Output: filepath.Join(dir, "out"), Info: info, Format: "mp4", Threads: 1}
	good := Join{Segments: everyKey(x), Rest: filepath.Join(dir, "rest")}
	for i := range good.Segments {
		good.Parts = append(good.Parts, filepath.Join(dir, fmt.Sprintf("part%d", i)))
	}
	for _, path := range append(slices.Clone(good.Parts), good.Rest) {
		if err := os.WriteFile(path, []byte(strings.Repeat("noise", 100)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, j := range map[string]Join{
		"parts of noise": good,
		"a part missing": {Segments: good.Segments, Parts: good.Parts[1:], Rest: good.Rest},
		"another film's": {Segments: []Segment{{From: 0, To: len(x.Pictures) + 1}}, Parts: good.Parts[:1], Rest: good.Rest},
	} {
		// Damaged would end the job for good, although its input is sound.
		if _, err := r.Assemble(t.Context(), p, x, j, nil); !errors.Is(err, ErrMismatch) {
			t.Errorf("%s: %v", name, err)
		}
	}
	s, err := resolve(p.Format, p.Options)
	if err != nil {
		t.Fatal(err)
	}
	p.Output = good.Parts[0]
	if err := r.verify(t.Context(), p, s, x, good); !errors.Is(err, ErrMismatch) || !strings.Contains(err.Error(), "film") {
		t.Errorf("an output of noise: %v", err)
	}
}

// probed runs an ffprobe of the test's own.
func probed(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "ffprobe", append([]string{"-v", "error"}, args...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %v\n%s", args, err, out)
	}
	return string(out)
}
