package ffmpeg

import (
	"fmt"
	"regexp"
	"strings"
)

// loudness is what EBU R128 (ITU-R BS.1770) measures of a sound. The zero value
// is nothing measured.
type loudness struct {
	integrated float64 // LUFS
	truePeak   float64 // dBTP
	span       float64 // LU, the loudness range
	threshold  float64 // LUFS, the gate below which nothing counted
}

// silence is the loudness in LUFS below which EBU R128 hears nothing.
const silence = -70

// Bounds of the output that loudnorm is asked for.
const (
	peakCeiling = -1.5 // dBTP: lossy encoders go above what they are given
	widestSpan  = 20.0 // LU; the oldest ffmpeg of ours takes no more
	usualSpan   = 11.0 // LU
)

// listener measures a sound. It is six times as fast as loudnorm's own
// measuring and finds the same.
const listener = "ebur128=peak=true:framelog=verbose"

// filter raises or lowers a sound that was measured to a loudness: by one gain
// for all of it (linear) where its peaks allow that, else loudnorm rides the
// gain. It then works at 192 kHz, so that the rate has to be set behind it.
func (l loudness) filter(target float64) string {
	return fmt.Sprintf("loudnorm=I=%s:TP=%s:LRA=%s:measured_I=%.2f:measured_TP=%.2f:measured_LRA=%.2f:measured_thresh=%.2f:linear=true",
		number(target), number(peakCeiling), number(min(max(usualSpan, l.span), widestSpan)),
		l.integrated, l.truePeak, max(l.span, 0.01), l.threshold) // a range of 0 means to loudnorm that it was not measured
}

// summary is what ebur128 says at its end.
var summary = regexp.MustCompile(`(?s)I: +(\S+) LUFS\s+Threshold: +(\S+) LUFS.*?LRA: +(\S+) LU\s.*?Peak: +(\S+) dBFS`)

// parseLoudness reads what an ffmpeg with the listener said. It is false when
// that is not there, or when there is nothing to hear. Only the end counts:
// before it stand texts from the file.
func parseLoudness(stderr string) (loudness, bool) {
	begin := strings.LastIndex(stderr, "[Parsed_ebur128")
	if begin < 0 {
		return loudness{}, false
	}
	m := summary.FindStringSubmatch(stderr[begin:])
	if m == nil {
		return loudness{}, false
	}
	var n [4]float64
	for i := range n {
		var ok bool
		if n[i], ok = parseNumber(m[i+1]); !ok {
			return loudness{}, false
		}
	}
	l := loudness{integrated: n[0], threshold: n[1], span: n[2], truePeak: n[3]}
	within := func(n, lo, hi float64) bool { return n >= lo && n <= hi }
	ok := within(l.integrated, silence+0.1, 0) && within(l.threshold, -99, 0) && within(l.span, 0, 99) && within(l.truePeak, -99, 99)
	return l, ok
}

// complaints are the lines of a talkative ffmpeg that tell of errors.
func complaints(stderr string) string {
	var lines []string
	for line := range strings.Lines(stderr) {
		for _, level := range []string{"[error] ", "[fatal] "} {
			if before, after, ok := strings.Cut(line, level); ok && (before == "" || strings.HasPrefix(before, "[")) {
				lines = append(lines, before+after)
				break
			}
		}
	}
	return strings.Join(lines, "")
}
