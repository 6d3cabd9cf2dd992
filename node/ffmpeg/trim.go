package ffmpeg

import (
	"strconv"
	"strings"
)

// seeks tells whether ffmpeg can begin in the middle of a container and have
// every frame from there on. In MPEG streams it lands where references are
// missing, so they are decoded from their start.
func (c Container) seeks() bool { return c != MPEGTS && c != MPEGPS }

// seekArgs make the input begin where the user wants. What lies between the
// keyframe before and the moment itself is decoded and dropped.
func seekArgs(info Info, s settings) []string {
	if s.from == 0 || !info.Container.seeks() {
		return nil
	}
	return []string{"-ss", number(s.from)}
}

// end is where the output ends in seconds after the moment at which ffmpeg
// begins to decode; 0: at the input's end.
func (s settings) end(info Info) float64 {
	if s.to == 0 || !info.Container.seeks() {
		return s.to
	}
	return micro(s.to - s.from)
}

// cut is the filter that ends a picture or a sound: ffmpeg's own -t counts
// from the first frame that is there, or rounds to frames.
func (s settings) cut(info Info, filter string) string {
	if s.to == 0 {
		return ""
	}
	return filter + "=end=" + number(s.end(info)) + ","
}

// boundSlack is how much later, in seconds, ffmpeg ends than the cut, so that it
// does not cut again.
const boundSlack = 0.1

// boundArgs make the output end at our own bound, or behind the cut, where no
// chapters are wanted and nothing is to be read any more.
func boundArgs(p Params, s settings) []string {
	var args []string
	if s.from != 0 && !p.Info.Container.seeks() {
		args = append(args, "-ss", number(s.from))
	}
	end := p.MaxSeconds
	if s.to != 0 {
		end = min(end, micro(s.to-s.from+boundSlack))
	}
	return append(args, "-t", number(end))
}

// partArgs drop subtitles that reach over an end of the part that is wanted.
// ffmpeg keeps their times: one that begins before the part would move all of it
// back, one that ends after it would make it longer.
func partArgs(s settings, c Carriage) []string {
	var args []string
	for i, sub := range c.Subtitles {
		if outside := s.outside(sub); outside != "" {
			args = append(args, "-bsf:s:"+strconv.Itoa(i), "noise=drop="+outside)
		}
	}
	return args
}

// outside is ffmpeg's expression for subtitles that are not of the part alone.
func (s settings) outside(sub Subtitle) string {
	var outside []string
	if s.from != 0 {
		outside = append(outside, `lt(pts\,0)`)
	}
	if end := number(micro(s.to - s.from + boundSlack)); s.to != 0 {
		unit := "1/tb"
		if matroska := s.format.container == Matroska || s.format.container == WebM; matroska && sub.Encoder != "copy" {
			// FFmpeg 5 counts microseconds until it has written the head of
			// the file, then milliseconds, and always tells the former. No
			// subtitle is shown for 100 s.
			unit = `if(gt(d\,100000)\,1000000\,1000)`
		}
		outside = append(outside, `gt(pts+d\,`+end+"*"+unit+")")
	}
	return strings.Join(outside, "+")
}

// trimmed is how much of so many seconds is left; 0 is unknown in both.
func (s settings) trimmed(seconds float64) float64 {
	if s.to != 0 && (seconds == 0 || s.to < seconds) {
		seconds = s.to
	}
	return max(0, micro(seconds-s.from))
}

// checkTrim refuses a part that is not there. Durations that are estimates are
// no reason.
func (s settings) checkTrim(info Info) error {
	full := fullLength(info, s.format.Kind)
	if full == 0 || info.Estimated {
		return nil
	}
	why := "the file is " + strconv.FormatFloat(full, 'f', 1, 64) + " s long; choose an earlier time"
	switch {
	case s.from >= full:
		return &OptionError{Field: "options.from", Reason: why}
	case s.to > full+slackSeconds:
		return &OptionError{Field: "options.to", Reason: why + " or leave it out"}
	}
	return nil
}

// micro rounds to a microsecond, which is what ffmpeg counts in.
func micro(seconds float64) float64 {
	n, _ := strconv.ParseFloat(strconv.FormatFloat(seconds, 'f', 6, 64), 64)
	return n
}
