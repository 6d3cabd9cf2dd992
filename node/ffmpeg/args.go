package ffmpeg

import (
	"errors"
	"fmt"
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
	Input   string   // absolute path
	More    []string // absolute paths of the files that continue Input, where it lies in several; at most [MaxFiles]-1
	Output  string   // absolute path; an older file there is replaced
	Info    Info     // of Input
	Format  string
	Options Options
	Threads int  // of the decoder and of the encoder; below 1: all processors
	Bare    bool // leave out subtitles, fonts and the cover

	Priority Niceness // 0: that of films or of songs

	// Hardware is the encoder for options that ask for hardware, one of those
	// that [Runner.ProbeHardware] found. [Runner.Convert] fills it in.
	Hardware string

	MaxBytes   int64   // the output's largest size; 0: 64 GiB
	MaxSeconds float64 // the output's longest duration; 0: 6 h

	rest bool // everything but the film, see [RestArgs]
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

// MaxFiles is how many files an input may lie in: a child holds all of them
// open.
const MaxFiles = maxOpenFiles / 2

// source is how ffmpeg is told where the input is.
func (p Params) source() string {
	if len(p.More) == 0 {
		return "file:" + p.Input
	}
	return "concat:file:" + strings.Join(append([]string{p.Input}, p.More...), "|file:")
}

// inputs are the names of the input that a log must not tell.
func (p Params) inputs() []string { return append([]string{p.source(), p.Input}, p.More...) }

// checkInput refuses what could mean something else to ffmpeg.
func (p Params) checkInput() error {
	if len(p.More) >= MaxFiles {
		return fmt.Errorf("ffmpeg: an input in %d files", len(p.More)+1)
	}
	err := checkPath(p.Input)
	for _, path := range p.More {
		err = errors.Join(err, checkPath(path))
	}
	if err == nil && len(p.More) > 0 && strings.Contains(p.Input+strings.Join(p.More, ""), "|") {
		err = errPath
	}
	return err
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

// guards are those of the input.
func (p Params) guards() []string {
	args := guards(p.Info.Container, decodersFor(p.Info))
	if len(p.More) > 0 {
		args[1] += ",concat"
	}
	return args
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
		"color_range,color_space,color_transfer,color_primaries," +
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
// [CheckOptions], and [ErrNoEncoder] for hardware that is not there.
func ConvertArgs(p Params) ([]string, error) {
	p, s, err := prepare(p)
	if err != nil {
		return nil, err
	}
	c := p.carriage(s)
	if s.twoPass(c) {
		s.pass = 2
	}
	return outputArgs(p, s, c), nil
}

// prepare checks what is asked for and fills in every default, also those that
// depend on the file and on the node.
func prepare(p Params) (Params, settings, error) {
	if err := errors.Join(p.checkInput(), checkPath(p.Output)); err != nil {
		return p, settings{}, err
	}
	s, err := resolve(p.Format, p.Options)
	if err != nil {
		return p, settings{}, err
	}
	if err := CheckFit(p.Info, p.Format); err != nil {
		return p, settings{}, err
	}
	if s, err = s.forFile(p.Info); err != nil {
		return p, s, err
	}
	s.chip, err = p.chip(s)
	return p.orDefaults(), s, err
}

// carriage is what becomes of the input's streams in this try.
func (p Params) carriage(s settings) Carriage {
	c := carry(p.Info, s, p.Options)
	if p.Bare {
		c = c.bare()
	}
	if p.rest {
		c.Film, c.Copied.Film = nil, false
	}
	return c
}

// outputArgs are the arguments of the ffmpeg that makes the output: guards and
// bounds around what maps and encodes the streams.
func outputArgs(p Params, s settings, c Carriage) []string {
	args := inputArgs(global(p.Threads), p, s)
	args = append(args, pictureArgs(p, s, c)...)
	args = append(args, restArgs(p, s, c)...)
	args = append(args, "-dn", "-threads", strconv.Itoa(p.Threads))
	args = append(args, boundArgs(p, s)...)
	args = append(args, "-fs", strconv.FormatInt(p.MaxBytes, 10))
	to := target{muxer: s.format.muxer, args: s.format.muxArgs}
	if p.rest {
		to = restOf(s, c)
	}
	args = append(args, to.args...)
	return append(args, "-f", to.muxer, "file:"+p.Output)
}

// inputArgs complete the arguments that stand before everything with those of
// the device and the input.
func inputArgs(args []string, p Params, s settings) []string {
	args = append(args, s.chip.before...)
	args = append(args, "-threads", strconv.Itoa(p.Threads))
	args = append(args, seekArgs(p.Info, s)...)
	args = append(args, p.guards()...)
	return append(args, "-i", p.source())
}
