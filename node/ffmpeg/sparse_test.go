package ffmpeg

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// heavy are the arguments of a film of some 20 MB: noise that does not shrink.
func heavy(args ...string) []string {
	return with([]string{"-f", "lavfi", "-i", "color=gray:size=240x180:rate=10:duration=20,noise=alls=100:allf=t",
		"-f", "lavfi", "-i", "sine=duration=20", "-g", "10", "-pix_fmt", "yuv420p", "-threads", "2"}, args...)
}

// holed copies the wanted bytes of a file into a file of its size that has
// nothing else.
func holed(t testing.TB, path string, wanted []Span) string {
	t.Helper()
	data := readFile(t, path)
	sparse := filepath.Join(t.TempDir(), "sparse")
	f, err := os.Create(sparse)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(int64(len(data))); err != nil {
		t.Fatal(err)
	}
	for _, s := range wanted {
		if _, err := f.WriteAt(data[s.From:s.To], s.From); err != nil {
			t.Fatal(err)
		}
	}
	return sparse
}

func length(spans []Span) (n int64) {
	for _, s := range spans {
		n += s.To - s.From
	}
	return n
}

func TestASegmentNeedsOnlyItsBytes(t *testing.T) {
	r := newRunner(t, Limits{})
	rows := []struct{ file, codec string }{{"in.mp4", "libx264"}, {"in.mkv", "libx264"}, {"in.webm", "libvpx"}, {"in.avi", "mpeg4"}}
	codecs := map[string][]string{
		"libx264": {"-c:v", "libx264", "-preset", "superfast", "-qp", "2"},
		"libvpx":  {"-c:v", "libvpx", "-deadline", "realtime", "-cpu-used", "8", "-b:v", "30M", "-qmax", "4", "-c:a", "libopus"},
		"mpeg4":   {"-c:v", "mpeg4", "-q:v", "1"},
	}
	for _, row := range rows {
		t.Run(row.file, func(t *testing.T) {
			t.Parallel()
			if testing.Short() {
				t.Skip("large films")
			}
			in := makeMedia(t, row.file, heavy(codecs[row.codec]...)...)
			p := Params{Input: in, Info: probe(t, r, in), Format: "mp4", Options: Options{Preset: "ultrafast"}}
			x := index(t, r, in, p.Info)
			segments := everyKey(x)
			if len(segments) < 10 {
				t.Fatalf("%d segments, keys %v", len(segments), x.Keys)
			}
			s := segments[len(segments)-3]
			encode := func(input string) ([]byte, error) {
				p.Input, p.Output = input, filepath.Join(t.TempDir(), "part")
				if _, err := r.Segment(t.Context(), p, x, s, nil); err != nil {
					return nil, err
				}
				return readFile(t, p.Output), nil
			}
			whole, err := encode(in)
			if err != nil {
				t.Fatalf("%v%s", err, details(err))
			}
			wanted := x.Needs(s)
			if got := length(wanted); got > x.Size*4/5 {
				t.Errorf("needs %d of %d bytes: %v", got, x.Size, wanted)
			}
			part, err := encode(holed(t, in, wanted))
			if err != nil {
				t.Fatalf("%v%s", err, details(err))
			}
			if !bytes.Equal(whole, part) {
				t.Error("a file with holes gives other bytes")
			}
			if _, err := encode(holed(t, in, x.Needs(segments[0]))); !errors.Is(err, ErrStarved) {
				t.Errorf("without its bytes: %v", err)
			}
		})
	}
}
