package ffmpeg

import (
	"math"
	"slices"
)

// cuts lists the times of all pictures that are shown, and the keys at which
// the film can be cut: no picture that is decoded later is shown before, none
// that is decoded earlier is shown after. Key pictures with leading pictures
// (open groups) fail that.
func (t *packetTable) cuts(lay layout) ([]int64, []Key) {
	var shown []packet
	for _, p := range t.packets {
		if !p.discarded {
			shown = append(shown, p)
		}
	}
	pictures := make([]int64, len(shown))
	for i, p := range shown {
		pictures[i] = p.pts
	}
	slices.Sort(pictures)

	least := make([]int64, len(shown)+1) // of the packet and all behind it
	least[len(shown)] = math.MaxInt64
	for i := len(shown) - 1; i >= 0; i-- {
		least[i] = min(least[i+1], shown[i].pts)
	}
	gaps := t.gaps()
	var keys []Key
	most := int64(math.MinInt64)
	for i, p := range shown {
		if p.key && most < p.pts && p.pts < least[i+1] {
			keys = append(keys, Key{Picture: i, Pos: lay.entry(p.pos), Gap: gaps[p.pts]})
		}
		most = max(most, p.pts)
	}
	return pictures, keys
}

// gaps is the time of a key picture -> ticks to the next one, of any kind.
func (t *packetTable) gaps() map[int64]int64 {
	var times []int64
	for _, p := range t.packets {
		if p.key {
			times = append(times, p.pts)
		}
	}
	slices.Sort(times)
	gaps := map[int64]int64{}
	for i := 1; i < len(times); i++ {
		gaps[times[i-1]] = times[i] - times[i-1]
	}
	return gaps
}
