package ffmpeg

import (
	"regexp"
	"strings"
)

// A Color is how a picture's numbers are meant, in ffmpeg's names; empty
// where the file does not tell.
type Color struct {
	Range     string `json:"range,omitempty"`     // tv or pc
	Matrix    string `json:"matrix,omitempty"`    // such as bt709
	Transfer  string `json:"transfer,omitempty"`  // such as smpte2084
	Primaries string `json:"primaries,omitempty"` // such as bt2020
}

// hdr tells a transfer that was made for bright screens: PQ or HLG.
func (c Color) hdr() bool { return c.Transfer == "smpte2084" || c.Transfer == "arib-std-b67" }

var depthOf = regexp.MustCompile(`(?:p|gray|gbrp|p0|x2rgb|x2bgr)(9|10|12|14|16)(?:le|be)?$`)

// depth is how many bits a colour has; 8 where the name does not tell more.
func (s Stream) depth() string {
	if m := depthOf.FindStringSubmatch(s.PixFmt); m != nil {
		return m[1]
	}
	if strings.Contains(s.PixFmt, "48") || strings.Contains(s.PixFmt, "64") {
		return "16"
	}
	return "8"
}
