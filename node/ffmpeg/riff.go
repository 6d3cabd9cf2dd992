package ffmpeg

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"io"
)

// riffNames is chunk -> what ffprobe calls the tag.
var riffNames = map[string]string{
	"IART": "artist", "ICMT": "comment", "ICOP": "copyright", "ICRD": "date", "IGNR": "genre", "ILNG": "language",
	"INAM": "title", "IPRD": "album", "IPRT": "track", "ITRK": "track", "ISFT": "encoder", "ITCH": "encoded_by",
}

// readWAV reads the chunks up to the sound's. A file of more than 4 GB is
// left to ffprobe.
func readWAV(_ io.ReaderAt, head []byte, size int64) (heard, bool) {
	var b bag
	var h heard
	if string(head[:4]) != "RIFF" {
		return h, false
	}
	for rest := head[12:]; len(rest) >= 8; {
		kind, n := string(rest[:4]), int64(binary.LittleEndian.Uint32(rest[4:]))
		rest = rest[8:]
		if kind == "data" {
			if h.bitrate <= 0 || n == 0 || n > size {
				return h, false
			}
			h.duration, h.tags = float64(n)*8/float64(h.bitrate), b.tags
			return h, true
		}
		if n > int64(len(rest)) {
			return h, false
		}
		body := rest[:n]
		switch {
		case kind == "fmt " && isPCM(body):
			h.channels, h.rate = int(binary.LittleEndian.Uint16(body[2:])), int(binary.LittleEndian.Uint32(body[4:]))
			h.bitrate = int64(binary.LittleEndian.Uint32(body[8:])) * 8
		case kind == "LIST" && bytes.HasPrefix(body, []byte("INFO")):
			if !b.riffInfo(body[4:]) {
				return h, false
			}
		case kind != "JUNK":
			return h, false
		}
		rest = rest[min(n+n&1, int64(len(rest))):]
	}
	return h, false
}

// isPCM tells plain samples, in the old words and in the extensible ones that
// high rates need.
func isPCM(format []byte) bool {
	return len(format) >= 16 && binary.LittleEndian.Uint16(format) == 1 ||
		len(format) == 40 && binary.LittleEndian.Uint16(format) == 0xfffe && binary.LittleEndian.Uint16(format[24:]) == 1
}

func (b *bag) riffInfo(body []byte) bool {
	for len(body) >= 8 {
		name, n := riffNames[string(body[:4])], int64(binary.LittleEndian.Uint32(body[4:]))
		body = body[8:]
		if name == "" || n > int64(len(body)) {
			return false
		}
		value := bytes.TrimSuffix(body[:n], []byte{0})
		if bytes.IndexByte(value, 0) >= 0 {
			return false
		}
		b.put(name, value)
		body = body[min(n+n&1, int64(len(body))):]
	}
	return !b.strange
}

var adtsRates = [16]int{96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350}

// readADTS counts the frames of the whole file: no header tells their number.
func readADTS(r io.ReaderAt, head []byte, size int64) (heard, bool) {
	if _, same := adtsFrame(head); same == 0 || head[2]>>6 != 1 { // 1: LC
		return heard{}, false
	}
	h := heard{profile: "LC", rate: adtsRates[head[2]>>2&15], channels: int(head[2]&1<<2 | head[3]>>6), measured: true}
	file := bufio.NewReaderSize(io.NewSectionReader(r, 0, size), 64<<10)
	frames := 0
	for ; ; frames++ {
		b, err := file.Peek(7)
		if err == io.EOF && len(b) == 0 {
			break
		}
		length, _ := adtsFrame(b)
		if err != nil || length == 0 {
			return heard{}, false
		}
		if _, err := file.Discard(length); err != nil {
			return heard{}, false
		}
	}
	h.duration = float64(frames) * 1024 / float64(h.rate)
	if h.duration > 0 {
		h.bitrate = int64(float64(size) * 8 / h.duration)
	}
	return h, true
}
