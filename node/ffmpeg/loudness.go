package ffmpeg

import (
	"regexp"
	"strconv"
	"strings"
)

// loudness is what EBU R128 (ITU-R BS.1770) measures of a sound. The zero value
// is nothing measured.
type loudness struct {
	integrated float64 // LUFS
	truePeak   float64 // dBTP
}

const (
	silence     = -70  // LUFS, below which EBU R128 hears nothing
	peakCeiling = -1.5 // dBTP: lossy encoders go above what they are given
)

// listener is the filter that measures a sound: six times as fast as loudnorm
// does, with the same result. It says its summary under the name of the sound.
func listener(sound Stream) string { return listenerName(sound) + "=peak=true:framelog=verbose" }

func listenerName(sound Stream) string { return "ebur128@s" + strconv.Itoa(sound.Index) }

// limiter holds a sound below the ceiling (10^(-1.5/20) = 0.8414). At 192 kHz
// it sees the peaks between samples. It looks 1 ms ahead.
const limiter = "aresample=192000,alimiter=limit=0.8414:level=0:attack=1:release=50"

// filter brings a sound that was measured to a loudness: by one gain for all of
// it, which changes nothing else, and by a limiter only where peaks would go
// over the ceiling. That is loudnorm's linear mode; where it cannot be linear
// loudnorm rides the gain instead, and misses the loudness of short sounds by
// more than the 1 LU that EBU R128 allows.
func (l loudness) filter(target float64, sampleRate int) string {
	gain := target - l.integrated
	filter := "volume=" + strconv.FormatFloat(gain, 'f', 2, 64) + "dB"
	if l.truePeak+gain > peakCeiling {
		filter += "," + limiter + ",aresample=" + strconv.Itoa(sampleRate)
	}
	return filter
}

// summary is what ebur128 says at its end.
var summary = regexp.MustCompile(`(?s)I: +(\S+) LUFS.*?Peak: +(\S+) dBFS`)

// parseLoudness reads what an ffmpeg with the sound's listener said. It is
// false when that is not there, or when there is nothing to hear. Only the end
// counts: before it stand texts from the file.
func parseLoudness(stderr string, sound Stream) (loudness, bool) {
	begin := strings.LastIndex(stderr, "["+listenerName(sound)+" ")
	if begin < 0 {
		return loudness{}, false
	}
	m := summary.FindStringSubmatch(stderr[begin:])
	if m == nil {
		return loudness{}, false
	}
	i, okI := parseNumber(m[1])
	peak, okPeak := parseNumber(m[2])
	if !okI || !okPeak || i <= silence || i > 20 || peak < silence || peak > 99 {
		return loudness{}, false
	}
	return loudness{integrated: i, truePeak: peak}, true
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
