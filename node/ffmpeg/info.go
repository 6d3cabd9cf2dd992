package ffmpeg

// MediaKind tells films from sounds.
type MediaKind string

// The kinds of media.
const (
	Audio MediaKind = "audio" // no moving picture; cover art does not count
	Video MediaKind = "video"
)

// Info is what a file is, by our own sniffing and ffprobe's reading.
type Info struct {
	Container Container         `json:"container"`
	Type      string            `json:"type"` // MIME type by our own table
	Kind      MediaKind         `json:"kind"`
	Duration  float64           `json:"duration"`            // seconds
	Estimated bool              `json:"estimated,omitempty"` // Duration may be off by some per cent
	Measured  bool              `json:"-"`                   // Duration was found by reading the whole file: no header told it
	BitRate   int64             `json:"bit_rate,omitempty"`  // bits/s of the whole file
	Size      int64             `json:"size"`                // bytes
	Streams   []Stream          `json:"streams"`
	Tags      map[string]string `json:"tags,omitempty"` // lower-case name -> value, see tagNames
	Chapters  int               `json:"chapters,omitempty"`
}

// A Stream is one of a file's streams. Fields that do not belong to its type
// are zero, as are those that the file does not tell.
type Stream struct {
	Index        int     `json:"index"`
	Type         string  `json:"type"` // video, audio, subtitle, data, attachment
	Codec        string  `json:"codec,omitempty"`
	Profile      string  `json:"profile,omitempty"`
	PixFmt       string  `json:"pix_fmt,omitempty"`
	Width        int     `json:"width,omitempty"`    // as stored, before rotation
	Height       int     `json:"height,omitempty"`   // as stored, before rotation
	Rotation     int     `json:"rotation,omitempty"` // degrees clockwise to turn it for viewing: 0, 90, 180, 270
	SampleAspect float64 `json:"sample_aspect,omitempty"`
	FPS          float64 `json:"fps,omitempty"` // mean frames a second
	Interlaced   bool    `json:"interlaced,omitempty"`
	Color        Color   `json:"color,omitzero"`
	Channels     int     `json:"channels,omitempty"`
	Layout       string  `json:"layout,omitempty"`
	SampleRate   int     `json:"sample_rate,omitempty"` // Hz
	BitRate      int64   `json:"bit_rate,omitempty"`    // bits/s
	Start        float64 `json:"start,omitempty"`       // seconds
	Duration     float64 `json:"duration,omitempty"`    // seconds
	Language     string  `json:"language,omitempty"`
	Cover        bool    `json:"cover,omitempty"` // a picture that belongs to music, not a film
	Default      bool    `json:"default,omitempty"`
}

// Video returns the stream that is the film: the default one, else the first.
func (i Info) Video() (Stream, bool) {
	return i.pick(func(s Stream) bool {
		return s.Type == "video" && !s.Cover && decodable[s.Codec] && s.Width > 0 && s.Height > 0
	})
}

// Audio returns the stream that is heard: the default one, else the first.
func (i Info) Audio() (Stream, bool) {
	return i.pick(Stream.isSound)
}

// isSound tells a track that can be decoded and heard.
func (s Stream) isSound() bool {
	return s.Type == "audio" && decodable[s.Codec] && s.Channels > 0 && s.SampleRate > 0
}

// Cover returns the cover picture, if it is of a type that can be copied.
func (i Info) Cover() (Stream, bool) {
	return i.pick(func(s Stream) bool {
		return s.Cover && (s.Codec == "mjpeg" || s.Codec == "png") && s.Width > 0 && s.Height > 0
	})
}

func (i Info) pick(fits func(Stream) bool) (Stream, bool) {
	var first Stream
	found := false
	for _, s := range i.Streams {
		switch {
		case !fits(s):
		case s.Default:
			return s, true
		case !found:
			first, found = s, true
		}
	}
	return first, found
}

// Size returns width and height as the viewer sees them, after rotation.
func (s Stream) Size() (width, height int) {
	if s.Rotation == 90 || s.Rotation == 270 {
		return s.Height, s.Width
	}
	return s.Width, s.Height
}

// mimeTypes is container -> type of a film and of a sound in it.
var mimeTypes = map[Container]struct{ video, audio string }{
	MOV:      {"video/mp4", "audio/mp4"},
	Matroska: {"video/x-matroska", "audio/x-matroska"},
	WebM:     {"video/webm", "audio/webm"},
	AVI:      {"video/x-msvideo", "video/x-msvideo"},
	FLV:      {"video/x-flv", "video/x-flv"},
	MPEGTS:   {"video/mp2t", "video/mp2t"},
	MPEGPS:   {"video/mpeg", "video/mpeg"},
	ASF:      {"video/x-ms-wmv", "audio/x-ms-wma"},
	Ogg:      {"video/ogg", "audio/ogg"},
	MP3:      {"audio/mpeg", "audio/mpeg"},
	WAV:      {"audio/wav", "audio/wav"},
	FLAC:     {"audio/flac", "audio/flac"},
	AAC:      {"audio/aac", "audio/aac"},
	AIFF:     {"audio/aiff", "audio/aiff"},
}

// mimeType names the content. The brand is the one in the file's ftyp box.
func mimeType(c Container, kind MediaKind, brand string) string {
	types := mimeTypes[c]
	switch {
	case kind == Audio:
		return types.audio
	case c == MOV && (brand == "qt  " || brand == ""):
		return "video/quicktime"
	case c == MOV && len(brand) == 4 && brand[:2] == "3g":
		return "video/3gpp"
	}
	return types.video
}
