package ffmpeg

import (
	"bytes"
	"encoding/binary"
	"io"
	"strings"
	"unicode/utf16"
)

// id3Frames is frame -> what ffprobe calls it (id3.org, ID3v2.3 section 4.2).
// The year and the day of a date come apart.
var id3Frames = map[string]string{
	"TIT2": "title", "TPE1": "artist", "TALB": "album", "TPE2": "album_artist", "TCOM": "composer", "TRCK": "track", "TPOS": "disc",
	"TCOP": "copyright", "TPUB": "publisher", "TLAN": "language", "TSSE": "encoder", "TENC": "encoded_by", "TYER": "year and", "TDAT": "day",
}

// readMP3 reads the tag and the first frame, in which LAME tells how many
// follow.
func readMP3(_ io.ReaderAt, head []byte, _ int64) (heard, bool) {
	var b bag
	if size, tag := id3Size(head); tag {
		if size >= int64(len(head)) || head[3] != 3 || head[5] != 0 || !b.id3(head[id3Header:size]) {
			return heard{}, false
		}
		head = head[size:]
	}
	length, _ := mpegFrame(head)
	if length == 0 || length > len(head) || head[1]>>1&3 != 1 {
		return heard{}, false
	}
	at := bytes.Index(head[:length], []byte("Info")) // Xing would tell a bitrate that varies
	if at < 0 || at+12 > length || head[at+7]&1 == 0 {
		return heard{}, false
	}
	h := heard{channels: 2, rate: mpegSampleRates[head[2]>>2&3], tags: b.tags}
	low, samples := 0, 1152
	switch head[1] >> 3 & 3 {
	case 2:
		low, samples, h.rate = 1, 576, h.rate/2
	case 0:
		low, samples, h.rate = 1, 576, h.rate/4
	}
	if head[3]>>6 == 3 {
		h.channels = 1
	}
	h.duration = float64(binary.BigEndian.Uint32(head[at+8:])) * float64(samples) / float64(h.rate)
	h.bitrate, h.start = songRate(head[length:], low), encoderDelay(head[at:length], h.rate)
	return h, h.bitrate > 0
}

// songRate is the bitrate of the first frame that sounds.
func songRate(b []byte, low int) int64 {
	if length, _ := mpegFrame(b); length == 0 {
		return 0
	}
	return int64(mpegBitRates[low][2][b[2]>>4]) * 1000
}

// encoderDelay is what players skip at the beginning, in seconds: LAME tells
// its part of it, the decoder adds 529 samples.
func encoderDelay(info []byte, rate int) float64 {
	const at = 4 + 4 + 4 + 4 + 100 + 4 + 21 // behind the counts, the table, the quality and LAME's own fields
	if len(info) < at+3 {
		return 0
	}
	return float64(int(info[at])<<4+int(info[at+1])>>4+528+1) / float64(rate)
}

// id3 reads the frames of a tag. It gives up on those that are not text.
func (b *bag) id3(body []byte) bool {
	for len(body) > 10 && body[0] != 0 {
		size := int64(binary.BigEndian.Uint32(body[4:]))
		if size < 1 || size > int64(len(body)-10) || body[8] != 0 || body[9] != 0 {
			return false
		}
		value, ok := id3Text(body[10 : 10+size])
		frame := string(body[:4])
		name := id3Frames[frame]
		switch {
		case !ok:
			return false
		case frame == "TXXX":
			if name, value, ok = strings.Cut(value, "\x00"); !ok {
				return false
			}
		case frame == "TCON":
			name = "genre"
			if strings.ContainsAny(value, "()0123456789") { // which may be a number in a list
				return false
			}
		case name == "":
			return false
		}
		value = strings.TrimSuffix(value, "\x00")
		if strings.Contains(value, "\x00") {
			return false
		}
		b.put(name, []byte(value))
		body = body[10+size:]
	}
	return b.date() && !b.strange
}

// date puts a date together again: TYER is the year, TDAT day and month.
func (b *bag) date() bool {
	year, day := b.tags["year and"], b.tags["day"]
	delete(b.tags, "year and")
	delete(b.tags, "day")
	switch {
	case year == "" && day == "":
		return true
	case len(year) != 4 || day != "" && len(day) != 4 || b.tags["date"] != "":
		return false
	case day != "":
		year += "-" + day[2:] + "-" + day[:2]
	}
	b.put("date", []byte(year))
	return true
}

// id3Text reads a text with its encoding in front: ISO 8859-1 or UTF-16 with
// a byte order mark.
func id3Text(b []byte) (string, bool) {
	switch rest := b[1:]; b[0] {
	case 0:
		for _, c := range rest {
			if c >= 0x80 {
				return "", false
			}
		}
		return string(rest), true
	case 1:
		var units []uint16
		for ; len(rest) >= 2; rest = rest[2:] {
			if u := binary.LittleEndian.Uint16(rest); u != 0xfeff {
				units = append(units, u)
			} else if len(units) > 0 && units[len(units)-1] != 0 {
				return "", false
			}
		}
		return string(utf16.Decode(units)), len(b) >= 3 && b[1] == 0xff && b[2] == 0xfe
	}
	return "", false
}
