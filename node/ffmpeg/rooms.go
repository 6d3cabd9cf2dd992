package ffmpeg

// A room is what a format has place for beside its film and its sound.
type room struct {
	sounds   int               // most sound tracks
	texts    map[string]string // codec of subtitles that are text -> encoder; "copy" keeps them as they are
	bitmaps  map[string]string // codec of subtitles that are pictures -> always "copy"
	fonts    map[string]string // codec of attached fonts -> always "copy"
	covers   map[string]bool   // codecs of cover pictures
	chapters bool
	tags     bool
}

// Bounds of what is carried: beyond them a file was not made for people.
const (
	maxSounds    = 16
	maxSubtitles = 32
	maxFonts     = 32
)

// textCodecs are the kinds of subtitles that are text.
var textCodecs = []string{"subrip", "srt", "ass", "ssa", "mov_text", "webvtt", "text"}

// texts says what becomes of subtitles that are text: the same encoder for
// all but the exceptions.
func texts(encoder string, except map[string]string) map[string]string {
	to := make(map[string]string, len(textCodecs))
	for _, codec := range textCodecs {
		to[codec] = encoder
	}
	for codec, own := range except {
		to[codec] = own
	}
	return to
}

var (
	jpegAndPNG = map[string]bool{"mjpeg": true, "png": true}

	// Pictures of subtitles cannot become text, so they are kept or left out.
	bitmaps = map[string]string{"dvd_subtitle": "copy", "hdmv_pgs_subtitle": "copy", "dvb_subtitle": "copy"}
	fonts   = map[string]string{"ttf": "copy", "otf": "copy"}

	// styled keeps the styles of ASS, which SRT has no words for.
	styled = map[string]string{"ass": "copy", "ssa": "copy", "subrip": "copy", "srt": "copy"}
)

// rooms is format -> what it has place for, measured with FFmpeg 5.1: its
// Matroska muxer makes a second film of a cover, its MOV muxer drops one, its
// Ogg and FLAC muxers write no chapters.
var rooms = map[string]room{
	"mp3":  {sounds: 1, covers: jpegAndPNG, chapters: true, tags: true},
	"flac": {sounds: 1, covers: jpegAndPNG, tags: true},
	"wav":  {sounds: 1, tags: true},
	"aac":  {sounds: 1},
	"ogg":  {sounds: 1, tags: true},
	"m4a":  {sounds: 1, covers: jpegAndPNG, chapters: true, tags: true},
	"mp4":  {sounds: maxSounds, texts: texts("mov_text", nil), covers: jpegAndPNG, chapters: true, tags: true},
	"mov":  {sounds: maxSounds, texts: texts("mov_text", nil), chapters: true, tags: true},
	"mkv":  {sounds: maxSounds, texts: texts("srt", styled), bitmaps: bitmaps, fonts: fonts, chapters: true, tags: true},
	"webm": {sounds: maxSounds, texts: texts("webvtt", nil), chapters: true, tags: true},
	"avi":  {sounds: maxSounds, tags: true},
}
