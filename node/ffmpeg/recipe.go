package ffmpeg

import (
	"fmt"
	"strconv"
	"strings"
)

// recipeVersion changes when equal settings begin to give other bytes.
const recipeVersion = "2"

// settings are a format and options with every default filled in.
type settings struct {
	format       Format
	video        VideoCodec // of films
	audio        audioCodec
	crf          int     // of codecs that have it
	preset       string  // of codecs that have it
	profile      string  // of H.264; empty: the encoder's own choice
	encoder      string  // of codecs that have hardware for it
	videoBitrate int     // bits/s, in two passes; 0: by crf
	sizeMB       float64 // millions of bytes; 0: whatever it comes to
	short        int     // pixels of the picture's shorter side at most; 0: as it is
	fps          float64 // 0: as it is
	bitrate      int     // of sound, bits/s; 0: the encoder's own choice
	channels     int     // 0: as they are
	loudness     float64 // LUFS; 0: as it is
	compression  int     // flac
	quality      float64 // vorbis
	from, to     float64 // seconds of the input; to 0: its end
	copy         string

	chip  hardwareEncoder  // that encodes the film; zero: software does
	pass  int              // of a picture in two passes: 1 or 2; 0: there is one
	heard map[int]loudness // index of a sound that can be heard -> what the first pass measured of it
}

// clashes are options that cannot be asked for together.
var clashes = [][2]string{
	{optSizeMB, optVideoBitrate}, {optSizeMB, optCRF}, {optVideoBitrate, optCRF}, {optSizeMB, optBitrate}, {optSizeMB, optQuality},
}

// resolve fills in the defaults. It refuses what [ParseOptions] would refuse.
func resolve(format string, o Options) (settings, error) {
	f, err := Lookup(format)
	if err != nil {
		return settings{}, err
	}
	s := settings{format: f, audio: f.audio, compression: flacCompression}
	if f.Kind == Video {
		var ok bool
		if s.video, ok = f.codec(o.VideoCodec); !ok {
			opt, _ := option(f.Options, optVideoCodec)
			_, err := opt.read(o.VideoCodec)
			return settings{}, err
		}
		s.audio = f.soundOf(s.video)
	}
	s.bitrate = s.audio.bitrate
	allowed := f.allowed(o.VideoCodec)
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
	return s, s.coherent(o)
}

// fill takes one option from the user or from its default, checked.
func (s *settings) fill(opt Option, o Options) error {
	given := o.text(opt.Name)
	if given == "" {
		given = opt.Default
	}
	if given == "" {
		return nil
	}
	v, err := opt.read(given)
	if err == nil {
		s.put(opt.Name, v)
	}
	return err
}

func (s *settings) put(name string, v value) {
	switch name {
	case optBitrate, optAudioBitrate:
		s.bitrate = int(v.n)
	case optCompression:
		s.compression = int(v.n)
	case optQuality:
		s.quality = v.n
	case optCRF:
		s.crf = int(v.n)
	case optPreset:
		s.preset = v.word
	case optProfile:
		s.profile = v.word
	case optEncoder:
		s.encoder = v.word
	case optVideoBitrate:
		s.videoBitrate = int(v.n)
	case optSizeMB:
		s.sizeMB = v.n
	case optResolution:
		s.short = shortSide(v.word)
	case optFPS:
		s.fps = v.n
	case optChannels:
		s.channels = int(v.n)
	case optLoudness:
		s.loudness = v.n
	case optFrom:
		s.from = v.n
	case optTo:
		s.to = v.n
	case optCopy:
		s.copy = v.word
	}
}

// shortSide is the number in a resolution such as 720p, 0 for none.
func shortSide(resolution string) int {
	n, _ := parseNumber(strings.TrimSuffix(resolution, "p"))
	return int(n)
}

