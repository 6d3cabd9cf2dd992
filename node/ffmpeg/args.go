package ffmpeg

import (
	"errors"
	"path/filepath"
	"strconv"
	"strings"
)

// Bounds of an output that is not told otherwise.
const (
	defaultMaxBytes   = 64 << 30
	defaultMaxSeconds = 6 * 3600
)

// Params describe one conversion. Everything in it comes from malla: paths
// that it made, an Info of its own probing, options that it parsed.
type Params struct {
	Input   string // absolute path
	Output  string // absolute path; an older file there is replaced
	Info    Info   // of Input
	Format  string
	Options Options
	Threads int // of the decoder and of the encoder; below 1: all processors

	MaxBytes   int64   // the output's largest size; 0: 64 GiB
	MaxSeconds float64 // the output's longest duration; 0: 6 h
}

func (p Params) orDefaults() Params {
	p.Threads = threadsOr(p.Threads)
	if p.MaxBytes <= 0 {
		p.MaxBytes = defaultMaxBytes
	}
	if p.MaxSeconds <= 0 {
		p.MaxSeconds = defaultMaxSeconds
	}
	return p
}

var errPath = errors.New("ffmpeg: a path must be absolute and plain")

// checkPath refuses paths that could mean something to ffmpeg. It is a second
// wall: malla makes all paths itself.
func checkPath(path string) error {
	if !filepath.IsAbs(path) || filepath.Clean(path) != path || strings.ContainsAny(path, "\x00\n\r%") {
		return errPath
	}
	return nil
}

// guards are the arguments that stand before every hostile input, whether
// ffmpeg or ffprobe reads it.
func guards(c Container, decoders string) []string {
	return []string{
		"-protocol_whitelist", "file",
		"-format_whitelist", demuxerList,
		"-codec_whitelist", decoders,
		"-max_pixels", strconv.Itoa(maxPixels),
		"-max_streams", strconv.Itoa(maxStreams),
		"-probesize", "10M",
		"-analyzeduration", "10M",
		"-f", c.demuxer(),
	}
}

// maxAlloc is the most that ffmpeg may ask for in one piece, in bytes.
const maxAlloc = 256 << 20

// global are the arguments that stand before everything in a call of ffmpeg.
func global(threads int) []string { return globalAt("error", threads) }

// globalAt is global with another level of talk.
func globalAt(level string, threads int) []string {
	return []string{
		"-nostdin", "-hide_banner", "-v", level, "-y",
		"-max_alloc", strconv.Itoa(maxAlloc),
		"-filter_threads", strconv.Itoa(threads),
		"-nostats", "-progress", "pipe:1", "-stats_period", "0.5",
	}
}

// probeEntries are the only things that ffprobe is asked for, so that nothing
// else can make its answer long.
var probeEntries = strings.Join([]string{
	"format=duration,bit_rate,start_time",
	"format_tags=major_brand," + strings.Join(tagAliases(), ","),
	"stream=index,codec_type,codec_name,profile,pix_fmt,width,height,sample_aspect_ratio,field_order,avg_frame_rate," +
		"channels,channel_layout,sample_rate,bit_rate,duration,start_time",
	"stream_tags=duration," + strings.Join(tagAliases(), ","),
	"stream_disposition=default,attached_pic",
	"stream_side_data=rotation",
	"chapter=id",
}, ":")

// probeArgs are the arguments of ffprobe.
func probeArgs(path string, c Container) []string {
	args := []string{"-hide_banner", "-v", "error", "-max_alloc", strconv.Itoa(maxAlloc), "-threads", "1",
		"-print_format", "json=compact=1", "-show_entries", probeEntries}
	args = append(args, guards(c, probeList)...)
	return append(args, "-i", "file:"+path)
}

// measureArgs are the arguments of an ffmpeg that only counts.
func measureArgs(path string, info Info) []string {
	args := append(global(1), "-threads", "1")
	args = append(args, guards(info.Container, convertList)...)
	args = append(args, "-i", "file:"+path)
	if s, ok := info.Video(); ok {
		args = append(args, "-map", mapped(s))
	}
	if s, ok := info.Audio(); ok {
		args = append(args, "-map", mapped(s))
	}
	return append(args, "-sn", "-dn", "-c", "copy", "-f", "null", "-")
}

// mapped names a stream of the only input.
func mapped(s Stream) string { return "0:" + strconv.Itoa(s.Index) }

// ConvertArgs are the arguments of the ffmpeg that makes the output, the last
// of the passes that [Runner.Convert] runs; what an earlier one measures is not
// in them. It is pure. Its errors are those of [ParseOptions], [CheckFit] and
// [CheckOptions].
func ConvertArgs(p Params) ([]string, error) {
	p, s, err := prepare(p)
	if err != nil {
		return nil, err
	}
	if s.twoPass() {
		s.pass = 2
	}
	return encodeArgs(p, s), nil
}

