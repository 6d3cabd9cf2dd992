package ffmpeg

import (
	"bytes"
	"maps"
	"path/filepath"
	"strings"
	"testing"
)

// sameInfo compares what is kept of a probe. Durations may differ by a
// rounding, bitrates that are guessed by some per cent.
func sameInfo(t *testing.T, name string, got, want Info) {
	t.Helper()
	if got.Container != want.Container || got.Type != want.Type || got.Kind != want.Kind || got.Size != want.Size || got.Chapters != want.Chapters ||
		got.Estimated != want.Estimated || got.Measured != want.Measured || !near(got.Duration, want.Duration, 0.03) || !maps.Equal(got.Tags, want.Tags) ||
		!near(float64(got.BitRate), float64(want.BitRate), 0.03*float64(want.BitRate)) || len(got.Streams) != len(want.Streams) {
		t.Errorf("%s: got %+v\nwant %+v", name, got, want)
		return
	}
	for i, g := range got.Streams {
		w := want.Streams[i]
		if w.Layout == "" { // of WAV, which old FFmpeg does not tell
			w.Layout = g.Layout
		}
		if !near(g.Duration, w.Duration, 0.03) || !near(g.Start, w.Start, 0.001) || !near(float64(g.BitRate), float64(w.BitRate), 0.1*float64(w.BitRate)) {
			t.Errorf("%s: got %+v\nwant %+v", name, g, w)
		}
		g.Duration, g.Start, g.BitRate = w.Duration, w.Start, w.BitRate
		if g != w {
			t.Errorf("%s: got %+v\nwant %+v", name, g, w)
		}
	}
}

func TestDescribeSaysWhatProbeSays(t *testing.T) {
	r := newRunner(t, Limits{})
	tags := []string{"-metadata", "title=Ça va", "-metadata", "artist=Some & one", "-metadata", "album=A", "-metadata", "album_artist=B", "-metadata", "composer=C", "-metadata", "genre=Pop",
		"-metadata", "date=2001-02-03", "-metadata", "track=3/12", "-metadata", "disc=1", "-metadata", "comment=Long " + longText, "-metadata", "copyright=D", "-metadata", "publisher=E"}
	rows := []struct {
		name, file string
		args       []string
		plain      bool // no second process is needed, whatever the format
	}{
		{"mono", "a.wav", with(toneArgs), true},
		{"stereo with tags", "a.flac", with(toneArgs, append(tags, "-ac", "2")...), true},
		{"8 kHz, a tenth of a second", "a.wav", with(toneArgs, "-ar", "8000", "-t", "0.1"), true},
		{"96 kHz", "a.flac", with(toneArgs, "-ar", "96000", "-ac", "2"), true},
		{"tags of a kind of their own", "a.mka", with(toneArgs, "-c:a", "flac", "-metadata", "YEAR=1999", "-metadata", "WEIRD=x", "-metadata", "language=eng", "-metadata:s:a", "language=spa"), false},
		{"genre by number and year alone", "a.mp3", with(toneArgs, "-metadata", "genre=17", "-metadata", "date=1999", "-metadata", "description=x"), false},
		{"eight channels", "a.wav", with(toneArgs, "-af", "aformat=channel_layouts=7.1"), false},
	}
	for _, row := range rows {
		in := makeMedia(t, row.file, row.args...)
		info := probe(t, r, in)
		for _, format := range []string{"mp3", "flac", "wav", "aac", "ogg", "m4a"} {
			t.Run(row.name+" to "+format, func(t *testing.T) {
				t.Parallel()
				p := Params{Input: in, Output: filepath.Join(t.TempDir(), "out"), Info: info, Format: format, Options: Options{Copy: copyNever}, Threads: 1}
				compareDescriptions(t, r, p, row.plain)
			})
		}
	}
}

var longText = strings.Repeat("text that is longer than what one byte holds ", 15)

func compareDescriptions(t *testing.T, r *Runner, p Params, plain bool) {
	t.Helper()
	report, err := r.Convert(t.Context(), p, nil)
	if err != nil {
		t.Fatal(err, details(err))
	}
	want := probe(t, r, p.Output)
	if got, err := r.Describe(t.Context(), p, report); err != nil {
		t.Error(err)
	} else {
		sameInfo(t, p.Format, got, want)
	}
	if got, ok, err := describe(p, report); err != nil || plain && !ok {
		t.Errorf("%s needs a second process: %v", p.Format, err)
	} else if ok {
		sameInfo(t, p.Format, got, want)
	}
}

func TestDescribeOfWhatIsNotPlainIsProbe(t *testing.T) {
	t.Parallel()
	r := newRunner(t, Limits{})
	cover := songWithCover(t, "a.mp3", "c.jpg")
	for _, p := range []Params{
		{Input: cover, Info: probe(t, r, cover), Format: "flac"},
		{Input: cover, Info: probe(t, r, cover), Format: "mp3"}, // a copy, which was looked at
		{Input: film(t), Info: probe(t, r, film(t)), Format: "mov"},
	} {
		p.Output, p.Threads = filepath.Join(t.TempDir(), "out"), 1
		compareDescriptions(t, r, p, false)
	}
}

// What is damaged is never described from its header: another duration than
// ffmpeg told, a cut file, other bytes.
func TestDescribeDoubtsWhatDoesNotFit(t *testing.T) {
	t.Parallel()
	r := newRunner(t, Limits{})
	in := song(t)
	for _, format := range []string{"mp3", "flac", "wav", "aac", "ogg", "m4a"} {
		p := Params{Input: in, Output: filepath.Join(t.TempDir(), "out"), Info: probe(t, r, in), Format: format, Options: Options{Copy: copyNever}, Threads: 1}
		report, err := r.Convert(t.Context(), p, nil)
		if err != nil {
			t.Fatal(err)
		}
		whole := readFile(t, p.Output)
		report.OutTime += 1
		if _, ok, _ := describe(p, report); ok {
			t.Errorf("%s: another duration is believed", format)
		}
		report.OutTime -= 1
		for cut := 0; cut < min(len(whole), 2000); cut += 7 { // must not panic
			p.Output = writeFile(t, "cut", whole[:cut])
			if _, _, err := describe(p, report); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func FuzzHeaders(f *testing.F) {
	for _, seed := range []string{"ID3\x03\x00\x00\x00\x00\x00\x10TIT2\x00\x00\x00\x02\x00\x00\x00a", "fLaC\x00\x00\x00\x22", "OggS\x00\x02", "RIFF\x00\x00\x00\x00WAVEfmt ", "\xff\xf1\x50\x80\x01\x7f\xfc",
		"\x00\x00\x00\x10ftypM4A \x00\x00\x00\x00\x00\x00\x00\x08moov"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, head []byte) {
		container, ok := Sniff(head)
		if read := headers[container]; ok && read != nil {
			if h, ok := read(bytes.NewReader(head), head, int64(len(head))); ok && h.sane() {
				checkSane(t, h.info(Format{Type: "audio/x"}, int64(len(head))))
			}
		}
	})
}
