package ffmpeg

import (
	"slices"
	"strconv"
)

// RestArgs are the arguments of the ffmpeg that makes a file of everything but
// the film, as [Runner.Audio] does: its streams stand in the order in which
// [ConvertArgs] puts them behind the film. It is pure. Its errors are those
// of ConvertArgs.
func RestArgs(p Params) ([]string, error) {
	p.rest = true
	return ConvertArgs(p)
}

// A target is the kind of file that everything but the film is kept in.
type target struct {
	muxer     string
	args      []string // of the muxer
	container Container
	shift     int64 // microseconds that all times in it are late, so that none is negative
}

// tagsOnly is our own kind of file of tags and chapters alone, of silent films.
const tagsOnly Container = "ffmetadata"

// restOf chooses a container that holds whatever the format's own holds.
// Matroska makes all times positive by moving them, so they are before.
func restOf(s settings, c Carriage) target {
	const shift = 1_000_000
	shifted := []string{"-output_ts_offset", timeText(shift)}
	switch {
	case !c.Rest():
		return target{muxer: "ffmetadata", container: tagsOnly}
	case s.format.container == MOV:
		return target{muxer: s.format.muxer, container: MOV}
	case s.format.container == WebM:
		return target{muxer: "webm", args: shifted, container: WebM, shift: shift}
	}
	return target{muxer: "matroska", args: shifted, container: Matroska, shift: shift}
}

// decodersFor is the allow list of a conversion: with the decoders of text
// subtitles only where the input has such. ffmpeg opens them also for what it
// does not convert, and would complain about each.
func decodersFor(info Info) string {
	if slices.ContainsFunc(info.Streams, func(s Stream) bool { return s.Type == "subtitle" && slices.Contains(textCodecs, s.Codec) }) {
		return subtitledList
	}
	return convertList
}

// restArgs map and encode everything but the film: sounds, subtitles, fonts,
// the cover, chapters and tags. c.Film tells whether a film stands in front.
func restArgs(p Params, s settings, c Carriage) []string {
	args := soundMaps(p.Info, c)
	if c.Copied.Sound {
		args = append(args, "-c:a", "copy")
	} else {
		args = append(args, audioArgs(p.Info, c.Sounds, s)...)
	}
	args = append(args, subtitleArgs(c)...)
	args = append(args, partArgs(s, c)...)
	for _, font := range c.Fonts {
		args = append(args, "-map", mapped(font))
	}
	if len(c.Fonts) > 0 {
		args = append(args, "-c:t", "copy")
	}
	args = append(args, coverArgs(c)...)
	return append(args, tagArgs(p.Info)...)
}

// soundMaps choose the sound tracks. The one that is heard stays the one that
// players take, whatever the old container told or did not tell.
func soundMaps(info Info, c Carriage) []string {
	if len(c.Sounds) == 0 {
		return []string{"-an"}
	}
	heard, _ := info.Audio()
	var args, dispositions []string
	for i, sound := range c.Sounds {
		args = append(args, "-map", mapped(sound))
		if len(c.Sounds) > 1 && sound == heard {
			dispositions = []string{"-disposition:a:" + strconv.Itoa(i), "+default"}
		}
	}
	return append(args, dispositions...)
}

// subtitleArgs keep subtitles.
func subtitleArgs(c Carriage) []string {
	if len(c.Subtitles) == 0 {
		return []string{"-sn"}
	}
	var args []string
	for i, sub := range c.Subtitles {
		args = append(args, "-map", mapped(sub.Stream), "-c:s:"+strconv.Itoa(i), sub.Encoder)
	}
	return append(args, switchedOff(c)...)
}

// switchedOff keeps subtitles off that were off. Without a word about them
// ffmpeg switches the first one on, also when it only joins what is encoded
// already.
func switchedOff(c Carriage) []string {
	var args []string
	for i, sub := range c.Subtitles {
		if !sub.Default {
			args = append(args, "-disposition:s:"+strconv.Itoa(i), "-default")
		}
	}
	return args
}

// coverArgs copy the cover, undecoded.
func coverArgs(c Carriage) []string {
	if c.Cover == nil {
		if c.Film == nil {
			return []string{"-vn"}
		}
		return nil
	}
	n := "0"
	if c.Film != nil {
		n = "1"
	}
	return []string{"-map", mapped(*c.Cover), "-c:v:" + n, "copy", "-disposition:v:" + n, "attached_pic"}
}

// tagArgs keep titles and chapters.
func tagArgs(info Info) []string {
	args := []string{"-map_metadata", "0"}
	if info.Container == Ogg { // which keeps its tags with the stream
		if sound, ok := info.Audio(); ok {
			args = append(args, "-map_metadata:g", "0:s:"+strconv.Itoa(sound.Index))
		}
	}
	if info.Container == MOV { // notes about the old container, wrong in the new one
		args = append(args, "-metadata", "major_brand=", "-metadata", "minor_version=", "-metadata", "compatible_brands=")
	}
	return append(args, "-map_chapters", "0")
}
