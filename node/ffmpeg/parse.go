package ffmpeg

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"

	"math"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

const (
	maxStreams  = 64
	maxTagBytes = 1 << 10

	// maxBitRate is the most that a stream may say of itself, in bits/s. Vorbis
	// writes small negative numbers for "unknown", which ffprobe takes for more.
	maxBitRate = 4_000_000_000
)

// tagNames are the tags that are kept, of the hundreds there are: what pages
// and playlists show. Aliases of other containers follow the colon.
var tagNames = map[string]string{
	"title": "title", "artist": "artist", "album": "album", "album_artist": "album_artist", "albumartist": "album_artist",
	"composer": "composer", "genre": "genre", "date": "date", "year": "date", "track": "track", "tracknumber": "track",
	"disc": "disc", "discnumber": "disc", "comment": "comment", "description": "description", "show": "show", "copyright": "copyright",
	"publisher": "publisher", "language": "language",
}

// probeJSON is the part of ffprobe's output that is asked for. Numbers come
// as texts, with "N/A" for unknown; text is kept raw so that one odd value
// does not cost the file.
type probeJSON struct {
	Format struct {
		Duration text            `json:"duration"`
		BitRate  text            `json:"bit_rate"`
		Start    text            `json:"start_time"`
		Tags     map[string]text `json:"tags"`
	} `json:"format"`
	Streams  []streamJSON `json:"streams"`
	Chapters []struct{}   `json:"chapters"`
}

type streamJSON struct {
	Index       *int            `json:"index"`
	Type        text            `json:"codec_type"`
	Codec       text            `json:"codec_name"`
	Profile     text            `json:"profile"`
	PixFmt      text            `json:"pix_fmt"`
	Width       text            `json:"width"`
	Height      text            `json:"height"`
	Aspect      text            `json:"sample_aspect_ratio"`
	FieldOrder  text            `json:"field_order"`
	Range       text            `json:"color_range"`
	Matrix      text            `json:"color_space"`
	Transfer    text            `json:"color_transfer"`
	Primaries   text            `json:"color_primaries"`
	FPS         text            `json:"avg_frame_rate"`
	Channels    text            `json:"channels"`
	Layout      text            `json:"channel_layout"`
	SampleRate  text            `json:"sample_rate"`
	BitRate     text            `json:"bit_rate"`
	Duration    text            `json:"duration"`
	Start       text            `json:"start_time"`
	Tags        map[string]text `json:"tags"`
	Disposition struct {
		Default text `json:"default"`
		Cover   text `json:"attached_pic"`
	} `json:"disposition"`
	SideData []struct {
		Rotation text `json:"rotation"`
	} `json:"side_data_list"`
}

// A text is a JSON string, number or true and false, as a string. Anything
// else is empty.
type text string

func (t *text) UnmarshalJSON(b []byte) error {
	*t = ""
	switch {
	case len(b) == 0 || b[0] == '{' || b[0] == '[' || b[0] == 'n':
	case b[0] == '"':
		var s string
		if err := json.Unmarshal(b, &s); err != nil {
			return err
		}
		*t = text(s)
	default:
		*t = text(b)
	}
	return nil
}

// parseProbe makes an Info from ffprobe's JSON. It trusts nothing in it.
func parseProbe(data []byte, c Container) (Info, error) {
	var p probeJSON
	if err := json.Unmarshal(data, &p); err != nil {
		return Info{}, fmt.Errorf("read ffprobe's answer: %w", err)
	}
	if len(p.Streams) > maxStreams {
		return Info{}, fmt.Errorf("more than %d streams", maxStreams)
	}
	info := Info{
		Container: c,
		Kind:      Audio,
		Duration:  p.Format.Duration.seconds(),
		BitRate:   p.Format.BitRate.count(math.MaxInt64 / 2),
		Chapters:  min(len(p.Chapters), 10000),
		Tags:      map[string]string{},
	}
	seen := map[int]bool{}
	for _, s := range p.Streams {
		if s.Index == nil || *s.Index < 0 || *s.Index >= 1<<16 || seen[*s.Index] {
			return Info{}, errors.New("a stream has no index of its own")
		}
		seen[*s.Index] = true
		info.Streams = append(info.Streams, s.stream(c))
	}
	collectTags(info.Tags, p.Format.Tags)
	if c == Ogg { // which keeps them with the stream
		for _, s := range p.Streams {
			collectTags(info.Tags, s.Tags)
		}
	}
	if len(info.Tags) == 0 {
		info.Tags = nil
	}
	if _, ok := info.Video(); ok {
		info.Kind = Video
	}
	if info.Duration == 0 {
		for _, s := range info.Streams {
			info.Duration = max(info.Duration, s.Duration)
		}
	}
	info.Type = mimeType(c, info.Kind, string(p.Format.Tags["major_brand"]))
	return info, nil
}

