package ffmpeg

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// asked converts with the options of a request and checks the result. The
// output's folder must hold nothing else afterwards.
func asked(t *testing.T, r *Runner, in, format, raw string) (Info, string) {
	t.Helper()
	o, err := ParseOptions(format, json.RawMessage(raw))
	if err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(t.TempDir(), "out")
	info := convert(t, r, Params{Input: in, Output: out, Format: format, Options: o, Threads: 1})
	mustBeAlone(t, out)
	return info, out
}

func mustBeAlone(t *testing.T, path string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != 1 {
		t.Errorf("beside the output stay %v", entries)
	}
}

// say runs an ffmpeg of the test's own and returns what it prints.
func say(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "ffmpeg", append([]string{"-nostdin", "-hide_banner", "-nostats"}, args...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %v\n%s", args, err, out)
	}
	return string(out)
}

// A frame is one of a film's: when it is shown, in seconds, and what it shows.
type frame struct {
	at   float64
	hash string
}

// frames are those of a film, in order, with times from the film's start.
func frames(t *testing.T, path string) []frame {
	t.Helper()
	var all []frame
	for line := range strings.Lines(say(t, "-v", "error", "-i", path, "-map", "0:v", "-fps_mode", "passthrough", "-enc_time_base", "1:1000000", "-f", "framemd5", "-")) {
		if f := strings.Split(line, ","); !strings.HasPrefix(line, "#") {
			us, ok := parseNumber(strings.TrimSpace(f[2]))
			if !ok {
				t.Fatalf("time in %q", line)
			}
			all = append(all, frame{us / 1e6, strings.TrimSpace(f[5])})
		}
	}
	return all
}

// hashes are what the frames from a moment until another show.
func hashes(all []frame, from, to float64) []string {
	var some []string
	for _, f := range all {
		if f.at >= from-1e-4 && f.at < to-1e-4 {
			some = append(some, f.hash)
		}
	}
	return some
}

// loud measures a sound as the test's own ffmpeg hears it.
func loud(t *testing.T, path string) float64 {
	t.Helper()
	text := say(t, "-v", "info", "-i", path, "-map", "0:a", "-af", "ebur128=framelog=verbose", "-f", "null", "-")
	var n float64
	_, text, _ = strings.Cut(text, "Integrated loudness:")
	_, text, _ = strings.Cut(text, "I:")
	if err := json.Unmarshal([]byte(strings.Fields(text)[0]), &n); err != nil {
		t.Fatal(err)
	}
	return n
}

var (
	// noiseArgs make a sound that is worth every bit, with quiet and loud parts.
	noiseArgs = []string{"-f", "lavfi", "-i", "anoisesrc=d=8:c=pink:r=44100:a=0.2:seed=7,tremolo=f=0.3:d=0.8,aformat=channel_layouts=stereo", "-c:a", "pcm_s16le"}
	// grainArgs make a film that is worth every bit.
	grainArgs = []string{"-f", "lavfi", "-i", "testsrc2=size=192x144:rate=25:duration=4,noise=alls=40:allf=t:all_seed=3",
		"-f", "lavfi", "-i", "anoisesrc=d=4:c=pink:r=48000:a=0.2:seed=7", "-pix_fmt", "yuv420p", "-threads", "1", "-c:v", "libx264", "-preset", "ultrafast", "-crf", "10", "-c:a", "flac"}
	// countArgs make a film without loss in which every frame differs.
	countArgs = []string{"-f", "lavfi", "-i", "testsrc2=size=96x64:rate=25:duration=4", "-f", "lavfi", "-i", "sine=duration=4:sample_rate=48000",
		"-pix_fmt", "yuv420p", "-threads", "1", "-c:v", "libx264", "-preset", "ultrafast", "-qp", "0", "-g", "40", "-bf", "2", "-c:a", "aac"}
)

