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
func global(threads int) []string {
	return []string{
		"-nostdin", "-hide_banner", "-v", "error", "-y",
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

// ConvertArgs are the arguments of the ffmpeg that does the conversion. It is
// pure. Its errors are those of [ParseOptions] and [CheckFit].
func ConvertArgs(p Params) ([]string, error) {
	if err := errors.Join(checkPath(p.Input), checkPath(p.Output)); err != nil {
		return nil, err
	}
	s, err := resolve(p.Format, p.Options)
	if err != nil {
		return nil, err
	}
	if err := CheckFit(p.Info, p.Format); err != nil {
		return nil, err
	}
	p = p.orDefaults()
	args := global(p.Threads)
	args = append(args, "-threads", strconv.Itoa(p.Threads))
	args = append(args, guards(p.Info.Container, convertList)...)
	args = append(args, "-i", "file:"+p.Input)
	if s.format.Kind == Video {
		args = append(args, videoArgs(p, s)...)
		args = append(args, exactArgs(s)...)
	}
	args = append(args, audioArgs(p, s)...)
	args = append(args, tagArgs(p.Info, s)...)
	args = append(args, "-sn", "-dn",
		"-threads", strconv.Itoa(p.Threads),
		"-t", number(p.MaxSeconds),
		"-fs", strconv.FormatInt(p.MaxBytes, 10))
	args = append(args, s.format.muxArgs...)
	return append(args, "-f", s.format.muxer, "file:"+p.Output), nil
}

// videoArgs choose the film's stream and its encoder.
func videoArgs(p Params, s settings) []string {
	film, _ := p.Info.Video()
	args := []string{"-map", mapped(film), "-vf", evenSize(film), "-pix_fmt", "yuv420p", "-c:v", s.video.Name}
	switch s.video.Name {
	case x264.Name:
		args = append(args, "-crf", strconv.Itoa(s.crf), "-preset", s.preset)
		if s.format.Name == "avi" {
			args = append(args, "-bf", "0") // AVI cannot tell the order of B-frames
		}
	case x265.Name:
		// Without pools x265 starts as many threads as the machine has cores.
		args = append(args, "-crf", strconv.Itoa(s.crf), "-preset", s.preset,
			"-x265-params", "log-level=error:pools="+strconv.Itoa(p.Threads))
		if s.format.container == MOV {
			args = append(args, "-tag:v", "hvc1") // without which Apple's players refuse it
		}
	case mpeg4.Name:
		args = append(args, "-q:v", "5")
	case vp9.Name:
		args = append(args, "-crf", strconv.Itoa(s.crf), "-b:v", "0")
		if p.Threads > 1 {
			args = append(args, "-row-mt", "1")
		}
		args = append(args, vpxSpeed(s.preset)...)
	case vp8.Name:
		// VP8 has no pure constant quality: crf holds below a bit rate, and
		// without one the default of 256 kbit/s would win.
		args = append(args, "-crf", strconv.Itoa(s.crf), "-b:v", "20M")
		args = append(args, vpxSpeed(s.preset)...)
	}
	if film.FPS == 0 && s.format.container == AVI {
		args = append(args, "-r", "30") // AVI has one rate for the whole film
	}
	return args
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

// evenSize cuts the odd row or column that yuv420p cannot have, rather than
// blur the whole picture, and holds the size when a film changes it midway.
func evenSize(film Stream) string {
	w, h := film.Size()
	return "crop=trunc(iw/2)*2:trunc(ih/2)*2:0:0,scale=" + strconv.Itoa(w&^1) + ":" + strconv.Itoa(h&^1)
}

// audioArgs choose the sound's stream and its encoder. A silent film has none.
func audioArgs(p Params, s settings) []string {
	sound, ok := p.Info.Audio()
	if !ok {
		return []string{"-an"}
	}
	a := s.format.audio
	args := []string{"-map", mapped(sound), "-c:a", a.encoder}
	switch {
	case s.bitrate != 0:
		args = append(args, "-b:a", Bitrate(s.bitrate).String())
	case a.encoder == "flac":
		args = append(args, "-compression_level", strconv.Itoa(s.compression))
	case a.encoder == "libvorbis" && s.format.Kind == Audio:
		args = append(args, "-q:a", number(s.quality))
	}
	if a.layouts != "" {
		args = append(args, "-af", "aformat=channel_layouts="+a.layouts)
	}
	if a.encoder == "libvorbis" && sound.SampleRate < 8000 {
		args = append(args, "-ar", "8000") // below which it has no modes
	}
	return args
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
