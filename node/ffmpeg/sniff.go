package ffmpeg

import (
	"bytes"
	"encoding/binary"
	"slices"
)

// A Container is the kind of file that carries the streams, as our own
// [Sniff] names it.
type Container string

// The containers that malla reads. Everything else is refused.
const (
	MOV      Container = "mov" // QuickTime, MP4, M4A, 3GP
	Matroska Container = "matroska"
	WebM     Container = "webm"
	AVI      Container = "avi"
	FLV      Container = "flv"
	MPEGTS   Container = "mpegts"
	MPEGPS   Container = "mpeg"
	ASF      Container = "asf" // WMV, WMA
	Ogg      Container = "ogg"
	MP3      Container = "mp3"
	WAV      Container = "wav" // RIFF, RF64, BW64
	FLAC     Container = "flac"
	AAC      Container = "aac" // ADTS
	AIFF     Container = "aiff"
)

// SniffLen is how much of a file's beginning [Sniff] makes use of.
const SniffLen = 64 << 10

// demuxer is the name under which ffmpeg reads the container. Forcing it is
// what keeps ffmpeg from ever believing a file to be a playlist.
func (c Container) demuxer() string {
	if c == WebM {
		return "matroska"
	}
	return string(c)
}

// Sniff names the container of a file by its first bytes, at best [SniffLen]
// of them. It refuses text, pictures, playlists and everything else that it
// does not know. It judges only the beginning: ffprobe has the last word.
func Sniff(head []byte) (Container, bool) {
	head = head[:min(len(head), SniffLen)]
	for _, m := range magics {
		if len(head) >= m.at+len(m.bytes) && bytes.Equal(head[m.at:m.at+len(m.bytes)], m.bytes) {
			if m.also == nil || m.also(head) {
				return m.container, true
			}
		}
	}
	switch {
	case isMOV(head):
		return MOV, true
	case bytes.HasPrefix(head, ebmlMagic):
		return sniffEBML(head)
	case isMPEGTS(head):
		return MPEGTS, true
	}
	return sniffTagged(head)
}

// magics are the containers that say their name at a fixed place.
var magics = []struct {
	at        int
	bytes     []byte
	also      func(head []byte) bool
	container Container
}{
	{0, []byte("OggS\x00"), nil, Ogg},
	{0, []byte("fLaC"), isFLAC, FLAC},
	{0, []byte("RIFF"), riffIs("WAVE"), WAV},
	{0, []byte("RF64"), riffIs("WAVE"), WAV},
	{0, []byte("BW64"), riffIs("WAVE"), WAV},
	{0, []byte("RIFF"), riffIs("AVI "), AVI},
	{0, []byte("FORM"), riffIs("AIFF"), AIFF},
	{0, []byte("FORM"), riffIs("AIFC"), AIFF},
	{0, []byte("FLV\x01"), isFLV, FLV},
	{0, []byte("\x30\x26\xb2\x75\x8e\x66\xcf\x11\xa6\xd9\x00\xaa\x00\x62\xce\x6c"), nil, ASF},
	{0, []byte("\x00\x00\x01\xba"), isMPEGPS, MPEGPS},
}

// riffIs checks the form type of a RIFF or IFF file.
func riffIs(form string) func([]byte) bool {
	return func(head []byte) bool { return len(head) >= 12 && string(head[8:12]) == form }
}

// isFLAC wants the STREAMINFO block that comes first in every FLAC file.
func isFLAC(head []byte) bool {
	return len(head) >= 8 && head[4]&0x7f == 0 && head[5] == 0 && head[6] == 0 && head[7] == 34
}

// isFLV wants only the two known flags and a header of 9 bytes.
func isFLV(head []byte) bool {
	return len(head) >= 9 && head[4]&^0x05 == 0 && binary.BigEndian.Uint32(head[5:]) == 9
}