// prepare checks what is asked for and fills in every default, also those that
// depend on the file.
func prepare(p Params) (Params, settings, error) {
	if err := errors.Join(checkPath(p.Input), checkPath(p.Output)); err != nil {
		return p, settings{}, err
	}
	s, err := resolve(p.Format, p.Options)
	if err != nil {
		return p, settings{}, err
	}
	if err := CheckFit(p.Info, p.Format); err != nil {
		return p, settings{}, err
	}
	s, err = s.forFile(p.Info)
	return p.orDefaults(), s, err
}

// encodeArgs are the arguments of the ffmpeg that makes the output.
func encodeArgs(p Params, s settings) []string {
	args := inputArgs(global(p.Threads), p, s)
	if s.format.Kind == Video {
		args = append(args, videoArgs(p, s)...)
	}
	args = append(args, audioArgs(p, s)...)
	args = append(args, tagArgs(p.Info, s)...)
	args = append(args, "-sn", "-dn", "-threads", strconv.Itoa(p.Threads))
	args = append(args, boundArgs(p, s)...)
	args = append(args, "-fs", strconv.FormatInt(p.MaxBytes, 10))
	args = append(args, s.format.muxArgs...)
	return append(args, "-f", s.format.muxer, "file:"+p.Output)
}

// inputArgs complete the arguments that stand before everything with those of
// the input.
func inputArgs(args []string, p Params, s settings) []string {
	args = append(args, "-threads", strconv.Itoa(p.Threads))
	args = append(args, seekArgs(p.Info, s)...)
	args = append(args, guards(p.Info.Container, convertList)...)
	return append(args, "-i", "file:"+p.Input)
}

// videoArgs choose the film's stream and its encoder.
func videoArgs(p Params, s settings) []string {
	film, _ := p.Info.Video()
	args := []string{"-map", mapped(film), "-vf", s.cut(p.Info, "trim") + pictureFilter(film, s)}
	if s.video.Name != ffv1.Name { // which keeps the pixels as they are
		args = append(args, "-pix_fmt", "yuv420p")
	}
	args = append(args, "-c:v", s.video.Name)
	args = append(args, rateArgs(s)...)
	switch s.video.Name {
	case x264.Name:
		args = append(args, "-preset", s.preset)
		if s.profile != "" {
			args = append(args, "-profile:v", s.profile)
		}
		if s.format.Name == "avi" {
			args = append(args, "-bf", "0") // AVI cannot tell the order of B-frames
		}
	case x265.Name:
		// Without pools x265 starts as many threads as the machine has cores.
		args = append(args, "-preset", s.preset,
			"-x265-params", "log-level=error:pools="+strconv.Itoa(p.Threads)+x265Pass(s))
		if s.format.container == MOV {
			args = append(args, "-tag:v", "hvc1") // without which Apple's players refuse it
		}
	case ffv1.Name:
		args = append(args, "-level", "3", "-g", "1", "-slices", "4", "-slicecrc", "1")
	case vp9.Name:
		if p.Threads > 1 {
			args = append(args, "-row-mt", "1")
		}
		args = append(args, vpxSpeed(s.preset)...)
	case vp8.Name:
		args = append(args, vpxSpeed(s.preset)...)
	}
	if film.FPS == 0 && s.fps == 0 && s.format.container == AVI {
		args = append(args, "-r", "30") // AVI has one rate for the whole film
	}
	return args
}

// rateArgs steer an encoder for pictures by quality, or by a bitrate.
func rateArgs(s settings) []string {
	if s.videoBitrate != 0 {
		args := []string{"-b:v", Bitrate(s.videoBitrate).String()}
		if s.pass != 0 && s.video.Name != x265.Name {
			args = append(args, "-pass", strconv.Itoa(s.pass), "-passlogfile", passLog)
		}
		return args
	}
	switch s.video.Name {
	case x264.Name, x265.Name:
		return []string{"-crf", strconv.Itoa(s.crf)}
	case mpeg4.Name:
		return []string{"-q:v", "5"}
	case vp9.Name:
		return []string{"-crf", strconv.Itoa(s.crf), "-b:v", "0"}
	case vp8.Name:
		// VP8 has no pure constant quality: crf holds below a bit rate, and
		// without one the default of 256 kbit/s would win.
		return []string{"-crf", strconv.Itoa(s.crf), "-b:v", "20M"}
	}
	return nil
}

// x265Pass is the pass as x265 wants it: ffmpeg's own options do not reach it.
func x265Pass(s settings) string {
	if s.pass == 0 {
		return ""
	}
	return ":pass=" + strconv.Itoa(s.pass) + ":stats=" + passLog
}

// vpxSpeeds is preset -> -cpu-used; medium is the encoder's own default.
var vpxSpeeds = map[string]string{
	"ultrafast": "5", "superfast": "5", "veryfast": "4", "faster": "3", "fast": "2",
	"slow": "0", "slower": "0", "veryslow": "0",
}

