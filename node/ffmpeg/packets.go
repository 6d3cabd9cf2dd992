package ffmpeg

import (
	"bytes"
	"errors"
	"math"
	"strconv"
	"strings"
)

var errTooMany = errors.New("too many packets")

// A packetTable takes what an ffprobe with [packetArgs] writes. It is written
// to by one goroutine and keeps at most max packets.
type packetTable struct {
	max int

	line    []byte
	packets []packet
	start   int64 // of the file, microseconds
	base    Rational
	rate    Rational
	blank   bool // a packet has no time
}

// A packet is one coded picture, in the order of the file.
type packet struct {
	pts, dts  int64
	pos, size int64
	key       bool
	discarded bool // by an edit list: it is decoded and not shown
}

func (t *packetTable) Write(b []byte) (int, error) {
	for rest := b; len(rest) > 0; {
		line, after, whole := bytes.Cut(rest, []byte("\n"))
		if len(t.line)+len(line) <= 4096 {
			t.line = append(t.line, line...)
		}
		if whole {
			fields := strings.Split(string(t.line), "|")
			t.line = t.line[:0]
			if err := t.take(fields); err != nil {
				return 0, err
			}
		}
		rest = after
	}
	return len(b), nil
}

func (t *packetTable) take(f []string) error {
	switch {
	case f[0] == "packet" && len(f) >= 7:
		return t.add(f[1:])
	case f[0] == "stream" && len(f) >= 3:
		t.rate, t.base = parseRational(f[1]), parseRational(f[2])
	case f[0] == "format" && len(f) >= 2:
		t.start = int64(math.Round(max(-1e9, min(1e9, text(f[1]).number())) * 1e6))
	}
	return nil
}

// maxTicks bounds times, so that no arithmetic on them runs over.
const maxTicks = 1 << 60

// add takes pts, dts, duration, size, pos and flags.
func (t *packetTable) add(f []string) error {
	if len(t.packets) >= t.max {
		return errTooMany
	}
	pts, err := strconv.ParseInt(f[0], 10, 64)
	if err != nil || pts < -maxTicks || pts > maxTicks {
		t.blank = true
	}
	p := packet{pts: pts, pos: -1, size: text(f[3]).count(math.MaxInt32)}
	if dts, err := strconv.ParseInt(f[1], 10, 64); err == nil {
		p.dts = dts
	}
	if pos, err := strconv.ParseInt(f[4], 10, 64); err == nil && pos >= 0 {
		p.pos = pos
	}
	p.key, p.discarded = strings.Contains(f[5], "K"), strings.Contains(f[5], "D")
	if p.size > 0 { // AVI notes a dropped picture as an empty packet
		t.packets = append(t.packets, p)
	}
	return nil
}

// index judges the packets. x has what is known besides.
func (t *packetTable) index(x Index, lay layout) Index {
	x.TimeBase, x.Rate, x.FileStart = t.base, t.rate, t.start
	if x.Unfit = t.unfit(); x.Unfit != "" {
		return x
	}
	if lay.unfit != "" {
		x.Unfit = lay.unfit
		return x
	}
	x.Head = append(lay.head, t.opening()...)
	if lay.whole || t.scattered() {
		x.Head = []Span{{0, x.Size}}
	}
	x.Head = joinSpans(x.Head, x.Size)
	x.Pictures, x.Keys = t.cuts(lay)
	for i, k := range x.Keys {
		x.Keys[i].Pos = max(0, min(k.Pos, x.Size))
	}
	for i, pts := range x.Pictures[1:] {
		if pts == x.Pictures[i] {
			return Index{Size: x.Size, Unfit: "Two of its pictures have the same time."}
		}
	}
	if len(x.Head) > maxSpans {
		x.Head = []Span{{0, x.Size}}
	}
	return x
}

// finest is the shortest tick that can be told apart in microseconds, in
// which ffmpeg takes offsets.
var finest = Rational{1, 1_000_000}

func (t *packetTable) unfit() string {
	shown := 0
	for _, p := range t.packets {
		if !p.discarded {
			shown++
		}
	}
	switch {
	case shown == 0:
		return "It has no pictures."
	case t.blank:
		return "Some of its pictures have no time."
	case !t.base.valid() || t.base.compare(finest) < 0:
		return "It counts time in too fine a unit."
	}
	return ""
}

// opening is what ffmpeg reads to learn the rate of pictures when it opens
// the file: not more than it is allowed to ([guards]).
func (t *packetTable) opening() []Span {
	const looked, most = 48, 11 * mebi
	to := int64(0)
	for _, p := range t.packets[:min(looked, len(t.packets))] {
		to = max(to, p.pos+p.size)
	}
	return []Span{{0, min(to+mebi, most)}}
}

// scattered tells whether the packets stand in another order than they are
// decoded in, so that a range of time is not a range of bytes.
func (t *packetTable) scattered() bool {
	last := int64(-1)
	for _, p := range t.packets {
		if p.pos < last || p.pos < 0 {
			return true
		}
		last = p.pos
	}
	return false
}
