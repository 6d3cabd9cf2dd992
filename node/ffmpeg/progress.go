package ffmpeg

import (
	"bytes"
	"math"
	"strconv"
	"strings"
	"sync/atomic"
)

// Progress is how far a conversion has come.
type Progress struct {
	OutTime  float64 `json:"out_time"` // seconds of output that are done
	Fraction float64 `json:"fraction"` // 0 to 1 of the whole, never falling; 1 only when the work is done
	Speed    float64 `json:"speed"`    // seconds of media a second; 0 while unknown
	Frame    int64   `json:"frame"`    // pictures that are done; 0 for sounds
	Bytes    int64   `json:"bytes"`    // written so far
}

// almost is the most that a running conversion may claim: the end of the
// output is still to be written.
const almost = 0.999

// A progressReader takes what ffmpeg writes for -progress: lines of
// key=value, a block ending with the key "progress". It is written to by one
// goroutine.
type progressReader struct {
	duration float64 // seconds, 0 for unknown
	report   func(Progress)

	line    []byte
	next    Progress
	last    Progress
	advance atomic.Int64 // changes of time, frame or size so far
}

func (p *progressReader) Write(b []byte) (int, error) {
	for rest := b; len(rest) > 0; {
		line, after, whole := bytes.Cut(rest, []byte("\n"))
		if len(p.line)+len(line) <= 4096 {
			p.line = append(p.line, line...)
		}
		if whole {
			key, value, _ := strings.Cut(string(p.line), "=")
			p.take(strings.TrimSpace(key), strings.TrimSpace(value))
			p.line = p.line[:0]
		}
		rest = after
	}
	return len(b), nil
}

func (p *progressReader) take(key, value string) {
	switch key {
	case "frame":
		p.next.Frame = text(value).count(math.MaxInt64)
	case "total_size":
		p.next.Bytes = text(value).count(math.MaxInt64)
	case "out_time_us":
		if us, err := strconv.ParseInt(value, 10, 64); err == nil && us > 0 {
			p.next.OutTime = float64(us) / 1e6
		}
	case "speed":
		p.next.Speed = text(strings.TrimSuffix(value, "x")).seconds()
	case "progress":
		p.finishBlock()
	}
}

func (p *progressReader) finishBlock() {
	if p.next.OutTime > p.last.OutTime || p.next.Frame > p.last.Frame || p.next.Bytes > p.last.Bytes {
		p.advance.Add(1)
	}
	if p.duration > 0 {
		p.next.Fraction = max(p.last.Fraction, min(p.next.OutTime/p.duration, almost))
	}
	p.last = p.next
	if p.report != nil {
		p.report(p.last)
	}
}
