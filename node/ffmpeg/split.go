package ffmpeg

import (
	"fmt"
	"math"
	"slices"
	"sort"
)

// A Segment is a range of a film's pictures that is encoded on its own.
type Segment struct {
	From, To int     // pictures of the [Index]; To is not in it
	Cost     float64 // expected CPU seconds
}

// A Plan says how a conversion is divided.
type Plan struct {
	Whole    string    // why the conversion is one task, for people; empty when it is cut
	Segments []Segment // in order, without gaps; none when whole
	Cost     float64   // expected CPU seconds of the whole conversion
	RestCost float64   // expected CPU seconds of [Runner.Audio], when it is cut
	JoinCost float64   // expected CPU seconds of [Runner.Assemble], when it is cut
}

// How finely a film is cut.
const (
	wanted      = 6.0 // CPU seconds of a segment, where key pictures allow
	maxSegments = 400 // of a film: above, segments grow
	fewest      = 8   // pictures of a segment
)

// Split decides whether and where a conversion is cut. It is pure. rate is
// what the mesh has learned for this [CostClass], 0 for nothing yet. Its
// errors are those of [ParseOptions] and [CheckFit].
func Split(info Info, x Index, format string, o Options, rate float64) (Plan, error) {
	s, err := resolve(format, o)
	if err != nil {
		return Plan{}, err
	}
	if err := CheckFit(info, format); err != nil {
		return Plan{}, err
	}
	c := cutting{info: info, index: x, settings: s, carried: carry(info, s, o)}
	c.cost = costOf(info, s, c.carried, rate)
	if n := len(x.Pictures); n > 0 && c.cost.film > 0 {
		c.cost.film = float64(n) * float64(s.pixels(*c.carried.Film)) * rateOf(s, rate) / 1e9
	}
	plan := Plan{Cost: c.cost.all()}
	if s.format.Kind == Audio {
		plan.Whole = "Sound is encoded in one piece: pieces cannot be joined without gaps."
		return plan, nil
	}
	if plan.Whole = wholeBecause(c, slices.Concat(earlyRules, indexRules)); plan.Whole != "" {
		return plan, nil
	}
	plan.RestCost = c.cost.rest
	plan.JoinCost = startCost + packetsCost*c.packets()
	plan.Segments = c.pieces(0, len(x.Pictures))
	if len(plan.Segments) < 2 {
		plan = Plan{Cost: plan.Cost}
		plan.Whole = fmt.Sprintf("The film has no key pictures to cut at for %.0f s.", c.index.longestGap())
	}
	return plan, nil
}

// packets guesses how many the output has.
func (c cutting) packets() float64 {
	const second = 50 // of most sounds
	return float64(len(c.index.Pictures)) + second*c.info.Duration*float64(len(c.carried.Sounds))
}

// pieces cuts a range of pictures at key pictures into segments of about equal
// cost.
func (c cutting) pieces(from, to int) []Segment {
	var cuts []int
	for _, k := range c.index.Keys {
		if k.Picture > from && to-k.Picture >= fewest && c.fits(k.Picture) {
			cuts = append(cuts, k.Picture)
		}
	}
	per := float64(to-from) / max(2, min(math.Ceil(c.cost.film/wanted), maxSegments))
	each := c.cost.film / float64(to-from)
	var out []Segment
	for from < to {
		end := nearest(cuts, from, float64(from)+per)
		if end == 0 || float64(to-from) < 1.5*per {
			end = to
		}
		out = append(out, Segment{From: from, To: end, Cost: each * float64(end-from)})
		from = end
	}
	return out
}

// nearest returns the cut that is nearest to a wished one and makes a segment
// from there, or 0.
func nearest(cuts []int, from int, wish float64) int {
	best := 0
	for _, cut := range cuts[sort.SearchInts(cuts, from+fewest):] {
		if best != 0 && math.Abs(float64(cut)-wish) >= math.Abs(float64(best)-wish) {
			break
		}
		best = cut
	}
	return best
}

// fits tells whether decoding times stay in order when the film is joined
// again at this picture. An encoder that reorders pictures by d of them
// begins a segment with decoding times that lie as far before its first
// picture as its picture d lies behind, and ends one at its last picture but
// d. In a film of steady rate that is always in order.
func (c cutting) fits(picture int) bool {
	const slack = 2000 // microseconds, for containers that count milliseconds
	p := c.index.Pictures
	for d := 1; d <= c.settings.reorder(); d++ {
		if picture-1-d < 0 || picture+d >= len(p) {
			continue
		}
		room := (p[picture] - p[picture-1-d]) - (p[picture+d] - p[picture])
		if rescale(room, c.index.TimeBase, microseconds) <= slack {
			return false
		}
	}
	return true
}

// reorder is by how many pictures the encoder may delay.
func (s settings) reorder() int {
	switch {
	case s.format.container == AVI:
		return 0
	case s.video.Name == x264.Name:
		return 2
	case s.video.Name == x265.Name:
		return 3
	}
	return 0
}

// longestGap is the longest time between two places to cut at, in seconds.
func (x Index) longestGap() float64 {
	if len(x.Pictures) == 0 {
		return 0
	}
	longest, last := int64(0), x.Pictures[0]
	for _, k := range x.Keys {
		longest = max(longest, x.Pictures[k.Picture]-last)
		last = x.Pictures[k.Picture]
	}
	longest = max(longest, x.Pictures[len(x.Pictures)-1]-last)
	return float64(longest) * x.TimeBase.float()
}
