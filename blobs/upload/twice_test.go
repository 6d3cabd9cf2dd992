package upload

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"testing"

	"malla/blobs/blobstest"
)

func TestTwoHashesAtOnce(t *testing.T) {
	if !canTwice {
		t.Log("this processor has no SHA extensions: only the plain way is tested")
	}
	data := blobstest.Bytes(1<<20, 1)
	for _, c := range []struct{ before, size int }{
		{0, 0}, {0, minTwice - 1}, {0, minTwice}, {0, minTwice + 1}, {0, len(data)}, {64, 1 << 16}, {1, 1 << 16}, {63, 1 << 16}, {100, 70_001}, {4096, minTwice + 63},
	} {
		t.Run(fmt.Sprintf("%d bytes after %d", c.size, c.before), func(t *testing.T) {
			part, whole := sha256.New(), sha256.New()
			whole.Write(data[:640]) // a whole number of blocks, as chunks are
			part.Write(data[:c.before])
			whole.Write(data[:c.before])
			writeTwice(part, whole, data[c.before:c.before+c.size])
			writeTwice(part, whole, data[:5]) // they go on
			want := func(first int) []byte {
				sum := sha256.Sum256(bytes.Join([][]byte{data[:first], data[:c.before+c.size], data[:5]}, nil))
				return sum[:]
			}
			if got := part.Sum(nil); !bytes.Equal(got, want(0)) {
				t.Errorf("part: %x", got)
			}
			if got := whole.Sum(nil); !bytes.Equal(got, want(640)) {
				t.Errorf("whole: %x", got)
			}
		})
	}
}

func FuzzTwoHashesAtOnce(f *testing.F) {
	f.Add([]byte("before"), []byte("other"), 100, 5000)
	f.Add([]byte{}, []byte{}, 64, 8192)
	f.Fuzz(func(t *testing.T, first, second []byte, a, b int) {
		data := blobstest.Bytes(min(max(a, 0), 1<<16)+min(max(b, 0), 1<<16), 1)
		x, y, wantX, wantY := sha256.New(), sha256.New(), sha256.New(), sha256.New()
		x.Write(first)
		y.Write(second)
		wantX.Write(first)
		wantY.Write(second)
		cut := min(max(a, 0), 1<<16)
		for _, p := range [][]byte{data[:cut], data[cut:]} {
			writeTwice(x, y, p)
			wantX.Write(p)
			wantY.Write(p)
		}
		if !bytes.Equal(x.Sum(nil), wantX.Sum(nil)) || !bytes.Equal(y.Sum(nil), wantY.Sum(nil)) {
			t.Errorf("%d, %d bytes before, %d and %d at once: another hash", len(first), len(second), cut, len(data)-cut)
		}
	})
}

func BenchmarkTwoHashes(b *testing.B) {
	data := blobstest.Bytes(1<<20, 1)
	part, whole := sha256.New(), sha256.New()
	b.Run("one", func(b *testing.B) {
		b.SetBytes(int64(len(data)))
		for b.Loop() {
			part.Write(data)
		}
	})
	b.Run("one after the other", func(b *testing.B) {
		b.SetBytes(int64(len(data)))
		for b.Loop() {
			part.Write(data)
			whole.Write(data)
		}
	})
	b.Run("at once", func(b *testing.B) {
		b.SetBytes(int64(len(data)))
		for b.Loop() {
			writeTwice(part, whole, data)
		}
	})
}