// coherent checks what options mean to each other.
func (s *settings) coherent(o Options) error {
	for _, pair := range clashes {
		if o.has(pair[0]) && o.has(pair[1]) {
			return &OptionError{Field: "options." + pair[0], Reason: "cannot be asked for together with " + pair[1] + "; leave one of them out"}
		}
	}
	if s.to != 0 && s.to <= s.from {
		return &OptionError{Field: "options.to", Reason: "must be later than from"}
	}
	if s.profile != "" && s.profile != "high" && s.crf == 0 && o.has(optCRF) {
		return &OptionError{Field: "options.crf", Reason: "must be 1 or more for the profile " + s.profile + ", which cannot be lossless"}
	}
	if s.sizeMB != 0 && !o.has(optAudioBitrate) {
		s.bitrate = 0 // what the size allows
	}
	return nil
}

// rated tells whether the picture's size is chosen rather than its quality.
func (s settings) rated() bool {
	return s.format.Kind == Video && (s.videoBitrate != 0 || s.sizeMB != 0)
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
		if _, ok := option(s.video.Options, optCRF); ok && !s.rated() {
			words = append(words, "crf="+strconv.Itoa(s.crf))
		}
		if s.preset != "" {
			words = append(words, "preset="+s.preset)
		}
	}
	words = append(words, s.audio.encoder)
	if s.bitrate != 0 {
		words = append(words, "bitrate="+Bitrate(s.bitrate).String())
	}
	if _, ok := option(s.format.Options, optCompression); ok {
		words = append(words, "compression="+strconv.Itoa(s.compression))
	}
	if _, ok := option(s.format.Options, optQuality); ok && s.sizeMB == 0 {
		words = append(words, "quality="+number(s.quality))
	}
	return strings.Join(append(words, s.extras()...), " "), nil
}

// RecipeOf is the recipe of a conversion of one file: [Recipe], and what of the
// file is copied, since a file whose codec fits is encoded only where the user
// asked for something, be it the default. Its errors are those of [Carry].
func RecipeOf(info Info, format string, o Options) (string, error) {
	recipe, err := Recipe(format, o)
	if err != nil {
		return "", err
	}
	copied, err := Copies(info, format, o)
	if err != nil {
		return "", err
	}
	if copied.Film {
		recipe += " film=copied"
	}
	if copied.Sound {
		recipe += " sound=copied"
	}
	return recipe, nil
}

// extras are the words for what is not done unless it is asked for.
func (s settings) extras() []string {
	var words []string
	for _, extra := range []struct{ name, value, usual string }{
		{optProfile, s.profile, ""},
		{optEncoder, s.encoder, software},
		{optVideoBitrate, Bitrate(s.videoBitrate).String(), "0k"},
		{optSizeMB, number(s.sizeMB), "0"},
		{optResolution, strconv.Itoa(s.short) + "p", "0p"},
		{optFPS, number(s.fps), "0"},
		{optChannels, strconv.Itoa(s.channels), "0"},
		{optLoudness, number(s.loudness), "0"},
		{optFrom, number(s.from), "0"},
		{optTo, number(s.to), "0"},
		{optCopy, s.copy, copyAuto},
	} {
		if extra.value != extra.usual && extra.value != "" {
			words = append(words, extra.name+"="+extra.value)
		}
	}
	return words
}

// Needs lists the encoders that a node's ffmpeg must have for a conversion.
// Its errors are those of [ParseOptions].
func Needs(format string, o Options) ([]string, error) {
	s, err := resolve(format, o)
	if err != nil {
		return nil, err
	}
	if s.format.Kind == Video && s.encoder == hardware {
		return []string{anyHardware(s.video.codec), s.audio.encoder}, nil
	}
	if s.format.Kind == Video {
		return []string{s.video.Name, s.audio.encoder}, nil
	}
	return []string{s.audio.encoder}, nil
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

// CheckOptions tells before any work whether the options can be had from a
// file: the part of it is there, the size is possible. Its errors are those of
// [ParseOptions].
func CheckOptions(info Info, format string, o Options) error {
	s, err := resolve(format, o)
	if err != nil {
		return err
	}
	_, err = s.forFile(info)
	return err
}
