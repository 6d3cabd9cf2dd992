package ffmpeg

import "slices"

// A Carriage says what becomes of every stream of an input: what is in none
// of its fields is left out, and Notes says so.
type Carriage struct {
	Film      *Stream    // nil in an audio format
	Sounds    []Stream   // those that are encoded or copied, in the input's order
	Subtitles []Subtitle // in the input's order
	Fonts     []Stream   // attached ones, copied
	Cover     *Stream    // copied undecoded
	Chapters  bool
	Copied    Copying  // what of film and sounds is not encoded
	Notes     []string // sentences for people about what is lost or changed
}

// A Subtitle is a track of subtitles that is carried.
type Subtitle struct {
	Stream
	Encoder string // ffmpeg's name, or copy
}

// bare is the carriage without what a conversion can do without: the streams
// that are damaged when a conversion fails that works with less.
func (c Carriage) bare() Carriage {
	c.Subtitles, c.Fonts, c.Cover = nil, nil, nil
	return c
}

// Rest tells whether anything but the film has a stream in the output.
func (c Carriage) Rest() bool {
	return len(c.Sounds)+len(c.Subtitles)+len(c.Fonts) > 0 || c.Cover != nil
}

// Carry decides what becomes of every stream of an input in a format. It is
// pure. Its errors are those of [ParseOptions] and [CheckFit].
//
// Colour tags (primaries, transfer, matrix, range) need no decision: FFmpeg
// hands them from the decoder through the filters to the encoder. A rotated
// picture is turned when it is encoded.
func Carry(info Info, format string, o Options) (Carriage, error) {
	s, err := resolve(format, o)
	if err != nil {
		return Carriage{}, err
	}
	if err := CheckFit(info, format); err != nil {
		return Carriage{}, err
	}
	return carry(info, s, o), nil
}

// Notes are sentences for people about what a conversion would lose, change or
// take over without encoding. It is pure, and nil for what cannot be converted.
func Notes(info Info, format string, o Options) []string {
	c, err := Carry(info, format, o)
	if err != nil {
		return nil
	}
	return c.Notes
}

func carry(info Info, s settings, o Options) Carriage {
	r := rooms[s.format.Name]
	c := Carriage{
		Sounds:   soundsOf(info, r),
		Chapters: info.Chapters > 0 && r.chapters,
		Copied:   copies(info, s, o),
	}
	if film, ok := info.Video(); ok && s.format.Kind == Video {
		c.Film = &film
	}
	for _, st := range info.Streams {
		switch st.Type {
		case "subtitle":
			if encoder := r.encoderOf(st.Codec); encoder != "" && len(c.Subtitles) < maxSubtitles {
				c.Subtitles = append(c.Subtitles, Subtitle{st, encoder})
			}
		case "attachment":
			if r.fonts[st.Codec] != "" && len(c.Fonts) < maxFonts {
				c.Fonts = append(c.Fonts, st)
			}
		}
	}
	if cover, ok := info.Cover(); ok && r.covers[cover.Codec] {
		c.Cover = &cover
	}
	c.Notes = append(notes(info, s, c), c.Copied.notes()...)
	return c
}

// soundsOf are the sound tracks that a format takes: all that can be decoded
// where it holds several, else the one that is heard.
func soundsOf(info Info, r room) []Stream {
	heard, ok := info.Audio()
	if !ok {
		return nil
	}
	if r.sounds == 1 {
		return []Stream{heard}
	}
	var all []Stream
	for _, st := range info.Streams {
		if st.isSound() {
			all = append(all, st)
		}
	}
	if len(all) > r.sounds {
		all = all[:r.sounds]
		if !slices.Contains(all, heard) {
			all[len(all)-1] = heard
		}
	}
	return all
}

// encoderOf is how subtitles of a codec are kept, or nothing.
func (r room) encoderOf(codec string) string {
	if encoder := r.texts[codec]; encoder != "" {
		return encoder
	}
	return r.bitmaps[codec]
}

// sounds counts the tracks that can be heard.
func sounds(info Info) int {
	n := 0
	for _, st := range info.Streams {
		if st.isSound() {
			n++
		}
	}
	return n
}
