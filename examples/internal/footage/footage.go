// Package footage makes a song and a film for the examples with the ffmpeg of
// this machine, and looks at what malla made of them with its ffprobe.
package footage

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os/exec"
	"strconv"
	"strings"
)

// Song writes a stereo melody of so many seconds with title, artist and album.
// The name's extension says what kind of file it becomes. Songs of different
// seeds have different bytes.
func Song(ctx context.Context, path string, seconds float64, seed int) error {
	base := 220 + seed%220
	left := fmt.Sprintf(`0.3*sin(2*PI*%d*t*(1+0.25*mod(floor(t*2)\,4)))`, base)
	right := fmt.Sprintf("0.3*sin(2*PI*%d*t)", base/2)
	return ffmpeg(ctx,
		"-f", "lavfi", "-i", fmt.Sprintf("aevalsrc=%s|%s:s=44100:d=%g", left, right, seconds),
		"-metadata", fmt.Sprintf("title=Song %d", seed), "-metadata", "artist=The Nodes", "-metadata", "album=Mesh",
		path)
}

// Film writes a test picture with a running clock and a tone.
func Film(ctx context.Context, path string, seconds float64, seed int) error {
	return ffmpeg(ctx,
		"-f", "lavfi", "-i", fmt.Sprintf("testsrc2=size=480x270:rate=25:duration=%g", seconds),
		"-f", "lavfi", "-i", fmt.Sprintf("sine=frequency=%d:beep_factor=4:sample_rate=48000:duration=%g", 300+seed%300, seconds),
		"-c:v", "libx264", "-preset", "veryfast", "-pix_fmt", "yuv420p", "-g", "50", "-c:a", "aac",
		"-metadata", fmt.Sprintf("title=Film %d", seed), "-shortest",
		path)
}

func ffmpeg(ctx context.Context, args ...string) error {
	var said bytes.Buffer
	cmd := exec.CommandContext(ctx, "ffmpeg", append([]string{"-nostdin", "-v", "error", "-y"}, args...)...)
	cmd.Stderr = &said
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("ffmpeg: %w: %s", err, strings.TrimSpace(said.String()))
	}
	return nil
}

// Formats are the formats that malla converts to, those of songs first.
var Formats = []string{"mp3", "flac", "wav", "aac", "ogg", "m4a", "mp4", "avi", "mkv", "webm", "mov"}

// codecs: format -> what its file must hold.
var codecs = map[string]struct{ video, audio string }{
	"mp3": {"", "mp3"}, "flac": {"", "flac"}, "wav": {"", "pcm_s16le"},
	"aac": {"", "aac"}, "ogg": {"", "vorbis"}, "m4a": {"", "aac"},
	"mp4": {"h264", "aac"}, "avi": {"mpeg4", "mp3"}, "mkv": {"h264", "aac"},
	"webm": {"vp9", "opus"}, "mov": {"h264", "aac"},
}

// HasPictures tells whether the format is one of films.
func HasPictures(format string) bool { return codecs[format].video != "" }

// Facts are what ffprobe found in a file.
type Facts struct {
	Video, Audio string  // codec of the first stream of the kind; "" where there is none
	Seconds      float64 // from the first packet's begin to the last one's end
	Title        string
}

// Codecs is how a table shows them: h264+aac, or mp3.
func (f Facts) Codecs() string { return strings.TrimPrefix(f.Video+"+"+f.Audio, "+") }

// Probe reads the file. The duration is taken from the packets, since headers
// only estimate it in some formats.
func Probe(ctx context.Context, path string) (Facts, error) {
	var said bytes.Buffer
	cmd := exec.CommandContext(ctx, "ffprobe", "-v", "error", "-of", "json",
		"-show_entries", "stream=codec_type,codec_name:stream_tags=title:format_tags=title:packet=pts_time,dts_time,duration_time",
		path)
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		return Facts{}, fmt.Errorf("ffprobe: %w: %s", err, strings.TrimSpace(said.String()))
	}
	var answer struct {
		Packets []struct {
			PTS      string `json:"pts_time"`
			DTS      string `json:"dts_time"`
			Duration string `json:"duration_time"`
		} `json:"packets"`
		Streams []struct {
			Type string            `json:"codec_type"`
			Name string            `json:"codec_name"`
			Tags map[string]string `json:"tags"`
		} `json:"streams"`
		Format struct {
			Tags map[string]string `json:"tags"`
		} `json:"format"`
	}
	if err := json.Unmarshal(out, &answer); err != nil {
		return Facts{}, fmt.Errorf("ffprobe's answer: %w", err)
	}
	f := Facts{Title: title(answer.Format.Tags)}
	for _, s := range answer.Streams {
		switch {
		case s.Type == "video" && f.Video == "":
			f.Video = s.Name
		case s.Type == "audio" && f.Audio == "":
			f.Audio = s.Name
		}
		if f.Title == "" {
			f.Title = title(s.Tags) // Ogg keeps them with the stream
		}
	}
	begin, end := math.Inf(1), math.Inf(-1)
	for _, p := range answer.Packets {
		at, err := strconv.ParseFloat(p.PTS, 64)
		if err != nil {
			if at, err = strconv.ParseFloat(p.DTS, 64); err != nil {
				continue
			}
		}
		lasts, _ := strconv.ParseFloat(p.Duration, 64)
		if lasts > 60 {
			lasts = 0 // ffprobe tells a Vorbis packet that ends early as 2^32 samples
		}
		begin, end = min(begin, at), max(end, at+lasts)
	}
	if end < begin {
		return f, errors.New("the file has no packets")
	}
	f.Seconds = end - begin
	return f, nil
}

func title(tags map[string]string) string {
	for k, v := range tags {
		if strings.EqualFold(k, "title") {
			return v
		}
	}
	return ""
}

// Check tells what is wrong with the output of a conversion to the format,
// whose input lasts so many seconds.
func (f Facts) Check(format string, seconds float64) error {
	want, known := codecs[format]
	switch {
	case !known:
		return fmt.Errorf("%q is not a format", format)
	case f.Video != want.video || f.Audio != want.audio:
		return fmt.Errorf("holds %s, want %s", f.Codecs(), Facts{Video: want.video, Audio: want.audio}.Codecs())
	case math.Abs(f.Seconds-seconds) > 0.1:
		return fmt.Errorf("lasts %.3f s, want %.3f s", f.Seconds, seconds)
	}
	return nil
}
