package ffmpeg

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Generate makes a file to show or to test with: a song, two voices over
// noise with title, artist and album, or a film, a moving test picture of
// 320×240 at 25 frames a second with a tone. The path's extension names the
// format. It blocks until the file is there; after an error it is not.
func (r *Runner) Generate(ctx context.Context, kind MediaKind, length time.Duration, path string) error {
	args, err := generateArgs(kind, length, path)
	if err != nil {
		return err
	}
	res, err := runChild(ctx, child{
		path:   r.tools.FFmpeg,
		env:    r.tools.env,
		args:   args,
		limits: childLimits{wall: r.limits.Wall, memory: r.limits.memoryFor(threadsOr(0))},
	})
	if err == nil && !res.ok {
		err = &Error{Kind: Unexpected, Msg: "The example could not be made.", Log: logText(res.stderr, path)}
	}
	if err != nil {
		os.Remove(path) // may not be there
		return err
	}
	return nil
}

// generateArgs read no file: lavfi is the only input that they allow.
func generateArgs(kind MediaKind, length time.Duration, path string) ([]string, error) {
	s, err := resolve(strings.TrimPrefix(filepath.Ext(path), "."), Options{})
	if err != nil {
		return nil, err
	}
	if err := checkPath(path); err != nil {
		return nil, err
	}
	if s.format.Kind != kind {
		return nil, fmt.Errorf("ffmpeg: %s is no format for %s", s.format.Name, kind)
	}
	secs := number(length.Seconds())
	args := []string{"-nostdin", "-hide_banner", "-v", "error", "-y", "-protocol_whitelist", "file", "-format_whitelist", "lavfi", "-f", "lavfi"}
	if kind == Video {
		args = append(args, "-i", "testsrc2=size=320x240:rate=25:duration="+secs,
			"-protocol_whitelist", "file", "-format_whitelist", "lavfi", "-f", "lavfi")
	}
	args = append(args, "-i", "aevalsrc=0.3*sin(2*PI*220*t)+0.2*sin(2*PI*(330+40*sin(t))*t)+0.02*random(0):sample_rate=44100:duration="+secs)
	p := Params{Info: exampleInfo(kind)}.orDefaults()
	if kind == Video {
		args = append(args, "-map", "0:v")
		args = append(args, videoArgs(p, s)[2:]...)
	}
	args = append(args, "-map", map[MediaKind]string{Audio: "0:a", Video: "1:a"}[kind], "-ac", "2")
	args = append(args, audioArgs(p.Info, p.Info.Streams[:1], s)...)
	args = append(args, "-metadata", "title=Malla example", "-metadata", "artist=Malla", "-metadata", "album=Examples")
	args = append(args, s.format.muxArgs...)
	return append(args, "-f", s.format.muxer, "file:"+path), nil
}

// exampleInfo describes what lavfi makes, for the arguments of the encoders.
func exampleInfo(kind MediaKind) Info {
	info := Info{Kind: kind, Streams: []Stream{{Index: 0, Type: "audio", Codec: "pcm_f64le", Channels: 2, SampleRate: 44100}}}
	if kind == Video {
		info.Streams = append(info.Streams, Stream{Index: 1, Type: "video", Codec: "mpeg4", Width: 320, Height: 240, FPS: 25})
	}
	return info
}
