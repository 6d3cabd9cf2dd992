package ffmpeg

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// notes say what an output lacks of its input, and what has changed. Nothing
// in them comes from the file but names of codecs that we know and languages
// that look like one.
func notes(info Info, s settings, c Carriage) []string {
	r, name := rooms[s.format.Name], strings.ToUpper(s.format.Name)
	var out []string
	out = append(out, lostSounds(info, c, r, name)...)
	if s.format.Kind == Video {
		out = append(out, lostFilms(info, c)...)
		out = append(out, lostSubtitles(info, c, r, name)...)
		out = append(out, lostOthers(info, c)...)
		if !c.Copied.Film && s.video.Name != ffv1.Name { // which keeps the pixels as they are
			out = append(out, pictureNotes(*c.Film)...)
		}
		if named := languages(c.Sounds); s.format.container == AVI && len(c.Sounds) > 1 && len(named) > 0 {
			out = append(out, fmt.Sprintf("The languages of the sound tracks (%s) were left out: AVI has no place for them.", strings.Join(named, ", ")))
		}
	}
	if len(c.Subtitles) > 0 && (s.from != 0 || s.to != 0) {
		out = append(out, "Subtitles that reach over an end of the part were left out.")
	}
	if hasCover(info) && c.Cover == nil {
		out = append(out, fmt.Sprintf("The cover picture was left out: %s has no place for it.", name))
	}
	if info.Chapters > 0 && !c.Chapters {
		out = append(out, fmt.Sprintf("%s left out: %s has no place for them.", were(info.Chapters, "chapter mark"), name))
	}
	if len(info.Tags) > 0 && !r.tags {
		out = append(out, fmt.Sprintf("Title and other tags were left out: %s has no place for them.", name))
	}
	return out
}

func lostSounds(info Info, c Carriage, r room, name string) []string {
	var foreign, more []Stream
	for _, st := range info.Streams {
		switch {
		case st.Type != "audio" || slices.Contains(c.Sounds, st):
		case st.isSound():
			more = append(more, st)
		default:
			foreign = append(foreign, st)
		}
	}
	out := left(more, "sound track", fmt.Sprintf("%s holds one", name))
	if r.sounds > 1 {
		out = left(more, "sound track", fmt.Sprintf("at most %d are kept", r.sounds))
	}
	return append(out, left(foreign, "sound track", "malla cannot decode such sound")...)
}

func lostFilms(info Info, c Carriage) []string {
	var more []Stream
	for _, st := range info.Streams {
		if st.Type == "video" && !st.Cover && st.Index != c.Film.Index {
			more = append(more, st)
		}
	}
	return left(more, "further film track", "a film has one picture")
}

func lostSubtitles(info Info, c Carriage, r room, name string) []string {
	var foreign, more []Stream
	for _, st := range info.Streams {
		switch {
		case st.Type != "subtitle":
		case slices.ContainsFunc(c.Subtitles, func(k Subtitle) bool { return k.Index == st.Index }):
		case r.encoderOf(st.Codec) != "":
			more = append(more, st)
		default:
			foreign = append(foreign, st)
		}
	}
	out := left(foreign, "subtitle track", fmt.Sprintf("%s has no place for them", name))
	return append(out, left(more, "subtitle track", fmt.Sprintf("at most %d are kept", maxSubtitles))...)
}

// lostOthers names attachments and data. The tracks in which MP4 keeps its
// chapters are data, too, and belong to the chapters.
func lostOthers(info Info, c Carriage) []string {
	attached, data := -len(c.Fonts), 0
	for _, st := range info.Streams {
		switch {
		case st.Type == "attachment":
			attached++
		case st.Type == "data" && (info.Container != MOV || info.Chapters == 0 || st.Codec != "bin_data"):
			data++
		}
	}
	var out []string
	if attached > 0 {
		out = append(out, were(attached, "attached file")+" left out.")
	}
	if data > 0 {
		out = append(out, were(data, "data track")+" left out.")
	}
	return out
}

// pictureNotes say what an encoded picture loses.
func pictureNotes(film Stream) []string {
	var out []string
	if depth := film.depth(); depth != "8" {
		out = append(out, depth+"-bit colour became 8-bit.")
	}
	if strings.Contains(film.PixFmt, "422") || strings.Contains(film.PixFmt, "444") || strings.Contains(film.PixFmt, "rgb") || strings.Contains(film.PixFmt, "bgr") {
		out = append(out, "Colour was halved in both directions (4:2:0), as players expect it.")
	}
	if strings.HasPrefix(film.PixFmt, "yuva") || strings.Contains(film.PixFmt, "rgba") || strings.Contains(film.PixFmt, "bgra") {
		out = append(out, "Transparency was left out.")
	}
	if film.Color.hdr() {
		out = append(out, "The film keeps its HDR colours but has fewer shades.")
	}
	if w, h := film.Size(); w%2 != 0 || h%2 != 0 {
		out = append(out, "The odd last row or column of the picture was cut off.")
	}
	return out
}

// left groups streams that are left out by codec, one sentence for each.
func left(streams []Stream, what, why string) []string {
	byCodec := map[string][]Stream{}
	for _, st := range streams {
		codec := knownCodec(st.Codec)
		byCodec[codec] = append(byCodec[codec], st)
	}
	var out []string
	for _, codec := range slices.Sorted(maps.Keys(byCodec)) {
		group := byCodec[codec]
		out = append(out, fmt.Sprintf("%s left out (%s): %s.", were(len(group), what), strings.Join(append([]string{codec}, languages(group)...), ", "), why))
	}
	return out
}

// were is such as "2 subtitle tracks were".
func were(n int, what string) string {
	if n == 1 {
		return "1 " + what + " was"
	}
	return fmt.Sprintf("%d %ss were", n, what)
}

var languageCode = regexp.MustCompile(`^[a-z]{2,3}$`)

// languages are the streams' languages that look like one, each once.
func languages(streams []Stream) []string {
	var codes []string
	for _, st := range streams {
		if languageCode.MatchString(st.Language) && !slices.Contains(codes, st.Language) {
			codes = append(codes, st.Language)
		}
	}
	return codes
}

// undecoded are codecs that malla knows by name only.
var undecoded = codecSet(append(slices.Concat(textCodecs, coverDecoders),
	"dvd_subtitle", "hdmv_pgs_subtitle", "dvb_subtitle", "dvb_teletext", "eia_608", "xsub", "ttml", "ac4", "atrac3", "cook", "gif", "webp", "bmp", "tiff"))

// knownCodec is a codec's name if it is in our tables, for texts.
func knownCodec(name string) string {
	if decodable[name] || undecoded[name] {
		return name
	}
	return "a kind that malla does not know"
}

func hasCover(info Info) bool {
	return slices.ContainsFunc(info.Streams, func(s Stream) bool { return s.Cover })
}
