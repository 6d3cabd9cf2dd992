package ffmpeg

import "fmt"

// cheapest is the expected CPU seconds below which cutting costs more than it
// gains: starting, joining and checking take some tenths of a second a piece.
const cheapest = 10.0

// maxTimeBase is the finest unit of time that MPEG-4 video can hold.
const maxTimeBase = 65535

// cutting is what is known when a conversion is to be cut.
type cutting struct {
	info     Info
	index    Index // zero while it is not known
	settings settings
	carried  Carriage
	cost     cost
}

// StaysWhole tells why a film is not cut, for people, as far as that can be
// told without an [Index]; empty when [Split] has to decide, and for sounds,
// which nobody expects to be cut. It is pure.
func StaysWhole(info Info, format string, o Options, rate float64) string {
	s, err := resolve(format, o)
	if err != nil || s.format.Kind == Audio || CheckFit(info, format) != nil {
		return ""
	}
	c := carry(info, s, o)
	return wholeBecause(cutting{info: info, settings: s, carried: c, cost: costOf(info, s, c, rate)}, earlyRules)
}

func wholeBecause(c cutting, rules []func(cutting) string) string {
	for _, rule := range rules {
		if why := rule(c); why != "" {
			return why
		}
	}
	return ""
}

// earlyRules return why a film is not cut, or nothing, without its index. The
// first one that says something counts.
var earlyRules = []func(cutting) string{
	func(c cutting) string {
		switch s := c.settings; {
		case c.carried.Copied.Film:
			return "The film is copied without encoding."
		case s.encoder == hardware:
			return "Hardware encodes the film in one piece."
		case s.rated():
			return "A size or a bitrate is kept to over the whole film, in two passes."
		case s.fps != 0:
			return "Another number of pictures a second is made of the whole film."
		case s.from != 0 || s.to != 0:
			return "Only a part of the film is wanted."
		case s.video.Name == ffv1.Name:
			return "FFV1 takes the pixels as they come, also where they change."
		}
		return ""
	},
	func(c cutting) string {
		if why := uncuttable[c.info.Container]; why != "" {
			return inOnePiece + why
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
}

const inOnePiece = "The film is converted in one piece. "

// indexRules are rules like [earlyRules] that need the index.
var indexRules = []func(cutting) string{
	func(c cutting) string {
		if c.index.Unfit != "" {
			return inOnePiece + c.index.Unfit
		}
		if len(c.index.Pictures) == 0 {
			return "The film has no index yet."
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
