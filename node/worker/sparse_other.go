//go:build !linux

package worker

import (
	"os"

	"malla/node/ffmpeg"
)

func cached(*os.File, ffmpeg.Span) bool { return false }
