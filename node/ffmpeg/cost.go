package ffmpeg

import "strings"

// cost is what a conversion is expected to take in CPU seconds.
type cost struct{ film, rest float64 }

func (c cost) all() float64 { return c.film + c.rest }

// rates is [CostClass] -> nanoseconds of CPU a unit with one thread, until the
// mesh has learned its own: measured with FFmpeg 5.1 on moving 720p.
// Noise may take VP9 six times as long.
var rates = map[string]float64{
	"libx264 ultrafast": 35, "libx264 superfast": 55, "libx264 veryfast": 55, "libx264 faster": 80, "libx264 fast": 110,
	"libx264 medium": 120, "libx264 slow": 270, "libx264 slower": 400, "libx264 veryslow": 570,
	"libx265 ultrafast": 70, "libx265 superfast": 90, "libx265 veryfast": 155, "libx265 faster": 155, "libx265 fast": 180,
	"libx265 medium": 220, "libx265 slow": 430, "libx265 slower": 1100, "libx265 veryslow": 1800,
	"libvpx-vp9 ultrafast": 90, "libvpx-vp9 superfast": 90, "libvpx-vp9 veryfast": 100, "libvpx-vp9 faster": 120,
	"libvpx-vp9 fast": 180, "libvpx-vp9 medium": 270, "libvpx-vp9 slow": 900, "libvpx-vp9 slower": 900, "libvpx-vp9 veryslow": 900,
	"libvpx ultrafast": 60, "libvpx superfast": 60, "libvpx veryfast": 65, "libvpx faster": 145, "libvpx fast": 170,
	"libvpx medium": 250, "libvpx slow": 300, "libvpx slower": 300, "libvpx veryslow": 300,
	"mpeg4": 30,
	"ffv1":  40, "h264_hardware": 8, "hevc_hardware": 8, "vp9_hardware": 8, // decoding, mostly
	"libmp3lame": 12e3, "aac": 15e3, "libvorbis": 12e3, "libopus": 15e3, "flac": 3e3, "pcm_s16le": 1e3,
}

// More of what things cost, by measurement.
const (
	usualFPS    = 25    // pictures a second of a film that does not tell its rate
	startCost   = 0.06  // CPU seconds in which an ffmpeg starts and ends
	copyCost    = 2e-9  // CPU seconds to copy a byte
	listenCost  = 10e-6 // CPU seconds to measure a millisecond of sound
	firstPass   = 0.7   // share of a film's cost that its first pass takes besides
	packetsCost = 25e-6 // CPU seconds to join a packet and look at it twice
)

// Cost is the CPU time in seconds that a conversion is expected to take. rate
// is what the mesh has learned for this [CostClass], 0 for nothing yet. It is
// pure, and 0 for what cannot be converted.
func Cost(info Info, format string, o Options, rate float64) float64 {
	s, err := resolve(format, o)
	if err != nil || CheckFit(info, format) != nil {
		return 0
	}
	return costOf(info, s, carry(info, s, o), rate).all()
}

func costOf(info Info, s settings, c Carriage, learned float64) cost {
	w := cost{rest: startCost + restCost(info, s, c)}
	if c.Film == nil && !c.Copied.Sound && learned > 0 {
		w.rest = startCost + learned*float64(units(info, s, c))/1e9
	}
	if c.Copied.Film || c.Copied.Sound {
		w.rest += copyCost * float64(info.Size)
	}
	if c.Film != nil && !c.Copied.Film {
		w.film = rateOf(s, learned) * float64(units(info, s, c)) / 1e9
	}
	return w
}

// restCost is what the sounds take.
func restCost(info Info, s settings, c Carriage) float64 {
	sum := 0.0
	for _, sound := range c.Sounds {
		ms := float64(millis(info, sound, s))
		if !c.Copied.Sound {
			sum += ms * rates[s.audio.encoder] / 1e9
		}
		if s.listens(c) {
			sum += ms * listenCost
		}
	}
	return sum
}

// rateOf is the learned rate of a film's encoder, or ours.
func rateOf(s settings, learned float64) float64 {
	if learned > 0 {
		return learned
	}
	rate := rates[encoderClass(s)]
	if s.rated() && s.encoder != hardware {
		rate *= 1 + firstPass
	}
	return rate
}

// CostClass is the key under which a mesh learns what conversions cost: the
// encoder and what makes it slow or fast.
func CostClass(format string, o Options) string {
	s, err := resolve(format, o)
	if err != nil {
		return ""
	}
	class := encoderClass(s)
	switch {
	case s.format.Kind == Audio && s.loudness != 0:
		return class + " loudness"
	case s.rated() && s.encoder != hardware:
		return class + " passes"
	}
	return class
}

func encoderClass(s settings) string {
	switch {
	case s.format.Kind == Audio:
		return s.audio.encoder
	case s.encoder == hardware:
		return anyHardware(s.video.codec)
	}
	return strings.TrimSpace(s.video.Name + " " + s.preset)
}

// Units is how much work a whole conversion is in the unit in which its
// [CostClass] is learned: pixels that are encoded, or milliseconds of sound. The
// CPU time of a task in nanoseconds, divided by its units, is a rate. What is
// only copied has none: from it there is nothing to learn.
func Units(info Info, format string, o Options) int64 {
	s, err := resolve(format, o)
	if err != nil || CheckFit(info, format) != nil {
		return 0
	}
	return units(info, s, carry(info, s, o))
}

func units(info Info, s settings, c Carriage) int64 {
	switch {
	case c.Film != nil && c.Copied.Film, c.Film == nil && c.Copied.Sound:
		return 0
	case c.Film == nil:
		sound, _ := info.Audio()
		return millis(info, sound, s)
	}
	seconds := c.Film.Duration
	if seconds == 0 {
		seconds = info.Duration
	}
	fps := s.fps
	if fps == 0 {
		fps = c.Film.FPS
	}
	if fps == 0 {
		fps = usualFPS
	}
	return int64(s.trimmed(seconds) * fps * float64(s.pixels(*c.Film)))
}

// Units is [Units] of one segment of a film.
func (s Segment) Units(info Info, o Options) int64 {
	film, _ := info.Video()
	set := settings{short: shortSide(o.Resolution)}
	return int64(s.To-s.From) * set.pixels(film)
}

// pixels are those of one picture of the output.
func (s settings) pixels(film Stream) int64 {
	w, h := s.size(film)
	return int64(w) * int64(h)
}

// millis is how long a sound is in the output, in milliseconds.
func millis(info Info, sound Stream, s settings) int64 {
	seconds := sound.Duration
	if seconds == 0 {
		seconds = info.Duration
	}
	return int64(s.trimmed(seconds)*1000 + 0.5)
}
