package ffmpeg

import (
	"slices"
	"strconv"
	"strings"
)

// A Format is a kind of file that malla makes, described for pages and for
// [ParseOptions].
type Format struct {
	Name        string       `json:"name"` // also the file's extension
	Kind        MediaKind    `json:"kind"`
	Type        string       `json:"type"`                   // MIME type
	Options     []Option     `json:"options"`                // with the default video codec
	VideoCodecs []VideoCodec `json:"video_codecs,omitempty"` // the default one first

	container Container // what our own sniffing calls the result
	muxer     string    // ffmpeg's name
	muxArgs   []string  // its options
	audio     audioCodec
	cover     bool // a cover picture can be kept
}

// An Option is a choice that a user has about a conversion.
type Option struct {
	Name    string   `json:"name"`
	Type    string   `json:"type"`             // bitrate, integer, number or choice
	Default string   `json:"default"`          // as text
	Min     float64  `json:"min"`              // of a number; of a bitrate in bits/s
	Max     float64  `json:"max"`              // of a number; of a bitrate in bits/s
	Values  []string `json:"values,omitempty"` // of a choice
}

// A VideoCodec is an encoder for pictures with the options that it takes.
type VideoCodec struct {
	Name    string   `json:"name"` // ffmpeg's name of the encoder
	Options []Option `json:"options"`

	codec string // what ffprobe calls the result
}

// An audioCodec is an encoder for sound.
type audioCodec struct {
	encoder string
	codec   string // what ffprobe calls the result
	bitrate int    // bits/s where the user has no say; 0: the encoder's own choice
	layouts string // channel layouts that it takes, where ffmpeg does not choose well by itself
}

// Names of options, in the order in which pages show them.
const (
	optBitrate     = "bitrate"
	optCompression = "compression"
	optQuality     = "quality"
	optVideoCodec  = "video_codec"
	optCRF         = "crf"
	optPreset      = "preset"
)

var optionNames = []string{optBitrate, optCompression, optQuality, optVideoCodec, optCRF, optPreset}

// presets trade time for size; the names are those of x264.
var presets = []string{"ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow"}

func crf(lo, hi float64) Option {
	return Option{Name: optCRF, Type: "integer", Default: "23", Min: lo, Max: hi}
}

func bitrate(lo, hi float64) Option {
	return Option{Name: optBitrate, Type: "bitrate", Default: "192k", Min: lo, Max: hi}
}

var presetOption = Option{Name: optPreset, Type: "choice", Default: "medium", Values: presets}

// Encoders for pictures.
var (
	x264  = VideoCodec{Name: "libx264", codec: "h264", Options: []Option{crf(0, 51), presetOption}}
	x265  = VideoCodec{Name: "libx265", codec: "hevc", Options: []Option{crf(0, 51), presetOption}}
	mpeg4 = VideoCodec{Name: "mpeg4", codec: "mpeg4", Options: []Option{}}
	vp9   = VideoCodec{Name: "libvpx-vp9", codec: "vp9", Options: []Option{crf(0, 63), presetOption}}
	vp8   = VideoCodec{Name: "libvpx", codec: "vp8", Options: []Option{crf(4, 63), presetOption}}
)

// Encoders for sound.
var (
	lame   = audioCodec{encoder: "libmp3lame", codec: "mp3"}
	aac    = audioCodec{encoder: "aac", codec: "aac", layouts: "mono|stereo|3.0|4.0|5.0|5.1|7.1"}
	opus   = audioCodec{encoder: "libopus", codec: "opus", layouts: "mono|stereo|3.0|quad|5.0|5.1|6.1|7.1"}
	vorbis = audioCodec{encoder: "libvorbis", codec: "vorbis", layouts: "mono|stereo|3.0|quad|5.0|5.1|6.1|7.1"}
)

func (a audioCodec) at(bitrate int) audioCodec {
	a.bitrate = bitrate
	return a
}

