package ffmpeg

import (
	"encoding/binary"
	"errors"
	"io"
	"os"
	"sort"
)

// A layout is where a container keeps what its demuxer needs besides the
// film's own packets.
type layout struct {
	head     []Span
	whole    bool    // the demuxer walks through all of the file
	unfit    string  // why the film cannot be cut
	clusters []int64 // where reading can begin, ascending; nil: anywhere
}

// entry is where reading begins to get the packet at pos.
func (l layout) entry(pos int64) int64 {
	i := sort.Search(len(l.clusters), func(i int) bool { return l.clusters[i] > pos })
	if i == 0 {
		return pos
	}
	return l.clusters[i-1]
}

// maxElements bounds a walk through a container's parts.
const maxElements = 200_000

// fileLayout walks through the outermost parts of a file. What it cannot make
// sense of is no error: then everything is needed.
func fileLayout(path string, c Container) (layout, error) {
	f, err := os.Open(path)
	if err != nil {
		return layout{}, err
	}
	defer f.Close()
	var lay layout
	switch c {
	case MOV:
		lay, err = movLayout(f)
	case Matroska, WebM:
		lay, err = matroskaLayout(f)
	case AVI:
		lay, err = aviLayout(f)
	default:
		lay.whole = true
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = nil
	}
	return lay, err
}

// movLayout walks the boxes of ISO/IEC 14496-12, section 4.2.
func movLayout(r io.ReaderAt) (layout, error) {
	lay := layout{whole: true}
	var head [16]byte
	pos := int64(0)
	for range maxElements {
		if n, err := r.ReadAt(head[:], pos); n < 8 {
			return lay, err
		}
		size := int64(binary.BigEndian.Uint32(head[:]))
		if size == 1 {
			size = int64(binary.BigEndian.Uint64(head[8:]) & (1<<62 - 1))
		}
		end := pos + size
		if size == 0 {
			end = 1 << 62
		}
		switch kind := string(head[4:8]); {
		case size != 0 && size < 8:
			return lay, nil
		case kind == "moof" || kind == "sidx" || kind == "mfra":
			return layout{whole: true}, nil // fragments: their indexes are all over the file
		case kind == "mdat" || kind == "free" || kind == "skip" || kind == "wide":
			lay.head = append(lay.head, Span{pos, pos + 16})
		default:
			lay.head = append(lay.head, Span{pos, end})
			lay.whole = lay.whole && kind != "moov"
		}
		if len(lay.head) > maxSpans {
			return layout{whole: true}, nil
		}
		pos = end
	}
	return layout{whole: true}, nil
}

// Elements of Matroska, RFC 9559.
const (
	idSegment = 0x18538067
	idCluster = 0x1f43b675
	idCues    = 0x1c53bb6b
	idVoid    = 0xec
)

// matroskaLayout walks the elements of the first segment.
func matroskaLayout(r io.ReaderAt) (layout, error) {
	all := layout{whole: true}
	_, size, n, err := element(r, 0)
	if err != nil || size < 0 {
		return all, err
	}
	pos := n + size
	id, _, n, err := element(r, pos)
	if err != nil || id != idSegment {
		return all, err
	}
	pos += n
	lay := all
	for range maxElements {
		id, size, n, err := element(r, pos)
		switch {
		case err != nil:
			return lay, err
		case size < 0:
			return all, nil // of a live recording
		case id == idCluster:
			lay.clusters = append(lay.clusters, pos)
		case id == idVoid:
			lay.head = append(lay.head, Span{pos, pos + n})
		default:
			lay.head = append(lay.head, Span{pos, pos + n + size})
			lay.whole = lay.whole && id != idCues
		}
		if len(lay.head) > maxSpans {
			return all, nil
		}
		pos += n + size
	}
	return all, nil
}

// element reads the head of an EBML element (RFC 8794): its id, the size of
// its content, -1 for unknown, and its own length.
func element(r io.ReaderAt, pos int64) (id uint64, size, head int64, err error) {
	var b [12]byte
	n, err := r.ReadAt(b[:], pos)
	if n < 2 {
		return 0, 0, 0, err
	}
	idLen := 1
	for mask := byte(0x80); mask != 0 && b[0]&mask == 0; mask >>= 1 {
		idLen++
	}
	if idLen > 4 || n < idLen+1 {
		return 0, 0, 0, io.ErrUnexpectedEOF
	}
	for _, c := range b[:idLen] {
		id = id<<8 | uint64(c)
	}
	length, sizeLen := ebmlSize(b[idLen:n])
	if sizeLen == 0 {
		return 0, 0, 0, io.ErrUnexpectedEOF
	}
	size = int64(length)
	if length >= 1<<(7*sizeLen)-1 {
		size = -1
	}
	return id, size, int64(idLen + sizeLen), nil
}

// aviLayout walks the chunks of a RIFF file. Without an index at its end an
// AVI can only be read from its beginning.
func aviLayout(r io.ReaderAt) (layout, error) {
	var lay layout
	var head [12]byte
	if _, err := r.ReadAt(head[:], 0); err != nil {
		return lay, err
	}
	lay.unfit = "It is an AVI without an index."
	pos := int64(12)
	for range maxSpans {
		if n, err := r.ReadAt(head[:], pos); n < 12 {
			return lay, err
		}
		end := pos + 8 + int64(binary.LittleEndian.Uint32(head[4:]))
		end += end & 1
		switch kind, list := string(head[:4]), string(head[8:]); {
		case kind == "LIST" && list == "movi":
			lay.head = append(lay.head, Span{pos, pos + 12})
		case kind == "RIFF": // OpenDML, with indexes all over the file
			return layout{whole: true}, nil
		default:
			lay.head = append(lay.head, Span{pos, end})
			if kind == "idx1" {
				lay.unfit = ""
			}
		}
		pos = end
	}
	return lay, nil
}
