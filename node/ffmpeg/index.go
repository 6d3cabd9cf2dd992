package ffmpeg

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sort"
	"strconv"
	"time"
)

// Bounds of an [Index]. Six hours at 60 pictures a second are 1.3 million.
const (
	maxPictures = 2_000_000
	maxSpans    = 4096
)

// An Index is what a film's pictures are: made once when the film comes in,
// it is all that cutting, encoding and joining need to know about the file.
type Index struct {
	TimeBase  Rational // seconds a tick of Pictures
	Rate      Rational // pictures a second as ffmpeg guesses them; zero for unknown
	FileStart int64    // microseconds that ffmpeg subtracts from all of the file's times
	Size      int64    // bytes of the file
	Pictures  []int64  // when each shown picture is due, in ticks, ascending
	Keys      []Key    // where the film may be cut, ascending
	Head      []Span   // what opening the file reads besides its first and last MiB
	Unfit     string   // why the film cannot be cut, for people; empty when it can
}

// A Key is a picture from which on the film can be decoded without anything
// before it, and before which no picture needs it.
type Key struct {
	Picture int   // of Index.Pictures
	Pos     int64 // byte from which on the file is read
	Gap     int64 // ticks to the next key picture of any kind; 0: there is none
}

// A Span is a range of bytes.
type Span struct{ From, To int64 } // To is not in it

// Index looks at every packet of the film in the file at an absolute path,
// without decoding. It blocks while the file is read. A film that cannot be
// cut is no error: Unfit says why. Its errors are [ErrUnfit] for a file
// without a film, the context's, or one of the system.
func (r *Runner) Index(ctx context.Context, path string, info Info) (Index, error) {
	film, ok := info.Video()
	if !ok {
		return Index{}, &Error{Kind: Unfit, Msg: "The file has no moving picture."}
	}
	if err := checkPath(path); err != nil {
		return Index{}, err
	}
	x := Index{Size: info.Size}
	if x.Unfit = uncuttable[info.Container]; x.Unfit != "" {
		return x, nil
	}
	table := &packetTable{max: maxPictures}
	res, err := runChild(ctx, child{
		path:   r.tools.FFprobe,
		env:    r.tools.env,
		args:   packetArgs(path, info.Container, film.Index),
		stdout: table,
		limits: r.readLimits(info.Size),
	})
	switch {
	case errors.Is(err, errTooMany):
		x.Unfit = "It has too many pictures."
		return x, nil
	case errors.Is(err, errWall):
		x.Unfit = "Its index takes too long to read."
		return x, nil
	case err != nil:
		return Index{}, fmt.Errorf("index: %w", err)
	case !res.ok:
		x.Unfit = "Its packets cannot be read."
		return x, nil
	case res.stderr != "":
		x.Unfit = "It is damaged."
		return x, nil
	}
	lay, err := fileLayout(path, info.Container)
	if err != nil {
		return Index{}, fmt.Errorf("index: %w", err)
	}
	return table.index(x, lay), nil
}

// readLimits bound an ffprobe that reads a whole file.
func (r *Runner) readLimits(size int64) childLimits {
	const slowest = 10 << 20 // bytes a second
	wall := r.limits.Probe + time.Duration(size/slowest)*time.Second
	return childLimits{wall: wall, cpu: wall, memory: r.limits.memoryFor(1)}
}

// uncuttable is container -> why its films stay whole. Only containers that
// know where their key pictures are can be entered exactly.
var uncuttable = map[Container]string{
	FLV:    "Flash video cannot be cut exactly.",
	MPEGTS: "An MPEG transport stream cannot be cut exactly.",
	MPEGPS: "An MPEG program stream cannot be cut exactly.",
	ASF:    "Windows Media cannot be cut exactly.",
	Ogg:    "Ogg cannot be cut exactly.",
}

// packetArgs are the arguments of an ffprobe that lists a stream's packets.
func packetArgs(path string, c Container, stream int) []string {
	args := []string{"-hide_banner", "-v", "error", "-max_alloc", strconv.Itoa(maxAlloc), "-threads", "1",
		"-print_format", "compact=nokey=1",
		"-select_streams", strconv.Itoa(stream),
		"-show_entries", "packet=pts,dts,duration,size,pos,flags:stream=r_frame_rate,time_base:format=start_time"}
	if c == MOV {
		// Its index of samples tells all, so the film itself may be a hole, at
		// which a parser would complain as at a damaged one.
		args = append(args, "-fflags", "noparse")
	}
	args = append(args, guards(c, probeList)...)
	return append(args, "-i", "file:"+path)
}

// key returns the last Key at or before a picture. There may be none: then the
// file is read from its beginning.
func (x Index) key(picture int) (Key, bool) {
	i := sort.Search(len(x.Keys), func(i int) bool { return x.Keys[i].Picture > picture })
	if i == 0 {
		return Key{}, false
	}
	return x.Keys[i-1], true
}

// after returns the first Key at or behind a picture.
func (x Index) after(picture int) (Key, bool) {
	i := sort.Search(len(x.Keys), func(i int) bool { return x.Keys[i].Picture >= picture })
	if i == len(x.Keys) {
		return Key{}, false
	}
	return x.Keys[i], true
}

// micros is when a picture is due in microseconds of the file's own time.
func (x Index) micros(picture int) int64 {
	return rescale(x.Pictures[picture], x.TimeBase, microseconds)
}

// offset is when a picture is due in the output, in ticks: ffmpeg subtracts
// the file's start in the stream's own unit.
func (x Index) offset(picture int) int64 {
	return x.Pictures[picture] - rescale(x.FileStart, microseconds, x.TimeBase)
}

const (
	mebi      = 1 << 20
	readAhead = 2 * mebi // what demuxers read behind a range's last packet, at most
)

// Needs lists the bytes of the file that encoding a segment reads, ascending
// and apart from each other. In a file of the full size that has only these,
// and holes elsewhere, [Runner.Segment] makes the same bytes.
func (x Index) Needs(s Segment) []Span {
	spans := append([]Span{{0, mebi}, {x.Size - mebi, x.Size}}, x.Head...)
	from, to := int64(0), x.Size
	if k, ok := x.key(s.From); ok {
		from = k.Pos - mebi
	}
	if k, ok := x.after(s.To); ok {
		to = k.Pos + readAhead
	}
	return joinSpans(append(spans, Span{from, to}), x.Size)
}

// joinSpans sorts spans, cuts them to 0..size and joins those that touch.
func joinSpans(spans []Span, size int64) []Span {
	slices.SortFunc(spans, func(a, b Span) int { return int(max(-1, min(1, a.From-b.From))) })
	var joined []Span
	for _, s := range spans {
		s.From, s.To = max(s.From, 0), min(s.To, size)
		last := len(joined) - 1
		switch {
		case s.From >= s.To:
		case last >= 0 && s.From <= joined[last].To:
			joined[last].To = max(joined[last].To, s.To)
		default:
			joined = append(joined, s)
		}
	}
	return joined
}