// formats are the eleven formats of the contract. Their defaults are those of
// the platform that malla replaces.
var formats = []Format{
	{Name: "mp3", Kind: Audio, Type: "audio/mpeg", container: MP3, muxer: "mp3", muxArgs: []string{"-id3v2_version", "3"},
		audio: lame, cover: true, Options: []Option{bitrate(8_000, 320_000)}},
	{Name: "flac", Kind: Audio, Type: "audio/flac", container: FLAC, muxer: "flac",
		audio: audioCodec{encoder: "flac", codec: "flac"}, cover: true,
		Options: []Option{{Name: optCompression, Type: "integer", Default: "5", Min: 0, Max: 12}}},
	{Name: "wav", Kind: Audio, Type: "audio/wav", container: WAV, muxer: "wav", muxArgs: []string{"-rf64", "auto"},
		audio: audioCodec{encoder: "pcm_s16le", codec: "pcm_s16le"}, Options: []Option{}},
	{Name: "aac", Kind: Audio, Type: "audio/aac", container: AAC, muxer: "adts",
		audio: aac, Options: []Option{bitrate(8_000, 512_000)}},
	{Name: "ogg", Kind: Audio, Type: "audio/ogg", container: Ogg, muxer: "ogg",
		audio: vorbis, Options: []Option{{Name: optQuality, Type: "number", Default: "5", Min: -1, Max: 10}}},
	{Name: "m4a", Kind: Audio, Type: "audio/mp4", container: MOV, muxer: "ipod", muxArgs: fastStart,
		audio: aac, cover: true, Options: []Option{bitrate(8_000, 512_000)}},
	video(Format{Name: "mp4", Type: "video/mp4", container: MOV, muxer: "mp4", muxArgs: fastStart,
		audio: aac.at(128_000)}, x264, x265, mpeg4),
	video(Format{Name: "avi", Type: "video/x-msvideo", container: AVI, muxer: "avi",
		audio: lame.at(128_000)}, mpeg4, x264),
	video(Format{Name: "mkv", Type: "video/x-matroska", container: Matroska, muxer: "matroska",
		audio: aac}, x264, x265, mpeg4, vp9, vp8),
	video(Format{Name: "webm", Type: "video/webm", container: WebM, muxer: "webm",
		audio: opus}, vp9, vp8),
	video(Format{Name: "mov", Type: "video/quicktime", container: MOV, muxer: "mov", muxArgs: fastStart,
		audio: aac}, x264, x265, mpeg4),
}

// fastStart puts the index in front, so that playing begins before the whole
// file is there.
var fastStart = []string{"-movflags", "+faststart"}

// video completes a format for films.
func video(f Format, codecs ...VideoCodec) Format {
	f.Kind = Video
	f.VideoCodecs = codecs
	choice := Option{Name: optVideoCodec, Type: "choice", Default: codecs[0].Name}
	for _, c := range codecs {
		choice.Values = append(choice.Values, c.Name)
	}
	f.Options = append([]Option{choice}, codecs[0].Options...)
	return f
}

// Formats lists what malla can make, sounds first. The caller may change the
// list, not what is in it.
func Formats() []Format { return slices.Clone(formats) }

// Lookup finds a format by its name in any case. Its error is an
// [*OptionError] that lists the names.
func Lookup(name string) (Format, error) {
	i := slices.IndexFunc(formats, func(f Format) bool { return strings.EqualFold(f.Name, name) })
	if i < 0 {
		return Format{}, &OptionError{Field: "output_format", Reason: "choose one of " + formatNames("")}
	}
	return formats[i], nil
}

// formatNames lists the formats of a kind, or all.
func formatNames(kind MediaKind) string {
	var names []string
	for _, f := range formats {
		if kind == "" || f.Kind == kind {
			names = append(names, f.Name)
		}
	}
	return strings.Join(names, ", ")
}

// option finds an option in a list.
func option(list []Option, name string) (Option, bool) {
	i := slices.IndexFunc(list, func(o Option) bool { return o.Name == name })
	if i < 0 {
		return Option{}, false
	}
	return list[i], true
}

// codec finds a video codec of the format; the empty name is the default.
func (f Format) codec(name string) (VideoCodec, bool) {
	if name == "" && len(f.VideoCodecs) > 0 {
		return f.VideoCodecs[0], true
	}
	i := slices.IndexFunc(f.VideoCodecs, func(c VideoCodec) bool { return c.Name == name })
	if i < 0 {
		return VideoCodec{}, false
	}
	return f.VideoCodecs[i], true
}

// with returns the format as these tools can make it, if they can at all.
func (f Format) with(t Tools) (Format, bool) {
	if !t.Has(f.audio.encoder) {
		return Format{}, false
	}
	if f.Kind == Audio {
		return f, true
	}
	var have []VideoCodec
	for _, c := range f.VideoCodecs {
		if t.Has(c.Name) {
			have = append(have, c)
		}
	}
	if len(have) == 0 || have[0].Name != f.VideoCodecs[0].Name {
		return Format{}, false // a job without options needs the default
	}
	return video(f, have...), true
}

// allows tells whether a number is in the option's range, and what the range
// is in words.
func (o Option) allows(n float64) bool { return n >= o.Min && n <= o.Max }

func (o Option) rangeText() string {
	if o.Type == "bitrate" {
		return Bitrate(o.Min).String() + ".." + Bitrate(o.Max).String()
	}
	return number(o.Min) + ".." + number(o.Max)
}

func number(f float64) string { return strconv.FormatFloat(f, 'f', -1, 64) }
