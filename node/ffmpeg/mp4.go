package ffmpeg

import (
	"bytes"
	"encoding/binary"
	"io"
	"strconv"
)

// boxes walks over the boxes in b (ISO/IEC 14496-12, section 4.2). It stops
// at the first one that is cut off.
func boxes(b []byte) func(yield func(kind string, body []byte) bool) {
	return func(yield func(string, []byte) bool) {
		for len(b) >= 8 {
			size := uint64(binary.BigEndian.Uint32(b))
			if size < 8 || size > uint64(len(b)) || !yield(string(b[4:8]), b[8:size]) {
				return
			}
			b = b[size:]
		}
	}
}

// box finds a box by its path.
func box(b []byte, path ...string) ([]byte, bool) {
	for _, want := range path {
		found := false
		for kind, body := range boxes(b) {
			if kind == want {
				b, found = body, true
				break
			}
		}
		if !found {
			return nil, false
		}
	}
	return b, true
}

// readM4A reads the index, which stands in front, of a file with one sound.
func readM4A(_ io.ReaderAt, head []byte, _ int64) (heard, bool) {
	moov, ok := box(head, "moov")
	if !ok || bytes.Count(moov, []byte("trak")) != 1 {
		return heard{}, false
	}
	var b bag
	if ilst, ok := box(moov, "udta", "meta"); ok {
		if len(ilst) < 4 {
			return heard{}, false
		}
		if ilst, ok = box(ilst[4:], "ilst"); !ok || !b.iTunes(ilst) {
			return heard{}, false
		}
	}
	trak, _ := box(moov, "trak")
	mdhd, ok := box(trak, "mdia", "mdhd")
	elst, cut := box(trak, "edts", "elst")
	mvhd, header := box(moov, "mvhd")
	if !ok || !header || !cut || len(mdhd) < 22 || mdhd[0] != 0 || len(mvhd) < 20 || mvhd[0] != 0 || len(elst) < 20 || elst[0] != 0 || binary.BigEndian.Uint32(elst[4:]) != 1 {
		return heard{}, false
	}
	stsd, ok := box(trak, "mdia", "minf", "stbl", "stsd")
	if !ok || len(stsd) < 8 {
		return heard{}, false
	}
	entry, ok := box(stsd[8:], "mp4a")
	if !ok || len(entry) < 28 {
		return heard{}, false
	}
	esds, ok := box(entry[28:], "esds")
	if !ok {
		return heard{}, false
	}
	h := heard{profile: "LC", tags: b.tags, main: true}
	scale := binary.BigEndian.Uint32(mdhd[12:])
	// What the edit list leaves of the sound, in the units of the whole film.
	if unit := binary.BigEndian.Uint32(mvhd[12:]); unit > 0 {
		h.duration = float64(binary.BigEndian.Uint32(elst[8:])) / float64(unit)
	}
	h.rate = int(scale)
	packed := binary.BigEndian.Uint16(mdhd[20:])
	for _, shift := range []int{10, 5, 0} {
		h.language += text(rune(packed>>shift&31 + 0x60))
	}
	return h, h.esds(esds)
}

// esds reads bitrate and channels out of the descriptors (ISO/IEC 14496-1,
// section 7.2.6): 4 is the decoder's, 5 its configuration.
func (h *heard) esds(b []byte) bool {
	at := bytes.IndexByte(b, 4)
	for ; at >= 0 && at+18 < len(b); at++ {
		if b[at] != 4 {
			continue
		}
		i := at + 1
		for i < len(b) && b[i]&0x80 != 0 {
			i++
		}
		if i+14 >= len(b) || b[i+1] != 0x40 || b[i+2] != 0x15 {
			continue
		}
		h.bitrate = int64(binary.BigEndian.Uint32(b[i+10:]))
		for i += 14; i < len(b) && b[i] != 5; i++ {
		}
		for i++; i < len(b) && b[i]&0x80 != 0; i++ {
		}
		if i+2 >= len(b) || b[i+1]>>3 != 2 { // 2: LC
			return false
		}
		h.channels = int(b[i+2] >> 3 & 15)
		return true
	}
	return false
}

// iTunesNames is atom -> what ffprobe calls the tag.
var iTunesNames = map[string]string{
	"\xa9nam": "title", "\xa9ART": "artist", "aART": "album_artist", "\xa9wrt": "composer", "\xa9alb": "album", "\xa9day": "date",
	"\xa9too": "encoder", "\xa9cmt": "comment", "\xa9gen": "genre", "cprt": "copyright", "tvsh": "show", "trkn": "track", "disk": "disc", "desc": "description",
}

func (b *bag) iTunes(ilst []byte) bool {
	for kind, body := range boxes(ilst) {
		name := iTunesNames[kind]
		data, ok := box(body, "data")
		if name == "" || !ok || len(data) < 8 {
			return false
		}
		value := data[8:]
		if name == "track" || name == "disc" {
			if len(value) < 6 {
				return false
			}
			n, of := binary.BigEndian.Uint16(value[2:]), binary.BigEndian.Uint16(value[4:])
			value = strconv.AppendUint(nil, uint64(n), 10)
			if of > 0 {
				value = strconv.AppendUint(append(value, '/'), uint64(of), 10)
			}
		}
		if bytes.IndexByte(value, 0) >= 0 {
			return false
		}
		b.put(name, value)
	}
	return !b.strange
}