func (s streamJSON) stream(c Container) Stream {
	st := Stream{
		Index:        *s.Index,
		Type:         s.Type.word(),
		Codec:        s.Codec.word(),
		Profile:      s.Profile.line(64),
		PixFmt:       s.PixFmt.word(),
		Width:        int(s.Width.count(1 << 24)),
		Height:       int(s.Height.count(1 << 24)),
		SampleAspect: s.Aspect.ratio(":"),
		Color:        Color{s.Range.word(), s.Matrix.word(), s.Transfer.word(), s.Primaries.word()},
		FPS:          s.FPS.ratio("/"),
		Channels:     int(s.Channels.count(1 << 16)),
		Layout:       s.Layout.line(64),
		SampleRate:   int(s.SampleRate.count(1 << 30)),
		BitRate:      s.BitRate.count(maxBitRate),
		Start:        s.Start.number(),
		Duration:     s.Duration.seconds(),
		Cover:        s.Disposition.Cover == "1",
		Default:      s.Disposition.Default == "1",
	}
	switch s.FieldOrder {
	case "tt", "bb", "tb", "bt":
		st.Interlaced = true
	}
	// Recordings of browsers claim 1000 pictures a second, which is only the
	// unit in which Matroska counts time: not known, then.
	if st.FPS == 1000 && (c == WebM || c == Matroska) {
		st.FPS = 0
	}
	for name, value := range s.Tags {
		switch strings.ToLower(name) {
		case "language":
			if st.Language = value.line(16); st.Language == "und" {
				st.Language = ""
			}
		case "duration":
			if st.Duration == 0 {
				st.Duration = value.clock()
			}
		}
	}
	for _, d := range s.SideData {
		// ffprobe tells by how much the picture is turned against the clock.
		if turn := d.Rotation.number(); turn != 0 {
			st.Rotation = ((-int(math.Round(turn/90))*90)%360 + 360) % 360
		}
	}
	return st
}

// collectTags keeps the first value for each name that we know, whichever
// spelling it comes in. Proper names win over aliases.
func collectTags(tags map[string]string, from map[string]text) {
	lower := map[string]text{}
	for name, value := range from {
		lower[strings.ToLower(name)] = value
	}
	for alias, name := range maps.All(tagNames) {
		value := lower[alias].line(maxTagBytes)
		if value == "" || alias != name && lower[name] != "" {
			continue
		}
		if _, have := tags[name]; !have {
			tags[name] = value
		}
	}
}

// line is the text on one line, valid UTF-8 without control characters, at
// most max bytes.
func (t text) line(max int) string {
	s := strings.ToValidUTF8(string(t), "\uFFFD")
	s = strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return ' '
		case unicode.IsControl(r):
			return -1
		}
		return r
	}, s)
	if len(s) > max {
		s = strings.ToValidUTF8(s[:max], "")
	}
	return strings.TrimSpace(s)
}

// word is a name out of ffmpeg's own tables.
func (t text) word() string {
	s := t.line(32)
	if s == "unknown" {
		return ""
	}
	return s
}

// number is the text as a finite number, else zero.
func (t text) number() float64 {
	f, err := strconv.ParseFloat(string(t), 64)
	if err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
		return 0
	}
	return f
}

// seconds is a duration: never negative, never beyond what arithmetic bears.
func (t text) seconds() float64 {
	if f := t.number(); f > 0 && f < 1e12 {
		return f
	}
	return 0
}

// count is a whole number from 0 to max, else zero.
func (t text) count(max int64) int64 {
	n, err := strconv.ParseInt(string(t), 10, 64)
	if err != nil || n < 0 || n > max {
		return 0
	}
	return n
}

// ratio is a fraction such as 30000/1001, zero when it is not one.
func (t text) ratio(sep string) float64 {
	a, b, ok := strings.Cut(string(t), sep)
	if !ok {
		return 0
	}
	n, d := text(a).number(), text(b).number()
	if n <= 0 || d <= 0 || math.IsInf(n/d, 0) {
		return 0
	}
	return n / d
}

// clock reads 00:04:05.123, the way Matroska's statistics tags tell time.
func (t text) clock() float64 {
	parts := strings.Split(string(t), ":")
	if len(parts) != 3 {
		return 0
	}
	h, m, s := text(parts[0]).seconds(), text(parts[1]).seconds(), text(parts[2]).seconds()
	return text(strconv.FormatFloat(h*3600+m*60+s, 'f', -1, 64)).seconds()
}

// tagAliases lists every spelling of the tags that are kept.
func tagAliases() []string { return slices.Sorted(maps.Keys(tagNames)) }
