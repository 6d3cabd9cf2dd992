package ffmpeg

import "strings"

// Cost is what a conversion is expected to take.
type cost struct {
	film  float64 // CPU seconds
	sound float64 // CPU seconds
}

func (c cost) all() float64 { return c.film + c.sound }

// Nanoseconds of CPU for a pixel, and for a second of sound, with one thread,
// until the mesh has learned its own: measured with FFmpeg 5.1 on moving 720p.
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
	"mpeg4":      30,
	"libmp3lame": 12e6, "aac": 15e6, "libvorbis": 12e6, "libopus": 15e6, "flac": 3e6, "pcm_s16le": 1e6,
}

// Pixels of a picture when a stream does not tell its rate.
const usualFPS = 25

// Cost is the CPU time in seconds that a conversion is expected to take. rate
// is what the mesh has learned for this [CostClass], 0 for nothing yet. It is
// pure, and 0 for what cannot be converted.
func Cost(info Info, format string, o Options, rate float64) float64 {
	s, err := resolve(format, o)
	if err != nil {
		return 0
	}
	return costOf(info, s, rate).all()
}

func costOf(info Info, s settings, rate float64) cost {
	var c cost
	if sound, ok := info.Audio(); ok {
		c.sound = soundRate(s) * soundSeconds(info, sound) / 1e9
	}
	if s.format.Kind == Audio {
		if rate > 0 {
			c.sound = rate * units(info, s) / 1e9
		}
		return c
	}
	c.film = rateOf(s, rate) * units(info, s) / 1e9
	return c
}

// rateOf is the learned rate of a film's encoder, or ours.
func rateOf(s settings, learned float64) float64 {
	if learned > 0 {
		return learned
	}
	return rates[class(s)]
}

// CostClass is the key under which a mesh learns what conversions cost: the
// encoder and what makes it slow or fast.
func CostClass(format string, o Options) string {
	s, err := resolve(format, o)
	if err != nil {
		return ""
	}
	return class(s)
}

func class(s settings) string {
	if s.format.Kind == Audio {
		return s.format.audio.encoder
	}
	return strings.TrimSpace(s.video.Name + " " + s.preset)
}

// Units is how much work a whole conversion is in the unit in which its
// [CostClass] is learned: pixels of film, or seconds of sound. The CPU time
// of a task in nanoseconds, divided by its units, is a rate.
func Units(info Info, format string, o Options) float64 {
	s, err := resolve(format, o)
	if err != nil {
		return 0
	}
	return units(info, s)
}

func units(info Info, s settings) float64 {
	film, _ := info.Video()
	if s.format.Kind == Audio {
		sound, _ := info.Audio()
		return soundSeconds(info, sound)
	}
	fps := film.FPS
	if fps == 0 {
		fps = usualFPS
	}
	seconds := film.Duration
	if seconds == 0 {
		seconds = info.Duration
	}
	return seconds * fps * float64(pixels(film))
}

// Units is [Units] of one segment of a film.
func (s Segment) Units(info Info) float64 {
	film, _ := info.Video()
	return float64(s.To-s.From) * float64(pixels(film))
}

func pixels(film Stream) int { return (film.Width &^ 1) * (film.Height &^ 1) }

func soundSeconds(info Info, sound Stream) float64 {
	if sound.Duration > 0 {
		return sound.Duration
	}
	return info.Duration
}

func soundRate(s settings) float64 { return rates[s.format.audio.encoder] }
