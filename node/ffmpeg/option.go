package ffmpeg

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// An Option is a choice that a user has about a conversion.
type Option struct {
	Name    string   `json:"name"`
	Type    string   `json:"type"`             // bitrate, integer, number, time or choice
	Default string   `json:"default"`          // as text; empty: nothing is done unless it is chosen
	Min     float64  `json:"min"`              // of a number; of a bitrate in bits/s; of a time in seconds
	Max     float64  `json:"max"`              // of a number; of a bitrate in bits/s; of a time in seconds
	Values  []string `json:"values,omitempty"` // of a choice
}

// Names of options.
const (
	optBitrate      = "bitrate"
	optCompression  = "compression"
	optQuality      = "quality"
	optVideoCodec   = "video_codec"
	optCRF          = "crf"
	optPreset       = "preset"
	optResolution   = "resolution"
	optFPS          = "fps"
	optProfile      = "profile"
	optVideoBitrate = "video_bitrate"
	optAudioBitrate = "audio_bitrate"
	optChannels     = "channels"
	optLoudness     = "loudness"
	optSizeMB       = "size_mb"
	optFrom         = "from"
	optTo           = "to"
	optEncoder      = "encoder"
	optCopy         = "copy"
)

// optionNames are all options in the order in which pages show them and
// recipes name them.
var optionNames = []string{optBitrate, optCompression, optQuality, optVideoCodec, optCRF, optPreset, optProfile, optEncoder, optVideoBitrate,
	optSizeMB, optResolution, optFPS, optAudioBitrate, optChannels, optLoudness, optFrom, optTo, optCopy}

// presets trade time for size; the names are those of x264.
var presets = []string{"ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow"}

func crf(lo, hi float64) Option {
	return Option{Name: optCRF, Type: "integer", Default: "23", Min: lo, Max: hi}
}

func bitrate(lo, hi float64) Option {
	return Option{Name: optBitrate, Type: "bitrate", Default: "192k", Min: lo, Max: hi}
}

func audioBitrate(lo, hi float64, usual string) Option {
	return Option{Name: optAudioBitrate, Type: "bitrate", Default: usual, Min: lo, Max: hi}
}

// Options that many formats take.
var (
	presetOption     = Option{Name: optPreset, Type: "choice", Default: "medium", Values: presets}
	profileOption    = Option{Name: optProfile, Type: "choice", Values: []string{"baseline", "main", "high"}}
	encoderOption    = Option{Name: optEncoder, Type: "choice", Default: software, Values: []string{software, hardware}}
	videoRateOption  = Option{Name: optVideoBitrate, Type: "bitrate", Min: 16_000, Max: 200_000_000}
	sizeOption       = Option{Name: optSizeMB, Type: "number", Min: 0.01, Max: 60_000}
	resolutionOption = Option{Name: optResolution, Type: "choice", Values: []string{"2160p", "1440p", "1080p", "720p", "480p", "360p", "240p"}}
	fpsOption        = Option{Name: optFPS, Type: "number", Min: 1, Max: 120}
	channelsOption   = Option{Name: optChannels, Type: "choice", Values: []string{"1", "2", "6"}}
	stereoOption     = Option{Name: optChannels, Type: "choice", Values: []string{"1", "2"}} // where there is no more
	loudnessOption   = Option{Name: optLoudness, Type: "number", Min: -31, Max: -9}
	fromOption       = Option{Name: optFrom, Type: "time", Min: 0, Max: maxTime}
	toOption         = Option{Name: optTo, Type: "time", Min: 0.001, Max: maxTime}
	copyOption       = Option{Name: optCopy, Type: "choice", Default: copyAuto, Values: []string{copyAuto, copyNever}}
)

// Values of choices that code asks for.
const (
	software  = "software"
	hardware  = "hardware"
	copyAuto  = "auto"
	copyNever = "never"
)

const maxTime = 100*3600 - 1 // seconds: 99:59:59

// option finds an option in a list.
func option(list []Option, name string) (Option, bool) {
	i := slices.IndexFunc(list, func(o Option) bool { return o.Name == name })
	if i < 0 {
		return Option{}, false
	}
	return list[i], true
}

// A value is one option's, read and found good: a number, or a word out of
// our own tables.
type value struct {
	n    float64
	word string
}

