package ffmpeg

import (
	"bytes"
	"encoding/binary"
	"io"
	"strings"
)

// vorbisNames is a field's name in capitals -> what ffprobe calls it, where
// that is not the same.
var vorbisNames = map[string]string{"ALBUMARTIST": "album_artist", "TRACKNUMBER": "track", "DISCNUMBER": "disc", "DESCRIPTION": "comment"}

// vorbisComment reads the tags of FLAC and Ogg (xiph.org, Vorbis I section 5).
func (b *bag) vorbisComment(body []byte) bool {
	next := func() ([]byte, bool) {
		if len(body) < 4 {
			return nil, false
		}
		n := uint64(binary.LittleEndian.Uint32(body))
		if n > uint64(len(body)-4) {
			return nil, false
		}
		value := body[4 : 4+n]
		body = body[4+n:]
		return value, true
	}
	if _, ok := next(); !ok || len(body) < 4 { // the vendor
		return false
	}
	count := binary.LittleEndian.Uint32(body)
	body = body[4:]
	for ; count > 0; count-- {
		field, ok := next()
		name, value, cut := bytes.Cut(field, []byte("="))
		upper := strings.ToUpper(string(name))
		if !ok || !cut || strings.HasPrefix(upper, "CHAPTER") || strings.HasSuffix(upper, "PICTURE") || bytes.IndexByte(value, 0) >= 0 {
			return false
		}
		if known := vorbisNames[upper]; known != "" {
			upper = known
		}
		b.put(strings.ToLower(upper), value)
	}
	return !b.strange
}

// readFLAC reads STREAMINFO and the tags (RFC 9639, section 8).
func readFLAC(_ io.ReaderAt, head []byte, _ int64) (heard, bool) {
	var b bag
	var h heard
	for rest, last := head[4:], false; !last; {
		if len(rest) < 4 {
			return h, false
		}
		size := int(rest[1])<<16 | int(rest[2])<<8 | int(rest[3])
		kind := rest[0] & 0x7f
		last = rest[0]&0x80 != 0
		if size > len(rest)-4 {
			return h, false
		}
		body := rest[4 : 4+size]
		switch {
		case kind == 0 && size >= 18:
			bits := binary.BigEndian.Uint64(body[10:])
			h.rate, h.channels = int(bits>>44), int(bits>>41&7)+1
			if h.rate > 0 {
				h.duration = float64(bits&(1<<36-1)) / float64(h.rate)
			}
		case kind == 4:
			if !b.vorbisComment(body) {
				return h, false
			}
		case kind != 1: // padding
			return h, false
		}
		rest = rest[4+size:]
	}
	h.tags = b.tags
	return h, true
}

// readOgg reads the two headers of Vorbis and the time of the last page
// (RFC 3533, section 6).
func readOgg(r io.ReaderAt, head []byte, size int64) (heard, bool) {
	first, rest, ok := oggPacket(head)
	if !ok || len(first) < 30 || string(first[:7]) != "\x01vorbis" {
		return heard{}, false
	}
	second, _, ok := oggPacket(rest)
	var b bag
	if !ok || len(second) < 7 || string(second[:7]) != "\x03vorbis" || !b.vorbisComment(second[7:]) {
		return heard{}, false
	}
	h := heard{channels: int(first[11]), rate: int(binary.LittleEndian.Uint32(first[12:])), bitrate: max(0, int64(int32(binary.LittleEndian.Uint32(first[20:])))), tags: b.tags}
	tail := make([]byte, min(size, 64<<10))
	if _, err := r.ReadAt(tail, size-int64(len(tail))); err != nil && err != io.EOF {
		return h, false
	}
	at := bytes.LastIndex(tail, []byte("OggS\x00"))
	if at < 0 || len(tail)-at < 27 || tail[at+5]&4 == 0 || h.rate == 0 { // the end is marked
		return h, false
	}
	h.duration = float64(binary.LittleEndian.Uint64(tail[at+6:])) / float64(h.rate)
	h.language = b.tags["language"]
	return h, true
}

// oggPacket puts together the packet that begins with a page, and returns the
// pages behind those that it touches. Of a page that holds more packets, the
// first is returned.
func oggPacket(b []byte) (packet, rest []byte, ok bool) {
	for {
		if len(b) < 27 || string(b[:5]) != "OggS\x00" || len(b) < 27+int(b[26]) {
			return nil, nil, false
		}
		lacing := b[27 : 27+int(b[26])]
		body := b[27+len(lacing):]
		all := 0
		for _, n := range lacing {
			all += int(n)
		}
		if all > len(body) {
			return nil, nil, false
		}
		b = body[all:]
		for _, n := range lacing {
			packet = append(packet, body[:n]...)
			body = body[n:]
			if n < 255 {
				return packet, b, true
			}
		}
	}
}
