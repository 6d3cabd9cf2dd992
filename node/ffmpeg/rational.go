package ffmpeg

import (
	"cmp"
	"math"
	"math/bits"
	"strconv"
	"strings"
)

// A Rational is a fraction of whole numbers. The zero Rational is no number.
type Rational struct {
	Num int64
	Den int64
}

// microseconds is the unit in which ffmpeg's command line counts time.
var microseconds = Rational{1, 1_000_000}

// parseRational reads 1/12800. Anything but two positive 32-bit numbers is
// the zero Rational.
func parseRational(s string) Rational {
	a, b, _ := strings.Cut(s, "/")
	num, err1 := strconv.ParseInt(a, 10, 32)
	den, err2 := strconv.ParseInt(b, 10, 32)
	if err1 != nil || err2 != nil || num <= 0 || den <= 0 {
		return Rational{}
	}
	return Rational{num, den}
}

func (r Rational) valid() bool { return r.Num > 0 && r.Den > 0 }

func (r Rational) inverse() Rational { return Rational{r.Den, r.Num} }

func (r Rational) float() float64 { return float64(r.Num) / float64(r.Den) }

// String writes what ffmpeg reads as a rational number.
func (r Rational) String() string {
	return strconv.FormatInt(r.Num, 10) + "/" + strconv.FormatInt(r.Den, 10)
}

// compare is -1, 0 or 1 as r is smaller than, equal to or larger than s.
func (r Rational) compare(s Rational) int {
	hi1, lo1 := bits.Mul64(uint64(r.Num), uint64(s.Den))
	hi2, lo2 := bits.Mul64(uint64(s.Num), uint64(r.Den))
	return cmp.Or(cmp.Compare(hi1, hi2), cmp.Compare(lo1, lo2))
}

// rescale turns ticks of one unit into those of another, to the nearest one,
// halves away from zero: ffmpeg's own rule (av_rescale_q). What is beyond
// int64 becomes its largest.
func rescale(ticks int64, from, to Rational) int64 {
	negative := ticks < 0
	if negative {
		ticks = -ticks
	}
	// from and to hold 32-bit numbers, so only the product with ticks is long.
	up, down := uint64(from.Num)*uint64(to.Den), uint64(from.Den)*uint64(to.Num)
	hi, lo := bits.Mul64(uint64(ticks), up)
	lo, carry := bits.Add64(lo, down/2, 0)
	hi += carry
	n := int64(math.MaxInt64)
	if hi < down {
		q, _ := bits.Div64(hi, lo, down)
		n = int64(min(q, math.MaxInt64))
	}
	if negative {
		return -n
	}
	return n
}

// timeText writes microseconds as seconds, the way ffmpeg reads a time.
func timeText(us int64) string {
	sign := ""
	if us < 0 {
		sign, us = "-", -us
	}
	micro := strconv.FormatInt(us%1_000_000, 10)
	return sign + strconv.FormatInt(us/1_000_000, 10) + "." + strings.Repeat("0", 6-len(micro)) + micro
}
