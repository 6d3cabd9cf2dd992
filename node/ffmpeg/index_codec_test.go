package ffmpeg

import (
	"bytes"
	"math/rand/v2"
	"reflect"
	"testing"
)

// feature is the index of a film of two hours, whose container counts
// milliseconds.
func feature(fps Rational) Index {
	x := Index{TimeBase: Rational{1, 1000}, Rate: fps, FileStart: 21000, Size: 8 << 30, Head: []Span{{0, 4096}, {8<<30 - 90_000, 8 << 30}}}
	rnd := rand.New(rand.NewPCG(1, 2))
	pos := int64(5000)
	for i := range int(7200 * fps.float()) {
		x.Pictures = append(x.Pictures, 21+rescale(int64(i), fps.inverse(), x.TimeBase))
		if i%50 == 0 {
			x.Keys = append(x.Keys, Key{Picture: i, Pos: pos, Gap: 2000 + rnd.Int64N(2)})
			pos += 1_000_000 + rnd.Int64N(800_000)
		}
	}
	return x
}

func TestAnIndexIsReadAsItWasWritten(t *testing.T) {
	for name, x := range map[string]Index{
		"film":     feature(Rational{30000, 1001}),
		"unfit":    {Size: 10, Unfit: "It is damaged."},
		"no key":   {Size: 10, TimeBase: Rational{1, 25}, Pictures: []int64{-5, 0, 7}},
		"one rate": feature(Rational{25, 1}),
	} {
		data, err := x.MarshalBinary()
		if err != nil {
			t.Fatal(err)
		}
		if len(data) > 128<<10 {
			t.Errorf("%s: %d bytes", name, len(data))
		}
		var y Index
		if err := y.UnmarshalBinary(data); err != nil || !reflect.DeepEqual(x, y) {
			t.Errorf("%s: %v, %d pictures", name, err, len(y.Pictures))
		}
		if err := y.UnmarshalBinary(data[:len(data)-3]); err == nil {
			t.Errorf("%s: read though it is cut off", name)
		}
	}
}

func TestAnIndexThatNoFileHasIsRefused(t *testing.T) {
	good := func() Index {
		return Index{TimeBase: Rational{1, 25}, Size: 100, Pictures: []int64{0, 1, 2}, Keys: []Key{{0, 5, 2}, {2, 50, 0}}, Head: []Span{{0, 9}}}
	}
	for name, spoil := range map[string]func(*Index){
		"times that fall":        func(x *Index) { x.Pictures[2] = 1 },
		"keys that fall":         func(x *Index) { x.Keys[1].Picture = 0 },
		"a key without picture":  func(x *Index) { x.Keys[1].Picture = 3 },
		"a key behind the end":   func(x *Index) { x.Keys[1].Pos = 101 },
		"a head behind the end":  func(x *Index) { x.Head[0].To = 101 },
		"an empty head":          func(x *Index) { x.Head[0].To = 0 },
		"no unit of time":        func(x *Index) { x.TimeBase = Rational{} },
		"a unit that is no unit": func(x *Index) { x.TimeBase = Rational{1, -25} },
		"no pictures":            func(x *Index) { x.Pictures, x.Keys = nil, nil },
		"times that run over":    func(x *Index) { x.Pictures[2] = 1 << 62 },
	} {
		x := good()
		spoil(&x)
		data, err := x.MarshalBinary()
		if err != nil {
			t.Fatal(err)
		}
		if err := new(Index).UnmarshalBinary(data); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	x := good()
	data, _ := x.MarshalBinary()
	if err := new(Index).UnmarshalBinary(data); err != nil {
		t.Error(err)
	}
}

func FuzzIndex(f *testing.F) {
	for _, x := range []Index{feature(Rational{1, 10}), {Size: 5, Unfit: "x"}} {
		data, err := x.MarshalBinary()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var x Index
		if x.UnmarshalBinary(data) != nil {
			return
		}
		again, err := x.MarshalBinary()
		if err != nil {
			t.Fatal(err)
		}
		var y Index
		if err := y.UnmarshalBinary(again); err != nil || !reflect.DeepEqual(x, y) {
			t.Fatalf("%v", err)
		}
		for _, s := range x.Needs(Segment{To: len(x.Pictures)}) {
			if s.From < 0 || s.To > x.Size {
				t.Fatalf("needs %v of %d", s, x.Size)
			}
		}
	})
}

// FuzzLayout walks through files that nobody made.
func FuzzLayout(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x18ftypisom\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x08moov"))
	f.Add([]byte("RIFF\x10\x00\x00\x00AVI LIST\x04\x00\x00\x00movi"))
	f.Add([]byte("\x1a\x45\xdf\xa3\x80\x18\x53\x80\x67\x85\x1c\x53\xbb\x6b\x80"))
	f.Fuzz(func(t *testing.T, data []byte) {
		r := bytes.NewReader(data)
		for _, walk := range []func() (layout, error){
			func() (layout, error) { return movLayout(r) },
			func() (layout, error) { return matroskaLayout(r) },
			func() (layout, error) { return aviLayout(r) },
		} {
			lay, _ := walk()
			for _, s := range joinSpans(lay.head, int64(len(data))) {
				if s.From < 0 || s.To > int64(len(data)) || s.From >= s.To {
					t.Fatalf("%v", s)
				}
			}
		}
	})
}

// FuzzPackets reads what an ffprobe might say of a hostile file.
func FuzzPackets(f *testing.F) {
	f.Add("packet|0|-1024|512|3150|48|K_\npacket|2048|-512|512|1211|3198|__\npacket|1024|0|512|428|4667|KD\nstream|25/1|1/12800\nformat|0.000000\n")
	f.Add("packet|N/A|0|1|0|10|K_\nstream|0/0|1/25\nformat|N/A\n")
	f.Fuzz(func(t *testing.T, said string) {
		table := &packetTable{max: 1000}
		if _, err := table.Write([]byte(said)); err != nil {
			return
		}
		x := table.index(Index{Size: 1 << 20}, layout{})
		data, err := x.MarshalBinary()
		if err != nil {
			t.Fatal(err)
		}
		if err := new(Index).UnmarshalBinary(data); err != nil {
			t.Fatalf("what was indexed cannot be read: %+v", x)
		}
	})
}

// An endless writer of indexes.
type endless struct{ read int64 }

func (e *endless) Read(b []byte) (int, error) {
	e.read += int64(len(b))
	return len(b), nil
}

func TestReadIndexIsBounded(t *testing.T) {
	_, x := feature720(10)
	data, err := x.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	if y, err := ReadIndex(bytes.NewReader(data)); err != nil || len(y.Pictures) != len(x.Pictures) {
		t.Errorf("%d pictures, %v", len(y.Pictures), err)
	}
	if _, err := ReadIndex(bytes.NewReader(data[:len(data)/2])); err == nil {
		t.Error("half an index is read")
	}
	from := &endless{}
	if _, err := ReadIndex(from); err == nil || from.read > 4*maxIndexBytes {
		t.Errorf("%d bytes are read, %v", from.read, err)
	}
}
