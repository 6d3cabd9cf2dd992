package ffmpeg

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Options are what a user chose about a conversion. What is absent takes the
// format's default. Values come from [ParseOptions] only: they are numbers,
// or names out of our tables.
type Options struct {
	Bitrate     Bitrate  `json:"bitrate,omitempty"`
	Compression *int     `json:"compression,omitempty"`
	Quality     *float64 `json:"quality,omitempty"`
	VideoCodec  string   `json:"video_codec,omitempty"`
	CRF         *int     `json:"crf,omitempty"`
	Preset      string   `json:"preset,omitempty"`
	Copy        string   `json:"copy,omitempty"`    // auto, which is the default, or never
	Encoder     string   `json:"encoder,omitempty"` // software, which is the default, or hardware
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
	allowed := f.Options
	if v, ok := given[optVideoCodec]; ok && f.Kind == Video {
		if err := o.setChoice(allowed, optVideoCodec, v); err != nil {
			return Options{}, err
		}
		codec, _ := f.codec(o.VideoCodec)
		allowed = append([]Option{f.Options[0]}, codec.Options...)
	}
	for _, name := range optionNames {
		v, ok := given[name]
		if !ok {
			continue
		}
		if _, ok := option(allowed, name); !ok {
			return Options{}, &OptionError{Field: "options." + name, Reason: f.foreign(name, o)}
		}
		if err := o.set(allowed, name, v); err != nil {
			return Options{}, err
		}
	}
	return o, nil
}

// foreign says why an option is not for this format or codec.
func (f Format) foreign(name string, o Options) string {
	codec, ok := f.codec(o.VideoCodec)
	if ok && (name == optCRF || name == optPreset) {
		return fmt.Sprintf("is not for the codec %s; leave it out or choose another video_codec", codec.Name)
	}
	return fmt.Sprintf("is not for %s; %s", f.Name, f.takes(f.Options))
}

// takes says in words which options the format has.
func (f Format) takes(list []Option) string {
	if len(list) == 0 {
		return f.Name + " takes no options"
	}
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

func (o *Options) set(allowed []Option, name string, v json.RawMessage) error {
	switch name {
	case optBitrate:
		n, err := rangedNumber(allowed, name, v)
		o.Bitrate = Bitrate(n)
		return err
	case optCompression:
		return setInt(&o.Compression, allowed, name, v)
	case optQuality:
		n, err := rangedNumber(allowed, name, v)
		o.Quality = &n
		return err
	case optCRF:
		return setInt(&o.CRF, allowed, name, v)
	}
	return o.setChoice(allowed, name, v)
}

func setInt(to **int, allowed []Option, name string, v json.RawMessage) error {
	n, err := rangedNumber(allowed, name, v)
	i := int(n)
	*to = &i
	return err
}

func (o *Options) setChoice(allowed []Option, name string, v json.RawMessage) error {
	opt, _ := option(allowed, name)
	var s string
	if json.Unmarshal(v, &s) != nil || !slices.Contains(opt.Values, strings.ToLower(s)) {
		return &OptionError{Field: "options." + name, Reason: "choose one of " + strings.Join(opt.Values, ", ")}
	}
	switch s = strings.ToLower(s); name {
	case optVideoCodec:
		o.VideoCodec = s
	case optPreset:
		o.Preset = s
	}
	return nil
}

// rangedNumber reads a number, or a text that is one, within the option's
// range.
func rangedNumber(allowed []Option, name string, v json.RawMessage) (float64, error) {
	opt, _ := option(allowed, name)
	s := string(v)
	if s[0] == '"' && json.Unmarshal(v, &s) != nil {
		s = ""
	}
	s = strings.TrimSpace(s)
	var n float64
	var ok bool
	wanted := "a number"
	switch opt.Type {
	case "bitrate":
		n, ok = parseBitrate(s)
		wanted = "a bitrate such as 192k"
	case "integer":
		wanted = "a whole number"
		n, ok = parseNumber(s)
		ok = ok && n == math.Trunc(n)
	default:
		n, ok = parseNumber(s)
	}
	if !ok {
		return 0, &OptionError{Field: "options." + name, Reason: fmt.Sprintf("must be %s in %s", wanted, opt.rangeText())}
	}
	if !opt.allows(n) {
		return 0, &OptionError{Field: "options." + name, Reason: fmt.Sprintf("%s is not in %s", s, opt.rangeText())}
	}
	return n, nil
}

var decimal = regexp.MustCompile(`^-?[0-9]{1,9}(\.[0-9]{1,9})?$`)

func parseNumber(s string) (float64, bool) {
	if !decimal.MatchString(s) {
		return 0, false
	}
	n, err := strconv.ParseFloat(s, 64)
	return n, err == nil
}

// parseBitrate reads 192000 and 192k.
func parseBitrate(s string) (float64, bool) {
	factor := 1.0
	if rest, ok := strings.CutSuffix(strings.ToLower(s), "k"); ok {
		s, factor = rest, 1000
	}
	n, ok := parseNumber(s)
	n *= factor
	return n, ok && n == math.Trunc(n)
}