// isMPEGPS checks the marker bits of a pack header, MPEG-2 or MPEG-1.
func isMPEGPS(head []byte) bool {
	return len(head) >= 12 && (head[4]&0xc4 == 0x44 || head[4]&0xf1 == 0x21)
}

// Brands of pictures that share the box format of MP4.
var pictureBrands = []string{"heic", "heix", "heim", "heis", "hevc", "hevx", "mif1", "msf1", "miaf", "avif", "avis", "jp2 ", "jpx ", "jpm ", "jxl ", "crx "}

// Boxes that begin a QuickTime file from before ftyp was invented.
var firstBoxes = []string{"moov", "mdat", "free", "skip", "wide", "pnot"}

// isMOV reads the first boxes (ISO/IEC 14496-12, section 4.2).
func isMOV(head []byte) bool {
	for range 4 {
		if len(head) < 12 {
			return false
		}
		size := uint64(binary.BigEndian.Uint32(head))
		kind := string(head[4:8])
		if kind == "ftyp" {
			return size >= 12 && size <= 4096 && !slices.Contains(pictureBrands, string(head[8:12]))
		}
		if !slices.Contains(firstBoxes, kind) {
			return false
		}
		if kind == "moov" || kind == "mdat" {
			return size == 0 || size == 1 || size >= 8
		}
		// A filler: the box behind it decides.
		if size < 8 || size >= uint64(len(head)) {
			return false
		}
		head = head[size:]
	}
	return false
}

var ebmlMagic = []byte{0x1a, 0x45, 0xdf, 0xa3}

// sniffEBML finds the DocType in an EBML header (RFC 8794, section 11.2).
func sniffEBML(head []byte) (Container, bool) {
	size, n := ebmlSize(head[4:])
	if n == 0 {
		return "", false
	}
	body := head[4+n:]
	body = body[:min(uint64(len(body)), size)]
	for len(body) > 2 {
		id := uint64(body[0])
		idLen := 1
		if body[0]&0x80 == 0 { // ids in this header have one or two bytes
			id, idLen = id<<8|uint64(body[1]), 2
		}
		size, n := ebmlSize(body[idLen:])
		if n == 0 || size > uint64(len(body)-idLen-n) {
			return "", false
		}
		value := body[idLen+n : idLen+n+int(size)]
		if id == 0x4282 {
			switch string(bytes.TrimRight(value, "\x00")) {
			case "matroska":
				return Matroska, true
			case "webm":
				return WebM, true
			}
			return "", false
		}
		body = body[idLen+n+int(size):]
	}
	return "", false
}

// ebmlSize reads a variable-length size and says how many bytes it took;
// none when it is cut off or invalid.
func ebmlSize(b []byte) (size uint64, n int) {
	if len(b) == 0 || b[0] == 0 {
		return 0, 0
	}
	n = 1
	for mask := byte(0x80); b[0]&mask == 0; mask >>= 1 {
		n++
	}
	if len(b) < n {
		return 0, 0
	}
	size = uint64(b[0]) & (1<<(8-n) - 1)
	for _, c := range b[1:n] {
		size = size<<8 | uint64(c)
	}
	return size, n
}

// isMPEGTS wants five packets in a row, of 188 bytes, or 192 as Blu-ray and
// cameras write them, or 204 with error correction. The recording may begin
// in the middle of a packet.
func isMPEGTS(head []byte) bool {
	const packets = 5
	for _, size := range []int{188, 192, 204} {
		for start := 0; start < size && start+size*packets <= len(head); start++ {
			good := 0
			for good < packets && isTSHeader(head[start+good*size:]) {
				good++
			}
			if good == packets {
				return true
			}
		}
	}
	return false
}

// isTSHeader checks the sync byte, the error bit, and that the packet says to
// carry something. The last excludes text made of the letter G.
func isTSHeader(b []byte) bool {
	return b[0] == 0x47 && b[1]&0x80 == 0 && b[3]&0x30 != 0
}
