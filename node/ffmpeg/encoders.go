package ffmpeg

import "slices"

// anyHardware names a need that every working chip for a codec meets.
func anyHardware(codec string) string { return codec + "_" + hardware }

// encoderTable gives each encoder that malla ever uses a bit, by its place.
// Nodes of several versions read each other's bits: only append.
var encoderTable = []string{
	"libx264", "libx265", "mpeg4", "libvpx-vp9", "libvpx", "libmp3lame", "aac", "libopus", "libvorbis", "flac", "pcm_s16le", "ffv1",
	"h264_hardware", "hevc_hardware", "vp9_hardware",
	"h264_nvenc", "hevc_nvenc", "h264_qsv", "hevc_qsv", "vp9_qsv", "h264_vaapi", "hevc_vaapi", "vp9_vaapi",
	"h264_amf", "hevc_amf", "h264_videotoolbox", "hevc_videotoolbox",
}

// EncoderBits packs names of encoders for gossip. Names that malla never uses
// have no bit.
func EncoderBits(names []string) uint64 {
	var bits uint64
	for _, name := range names {
		if i := slices.Index(encoderTable, name); i >= 0 {
			bits |= 1 << i
		}
	}
	return bits
}

// EncoderNames unpacks [EncoderBits]. Bits that a newer version has set are
// left out.
func EncoderNames(bits uint64) []string {
	var names []string
	for i, name := range encoderTable {
		if bits&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	return names
}

// NeedBits are the bits that a node must have for a conversion: it can do it
// when need&have == need. Its errors are those of [ParseOptions].
func NeedBits(format string, o Options) (uint64, error) {
	needs, err := Needs(format, o)
	return EncoderBits(needs), err
}

// Encoders lists what this node can encode with: those encoders of its ffmpeg
// that malla uses, and the hardware that was found to work.
func (r *Runner) Encoders() []string {
	var names []string
	for _, name := range encoderTable {
		if _, chip := hardwareNamed(name); !chip && r.tools.Has(name) {
			names = append(names, name)
		}
	}
	for _, name := range r.working() {
		h, _ := hardwareNamed(name)
		if family := anyHardware(h.codec); !slices.Contains(names, family) {
			names = append(names, family)
		}
		names = append(names, name)
	}
	return names
}
