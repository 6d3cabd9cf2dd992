package ffmpeg

import (
	"fmt"
	"path/filepath"
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
var keyedArgs = []string{"-f", "lavfi", "-i", "testsrc2=size=160x120:rate=25:duration=4",
	"-f", "lavfi", "-i", "sine=frequency=330:sample_rate=48000:duration=4", "-g", "25", "-pix_fmt", "yuv420p", "-threads", "1"}

func TestPiecesAreTheWhole(t *testing.T) {
	r := newRunner(t, Limits{})
	in := makeMedia(t, "in.mp4", with(keyedArgs, "-preset", "fast")...)
	info := probe(t, r, in)
	x := index(t, r, in, info)
	if len(x.Pictures) != 100 || len(x.Keys) != 4 || x.Unfit != "" {
		t.Fatalf("%d pictures, keys %v, %s", len(x.Pictures), x.Keys, x.Unfit)
	}
	for _, f := range Formats() {
		for _, c := range f.VideoCodecs {
			t.Run(f.Name+" "+c.Name, func(t *testing.T) {
				o := Options{VideoCodec: c.Name, Copy: copyNever}
				if _, ok := option(c.Options, optPreset); ok {
					o.Preset = "ultrafast"
				}
				if why := StaysWhole(info, f.Name, o, 1e9); (why != "") != (c.Name == ffv1.Name) {
					t.Errorf("whole: %q", why)
				}
				if c.Name == ffv1.Name {
					return
				}
				p := Params{Input: in, Info: info, Format: f.Name, Options: o}
				joined, err := encodeInPieces(t, r, p, x, everyKey(x))
				if err != nil {
					t.Fatal(err)
				}
				p.Output = filepath.Join(t.TempDir(), "whole."+f.Name)
				if _, err := r.Convert(t.Context(), p, nil); err != nil {
					t.Fatal(err)
				}
				whole, _ := r.listPackets(t.Context(), p.Output, f.container)
				pieces, _ := r.listPackets(t.Context(), joined, f.container)
				for i := range whole.streams {
					if a, b := fmt.Sprint(whole.streams[i].times), fmt.Sprint(pieces.streams[i].times); a != b {
						t.Errorf("stream %d\nwhole  %.80s\npieces %.80s", i, a, b)
					}
				}
				if !near(whole.length, pieces.length, 0.005) {
					t.Errorf("%v %v", whole.length, pieces.length)
				}
			})
		}
	}
}
