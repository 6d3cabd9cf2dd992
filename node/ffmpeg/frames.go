package ffmpeg

import (
	"bytes"
	"errors"
	"io"
)

// MP3 and ADTS files have no header: they are frames from the first byte on,
// perhaps behind an ID3 tag. One frame's sync word is found in any random
// bytes, so a chain of frames that agree with each other is asked for.
const (
	chain     = 4       // frames in a row
	maxJunk   = 4 << 10 // bytes in front of the first MP3 frame, as bad taggers leave them
	maxTags   = 8       // ID3 tags one after another
	id3Header = 10
)

// sniffTagged looks behind ID3 tags.
func sniffTagged(head []byte) (Container, bool) {
	junk := maxJunk
	for {
		size, tag := id3Size(head)
		if !tag {
			return sniffFrames(head, junk)
		}
		if size >= int64(len(head)) {
			return MP3, true // the frames are beyond what we see; ffprobe decides
		}
		head = head[size:]
		junk = len(head) // padding after a tag can be long
	}
}

// sniffFrames tells MP3, ADTS and tagged FLAC apart. MP3 frames may begin
// behind junk.
func sniffFrames(head []byte, junk int) (Container, bool) {
	switch {
	case bytes.HasPrefix(head, []byte("fLaC")) && isFLAC(head):
		return FLAC, true
	case isChain(head, adtsFrame):
		return AAC, true
	}
	for at := range min(junk, len(head)) {
		if head[at] == 0xff && isChain(head[at:], mpegFrame) {
			return MP3, true
		}
	}
	return "", false
}

// id3Size returns the length of an ID3v2 tag (id3.org, ID3v2.4 section 3.1)
// with its header and footer.
func id3Size(b []byte) (int64, bool) {
	if len(b) < id3Header || string(b[:3]) != "ID3" || b[3] == 0xff || b[4] == 0xff {
		return 0, false
	}
	var size int64
	for _, c := range b[6:10] {
		if c&0x80 != 0 {
			return 0, false
		}
		size = size<<7 | int64(c)
	}
	size += id3Header
	if b[5]&0x10 != 0 {
		size += id3Header
	}
	return size, true
}

// isChain tells whether b begins with frames that agree. next returns a
// frame's length, zero for none, and what all frames must have in common.
// A file that ends after a whole number of frames may have fewer of them.
func isChain(b []byte, next func([]byte) (length int, same uint32)) bool {
	var first uint32
	for count := range chain {
		if count >= 2 && len(b) == 0 {
			return true
		}
		length, same := next(b)
		if length == 0 || count > 0 && same != first {
			return false
		}
		first = same
		if length > len(b) {
			return count >= 2 // the last one is cut off
		}
		b = b[length:]
	}
	return true
}

// adtsFrame reads an ADTS header (ISO/IEC 13818-7, section 6.2).
func adtsFrame(b []byte) (int, uint32) {
	if len(b) < 7 || b[0] != 0xff || b[1]&0xf6 != 0xf0 || b[2]>>2&0x0f > 12 {
		return 0, 0
	}
	length := int(b[3]&0x03)<<11 | int(b[4])<<3 | int(b[5])>>5
	if length <= 7 {
		return 0, 0
	}
	return length, uint32(b[1])<<16 | uint32(b[2]&0xfd)<<8 | uint32(b[3]&0xc0)
}

var (
	mpegBitRates = [2][3][15]int{ // kbit/s: MPEG-1 and 2, layers I to III
		{
			{0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448},
			{0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384},
			{0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320},
		}, {
			{0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256},
			{0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160},
			{0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160},
		},
	}
	mpegSampleRates = [3]int{44100, 48000, 32000} // MPEG-1; halves and quarters for 2 and 2.5
)

// mpegFrame reads an MPEG audio header (ISO/IEC 11172-3, section 2.4.1.3;
// 13818-3 for the lower rates). Free-format frames are not recognised.
func mpegFrame(b []byte) (int, uint32) {
	if len(b) < 4 || b[0] != 0xff || b[1]&0xe0 != 0xe0 {
		return 0, 0
	}
	version, layer := b[1]>>3&3, int(4-b[1]>>1&3) // version 3: MPEG-1, 2: MPEG-2, 0: MPEG-2.5
	bits, rate := int(b[2]>>4), int(b[2]>>2&3)
	if version == 1 || layer == 4 || bits == 0 || bits == 15 || rate == 3 {
		return 0, 0
	}
	low, sampleRate := 0, mpegSampleRates[rate]
	switch version {
	case 2:
		low, sampleRate = 1, sampleRate/2
	case 0:
		low, sampleRate = 1, sampleRate/4
	}
	bitRate := mpegBitRates[low][layer-1][bits] * 1000
	padding := int(b[2] >> 1 & 1)
	var length int
	switch {
	case layer == 1:
		length = (12*bitRate/sampleRate + padding) * 4
	case layer == 3 && low == 1:
		length = 72*bitRate/sampleRate + padding
	default:
		length = 144*bitRate/sampleRate + padding
	}
	return length, uint32(b[1]&0xfe)<<8 | uint32(b[2]&0x0c)
}

// sniffReader sniffs like [Sniff], and looks behind ID3 tags of any size.
// uncounted tells that no header says how long the sound is, so that only
// counting its frames does.
func sniffReader(r io.ReaderAt) (c Container, ok, uncounted bool, err error) {
	var at int64
	var head []byte
	for range maxTags {
		if head, err = readHead(r, at); err != nil {
			return "", false, false, err
		}
		size, tag := id3Size(head)
		if !tag {
			break
		}
		at += size
	}
	if at == 0 {
		c, ok = Sniff(head)
	} else {
		c, ok = sniffFrames(head, len(head)) // nothing but sound stands behind such a tag
	}
	return c, ok, c == AAC || c == MP3 && !hasFrameCount(head), nil
}

func readHead(r io.ReaderAt, at int64) ([]byte, error) {
	head := make([]byte, SniffLen)
	n, err := r.ReadAt(head, at)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return head[:n], nil
}

// hasFrameCount tells whether the first MP3 frame is one of those that hold
// the number of frames: of Xing, LAME or Fraunhofer.
func hasFrameCount(head []byte) bool {
	head = head[:min(len(head), maxJunk)]
	for _, mark := range []string{"Xing", "Info", "VBRI"} {
		if bytes.Contains(head, []byte(mark)) {
			return true
		}
	}
	return false
}