// read reads an option's text and checks it. Its error is an [*OptionError].
func (o Option) read(s string) (value, error) {
	if o.Type == "choice" {
		if word := strings.ToLower(s); slices.Contains(o.Values, word) {
			n, _ := parseNumber(word)
			return value{n: n, word: word}, nil
		}
		return value{}, &OptionError{Field: "options." + o.Name, Reason: "choose one of " + strings.Join(o.Values, ", ")}
	}
	n, wanted, ok := o.number(strings.TrimSpace(s))
	switch {
	case !ok:
		return value{}, &OptionError{Field: "options." + o.Name, Reason: fmt.Sprintf("must be %s in %s", wanted, o.rangeText())}
	case n < o.Min || n > o.Max:
		return value{}, &OptionError{Field: "options." + o.Name, Reason: fmt.Sprintf("%s is not in %s", strings.TrimSpace(s), o.rangeText())}
	}
	return value{n: n}, nil
}

// number reads the text of an option that is a number, whatever its range, and
// says in words what it should be.
func (o Option) number(s string) (n float64, wanted string, ok bool) {
	switch {
	case o.Type == "bitrate":
		n, ok = parseBitrate(s)
		return n, "a bitrate such as 192k", ok
	case o.Type == "integer":
		n, ok = parseNumber(s)
		return n, "a whole number", ok && n == math.Trunc(n)
	case o.Type == "time":
		n, ok = parseTime(s)
		return n, "seconds or a time such as 1:02:03.5", ok
	case o.Name == optFPS:
		n, ok = parseRate(s)
		return n, "a number such as 25, 29.97 or 30000/1001", ok
	}
	n, ok = parseNumber(s)
	return n, "a number", ok
}

// rangeText is the option's range in words.
func (o Option) rangeText() string {
	if o.Type == "bitrate" {
		return Bitrate(o.Min).String() + ".." + Bitrate(o.Max).String()
	}
	return number(o.Min) + ".." + number(o.Max)
}

func number(f float64) string { return strconv.FormatFloat(f, 'f', -1, 64) }

var decimal = regexp.MustCompile(`^-?[0-9]{1,9}(\.[0-9]{1,9})?$`)

func parseNumber(s string) (float64, bool) {
	if !decimal.MatchString(s) {
		return 0, false
	}
	n, err := strconv.ParseFloat(s, 64)
	return n, err == nil
}

// parseBitrate reads 192000, 192k and 2M.
func parseBitrate(s string) (float64, bool) {
	factor := 1.0
	s = strings.ToLower(s)
	if rest, ok := strings.CutSuffix(s, "k"); ok {
		s, factor = rest, 1000
	} else if rest, ok := strings.CutSuffix(s, "m"); ok {
		s, factor = rest, 1_000_000
	}
	n, ok := parseNumber(s)
	n *= factor
	return n, ok && n == math.Trunc(n)
}

var clock = regexp.MustCompile(`^(?:([0-9]{1,2}):)?([0-9]{1,2}):([0-9]{1,2}(?:\.[0-9]{1,6})?)$`)

// parseTime reads seconds, M:SS and H:MM:SS, each with decimals, to a
// microsecond.
func parseTime(s string) (float64, bool) {
	n, ok := parseNumber(s)
	if m := clock.FindStringSubmatch(s); m != nil {
		h, _ := strconv.Atoi("0" + m[1])
		minutes, _ := strconv.Atoi(m[2])
		seconds, _ := strconv.ParseFloat(m[3], 64)
		n, ok = float64(h*3600+minutes*60)+seconds, seconds < 60 && (m[1] == "" || minutes < 60)
	}
	return math.Round(n*1e6) / 1e6, ok
}

// parseRate reads pictures a second: 25, 29.97 or 30000/1001. What is written
// with three decimals or fewer for a rate of television is that rate.
func parseRate(s string) (float64, bool) {
	over, under, fraction := strings.Cut(s, "/")
	n, ok := parseNumber(over)
	if fraction {
		d, good := parseNumber(under)
		n, ok = n/d, ok && good && d > 0
	}
	n = math.Round(n*1000) / 1000
	if full, ok := ntsc(n); ok {
		n = math.Round(full*1_000_000/1001) / 1000
	}
	return n, ok
}

// ntsc tells whether a rate is one of television's with a denominator of 1001,
// and the whole number above it.
func ntsc(fps float64) (full float64, ok bool) {
	for _, full := range []float64{24, 30, 48, 60, 120} {
		if math.Abs(fps-full*1000/1001) < 0.008 {
			return full, true
		}
	}
	return 0, false
}

// rateText is a rate as ffmpeg takes it, exact.
func rateText(fps float64) string {
	if full, ok := ntsc(fps); ok {
		return number(full*1000) + "/1001"
	}
	return number(fps)
}
