package ffmpeg

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// scattered is p with its input cut into files of about equal size.
func scattered(t *testing.T, p Params, files int) Params {
	t.Helper()
	data, dir := readFile(t, p.Input), t.TempDir()
	p.Input, p.More = "", nil
	for i := range files {
		path := filepath.Join(dir, fmt.Sprint(i))
		if err := os.WriteFile(path, data[i*len(data)/files:(i+1)*len(data)/files], 0o400); err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			p.Input = path
		} else {
			p.More = append(p.More, path)
		}
	}
	return p
}

func TestAnInputInSeveralFilesIsOneFile(t *testing.T) {
	r := newRunner(t, Limits{})
	for name, c := range map[string]struct{ input, format, options string }{
		"song":             {makeMedia(t, "tone.wav", toneArgs...), "flac", `{}`},
		"index at the end": {makeMedia(t, "film.mp4", filmArgs...), "mkv", `{"preset":"ultrafast"}`},
		"in two passes":    {film(t), "mp4", `{"preset":"ultrafast","video_bitrate":"200k"}`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o, err := ParseOptions(c.format, json.RawMessage(c.options))
			if err != nil {
				t.Fatal(err)
			}
			p := Params{Input: c.input, Info: probe(t, r, c.input), Format: c.format, Options: o, Threads: 1}
			p.Output = filepath.Join(t.TempDir(), "one")
			convert(t, r, p)
			q := scattered(t, p, 7)
			q.Output = filepath.Join(t.TempDir(), "seven")
			convert(t, r, q)
			if a, b := packetsOf(t, p.Output), packetsOf(t, q.Output); a != b {
				t.Errorf("packets of one file:\n%s\nof seven:\n%s", a, b)
			}
		})
	}
}

// packetsOf are the times and hashes of what a file has.
func packetsOf(t *testing.T, path string) string {
	return say(t, "-v", "error", "-i", path, "-map", "0", "-c", "copy", "-f", "framemd5", "-")
}

func TestASegmentOfSeveralFiles(t *testing.T) {
	t.Parallel()
	r := newRunner(t, Limits{})
	p := Params{Input: makeMedia(t, "keys.mp4", append(filmArgs, "-g", "10")...), Format: "mp4", Threads: 1}
	p.Info = probe(t, r, p.Input)
	x := index(t, r, p.Input, p.Info)
	s := Segment{From: 20, To: 40}
	p.Output = filepath.Join(t.TempDir(), "one")
	if _, err := r.Segment(t.Context(), p, x, s, nil); err != nil {
		t.Fatal(err)
	}
	q := scattered(t, p, 5)
	q.Output = filepath.Join(t.TempDir(), "five")
	if _, err := r.Segment(t.Context(), q, x, s, nil); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(readFile(t, p.Output), readFile(t, q.Output)) {
		t.Error("the segments differ")
	}
}

func TestFilesOfAnInputAreChecked(t *testing.T) {
	info := Info{Container: WAV, Kind: Audio, Duration: 1, Streams: []Stream{{Type: "audio", Codec: "pcm_s16le", Channels: 2, SampleRate: 44100}}}
	p := Params{Input: "/in", Output: "/out", Info: info, Format: "flac", Threads: 1}
	args, err := ConvertArgs(p)
	if err != nil || strings.Contains(strings.Join(args, " "), "concat") {
		t.Errorf("one file: %v, %v", args, err)
	}
	p.More = []string{"/in.1"}
	args, err = ConvertArgs(p)
	if text := strings.Join(args, " "); err != nil || !strings.Contains(text, " -i concat:file:/in|file:/in.1 ") || !strings.Contains(text, " file,concat ") {
		t.Errorf("two files: %s, %v", text, err)
	}
	for name, more := range map[string][]string{
		"relative": {"in"}, "an address": {"http://x/"}, "two in one": {"/a|/b"}, "too many": make([]string, MaxFiles),
	} {
		p.More = more
		if _, err := ConvertArgs(p); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
}

func TestNoFileOfAnInputIsInTheLog(t *testing.T) {
	r := newRunner(t, Limits{})
	p := Params{Input: song(t), Format: "wav", Threads: 1}
	p.Info = probe(t, r, p.Input)
	p = scattered(t, p, 3)
	for _, path := range append(p.More, p.Input) {
		if err := os.WriteFile(path, bytes.Repeat([]byte("no music "), 5000), 0o600); err != nil && os.Geteuid() == 0 {
			t.Fatal(err)
		}
	}
	p.Output = filepath.Join(t.TempDir(), "out")
	_, err := r.Convert(t.Context(), p, nil)
	told, ok := err.(*Error)
	if !ok || told.Log == "" {
		t.Fatalf("%v", err)
	}
	if strings.Contains(told.Log, filepath.Dir(p.Input)) {
		t.Errorf("the log names a path: %s", told.Log)
	}
}
