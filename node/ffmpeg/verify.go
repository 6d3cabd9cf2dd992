package ffmpeg

import "fmt"

// Differences between the durations of input and output that mean nothing:
// a last frame, an encoder's padding, a header that rounds.
const (
	slackSeconds = 0.5
	slackShare   = 0.01
)

// expected is how long the output should be, in seconds; 0 for unknown.
func expected(in Info, format string) float64 {
	f, err := Lookup(format)
	if err != nil {
		return 0
	}
	sound, hasSound := in.Audio()
	if f.Kind == Audio {
		if hasSound && sound.Duration > 0 {
			return sound.Duration
		}
		return in.Duration
	}
	film, _ := in.Video()
	if film.Duration == 0 || hasSound && sound.Duration == 0 {
		return in.Duration
	}
	return max(film.Start+film.Duration, sound.Start+sound.Duration) - start(film, sound, hasSound)
}

func start(film, sound Stream, hasSound bool) float64 {
	if hasSound {
		return min(film.Start, sound.Start)
	}
	return film.Start
}

// CheckOutput compares what came out of a conversion with what went in, both
// probed. Its error is [ErrBadOutput] when the output is not of the format or
// lacks a stream. It is [ErrShort] when the output is sound but ends early,
// which is how an input that is damaged or cut short comes out: the caller
// may keep it and tell so.
func CheckOutput(in, out Info, format string, o Options) error {
	s, err := resolve(format, o)
	if err != nil {
		return err
	}
	f := s.format
	if out.Container != f.container || out.Kind != f.Kind {
		return badOutput("it is not " + f.Name)
	}
	if f.Kind == Video {
		film, ok := out.Video()
		if !ok || film.Codec != s.video.codec {
			return badOutput("its picture is not " + s.video.codec)
		}
		src, _ := in.Video()
		w, h := src.Size()
		if outW, outH := film.Size(); outW != w&^1 || outH != h&^1 {
			return badOutput("its picture has another size")
		}
	}
	if _, hasSound := in.Audio(); hasSound {
		if sound, ok := out.Audio(); !ok || sound.Codec != f.audio.codec {
			return badOutput("its sound is not " + f.audio.codec)
		}
		if got, want := sounds(out), len(soundsOf(in, rooms[f.Name])); got < want {
			return badOutput(fmt.Sprintf("it has %d sound tracks instead of %d", got, want))
		}
	}
	want := expected(in, format)
	slack := slackSeconds + slackShare*want
	switch {
	case in.Estimated || want == 0:
		return nil
	case out.Duration < want-slack:
		return &Error{Kind: Short, Msg: fmt.Sprintf("The output ends at %.1f s of %.1f s: the file is damaged or cut short there.", out.Duration, want)}
	case out.Duration > max(want, in.Duration)+slack:
		return badOutput(fmt.Sprintf("it is %.1f s long instead of %.1f s", out.Duration, want))
	}
	return nil
}

func badOutput(why string) error {
	return &Error{Kind: BadOutput, Msg: "The output is not what was asked for: " + why + "."}
}