func TestResolutionFitsAndNeverEnlarges(t *testing.T) {
	t.Parallel()
	r := newRunner(t, Limits{})
	wide := makeMedia(t, "in.mkv", "-f", "lavfi", "-i", "testsrc2=size=854x480:rate=10:duration=0.5", "-c:v", "mpeg4", "-q:v", "5")
	tall := makeMedia(t, "in.mkv", "-f", "lavfi", "-i", "testsrc=size=480x855:rate=10:duration=0.5", "-c:v", "ffv1", "-pix_fmt", "yuv444p")
	turned := makeMedia(t, "in.mp4", "-i", makeMedia(t, "in.mp4", "-f", "lavfi", "-i", "testsrc2=size=640x482:rate=10:duration=0.5", "-c:v", "libx264", "-preset", "ultrafast"),
		"-c", "copy", "-metadata:s:v", "rotate=90")
	for _, row := range []struct {
		in, format, raw string
		w, h            int
	}{
		{wide, "mp4", `{"resolution": "240p"}`, 428, 240},
		{wide, "avi", `{"resolution": "480p"}`, 854, 480},
		{wide, "avi", `{"resolution": "2160p"}`, 854, 480},
		{tall, "avi", `{"resolution": "360p"}`, 360, 642},
		{tall, "mkv", `{"video_codec": "ffv1"}`, 480, 855},
		{tall, "mkv", `{"video_codec": "ffv1", "resolution": "240p"}`, 240, 428},
		{turned, "mp4", `{"resolution": "360p", "preset": "ultrafast"}`, 360, 478},
	} {
		out, _ := asked(t, r, row.in, row.format, row.raw)
		if s, _ := out.Video(); s.Width != row.w || s.Height != row.h || s.SampleAspect != 0 && !near(s.SampleAspect, 1, 0.01) {
			t.Errorf("%s %s: %d×%d, pixels %v; want %d×%d", row.format, row.raw, s.Width, s.Height, s.SampleAspect, row.w, row.h)
		}
	}
}

func TestFramesASecond(t *testing.T) {
	t.Parallel()
	r := newRunner(t, Limits{})
	in := makeMedia(t, "in.mp4", countArgs...)
	for _, row := range []struct {
		format, raw string
		frames      int
		fps         float64
	}{
		{"mp4", `{"fps": "12.5", "preset": "ultrafast"}`, 50, 12.5},
		{"mkv", `{"fps": "23.976", "preset": "ultrafast"}`, 96, 24000.0 / 1001},
		{"avi", `{"fps": "29.97"}`, 120, 30000.0 / 1001},
		{"mov", `{"fps": 50, "preset": "ultrafast"}`, 200, 50},
	} {
		out, path := asked(t, r, in, row.format, row.raw)
		s, _ := out.Video()
		if n := len(frames(t, path)); n != row.frames || !near(s.FPS, row.fps, 0.001) {
			t.Errorf("%s %s: %d frames, %v a second", row.format, row.raw, n, s.FPS)
		}
	}
}

func TestChannels(t *testing.T) {
	t.Parallel()
	r := newRunner(t, Limits{})
	surround := makeMedia(t, "in.wav", with(toneArgs, "-af", "aformat=channel_layouts=5.1(side)")...)
	stereo := makeMedia(t, "in.wav", with(toneArgs, "-ac", "2")...)
	film := makeMedia(t, "in.mp4", countArgs...)
	for _, row := range []struct {
		in, format, raw string
		want            int
	}{
		{surround, "mp3", `{"channels": 1}`, 1},
		{surround, "ogg", `{"channels": 2}`, 2},
		{surround, "flac", `{"channels": 6}`, 6},
		{stereo, "m4a", `{"channels": "1"}`, 1},
		{stereo, "wav", `{"channels": 6}`, 6},
		{film, "avi", `{"channels": 2}`, 2},
		{film, "webm", `{"channels": 6, "audio_bitrate": "512k", "preset": "ultrafast"}`, 6},
	} {
		out, _ := asked(t, r, row.in, row.format, row.raw)
		if s, _ := out.Audio(); s.Channels != row.want {
			t.Errorf("%s %s: %d channels", row.format, row.raw, s.Channels)
		}
	}
}

func TestAudioBitrateOfAFilm(t *testing.T) {
	r := newRunner(t, Limits{})
	in := makeMedia(t, "in.mkv", grainArgs...)
	out, _ := asked(t, r, in, "mp4", `{"audio_bitrate": "64k", "preset": "ultrafast"}`)
	if s, _ := out.Audio(); !near(float64(s.BitRate), 64_000, 6_000) {
		t.Errorf("%d bits a second", s.BitRate)
	}
	// Opus takes 256k a channel at most.
	asked(t, r, in, "webm", `{"audio_bitrate": "512k", "preset": "ultrafast", "to": 0.5}`)
}

