package ffmpeg

import "fmt"

// cheapest is the expected CPU seconds below which cutting costs more than it
// gains: starting, joining and checking take some tenths of a second a piece.
const cheapest = 10.0

// maxTimeBase is the finest unit of time that MPEG-4 video can hold.
const maxTimeBase = 65535

// wholeRules return why a conversion is not cut, or nothing. The first one
// that says something counts.
var wholeRules = []func(cutting) string{
	func(c cutting) string {
		if c.settings.format.Kind == Audio {
			return "Sound is encoded in one piece: pieces cannot be joined without gaps."
		}
		return ""
	},
	func(c cutting) string {
		if c.index.Unfit != "" {
			return "The film is converted in one piece. " + c.index.Unfit
		}
		if len(c.index.Pictures) == 0 {
			return "The film has no index yet."
		}
		return ""
	},
	func(c cutting) string {
		if c.cost.film < cheapest {
			return fmt.Sprintf("The film is short work (about %.0f s of processor time).", c.cost.film)
		}
		if c.settings.video.Name == mpeg4.Name && c.cost.film < 6*cheapest {
			return "The encoder is so fast that cutting the film would take longer."
		}
		return ""
	},
	func(c cutting) string {
		if c.settings.video.Name == mpeg4.Name && c.index.TimeBase.Den > maxTimeBase {
			return "The film counts time in too fine a unit for MPEG-4 video."
		}
		return ""
	},
	func(c cutting) string {
		if c.settings.format.container == AVI && !c.index.even() {
			return "AVI has one rate for the whole film, and this film has none."
		}
		return ""
	},
}

// even tells whether each picture has a place of its own in a film of
// constant rate, in which most places are taken.
func (x Index) even() bool {
	if !x.Rate.valid() {
		return false
	}
	last := int64(-1)
	for i := range x.Pictures {
		place := rescale(x.Pictures[i]-x.Pictures[0], x.TimeBase, x.Rate.inverse())
		if place <= last {
			return false
		}
		last = place
	}
	return last < 2*int64(len(x.Pictures))
}
