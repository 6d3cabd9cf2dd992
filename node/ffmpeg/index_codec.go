package ffmpeg

import (
	"bufio"
	"bytes"
	"compress/flate"
	"encoding/binary"
	"errors"
	"io"
)

// indexVersion begins an encoded Index. It changes with the format.
const indexVersion = 1

// maxIndexBytes bounds an Index before compression.
const maxIndexBytes = 64 << 20

var errIndex = errors.New("ffmpeg: not an index")

// MarshalBinary writes the index in little: differences of differences, as
// varints, compressed.
func (x Index) MarshalBinary() ([]byte, error) {
	var b []byte
	put := func(values ...int64) {
		for _, v := range values {
			b = binary.AppendVarint(b, v)
		}
	}
	put(x.TimeBase.Num, x.TimeBase.Den, x.Rate.Num, x.Rate.Den, x.FileStart, x.Size)
	put(int64(len(x.Unfit)))
	b = append(b, x.Unfit...)
	put(int64(len(x.Head)))
	for _, s := range x.Head {
		put(s.From, s.To-s.From)
	}
	put(int64(len(x.Pictures)))
	var last, step int64
	for _, pts := range x.Pictures {
		put(pts - last - step)
		last, step = pts, pts-last
	}
	put(int64(len(x.Keys)))
	var before Key
	for _, k := range x.Keys {
		put(int64(k.Picture-before.Picture), k.Pos-before.Pos, k.Gap-before.Gap)
		before = k
	}
	var out bytes.Buffer
	out.WriteByte(indexVersion)
	w, err := flate.NewWriter(&out, flate.BestCompression)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(b); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// ReadIndex reads an index that [Index.MarshalBinary] wrote, to its end.
func ReadIndex(r io.Reader) (Index, error) {
	var x Index
	data, err := io.ReadAll(io.LimitReader(r, maxIndexBytes))
	if err != nil {
		return x, err
	}
	return x, x.UnmarshalBinary(data)
}

// UnmarshalBinary reads what [Index.MarshalBinary] wrote, and refuses
// everything that no file can have.
func (x *Index) UnmarshalBinary(data []byte) error {
	if len(data) == 0 || data[0] != indexVersion {
		return errIndex
	}
	r := &indexReader{from: bufio.NewReader(io.LimitReader(flate.NewReader(bytes.NewReader(data[1:])), maxIndexBytes))}
	var y Index
	y.TimeBase = Rational{r.number(), r.number()}
	y.Rate = Rational{r.number(), r.number()}
	y.FileStart, y.Size = r.number(), r.number()
	unfit := make([]byte, r.count(1<<10))
	r.bytes(unfit)
	y.Unfit = string(unfit)
	for range r.count(maxSpans) {
		from := r.number()
		y.Head = append(y.Head, Span{from, from + r.number()})
	}
	var last, step int64
	for range r.count(maxPictures) {
		step += r.number()
		last += step
		y.Pictures = append(y.Pictures, last)
		if r.err != nil {
			return r.err
		}
	}
	var k Key
	for range r.count(len(y.Pictures)) {
		k = Key{k.Picture + int(r.number()), k.Pos + r.number(), k.Gap + r.number()}
		y.Keys = append(y.Keys, k)
		if r.err != nil {
			return r.err
		}
	}
	if _, err := r.from.ReadByte(); r.err == nil && !errors.Is(err, io.EOF) {
		r.err = errIndex
	}
	if r.err == nil && !y.sound() {
		r.err = errIndex
	}
	if r.err == nil {
		*x = y
	}
	return r.err
}

// sound tells whether an index can be of a file.
func (x Index) sound() bool {
	if x.Size < 0 || x.Size > maxTicks || x.FileStart < -maxTicks || x.FileStart > maxTicks {
		return false
	}
	for _, s := range x.Head {
		if s.From < 0 || s.To <= s.From || s.To > x.Size {
			return false
		}
	}
	if x.Unfit != "" {
		return len(x.Pictures) == 0
	}
	if !fits32(x.TimeBase) || x.Rate != (Rational{}) && !fits32(x.Rate) || len(x.Pictures) == 0 {
		return false
	}
	return x.ascends()
}

func fits32(r Rational) bool {
	return r.valid() && r.Num < 1<<31 && r.Den < 1<<31
}

// ascends tells whether pictures and keys are in order and in bounds.
func (x Index) ascends() bool {
	if x.Pictures[0] < -maxTicks || x.Pictures[len(x.Pictures)-1] > maxTicks {
		return false
	}
	for i := 1; i < len(x.Pictures); i++ {
		if x.Pictures[i] <= x.Pictures[i-1] {
			return false
		}
	}
	last := -1
	for _, k := range x.Keys {
		if k.Picture <= last || k.Picture >= len(x.Pictures) || k.Pos < 0 || k.Pos > x.Size || k.Gap < 0 {
			return false
		}
		last = k.Picture
	}
	return true
}

// An indexReader reads numbers until the first error.
type indexReader struct {
	from *bufio.Reader
	err  error
}

func (r *indexReader) number() int64 {
	if r.err != nil {
		return 0
	}
	n, err := binary.ReadVarint(r.from)
	if err != nil {
		r.err = errIndex
	}
	return n
}

// count reads how many things follow, at most max.
func (r *indexReader) count(max int) int {
	n := r.number()
	if n < 0 || n > int64(max) {
		r.err = errIndex
	}
	if r.err != nil {
		return 0
	}
	return int(n)
}

func (r *indexReader) bytes(b []byte) {
	if r.err != nil {
		return
	}
	if _, err := io.ReadFull(r.from, b); err != nil {
		r.err = errIndex
	}
}
