package ffmpeg

import (
	"encoding/json"
	"slices"
	"strings"
)

// A Purpose is a conversion for people who know what they want it for, but not
// which format and options are good for that.
type Purpose struct {
	Name    string    `json:"name"`
	Kind    MediaKind `json:"kind"` // of the output
	Text    string    `json:"text"` // what it is good for, in one line
	Format  string    `json:"format"`
	Options Options   `json:"options"`
}

var (
	webCRF, openCRF, smallCRF = 23, 31, 28
	archiveCompression        = 8
)

// purposes are few, and each is what its field recommends: YouTube's and
// Mozilla's advice for films on pages, Google's crf for VP9 at 1080p, -16 LUFS
// as podcast platforms ask for.
var purposes = []Purpose{
	{Name: "phone", Kind: Video, Format: "mp4", Text: "Plays on every phone, also old ones: 720p, H.264 main profile, stereo.",
		Options: Options{Resolution: "720p", Profile: "main", Channels: 2, AudioBitrate: 128_000}},
	{Name: "web", Kind: Video, Format: "mp4", Text: "Plays in every browser and starts before it is loaded: 1080p, H.264, stereo.",
		Options: Options{Resolution: "1080p", CRF: &webCRF, Channels: 2, AudioBitrate: 160_000}},
	{Name: "web-open", Kind: Video, Format: "webm", Text: "For pages, in open formats and smaller, but slower to make: 1080p, VP9 and Opus.",
		Options: Options{Resolution: "1080p", CRF: &openCRF, Preset: "veryfast", Channels: 2, AudioBitrate: 128_000}},
	{Name: "small", Kind: Video, Format: "mp4", Text: "Small enough to send: 480p, simple sound.",
		Options: Options{Resolution: "480p", CRF: &smallCRF, Channels: 2, AudioBitrate: 64_000}},
	{Name: "lossless", Kind: Video, Format: "mkv", Text: "For the archive, without any loss and with checksums: FFV1 and FLAC in Matroska. Large.",
		Options: Options{VideoCodec: "ffv1"}},
	{Name: "podcast", Kind: Audio, Format: "mp3", Text: "Speech for every podcast player: MP3 at 96k, as loud as others (-16 LUFS).",
		Options: Options{Bitrate: 96_000, Channels: 2, Loudness: -16}},
	{Name: "music-archive", Kind: Audio, Format: "flac", Text: "Music without loss, as small as that gets: FLAC.",
		Options: Options{Compression: &archiveCompression}},
}

// Purposes lists them, films first. The caller may change the list, not what is
// in it.
func Purposes() []Purpose { return slices.Clone(purposes) }

// Wish reads a request: a format, a purpose, or both, and options. What the
// user chose counts, and what cannot go together with it is left out of the
// purpose. Its errors are those of [ParseOptions]; one for an unknown purpose
// lists the names.
func Wish(purpose, format string, options json.RawMessage) (string, Options, error) {
	if purpose == "" {
		f, err := Lookup(format)
		if err != nil {
			return "", Options{}, err
		}
		o, err := ParseOptions(f.Name, options)
		return f.Name, o, err
	}
	p, err := lookupPurpose(purpose)
	if err != nil {
		return "", Options{}, err
	}
	if format != "" {
		if p, err = p.in(format); err != nil {
			return "", Options{}, err
		}
	}
	chosen, err := ParseOptions(p.Format, options)
	if err != nil {
		return "", Options{}, err
	}
	o, err := p.with(chosen)
	return p.Format, o, err
}

func lookupPurpose(name string) (Purpose, error) {
	i := slices.IndexFunc(purposes, func(p Purpose) bool { return strings.EqualFold(p.Name, name) })
	if i < 0 {
		names := make([]string, len(purposes))
		for i, p := range purposes {
			names[i] = p.Name
		}
		return Purpose{}, &OptionError{Field: "purpose", Reason: "choose one of " + strings.Join(names, ", ")}
	}
	return purposes[i], nil
}

// in is the purpose in another format of its kind, as far as that goes.
func (p Purpose) in(format string) (Purpose, error) {
	f, err := Lookup(format)
	if err != nil {
		return Purpose{}, err
	}
	if _, ok := f.codec(p.Options.VideoCodec); f.Kind != p.Kind || f.Kind == Video && !ok {
		return Purpose{}, &OptionError{Field: "output_format", Reason: "cannot be " + f.Name + " for the purpose " + p.Name + "; leave it out for " + p.Format}
	}
	p.Format = f.Name
	return p, nil
}

// with adds to what the user chose what the purpose has beside it.
func (p Purpose) with(chosen Options) (Options, error) {
	f, err := Lookup(p.Format)
	if err != nil {
		return Options{}, err
	}
	o := chosen
	for _, name := range append([]string{optVideoCodec}, optionNames...) {
		usual := p.Options.text(name)
		opt, taken := option(f.allowed(o.VideoCodec), name)
		if usual == "" || !taken || o.has(name) || chosen.contradicts(name) {
			continue
		}
		if err := o.set(opt, usual); err != nil {
			return Options{}, err
		}
	}
	_, err = resolve(p.Format, o)
	return o, err
}

// contradicts tells whether something that was chosen cannot be asked for
// together with the option.
func (o Options) contradicts(name string) bool {
	for _, pair := range clashes {
		if pair[0] == name && o.has(pair[1]) || pair[1] == name && o.has(pair[0]) {
			return true
		}
	}
	return name == optProfile && o.has(optCRF) && *o.CRF == 0
}
