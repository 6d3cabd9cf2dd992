package ffmpeg

// A VideoCodec is an encoder for pictures with the options that it takes.
type VideoCodec struct {
	Name    string   `json:"name"` // ffmpeg's name of the encoder
	Options []Option `json:"options"`

	codec   string     // what ffprobe calls the result
	sound   audioCodec // that goes with it; zero: the format's
	density float64    // bits a pixel below which no film can be expected to come; 0: its size cannot be chosen
}

// An audioCodec is an encoder for sound.
type audioCodec struct {
	encoder string
	codec   string // what ffprobe calls the result
	bitrate int    // bits/s where the user does not choose; 0: the encoder's own choice
	layouts string // channel layouts that it takes, where ffmpeg does not choose well by itself
	lowest  int    // bits/s; 0: it is lossless
	highest int    // bits/s; 0: it is lossless
	most    int    // channels
}

// Options of encoders for pictures that take a quality or a bitrate.
func steered(crf Option, own ...Option) []Option {
	return append(append([]Option{crf, presetOption}, own...), videoRateOption, sizeOption)
}

// Encoders for pictures.
var (
	x264  = VideoCodec{Name: "libx264", codec: "h264", Options: steered(crf(0, 51), profileOption, encoderOption), density: 0.004}
	x265  = VideoCodec{Name: "libx265", codec: "hevc", Options: steered(crf(0, 51), encoderOption), density: 0.003}
	mpeg4 = VideoCodec{Name: "mpeg4", codec: "mpeg4", Options: []Option{videoRateOption, sizeOption}, density: 0.02}
	vp9   = VideoCodec{Name: "libvpx-vp9", codec: "vp9", Options: steered(crf(0, 63), encoderOption), density: 0.004}
	vp8   = VideoCodec{Name: "libvpx", codec: "vp8", Options: steered(crf(4, 63)), density: 0.006}

	// FFV1 version 3 (RFC 9043) is what archives keep films in: exact for every
	// layout of pixels and depth of colour, with a checksum in each slice. x264
	// at crf 0 is smaller but exact only for 8 bit, and hardly any player that
	// does not play FFV1 plays it.
	ffv1 = VideoCodec{Name: "ffv1", codec: "ffv1", Options: []Option{}, sound: flac}
)

// Encoders for sound.
var (
	lame   = audioCodec{encoder: "libmp3lame", codec: "mp3", lowest: 8_000, highest: 320_000, most: 2}
	aac    = audioCodec{encoder: "aac", codec: "aac", layouts: "mono|stereo|3.0|4.0|5.0|5.1|7.1", lowest: 8_000, highest: 512_000, most: 8}
	opus   = audioCodec{encoder: "libopus", codec: "opus", layouts: "mono|stereo|3.0|quad|5.0|5.1|6.1|7.1", lowest: 6_000, highest: 512_000, most: 8}
	vorbis = audioCodec{encoder: "libvorbis", codec: "vorbis", layouts: "mono|stereo|3.0|quad|5.0|5.1|6.1|7.1", lowest: 20_000, highest: 500_000, most: 8}
	flac   = audioCodec{encoder: "flac", codec: "flac", most: 8}
	pcm    = audioCodec{encoder: "pcm_s16le", codec: "pcm_s16le", most: 8}
)

// flacCompression is the encoder's own default.
const flacCompression = 5

func (a audioCodec) at(bitrate int) audioCodec {
	a.bitrate = bitrate
	return a
}

// rates is the option for the bitrate of a film's sound.
func (a audioCodec) rates() Option {
	return audioBitrate(float64(a.lowest), float64(a.highest), unlessZero(a.bitrate, Bitrate(a.bitrate).String()))
}

// channels is the option for how many channels there are.
func (a audioCodec) channels() Option {
	if a.most == 2 {
		return stereoOption
	}
	return channelsOption
}

// ceiling is the highest bitrate that the encoder takes for so many channels.
func (a audioCodec) ceiling(channels int) int {
	if a.encoder == opus.encoder {
		return min(a.highest, 256_000*channels)
	}
	return a.highest
}
