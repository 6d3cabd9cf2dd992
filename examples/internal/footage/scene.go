package footage

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
)

// A Scene is a film for measurements: a camera that pans over a landscape of
// soft noise, with key pictures at even distances and stereo sound. The same
// scene gives the same pictures.
type Scene struct {
	Width, Height int
	Seconds       float64
	Grain         int // of the film, which makes it costly to encode; 0: none
	Seed          int
}

// The scene's pictures.
const (
	SceneFPS      = 25
	SceneKeyframe = 2 * SceneFPS // pictures from one key picture to the next
)

// Write makes the file, in H.264 and AAC, which take real decoding.
func (s Scene) Write(ctx context.Context, path string) error {
	picture := []string{
		fmt.Sprintf("color=c=gray:s=%dx%d:r=%d:d=%g", s.Width*3/2, s.Height*3/2, SceneFPS, 1.0/SceneFPS),
		fmt.Sprintf("noise=alls=90:all_seed=%d", s.Seed+1),
		fmt.Sprintf("gblur=sigma=%g", float64(s.Height)/90),
		"eq=contrast=9:saturation=3",
		"loop=loop=-1:size=1:start=0",
		fmt.Sprintf("setpts=N/(%d*TB)", SceneFPS),
		fmt.Sprintf("crop=w=%d:h=%d:x='%d*(1+sin(n/60))':y='%d*(1+cos(n/45))'", s.Width, s.Height, s.Width/4, s.Height/4),
	}
	if s.Grain > 0 {
		picture = append(picture, fmt.Sprintf("noise=alls=%d:allf=t:all_seed=%d", s.Grain, s.Seed+2))
	}
	return ffmpeg(ctx,
		"-f", "lavfi", "-i", strings.Join(picture, ","),
		"-f", "lavfi", "-i", band(s.Seconds, s.Seed),
		"-t", fmt.Sprint(s.Seconds),
		"-c:v", "libx264", "-preset", "veryfast", "-crf", "18", "-pix_fmt", "yuv420p",
		"-g", fmt.Sprint(SceneKeyframe), "-sc_threshold", "0",
		"-c:a", "aac", "-b:a", "160k", path)
}

// Band writes a song for measurements: chords and a hiss, whose spectrum is that
// of music rather than of a tone.
func Band(ctx context.Context, path string, seconds float64, seed int) error {
	return ffmpeg(ctx, "-f", "lavfi", "-i", band(seconds, seed), path)
}

// band is ffmpeg's source of it.
func band(seconds float64, seed int) string {
	voice := func(base float64) string {
		var harmonics []string
		for n := 1; n <= 4; n++ {
			harmonics = append(harmonics, fmt.Sprintf(`sin(2*PI*%g*t*(1+0.125*mod(floor(t*2)\,5)))/%d`, base*float64(n), n))
		}
		return fmt.Sprintf(`0.16*exp(-2*mod(t\,0.5))*(%s)`, strings.Join(harmonics, "+"))
	}
	base := 110 + float64(seed%110)
	return fmt.Sprintf("aevalsrc=%s|%s:s=44100:d=%g[voices];anoisesrc=color=pink:amplitude=0.08:r=44100:seed=%d:d=%g,aformat=channel_layouts=stereo[hiss];[voices][hiss]amix=duration=first",
		voice(base), voice(base*1.5), seconds, seed+1, seconds)
}

// Jingle returns a WAV file of so many seconds with a few notes that fade. Each
// seed has its own, so that no two are the same file.
func Jingle(seed int, seconds float64) []byte {
	const rate = NoiseRate / 2
	sound := make([]byte, 0, int(seconds*rate)*2)
	notes := melody(seed)
	for i := range int(seconds * rate) {
		t := float64(i) / rate
		fade := math.Exp(-3 * math.Mod(t, 0.25))
		note := notes[int(t*4)%len(notes)]
		v := 0.3 * fade * (math.Sin(2*math.Pi*note*t) + math.Sin(4*math.Pi*note*t)/2)
		sound = binary.LittleEndian.AppendUint16(sound, uint16(int16(v*math.MaxInt16)))
	}
	return append(waveHeader(len(sound)), sound...)
}

// melody is four notes in hertz, no two seeds the same.
func melody(seed int) [4]float64 {
	base := 200 + float64(seed)*0.37
	return [4]float64{base, base * 1.25, base * 1.5, base * (1.6 + float64(seed%7)/10)}
}

// Padded returns an MP4 with a free box at its end: the same film, but another
// file, so that nothing that was made of the one is known of the other.
func Padded(mp4 []byte, seed int) []byte {
	text := fmt.Sprintf("%08d", seed)
	box := binary.BigEndian.AppendUint32(nil, uint32(8+len(text)))
	return append(append(append(mp4[:len(mp4):len(mp4)], box...), "free"...), text...)
}

// Cached has write make the file, unless it is there from an earlier run.
func Cached(ctx context.Context, path string, write func(ctx context.Context, path string) error) error {
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	half := strings.TrimSuffix(path, filepath.Ext(path)) + ".half" + filepath.Ext(path) // ffmpeg goes by the extension
	if err := write(ctx, half); err != nil {
		os.Remove(half)
		return err
	}
	return os.Rename(half, path)
}
