package ffmpeg

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// recipeVersion changes when equal settings begin to give other bytes.
const recipeVersion = "1"

// settings are a format and options with every default filled in.
type settings struct {
	format      Format
	video       VideoCodec // of films
	crf         int        // of codecs that have it
	preset      string     // of codecs that have it
	bitrate     int        // of sound, bits/s; 0: the encoder's own choice
	compression int        // flac
	quality     float64    // vorbis
}

// resolve fills in the defaults. It refuses what [ParseOptions] would refuse.
func resolve(format string, o Options) (settings, error) {
	f, err := Lookup(format)
	if err != nil {
		return settings{}, err
	}
	s := settings{format: f, bitrate: f.audio.bitrate}
	allowed := f.Options
	if f.Kind == Video {
		var ok bool
		if s.video, ok = f.codec(o.VideoCodec); !ok {
			opt, _ := option(f.Options, optVideoCodec)
			return settings{}, &OptionError{Field: "options.video_codec", Reason: "choose one of " + strings.Join(opt.Values, ", ")}
		}
		allowed = append([]Option{f.Options[0]}, s.video.Options...)
	}
	for _, name := range optionNames {
		opt, ok := option(allowed, name)
		switch {
		case !ok && o.has(name):
			return settings{}, &OptionError{Field: "options." + name, Reason: f.foreign(name, o)}
		case ok:
			if err := s.fill(opt, o); err != nil {
				return settings{}, err
			}
		}
	}
	return s, nil
}

// has tells whether the user chose something.
func (o Options) has(name string) bool {
	switch name {
	case optBitrate:
		return o.Bitrate != 0
	case optCompression:
		return o.Compression != nil
	case optQuality:
		return o.Quality != nil
	case optVideoCodec:
		return o.VideoCodec != ""
	case optCRF:
		return o.CRF != nil
	}
	return o.Preset != ""
}

// fill takes one option from the user or from its default, checked.
func (s *settings) fill(opt Option, o Options) error {
	n := 0.0
	switch opt.Name {
	case optVideoCodec:
		return nil
	case optPreset:
		if s.preset = opt.Default; o.Preset != "" {
			s.preset = o.Preset
		}
		if !slices.Contains(opt.Values, s.preset) {
			return &OptionError{Field: "options.preset", Reason: "choose one of " + strings.Join(opt.Values, ", ")}
		}
		return nil
	case optBitrate:
		if n, _ = parseBitrate(opt.Default); o.Bitrate != 0 {
			n = float64(o.Bitrate)
		}
		s.bitrate = int(n)
	case optCompression:
		n = orDefault(o.Compression, opt)
		s.compression = int(n)
	case optCRF:
		n = orDefault(o.CRF, opt)
		s.crf = int(n)
	case optQuality:
		if n, _ = parseNumber(opt.Default); o.Quality != nil {
			n = *o.Quality
		}
		s.quality = n
	}
	if !opt.allows(n) {
		return &OptionError{Field: "options." + opt.Name, Reason: fmt.Sprintf("not in %s", opt.rangeText())}
	}
	return nil
}

func orDefault(given *int, opt Option) float64 {
	if given != nil {
		return float64(*given)
	}
	n, _ := parseNumber(opt.Default)
	return n
}

// Recipe is the canonical text of a conversion: equal for all ways of asking
// for the same, with defaults written out. The same input and the same recipe
// give an output of the same content and quality; encoders may write other
// bytes with another number of threads. Its errors are those of
// [ParseOptions].
func Recipe(format string, o Options) (string, error) {
	s, err := resolve(format, o)
	if err != nil {
		return "", err
	}
	words := []string{"v" + recipeVersion, s.format.Name}
	if s.format.Kind == Video {
		words = append(words, s.video.Name)
		if _, ok := option(s.video.Options, optCRF); ok {
			words = append(words, "crf="+strconv.Itoa(s.crf))
		}
		if s.preset != "" {
			words = append(words, "preset="+s.preset)
		}
	}
	words = append(words, s.format.audio.encoder)
	if s.bitrate != 0 {
		words = append(words, "bitrate="+Bitrate(s.bitrate).String())
	}
	if _, ok := option(s.format.Options, optCompression); ok {
		words = append(words, "compression="+strconv.Itoa(s.compression))
	}
	if _, ok := option(s.format.Options, optQuality); ok {
		words = append(words, "quality="+number(s.quality))
	}
	return strings.Join(words, " "), nil
}

// Needs lists the encoders that a node's ffmpeg must have for a conversion.
// Its errors are those of [ParseOptions].
func Needs(format string, o Options) ([]string, error) {
	s, err := resolve(format, o)
	if err != nil {
		return nil, err
	}
	if s.format.Kind == Video && o.Encoder == hardware {
		return []string{anyHardware(s.video.codec), s.format.audio.encoder}, nil
	}
	if s.format.Kind == Video {
		return []string{s.video.Name, s.format.audio.encoder}, nil
	}
	return []string{s.format.audio.encoder}, nil
}

// CheckFit tells before any work whether a file can become the format. Its
// error is [ErrUnfit] with the reason, or an [*OptionError] for an unknown
// format.
func CheckFit(info Info, format string) error {
	f, err := Lookup(format)
	if err != nil {
		return err
	}
	_, hasVideo := info.Video()
	_, hasAudio := info.Audio()
	switch {
	case f.Kind == Audio && !hasAudio:
		return &Error{Kind: Unfit, Msg: fmt.Sprintf("The file has no sound, so it cannot become %s. Choose a video format: %s.", f.Name, formatNames(Video))}
	case f.Kind == Video && !hasVideo:
		return &Error{Kind: Unfit, Msg: fmt.Sprintf("The file has no moving picture, so it cannot become %s. Choose an audio format: %s.", f.Name, formatNames(Audio))}
	}
	return nil
}
