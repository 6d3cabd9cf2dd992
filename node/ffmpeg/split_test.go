package ffmpeg

import (
	"bytes"
	"fmt"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// index makes the index of a file.
func index(t testing.TB, r *Runner, path string, info Info) Index {
	t.Helper()
	x, err := r.Index(t.Context(), path, info)
	if err != nil {
		t.Fatalf("index: %v", err)
	}
	return x
}

// everyKey cuts a film at every key where it may be cut.
func everyKey(x Index) []Segment {
	var out []Segment
	from := 0
	for _, k := range x.Keys {
		if k.Picture > from {
			out = append(out, Segment{From: from, To: k.Picture})
			from = k.Picture
		}
	}
	return append(out, Segment{From: from, To: len(x.Pictures)})
}

// encodeInPieces does what a mesh does with a film.
func encodeInPieces(t testing.TB, r *Runner, p Params, x Index, segments []Segment) (string, error) {
	t.Helper()
	dir := t.TempDir()
	j := Join{Segments: segments, Rest: filepath.Join(dir, "rest")}
	for i, s := range segments {
		p.Output = filepath.Join(dir, fmt.Sprintf("part%d", i))
		if _, err := r.Segment(t.Context(), p, x, s, nil); err != nil {
			return "", fmt.Errorf("segment %d: %w%s", i, err, details(err))
		}
		j.Parts = append(j.Parts, p.Output)
	}
	p.Output = j.Rest
	if _, err := r.Audio(t.Context(), p, nil); err != nil {
		return "", fmt.Errorf("audio: %w%s", err, details(err))
	}
	p.Output = filepath.Join(dir, "joined."+p.Format)
	_, err := r.Assemble(t.Context(), p, x, j, nil)
	if err != nil {
		return "", fmt.Errorf("assemble: %w%s", err, details(err))
	}
	return p.Output, nil
}

// keyedArgs make a small film with a key picture every second.
var keyedArgs = []string{"-f", "lavfi", "-i", "testsrc2=size=160x120:rate=25:duration=3",
	"-f", "lavfi", "-i", "sine=frequency=330:sample_rate=48000:duration=3", "-g", "25", "-pix_fmt", "yuv420p", "-threads", "1"}

// worse is how much worse than unsplit the quality of joined pieces may be.
const (
	worsePSNR = 0.1 // dB
	worseSSIM = 0.001
)

// quality compares the pictures of an output with those of its source, one by
// one.
func quality(t *testing.T, source, output string) (psnr, ssim float64) {
	t.Helper()
	const graph = "[0:v]settb=1/25,setpts=N,split[a][b];[1:v]settb=1/25,setpts=N,split[c][d];[a][c]psnr[e];[b][d]ssim[f]"
	out, err := exec.CommandContext(t.Context(), "ffmpeg", "-hide_banner", "-i", source, "-i", output,
		"-lavfi", graph, "-map", "[e]", "-map", "[f]", "-f", "null", "-").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	number := func(label string) float64 {
		_, after, _ := strings.Cut(string(out), label)
		n, err := strconv.ParseFloat(strings.Fields(after + " -")[0], 64)
		if err != nil {
			t.Fatalf("no %s in\n%s", label, out)
		}
		return n
	}
	return number("average:"), number("All:")
}

// decodedSound is the decoded sound of a file.
func decodedSound(t *testing.T, path string) []byte {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "ffmpeg", "-v", "error", "-i", path, "-map", "0:a", "-f", "s16le", "-").Output()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestPiecesAreTheWhole(t *testing.T) {
	r := newRunner(t, Limits{})
	in := makeMedia(t, "in.mp4", with(keyedArgs, "-preset", "fast", "-crf", "15")...)
	info := probe(t, r, in)
	x := index(t, r, in, info)
	if len(x.Pictures) != 75 || len(x.Keys) != 3 || x.Unfit != "" {
		t.Fatalf("%d pictures, keys %v, %s", len(x.Pictures), x.Keys, x.Unfit)
	}
	for _, f := range Formats() {
		for _, c := range f.VideoCodecs {
			t.Run(f.Name+" "+c.Name, func(t *testing.T) {
				t.Parallel()
				if testing.Short() && (f.Name != "mp4" || c.Name != "libx264") {
					t.Skip("many encodings")
				}
				o := Options{VideoCodec: c.Name, Copy: copyNever}
				if _, ok := option(c.Options, optPreset); ok {
					o.Preset = "superfast"
				}
				if why := StaysWhole(info, f.Name, o, 1e9); (why != "") != (c.Name == ffv1.Name) {
					t.Errorf("whole: %q", why)
				}
				if c.Name == ffv1.Name {
					return
				}
				p := Params{Input: in, Info: info, Format: f.Name, Options: o, Threads: 1}
				joined, err := encodeInPieces(t, r, p, x, everyKey(x))
				if err != nil {
					t.Fatal(err)
				}
				p.Output = filepath.Join(t.TempDir(), "whole."+f.Name)
				if _, err := r.Convert(t.Context(), p, nil); err != nil {
					t.Fatal(err)
				}
				sameFilm(t, r, p.Output, joined)
				if !bytes.Equal(decodedSound(t, p.Output), decodedSound(t, joined)) {
					t.Error("the sound differs")
				}
				psnr, ssim := quality(t, in, p.Output)
				if p, s := quality(t, in, joined); p < psnr-worsePSNR || s < ssim-worseSSIM {
					t.Errorf("PSNR %.2f, SSIM %.4f, whole %.2f, %.4f", p, s, psnr, ssim)
				}
			})
		}
	}
}
