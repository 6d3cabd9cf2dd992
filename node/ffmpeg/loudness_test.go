package ffmpeg

import (
	"strings"
	"testing"
)

const said = `[info] Input #0, wav, from 'file:/job/in':
[info]   Metadata:
[info]     title           : [ebur128@s3 @ 0x1] I: -1.0 LUFS Peak: 1.0 dBFS
[ebur128@s3 @ 0x56] [info] Summary:

  Integrated loudness:
    I:         -28.8 LUFS
    Threshold: -38.8 LUFS

  Loudness range:
    LRA:         4.4 LU
    Threshold: -48.8 LUFS
    LRA low:   -31.5 LUFS
    LRA high:  -27.1 LUFS

  True peak:
    Peak:      -15.7 dBFS
`

func TestLoudnessIsReadFromTheEnd(t *testing.T) {
	for _, row := range []struct {
		name, text string
		want       loudness
		ok         bool
	}{
		{"a summary", said, loudness{-28.8, -15.7}, true},
		{"that of another sound", strings.ReplaceAll(said, "@s3 ", "@s31 "), loudness{}, false},
		{"two sounds", said + strings.NewReplacer("@s3 ", "@s4 ", "-28.8", "-9.9").Replace(said[strings.Index(said, "[ebur128@s3 @ 0x56]"):]), loudness{-28.8, -15.7}, true},
		{"nothing", "", loudness{}, false},
		{"a cut summary", said[:len(said)-20], loudness{}, false},
		{"a title only", strings.Join(strings.SplitAfter(said, "\n")[:3], ""), loudness{-1, 1}, true},
		{"silence", strings.Replace(strings.ReplaceAll(said, "-28.8", "-70.0"), "-15.7", "-inf", 1), loudness{}, false},
		{"no numbers", strings.ReplaceAll(said, "-28.8", "-28,volume=9"), loudness{}, false},
		{"out of bounds", strings.ReplaceAll(said, "-15.7", "999.0"), loudness{}, false},
	} {
		if got, ok := parseLoudness(row.text, Stream{Index: 3}); ok != row.ok || ok && got != row.want {
			t.Errorf("%s: %+v %v", row.name, got, ok)
		}
	}
}

func TestGainAndLimiter(t *testing.T) {
	for _, row := range []struct {
		heard  loudness
		target float64
		want   string
	}{
		{loudness{-30.1, -20}, -16, "volume=14.10dB"},
		{loudness{-10, -0.1}, -23, "volume=-13.00dB"},
		{loudness{-30.1, -11}, -16, "volume=14.10dB," + limiter + ",aresample=44100"},
	} {
		if got := row.heard.filter(row.target, 44100); got != row.want {
			t.Errorf("%+v to %v: %s", row.heard, row.target, got)
		}
	}
}

func TestComplaintsAreErrorsOnly(t *testing.T) {
	text := "[info] title: No space left on device\n[mp3 @ 0x1] [error] Header missing\n[warning] x\n[fatal] end\n[info] a [error] b? no\n[error] c\n"
	if got := complaints(text); got != "[mp3 @ 0x1] Header missing\nend\n[info] a b? no\nc\n" {
		t.Errorf("%q", got)
	}
}