func TestLoudnessComesOut(t *testing.T) {
	r := newRunner(t, Limits{})
	noise := makeMedia(t, "in.wav", noiseArgs...)
	mono96 := makeMedia(t, "in.flac", "-f", "lavfi", "-i", "anoisesrc=d=5:c=pink:r=96000:a=0.01:seed=2", "-c:a", "flac")
	surround := makeMedia(t, "in.wav", with(noiseArgs[:4], "-af", "aformat=channel_layouts=5.1(side)", "-c:a", "pcm_s16le")...)
	nameless := makeMedia(t, "in.wav", "-f", "lavfi", "-i", "anoisesrc=d=4:c=pink:r=44100:a=0.1:seed=7", "-af", "pan=3c|c0=c0|c1=c0|c2=c0")
	film := makeMedia(t, "in.mkv", grainArgs...)
	short := makeMedia(t, "in.wav", "-f", "lavfi", "-i", "anoisesrc=d=1:c=pink:r=44100:a=0.1:seed=2")
	for _, row := range []struct {
		in, format, raw string
		want            float64
		rate            int
	}{
		{noise, "mp3", `{"loudness": -16}`, -16, 44100},
		{noise, "flac", `{"loudness": -23, "from": 2, "to": 7}`, -23, 44100},
		{noise, "ogg", `{"loudness": "-14", "channels": 1}`, -14, 44100},
		{noise, "wav", `{"loudness": "-31"}`, -31, 44100},
		{surround, "mp3", `{"loudness": -20}`, -20, 44100},
		{nameless, "aac", `{"loudness": -16}`, -16, 44100},
		{mono96, "flac", `{"loudness": -18}`, -18, 96000},
		{short, "m4a", `{"loudness": -16}`, -16, 44100},
		{film, "mp4", `{"loudness": -16, "preset": "ultrafast"}`, -16, 48000},
		{film, "webm", `{"loudness": -23, "preset": "ultrafast", "resolution": "240p", "fps": 5}`, -23, 48000},
	} {
		t.Run(row.format+" "+row.raw, func(t *testing.T) {
			t.Parallel()
			out, path := asked(t, r, row.in, row.format, row.raw)
			if got := loud(t, path); !near(got, row.want, 1) {
				t.Errorf("%v LUFS, the input has %v", got, loud(t, row.in))
			}
			if s, _ := out.Audio(); s.SampleRate != row.rate {
				t.Errorf("%d Hz", s.SampleRate)
			}
		})
	}
}

func TestSilenceAndSilentFilmsHaveNoLoudness(t *testing.T) {
	t.Parallel()
	r := newRunner(t, Limits{})
	silence := makeMedia(t, "in.wav", "-f", "lavfi", "-i", "anullsrc=r=44100:d=1")
	asked(t, r, silence, "flac", `{"loudness": -16}`)
	mute := makeMedia(t, "in.avi", "-f", "lavfi", "-i", "testsrc2=size=64x64:rate=10:duration=1", "-c:v", "mpeg4")
	if out, _ := asked(t, r, mute, "mp4", `{"loudness": -16, "channels": 2, "audio_bitrate": "96k"}`); len(out.Streams) != 1 {
		t.Errorf("%+v", out)
	}
}

func TestEachSoundHasItsOwnLoudness(t *testing.T) {
	t.Parallel()
	r := newRunner(t, Limits{})
	in := makeMedia(t, "in.mkv", "-f", "lavfi", "-i", "testsrc2=size=64x48:rate=5:duration=4", "-f", "lavfi", "-i", "anoisesrc=d=4:c=pink:r=48000:a=0.02:seed=1",
		"-f", "lavfi", "-i", "anoisesrc=d=4:c=pink:r=48000:a=0.4:seed=2", "-map", "0", "-map", "1", "-map", "2", "-c:v", "mpeg4", "-c:a", "flac")
	out, path := asked(t, r, in, "mkv", `{"loudness": -20, "preset": "ultrafast"}`)
	if sounds(out) != 2 {
		t.Fatalf("%+v", out)
	}
	for _, track := range []string{"0", "1"} {
		one := makeMedia(t, "one.wav", "-i", path, "-map", "0:a:"+track)
		if got := loud(t, one); !near(got, -20, 1) {
			t.Errorf("sound %s: %v LUFS", track, got)
		}
	}
}