func vpxSpeed(preset string) []string {
	if speed, ok := vpxSpeeds[preset]; ok {
		return []string{"-cpu-used", speed}
	}
	return nil
}

// pictureFilter cuts the odd row or column that yuv420p cannot have, rather
// than blur the whole picture, holds the size when a film changes it midway, and
// makes it smaller and its frames fewer or more where that is asked for.
func pictureFilter(film Stream, s settings) string {
	w, h := s.size(film)
	filter := "scale=" + strconv.Itoa(w) + ":" + strconv.Itoa(h)
	if s.video.Name != ffv1.Name {
		filter = "crop=trunc(iw/2)*2:trunc(ih/2)*2:0:0," + filter
	}
	if s.fps != 0 {
		filter = "fps=" + rateText(s.fps) + "," + filter
	}
	return filter
}

// size is that of the output's picture, as it is seen.
func (s settings) size(film Stream) (w, h int) {
	w, h = film.Size()
	short := min(w, h)
	if s.short != 0 && short > s.short {
		fit := func(n int) int { return max(2, (n*s.short+short)/(2*short)*2) }
		return fit(w), fit(h)
	}
	if s.video.Name == ffv1.Name {
		return w, h
	}
	return w &^ 1, h &^ 1
}

// audioArgs choose the sound's stream and its encoder. A silent film has none.
func audioArgs(p Params, s settings) []string {
	sound, ok := p.Info.Audio()
	if !ok {
		return []string{"-an"}
	}
	a := s.audio
	args := []string{"-map", mapped(sound), "-c:a", a.encoder}
	switch {
	case s.bitrate != 0:
		args = append(args, "-b:a", Bitrate(min(s.bitrate, a.ceiling(s.channelsOf(sound)))).String())
	case a.encoder == flac.encoder:
		args = append(args, "-compression_level", strconv.Itoa(s.compression))
	case a.encoder == vorbis.encoder && s.format.Kind == Audio:
		args = append(args, "-q:a", number(s.quality))
	}
	if filter := strings.TrimSuffix(s.cut(p.Info, "atrim")+soundFilter(sound, s), ","); filter != "" {
		args = append(args, "-af", filter)
	}
	switch {
	case a.encoder != vorbis.encoder:
	case s.bitrate != 0 && (sound.SampleRate < 40_000 || sound.SampleRate > 50_000):
		args = append(args, "-ar", "44100") // at which every bitrate that we ask for has a mode
	case sound.SampleRate < 8000:
		args = append(args, "-ar", "8000") // below which it has no modes
	}
	return args
}

// channelsOf is how many channels the output has.
func (s settings) channelsOf(sound Stream) int {
	if s.channels != 0 {
		return s.channels
	}
	return min(sound.Channels, s.audio.most)
}

// soundFilter brings a sound into a layout that the encoder takes, then to its
// loudness.
func soundFilter(sound Stream, s settings) string {
	var steps []string
	if layouts := s.layouts(sound); layouts != "" {
		steps = append(steps, "aformat=channel_layouts="+layouts)
	}
	if s.heard != (loudness{}) {
		steps = append(steps, s.heard.filter(s.loudness, sound.SampleRate))
	}
	return strings.Join(steps, ",")
}

// layoutOf is number of channels -> ffmpeg's name of their layout.
var layoutOf = map[int]string{1: "mono", 2: "stereo", 6: "5.1"}

// layouts are the channel layouts that the output may have; empty where ffmpeg
// chooses well by itself.
func (s settings) layouts(sound Stream) string {
	switch {
	case s.channels != 0:
		return layoutOf[s.channels]
	case s.loudness != 0 && s.audio.most == 2:
		return layoutOf[s.channelsOf(sound)] // mixed before it is measured, not after
	}
	return s.audio.layouts
}

// tagArgs keep titles, chapters and the cover, which is copied undecoded.
func tagArgs(info Info, s settings) []string {
	var args []string
	if cover, ok := info.Cover(); ok && s.format.cover {
		args = append(args, "-map", mapped(cover), "-c:v", "copy", "-disposition:v:0", "attached_pic")
	} else if s.format.Kind == Audio {
		args = append(args, "-vn")
	}
	args = append(args, "-map_metadata", "0")
	if info.Container == Ogg { // which keeps its tags with the stream
		if sound, ok := info.Audio(); ok {
			args = append(args, "-map_metadata:g", "0:s:"+strconv.Itoa(sound.Index))
		}
	}
	if info.Container == MOV { // notes about the old container, wrong in the new one
		args = append(args, "-metadata", "major_brand=", "-metadata", "minor_version=", "-metadata", "compatible_brands=")
	}
	return append(args, "-map_chapters", "0")
}
