package ffmpeg

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Options are what a user chose about a conversion. What is absent takes the
// format's default. Values come from [ParseOptions] only: they are numbers,
// or names out of our tables.
type Options struct {
	Bitrate      Bitrate  `json:"bitrate,omitempty"`
	Compression  *int     `json:"compression,omitempty"`
	Quality      *float64 `json:"quality,omitempty"`
	VideoCodec   string   `json:"video_codec,omitempty"`
	CRF          *int     `json:"crf,omitempty"`
	Preset       string   `json:"preset,omitempty"`
	Profile      string   `json:"profile,omitempty"`       // of H.264, for old players
	Encoder      string   `json:"encoder,omitempty"`       // software or hardware
	VideoBitrate Bitrate  `json:"video_bitrate,omitempty"` // in two passes
	SizeMB       float64  `json:"size_mb,omitempty"`       // the output's largest size in millions of bytes
	Resolution   string   `json:"resolution,omitempty"`    // such as 720p: the shorter side at most, never enlarged
	FPS          float64  `json:"fps,omitempty"`           // pictures a second
	AudioBitrate Bitrate  `json:"audio_bitrate,omitempty"` // of a film's sound
	Channels     int      `json:"channels,omitempty"`
	Loudness     float64  `json:"loudness,omitempty"` // LUFS by EBU R128
	From         float64  `json:"from,omitempty"`     // seconds of the input where the output begins
	To           float64  `json:"to,omitempty"`       // seconds of the input where it ends; 0: at the end
	Copy         string   `json:"copy,omitempty"`     // auto or never: may streams that fit be copied
}

// A Bitrate is in bits a second. Its text is such as 192k.
type Bitrate int

func (b Bitrate) String() string {
	if b%1000 == 0 {
		return strconv.Itoa(int(b)/1000) + "k"
	}
	return strconv.Itoa(int(b))
}

// MarshalText writes what [ParseOptions] reads.
func (b Bitrate) MarshalText() ([]byte, error) { return []byte(b.String()), nil }

// UnmarshalText reads 192k and 192000. It knows no range.
func (b *Bitrate) UnmarshalText(text []byte) error {
	n, ok := parseBitrate(string(text))
	if !ok {
		return fmt.Errorf("not a bitrate")
	}
	*b = Bitrate(n)
	return nil
}

// An OptionError tells which field of a request is wrong and what would be
// right. Its text holds nothing that the user sent but numbers and names that
// look like names.
type OptionError struct {
	Field  string // such as options.crf
	Reason string // such as: 99 is not in 0..51
}

func (e *OptionError) Error() string { return e.Field + ": " + e.Reason }

// maxOptions bounds the JSON of a request's options.
const maxOptions = 4 << 10

// ParseOptions reads the options of a request for a format. Nothing and null
// are no options. Numbers may be texts ("23"). Every error is an
// [*OptionError]; unknown names and options that the format does not take are
// errors, too.
func ParseOptions(format string, raw json.RawMessage) (Options, error) {
	f, err := Lookup(format)
	if err != nil {
		return Options{}, err
	}
	if raw = bytes.TrimSpace(raw); len(raw) == 0 || string(raw) == "null" {
		return Options{}, nil
	}
	var given map[string]json.RawMessage
	if len(raw) > maxOptions || json.Unmarshal(raw, &given) != nil {
		return Options{}, &OptionError{Field: "options", Reason: "must be a small JSON object such as {\"crf\": 23}"}
	}
	maps.DeleteFunc(given, func(_ string, v json.RawMessage) bool { return string(v) == "null" })
	for _, name := range slices.Sorted(maps.Keys(given)) {
		if !slices.Contains(optionNames, name) {
			return Options{}, &OptionError{Field: "options." + safeName(name), Reason: "there is no such option; " + f.takes(f.Options)}
		}
	}
	var o Options
	for _, name := range append([]string{optVideoCodec}, optionNames...) { // the codec first: it decides what else there is
		v, ok := given[name]
		if !ok {
			continue
		}
		opt, ok := option(f.allowed(o.VideoCodec), name)
		if !ok {
			return Options{}, &OptionError{Field: "options." + name, Reason: f.foreign(name, o)}
		}
		if err := o.set(opt, plainText(v)); err != nil {
			return Options{}, err
		}
	}
	if _, err := resolve(format, o); err != nil {
		return Options{}, err
	}
	return o, nil
}

