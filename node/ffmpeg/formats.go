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
}

// formats are the eleven formats of the contract. Their defaults are those of
// the platform that malla replaces.
var formats = []Format{
	sound(Format{Name: "mp3", Type: "audio/mpeg", container: MP3, muxer: "mp3", muxArgs: []string{"-id3v2_version", "3"},
		audio: lame}, bitrate(8_000, 320_000), sizeOption),
	sound(Format{Name: "flac", Type: "audio/flac", container: FLAC, muxer: "flac",
		audio: flac}, Option{Name: optCompression, Type: "integer", Default: strconv.Itoa(flacCompression), Min: 0, Max: 12}),
	sound(Format{Name: "wav", Type: "audio/wav", container: WAV, muxer: "wav", muxArgs: []string{"-rf64", "auto"},
		audio: pcm}),
	sound(Format{Name: "aac", Type: "audio/aac", container: AAC, muxer: "adts",
		audio: aac}, bitrate(8_000, 512_000), sizeOption),
	sound(Format{Name: "ogg", Type: "audio/ogg", container: Ogg, muxer: "ogg",
		audio: vorbis}, Option{Name: optQuality, Type: "number", Default: "5", Min: -1, Max: 10}, sizeOption),
	sound(Format{Name: "m4a", Type: "audio/mp4", container: MOV, muxer: "ipod", muxArgs: fastStart,
		audio: aac}, bitrate(8_000, 512_000), sizeOption),
	video(Format{Name: "mp4", Type: "video/mp4", container: MOV, muxer: "mp4", muxArgs: fastStart,
		audio: aac.at(128_000)}, x264, x265, mpeg4),
	video(Format{Name: "avi", Type: "video/x-msvideo", container: AVI, muxer: "avi",
		audio: lame.at(128_000)}, mpeg4, x264),
	video(Format{Name: "mkv", Type: "video/x-matroska", container: Matroska, muxer: "matroska",
		audio: aac}, x264, x265, mpeg4, vp9, vp8, ffv1),
	video(Format{Name: "webm", Type: "video/webm", container: WebM, muxer: "webm",
		audio: opus}, vp9, vp8),
	video(Format{Name: "mov", Type: "video/quicktime", container: MOV, muxer: "mov", muxArgs: fastStart,
		audio: aac}, x264, x265, mpeg4),
}

// fastStart puts the index in front, so that playing begins before the whole
// file is there.
var fastStart = []string{"-movflags", "+faststart"}

// sound completes a format for sounds with the options of its encoder.
func sound(f Format, own ...Option) Format {
	f.Kind = Audio
	f.Options = append(own, f.audio.channels(), loudnessOption, fromOption, toOption, copyOption)
	return f
}

// video completes a format for films.
func video(f Format, codecs ...VideoCodec) Format {
	f.Kind = Video
	f.VideoCodecs = codecs
	f.Options = f.allowed("")
	return f
}

// allowed are the options that a conversion with the video codec takes; the
// empty name is the default codec.
func (f Format) allowed(videoCodec string) []Option {
	codec, ok := f.codec(videoCodec)
	if !ok {
		return f.Options
	}
	choice := Option{Name: optVideoCodec, Type: "choice", Default: f.VideoCodecs[0].Name}
	for _, c := range f.VideoCodecs {
		choice.Values = append(choice.Values, c.Name)
	}
	list := append([]Option{choice}, codec.Options...)
	list = append(list, resolutionOption, fpsOption)
	sound := f.soundOf(codec)
	if sound.highest > 0 {
		list = append(list, sound.rates())
	}
	return append(list, sound.channels(), loudnessOption, fromOption, toOption, copyOption)
}

// soundOf is the sound that goes with a picture of the codec.
func (f Format) soundOf(codec VideoCodec) audioCodec {
	if codec.sound.encoder != "" {
		return codec.sound
	}
	return f.audio
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
		if t.Has(c.Name) && t.Has(f.soundOf(c).encoder) {
			have = append(have, c)
		}
	}
	if len(have) == 0 || have[0].Name != f.VideoCodecs[0].Name {
		return Format{}, false // a job without options needs the default
	}
	return video(f, have...), true
}
