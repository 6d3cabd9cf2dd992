package ffmpeg

import "strings"

// Cost is what a conversion is expected to take.
type cost struct {
	film  float64 // CPU seconds
	sound float64 // CPU seconds
}

func (c cost) all() float64 { return c.film + c.sound }

// Nanoseconds of CPU for a pixel, and for a second of sound, with one thread,
// until the mesh has learned its own: measured with FFmpeg 5.1 on 720p.
var rates = map[string]float64{
	"libx264 ultrafast": 34, "libx264 superfast": 54, "libx264 veryfast": 56, "libx264 faster": 79, "libx264 fast": 111,
	"libx264 medium": 122, "libx264 slow": 272, "libx264 slower": 400, "libx264 veryslow": 568,
	"libvpx-vp9 ultrafast": 580, "libvpx-vp9 superfast": 580, "libvpx-vp9 veryfast": 410, "libvpx-vp9 faster": 515,
	"libvpx-vp9 fast": 980, "libvpx-vp9 medium": 1500, "libvpx-vp9 slow": 4000, "libvpx-vp9 slower": 4000, "libvpx-vp9 veryslow": 4000,
	"mpeg4": 30,
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
	if rate <= 0 {
		rate = rates[class(s)]
	}
	c.film = rate * units(info, s) / 1e9
	return c
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
