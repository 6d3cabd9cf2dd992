package ffmpeg

import (
	"fmt"
	"math"
	"slices"
)

// Copying says which streams of a conversion are taken over as they are.
type Copying struct {
	Film  bool
	Sound bool // all sounds or none
}

// Copies decides what needs no encoding: the codec is the one that would come
// out, players of the format take it, and the user asked for nothing that
// changes the stream. It is pure. Its errors are those of [Carry].
func Copies(info Info, format string, o Options) (Copying, error) {
	s, err := resolve(format, o)
	if err != nil {
		return Copying{}, err
	}
	if err := CheckFit(info, format); err != nil {
		return Copying{}, err
	}
	return copies(info, s, o), nil
}

func copies(info Info, s settings, o Options) Copying {
	if s.copy == copyNever || info.Estimated {
		return Copying{}
	}
	var touched touch
	for _, name := range optionNames {
		if t, known := touches[name]; o.has(name) && known {
			touched.film, touched.sound = touched.film || t.film, touched.sound || t.sound
		} else if o.has(name) {
			touched = touch{film: true, sound: true}
		}
	}
	return Copying{
		Film:  s.format.Kind == Video && !touched.film && copiesFilm(info, s),
		Sound: !touched.sound && copiesSound(info, s),
	}
}

// A touch says what an option changes.
type touch struct{ film, sound bool }

// touches is option -> what it changes. An option that is not here, such as
// where to begin and how large to become, changes all. The codec of the film is
// compared with what the film has.
var touches = map[string]touch{
	optVideoCodec: {}, optCopy: {},
	optCRF: {film: true}, optPreset: {film: true}, optProfile: {film: true}, optEncoder: {film: true},
	optVideoBitrate: {film: true}, optResolution: {film: true}, optFPS: {film: true},
	optBitrate: {sound: true}, optCompression: {sound: true}, optQuality: {sound: true},
	optAudioBitrate: {sound: true}, optChannels: {sound: true}, optLoudness: {sound: true},
}

// Containers whose timestamps can be trusted. AVI has none, those of
// transport streams jump.
var (
	timedFilms  = []Container{MOV, Matroska, WebM}
	timedSounds = []Container{MOV, Matroska, WebM, MP3, FLAC, WAV, Ogg, AAC}
)

func copiesFilm(info Info, s settings) bool {
	film, _ := info.Video()
	to := s.format.container
	return slices.Contains(timedFilms, info.Container) && to != AVI &&
		film.Codec == s.video.codec && film.PixFmt == "yuv420p" && film.Width%2 == 0 && film.Height%2 == 0 &&
		(film.Rotation == 0 || info.Container == MOV && to == MOV)
}

func copiesSound(info Info, s settings) bool {
	sounds := soundsOf(info, rooms[s.format.Name])
	if !slices.Contains(timedSounds, info.Container) || len(sounds) == 0 || s.format.container == AVI {
		return false
	}
	for _, sound := range sounds {
		if sound.Codec != s.audio.codec || !plays(sound) {
			return false
		}
	}
	return true
}

// plays tells a sound that every player of its codec plays.
func plays(s Stream) bool {
	switch s.Codec {
	case "mp3":
		return s.Channels <= 2
	case "aac":
		return s.Profile == "LC" && s.SampleRate >= 8000 && s.SampleRate <= 96_000
	}
	return s.Channels <= maxChannels
}

// filmCopyArgs take the film over as it is.
func filmCopyArgs(film Stream, s settings) []string {
	args := []string{"-map", mapped(film), "-c:v:0", "copy"}
	if film.Codec == x265.codec && s.format.container == MOV {
		args = append(args, "-tag:v:0", "hvc1")
	}
	return args
}

// copySlack is by how many seconds a copy may differ from its input: a frame
// of padding that the old container told to skip.
const copySlack = 0.12

// checkCopy is stricter than [CheckOutput], because a copy that is cut by the
// old container's edit list in a way that the new one does not know shows
// what nobody was to see. Such a film has more frames than time for them.
func checkCopy(in, out Info, format string, o Options, copied Copying, frames int64) error {
	s, err := resolve(format, o)
	if err != nil {
		return err
	}
	if err := CheckOutput(in, out, format, o); err != nil {
		return err
	}
	film, _ := in.Video()
	if copied.Film && in.Container == MOV && out.Container != MOV && math.Abs(film.FPS*film.Duration-float64(frames)) > 1.5 {
		return badOutput("it shows what the input's edit list hides")
	}
	if want := expected(in, s); math.Abs(out.Duration-want) > copySlack && out.Duration > want {
		return badOutput(fmt.Sprintf("it is %.2f s long instead of %.2f s", out.Duration, want))
	}
	return nil
}

// notes tell the user what was copied.
func (c Copying) notes() []string {
	var out []string
	if c.Film {
		out = append(out, "The film was copied without encoding.")
	}
	if c.Sound {
		out = append(out, "The sound was copied without encoding.")
	}
	return out
}
