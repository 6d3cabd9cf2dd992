package footage

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
)

// Pictures decodes the whole file and returns when each picture of its film is
// shown, in seconds, in the order in which they are. What the decoder complains
// about is an error.
func Pictures(ctx context.Context, path string) ([]float64, error) {
	var said bytes.Buffer
	cmd := exec.CommandContext(ctx, "ffmpeg", "-nostdin", "-v", "error", "-xerror", "-i", path,
		"-map", "0:v:0", "-map", "0:a?", "-fps_mode", "passthrough", "-f", "framecrc", "-")
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil || said.Len() > 0 {
		return nil, fmt.Errorf("decode: %w: %s", errors.Join(err, errComplained), strings.TrimSpace(said.String()))
	}
	return parseFrames(out)
}

var errComplained = errors.New("the decoder complained")

// parseFrames reads ffmpeg's framecrc, see its manual: "#tb 0: 1/25", and for
// each frame its stream, decoding time, presentation time and more.
func parseFrames(text []byte) ([]float64, error) {
	var base float64
	var at []float64
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		line := lines.Text()
		if tb, is := strings.CutPrefix(line, "#tb 0: "); is {
			num, den, _ := strings.Cut(tb, "/")
			n, err := strconv.ParseFloat(num, 64)
			d, err2 := strconv.ParseFloat(den, 64)
			if err := errors.Join(err, err2); err != nil {
				return nil, fmt.Errorf("time base %q: %w", tb, err)
			}
			base = n / d
		}
		fields := strings.Split(line, ",")
		if len(fields) < 3 || fields[0] != "0" {
			continue
		}
		pts, err := strconv.ParseInt(strings.TrimSpace(fields[2]), 10, 64)
		if err != nil {
			return nil, fmt.Errorf("frame %q: %w", line, err)
		}
		at = append(at, float64(pts)*base)
	}
	if len(at) == 0 {
		return nil, errors.New("there are no pictures")
	}
	return at, nil
}

// SameTimes returns what differs between the pictures of two films, which may
// begin at different times, or nil.
func SameTimes(got, want []float64) error {
	if len(got) != len(want) {
		return fmt.Errorf("%d pictures, want %d", len(got), len(want))
	}
	const tick = 0.0011 // seconds: one of the coarsest time base, Matroska's
	for i := range got {
		if d := (got[i] - got[0]) - (want[i] - want[0]); d > tick || d < -tick {
			return fmt.Errorf("picture %d is shown %.4f s off", i, d)
		}
	}
	return nil
}