// plainText is a JSON value as a text: 23 and "23" are the same.
func plainText(v json.RawMessage) string {
	s := string(v)
	if s[0] == '"' && json.Unmarshal(v, &s) != nil {
		return ""
	}
	return s
}

// set takes one option that is written as text. An empty text is the default
// of what is not done by default.
func (o *Options) set(opt Option, s string) error {
	if s == "" && opt.Default == "" {
		return nil
	}
	v, err := opt.read(s)
	if err != nil {
		return err
	}
	o.put(opt.Name, v)
	return nil
}

func (o *Options) put(name string, v value) {
	whole := int(v.n)
	switch name {
	case optBitrate:
		o.Bitrate = Bitrate(v.n)
	case optCompression:
		o.Compression = &whole
	case optQuality:
		o.Quality = &v.n
	case optVideoCodec:
		o.VideoCodec = v.word
	case optCRF:
		o.CRF = &whole
	case optPreset:
		o.Preset = v.word
	case optProfile:
		o.Profile = v.word
	case optEncoder:
		o.Encoder = v.word
	case optVideoBitrate:
		o.VideoBitrate = Bitrate(v.n)
	case optSizeMB:
		o.SizeMB = v.n
	case optResolution:
		o.Resolution = v.word
	case optFPS:
		o.FPS = v.n
	case optAudioBitrate:
		o.AudioBitrate = Bitrate(v.n)
	case optChannels:
		o.Channels = whole
	case optLoudness:
		o.Loudness = v.n
	case optFrom:
		o.From = v.n
	case optTo:
		o.To = v.n
	case optCopy:
		o.Copy = v.word
	}
}

// ByHardware tells whether a chip is to encode the film.
func (o Options) ByHardware() bool { return o.Encoder == hardware }

// text is an option as it may be written; empty where the user did not choose.
func (o Options) text(name string) string {
	switch name {
	case optBitrate:
		return unlessZero(o.Bitrate, o.Bitrate.String())
	case optCompression:
		return wholeText(o.Compression)
	case optQuality:
		if o.Quality == nil {
			return ""
		}
		return number(*o.Quality)
	case optVideoCodec:
		return o.VideoCodec
	case optCRF:
		return wholeText(o.CRF)
	case optPreset:
		return o.Preset
	case optProfile:
		return o.Profile
	case optEncoder:
		return o.Encoder
	case optVideoBitrate:
		return unlessZero(o.VideoBitrate, o.VideoBitrate.String())
	case optSizeMB:
		return unlessZero(o.SizeMB, number(o.SizeMB))
	case optResolution:
		return o.Resolution
	case optFPS:
		return unlessZero(o.FPS, number(o.FPS))
	case optAudioBitrate:
		return unlessZero(o.AudioBitrate, o.AudioBitrate.String())
	case optChannels:
		return unlessZero(o.Channels, strconv.Itoa(o.Channels))
	case optLoudness:
		return unlessZero(o.Loudness, number(o.Loudness))
	case optFrom:
		return unlessZero(o.From, number(o.From))
	case optTo:
		return unlessZero(o.To, number(o.To))
	}
	return o.Copy
}

func unlessZero[T int | float64 | Bitrate](n T, s string) string {
	if n == 0 {
		return ""
	}
	return s
}

func wholeText(n *int) string {
	if n == nil {
		return ""
	}
	return strconv.Itoa(*n)
}

// has tells whether the user chose something.
func (o Options) has(name string) bool { return o.text(name) != "" }

// foreign says why an option is not for this format or codec.
func (f Format) foreign(name string, o Options) string {
	codec, _ := f.codec(o.VideoCodec)
	for _, other := range f.VideoCodecs {
		if _, ok := option(f.allowed(other.Name), name); ok {
			return fmt.Sprintf("is not for the codec %s; leave it out or choose another video_codec", codec.Name)
		}
	}
	return fmt.Sprintf("is not for %s; %s", f.Name, f.takes(f.Options))
}

// takes says in words which options the format has.
func (f Format) takes(list []Option) string {
	names := make([]string, len(list))
	for i, o := range list {
		names[i] = o.Name
	}
	return f.Name + " takes " + strings.Join(names, ", ")
}

var plainOption = regexp.MustCompile(`^[A-Za-z0-9_-]{1,32}$`)

// safeName is an option's name as it may be shown.
func safeName(name string) string {
	if plainOption.MatchString(name) {
		return name
	}
	return "?"
}
