package ffmpeg

import (
	"fmt"
	"math"
)

// Differences between the durations of input and output that mean nothing:
// a last frame, an encoder's padding, a header that rounds.
const (
	slackSeconds = 0.5
	slackShare   = 0.01
)

// expected is how long the output should be, in seconds; 0 for unknown.
func expected(in Info, s settings) float64 { return s.trimmed(fullLength(in, s.format.Kind)) }

// fullLength is how long the input is to whoever wants its sound only, or all;
// 0 for unknown.
func fullLength(in Info, kind MediaKind) float64 {
	sound, hasSound := in.Audio()
	if kind == Audio {
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
		if err := checkPicture(in, out, s); err != nil {
			return err
		}
	}
	if src, hasSound := in.Audio(); hasSound {
		sound, ok := out.Audio()
		switch {
		case !ok || sound.Codec != s.audio.codec:
			return badOutput("its sound is not " + s.audio.codec)
		case s.channels != 0 && sound.Channels != s.channels:
			return badOutput(fmt.Sprintf("its sound has %d channels instead of %d", sound.Channels, s.channelsOf(src)))
		}
		if got, want := sounds(out), len(soundsOf(in, rooms[f.Name])); got < want {
			return badOutput(fmt.Sprintf("it has %d sound tracks instead of %d", got, want))
		}
	}
	if s.sizeMB != 0 && out.Size > s.limit() {
		return badOutput("it is larger than " + number(s.sizeMB) + " MB")
	}
	want := expected(in, s)
	slack := slackSeconds + slackShare*want
	switch {
	case in.Estimated || want == 0:
		return nil
	case out.Duration < want-slack:
		return &Error{Kind: Short, Msg: fmt.Sprintf("The output ends at %.1f s of %.1f s: the file is damaged or cut short there.", out.Duration, want)}
	case out.Duration > max(want, s.trimmed(in.Duration))+slack:
		return badOutput(fmt.Sprintf("it is %.1f s long instead of %.1f s", out.Duration, want))
	}
	return nil
}

// checkPicture compares the films.
func checkPicture(in, out Info, s settings) error {
	film, ok := out.Video()
	if !ok || film.Codec != s.video.codec {
		return badOutput("its picture is not " + s.video.codec)
	}
	src, _ := in.Video()
	w, h := s.size(src)
	if outW, outH := film.Size(); outW != w || outH != h {
		return badOutput("its picture has another size")
	}
	// Of a second or less a mean rate tells little.
	if s.fps != 0 && film.FPS != 0 && out.Duration > 1 && math.Abs(film.FPS/s.fps-1) > 0.05 {
		return badOutput(fmt.Sprintf("it has %.2f pictures a second instead of %s", film.FPS, number(s.fps)))
	}
	return nil
}

func badOutput(why string) error {
	return &Error{Kind: BadOutput, Msg: "The output is not what was asked for: " + why + "."}
}
