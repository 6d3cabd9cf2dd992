package ffmpeg

import (
	"fmt"
	"time"
)

// Policy bounds what malla takes in. A zero field takes its default.
type Policy struct {
	MaxDuration time.Duration // default 6 h
	MaxPixels   int           // of one picture; default 36 million, which 8K passes
}

func (p Policy) orDefaults() Policy {
	if p.MaxDuration <= 0 {
		p.MaxDuration = 6 * time.Hour
	}
	if p.MaxPixels <= 0 {
		p.MaxPixels = maxPixels
	}
	return p
}

const (
	maxSide       = 8192
	minSide       = 2
	maxPixels     = 36_000_000
	maxRatio      = 20.0 // between the sides
	maxAspect     = 10.0 // of a pixel
	maxFPS        = 240.0
	minSampleRate = 4000
	maxSampleRate = 192_000
	maxChannels   = 8
)

// Check is [Policy.Check] with the default policy.
func Check(info Info) error { return Policy{}.Check(info) }

// Check judges a file by what ffprobe told, before anything decodes it. Its
// error is [ErrRefused] with the reason.
func (p Policy) Check(info Info) error {
	p = p.orDefaults()
	for _, rule := range fileRules {
		if reason := rule(p, info); reason != "" {
			return &Error{Kind: Refused, Msg: reason}
		}
	}
	for _, s := range info.Streams {
		for _, rule := range streamRules[streamType(s)] {
			if reason := rule(p, s); reason != "" {
				return &Error{Kind: Refused, Msg: reason}
			}
		}
	}
	return nil
}

// streamType is the stream's type, with covers apart: they are not decoded,
// so they are held to nothing here.
func streamType(s Stream) string {
	if s.Cover {
		return "cover"
	}
	return s.Type
}

// Rules return the reason to refuse a file, or nothing.
var fileRules = []func(Policy, Info) string{
	func(_ Policy, i Info) string {
		if len(i.Streams) > maxStreams {
			return fmt.Sprintf("The file has %d streams; at most %d are accepted.", len(i.Streams), maxStreams)
		}
		return ""
	},
	func(_ Policy, i Info) string {
		_, video := i.Video()
		_, audio := i.Audio()
		if !video && !audio {
			return msgNoStreams
		}
		return ""
	},
	func(_ Policy, i Info) string {
		if !(i.Duration > 0) {
			return "The duration of the file cannot be told."
		}
		return ""
	},
	func(p Policy, i Info) string {
		if i.Duration > p.MaxDuration.Seconds() {
			return fmt.Sprintf("The file says to be %s long; at most %s are accepted.", hours(i.Duration), hours(p.MaxDuration.Seconds()))
		}
		return ""
	},
}

// streamRules is stream type -> what its streams must keep.
var streamRules = map[string][]func(Policy, Stream) string{
	"video": {
		func(p Policy, s Stream) string {
			if s.Width > maxSide || s.Height > maxSide || s.Width*s.Height > p.MaxPixels {
				return fmt.Sprintf("The picture is %d×%d pixels; at most %d a side and %d million in all are accepted.", s.Width, s.Height, maxSide, p.MaxPixels/1_000_000)
			}
			return ""
		},
		func(_ Policy, s Stream) string {
			if s.Width < minSide || s.Height < minSide {
				return fmt.Sprintf("The picture is %d×%d pixels, which is too small.", s.Width, s.Height)
			}
			return ""
		},
		func(_ Policy, s Stream) string {
			if r := float64(s.Width) / float64(s.Height); r > maxRatio || r < 1/maxRatio {
				return fmt.Sprintf("The picture is %d×%d pixels; one side is more than %g times the other.", s.Width, s.Height, maxRatio)
			}
			return ""
		},
		func(_ Policy, s Stream) string {
			if a := s.SampleAspect; a > maxAspect || a != 0 && a < 1/maxAspect {
				return "The file asks to stretch its picture more than ten times."
			}
			return ""
		},
		func(_ Policy, s Stream) string {
			if s.FPS > maxFPS {
				return fmt.Sprintf("The film has %.0f pictures a second; at most %.0f are accepted.", s.FPS, maxFPS)
			}
			return ""
		},
	},
	"audio": {
		func(_ Policy, s Stream) string {
			if s.SampleRate != 0 && (s.SampleRate < minSampleRate || s.SampleRate > maxSampleRate) {
				return fmt.Sprintf("The sound has %d samples a second; %d to %d are accepted.", s.SampleRate, minSampleRate, maxSampleRate)
			}
			return ""
		},
		func(_ Policy, s Stream) string {
			if s.Channels > maxChannels {
				return fmt.Sprintf("The sound has %d channels; at most %d are accepted.", s.Channels, maxChannels)
			}
			return ""
		},
	},
}

// hours is a long time for people.
func hours(seconds float64) string {
	if seconds < 3600 {
		return fmt.Sprintf("%.0f minutes", seconds/60)
	}
	return fmt.Sprintf("%.1f hours", seconds/3600)
}
