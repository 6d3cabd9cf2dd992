package ffmpeg

import (
	"context"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// A hardwareEncoder is a chip that encodes pictures, as ffmpeg names it.
type hardwareEncoder struct {
	name    string
	codec   string                    // what ffprobe calls the result
	before  []string                  // arguments that stand before everything: the device
	filters string                    // behind those of the picture: how it gets to the chip
	pixFmt  string                    // of pictures that ffmpeg uploads by itself
	quality func(crf string) []string // for the crf of software
	rate    []string                  // beside -b:v
}

// vaapiDevice is where Linux has the first graphics card.
var vaapiDevice = []string{"-vaapi_device", "/dev/dri/renderD128"}

func nvenc(name, codec string) hardwareEncoder {
	return hardwareEncoder{name: name, codec: codec, pixFmt: "yuv420p",
		quality: func(crf string) []string { return []string{"-rc", "vbr", "-cq", crf, "-b:v", "0"} },
		rate:    []string{"-rc", "vbr"}}
}

func qsv(name, codec string) hardwareEncoder {
	return hardwareEncoder{name: name, codec: codec, pixFmt: "nv12",
		quality: func(crf string) []string { return []string{"-global_quality", crf} }}
}

func vaapi(name, codec string) hardwareEncoder {
	return hardwareEncoder{name: name, codec: codec, before: vaapiDevice, filters: "format=nv12,hwupload",
		quality: func(crf string) []string { return []string{"-rc_mode", "CQP", "-global_quality", crf} },
		rate:    []string{"-rc_mode", "VBR"}}
}

func amf(name, codec string) hardwareEncoder {
	return hardwareEncoder{name: name, codec: codec, pixFmt: "yuv420p",
		quality: func(crf string) []string { return []string{"-rc", "cqp", "-qp_i", crf, "-qp_p", crf} },
		rate:    []string{"-rc", "vbr_peak"}}
}

func videoToolbox(name, codec string) hardwareEncoder {
	return hardwareEncoder{name: name, codec: codec, pixFmt: "yuv420p",
		quality: func(crf string) []string { return []string{"-q:v:0", toolboxQuality(crf)} }}
}

// toolboxQuality turns a crf, 0 best of 51, into Apple's scale, 100 best.
func toolboxQuality(crf string) string {
	n, _ := strconv.Atoi(crf)
	return strconv.Itoa(max(1, 100-int(math.Round(float64(n)*100/51))))
}

// hardwareEncoders are those that malla knows how to ask, better ones first.
var hardwareEncoders = []hardwareEncoder{
	nvenc("h264_nvenc", "h264"), nvenc("hevc_nvenc", "hevc"),
	qsv("h264_qsv", "h264"), qsv("hevc_qsv", "hevc"), qsv("vp9_qsv", "vp9"),
	vaapi("h264_vaapi", "h264"), vaapi("hevc_vaapi", "hevc"), vaapi("vp9_vaapi", "vp9"),
	amf("h264_amf", "h264"), amf("hevc_amf", "hevc"),
	videoToolbox("h264_videotoolbox", "h264"), videoToolbox("hevc_videotoolbox", "hevc"),
}

// hardwareNamed finds an encoder by its name.
func hardwareNamed(name string) (hardwareEncoder, bool) {
	i := slices.IndexFunc(hardwareEncoders, func(h hardwareEncoder) bool { return h.name == name })
	if i < 0 {
		return hardwareEncoder{}, false
	}
	return hardwareEncoders[i], true
}

// args encode a picture that the filter has made ready; a bitrate of zero
// leaves the size to the quality.
func (h hardwareEncoder) args(filter string, crf, bitrate int) []string {
	if h.filters != "" {
		filter += "," + h.filters
	}
	args := []string{"-filter:v:0", filter}
	if h.pixFmt != "" {
		args = append(args, "-pix_fmt:v:0", h.pixFmt)
	}
	args = append(args, "-c:v:0", h.name)
	if bitrate > 0 {
		return append(append(args, h.rate...), "-b:v", Bitrate(bitrate).String())
	}
	return append(args, h.quality(strconv.Itoa(crf))...)
}

// chip is the hardware that the conversion is to use, if any.
func (p Params) chip(s settings) (hardwareEncoder, error) {
	if s.encoder != hardware || p.rest {
		return hardwareEncoder{}, nil
	}
	h, ok := hardwareNamed(p.Hardware)
	if !ok || h.codec != s.video.codec {
		return hardwareEncoder{}, &Error{Kind: NoEncoder, Msg: "This node has no hardware that encodes " + s.video.codec + "."}
	}
	return h, nil
}

// chipArgs choose the film's stream and the hardware that encodes it.
func chipArgs(info Info, s settings) []string {
	film, _ := info.Video()
	args := append([]string{"-map", mapped(film)}, s.chip.args(s.cut(info, "trim")+pictureFilter(film, s), s.crf, s.videoBitrate)...)
	if s.profile != "" {
		args = append(args, "-profile:v:0", s.chip.profile(s.profile))
	}
	if s.video.codec == x265.codec && s.format.container == MOV {
		args = append(args, "-tag:v:0", "hvc1")
	}
	if s.format.container == AVI {
		args = append(args, "-bf", "0")
	}
	return args
}

// profile is a profile of H.264 in the encoder's words: some know only the part
// of baseline that chips make anyway.
func (h hardwareEncoder) profile(name string) string {
	if name == "baseline" && (strings.HasSuffix(h.name, "_vaapi") || strings.HasSuffix(h.name, "_amf")) {
		return "constrained_baseline"
	}
	return name
}

const (
	// hardwareTry is how long a chip may take for a few small pictures.
	hardwareTry = 10 * time.Second

	// hardwareMemory is the address space of an ffmpeg with a chip: drivers
	// map the card's memory and more.
	hardwareMemory = 64 << 30
)

// ProbeHardware finds out which hardware encoders work on this node, by
// encoding a few pictures with each that ffmpeg lists, and remembers them for
// [Runner.Encoders] and [Runner.Convert]. Until it has run there are none. It
// blocks for seconds at most: call it beside the start of a node.
func (r *Runner) ProbeHardware(ctx context.Context) []string {
	works := make([]bool, len(hardwareEncoders))
	var tries sync.WaitGroup
	for i, h := range hardwareEncoders {
		if r.tools.Has(h.name) {
			tries.Go(func() { works[i] = r.tryHardware(ctx, h) })
		}
	}
	tries.Wait()
	var names []string
	for i, h := range hardwareEncoders {
		if works[i] {
			names = append(names, h.name)
		}
	}
	r.hardware.Store(&names)
	return slices.Clone(names)
}

func (r *Runner) tryHardware(ctx context.Context, h hardwareEncoder) bool {
	res, err := runChild(ctx, child{
		path:   r.tools.FFmpeg,
		env:    r.tools.env,
		args:   tryArgs(h),
		limits: childLimits{wall: hardwareTry, cpu: hardwareTry, memory: hardwareMemory},
	})
	r.log.Debug("hardware encoder tried", "encoder", h.name, "works", err == nil && res.ok, "err", err, "stderr", logText(res.stderr))
	return err == nil && res.ok
}

// tryArgs read no file and write none.
func tryArgs(h hardwareEncoder) []string {
	args := []string{"-nostdin", "-hide_banner", "-v", "error", "-protocol_whitelist", "file", "-format_whitelist", "lavfi"}
	args = append(args, h.before...)
	args = append(args, "-f", "lavfi", "-i", "testsrc2=size=256x256:rate=10:duration=0.5", "-map", "0:v")
	args = append(args, h.args("null", 23, 0)...)
	return append(args, "-f", "null", "-")
}

// working are the hardware encoders that were found to work.
func (r *Runner) working() []string {
	if names := r.hardware.Load(); names != nil {
		return *names
	}
	return nil
}

// hardwareFor is the best working encoder for a codec, or nothing.
func (r *Runner) hardwareFor(codec string) string {
	for _, name := range r.working() {
		if h, ok := hardwareNamed(name); ok && h.codec == codec {
			return name
		}
	}
	return ""
}
