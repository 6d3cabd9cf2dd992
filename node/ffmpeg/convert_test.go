package ffmpeg

import (
	"testing"
)

func TestEveryFormatFromASongAndAFilm(t *testing.T) {
	r := newRunner(t, Limits{})
	inputs := map[MediaKind]string{Audio: song(t), Video: film(t)}
	infos := map[MediaKind]Info{Audio: probe(t, r, inputs[Audio]), Video: probe(t, r, inputs[Video])}
	for _, f := range Formats() {
		for kind, input := range inputs {
			if f.Kind == Video && kind == Audio {
				continue
			}
			t.Run(string(kind)+" to "+f.Name, func(t *testing.T) {
				t.Parallel()
				in := infos[kind]
				out := convert(t, r, Params{Input: input, Info: in, Format: f.Name, Threads: 1})
				if !near(out.Duration, in.Duration, 0.1) {
					t.Errorf("duration %.3f, input has %.3f", out.Duration, in.Duration)
				}
				if out.Type != f.Type {
					t.Errorf("type %q, want %q", out.Type, f.Type)
				}
				src, _ := in.Audio()
				got, _ := out.Audio()
				if got.Channels != src.Channels {
					t.Errorf("channels %d, want %d", got.Channels, src.Channels)
				}
				if got.SampleRate != src.SampleRate && f.Name != "webm" {
					t.Errorf("sample rate %d, want %d", got.SampleRate, src.SampleRate)
				}
				if f.Kind == Video {
					a, _ := in.Video()
					b, _ := out.Video()
					if !near(a.FPS, b.FPS, 0.01) || a.Width != b.Width || a.Height != b.Height || b.PixFmt != "yuv420p" {
						t.Errorf("picture %+v, input has %+v", b, a)
					}
				}
			})
		}
	}
}
