package blobs_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"

	"malla/blobs"
)

func manifest(size int64) blobs.Manifest {
	m := blobs.Manifest{Size: size, SHA256: blobs.RefOf([]byte("whole"))}
	for i := range blobs.ChunkCount(size) {
		m.Chunks = append(m.Chunks, blobs.RefOf([]byte{byte(i)}))
	}
	return m
}

func TestManifestRoundTrip(t *testing.T) {
	for _, size := range []int64{0, 1, blobs.ChunkSize - 1, blobs.ChunkSize, blobs.ChunkSize + 1, 3*blobs.ChunkSize + 7} {
		want := manifest(size)
		got, err := blobs.DecodeManifest(want.Encode())
		if err != nil || !bytes.Equal(got.Encode(), want.Encode()) || got.Blob() != want.Blob() {
			t.Errorf("%d bytes: %+v, %v", size, got, err)
		}
		total := int64(0)
		for i := range got.Chunks {
			total += got.ChunkLen(i)
		}
		if total != size {
			t.Errorf("the chunks of %d bytes have %d", size, total)
		}
	}
}

func TestManifestLocate(t *testing.T) {
	m := manifest(2*blobs.ChunkSize + 10)
	for _, c := range []struct {
		off    int64
		chunk  int
		within int64
	}{
		{0, 0, 0}, {blobs.ChunkSize - 1, 0, blobs.ChunkSize - 1}, {blobs.ChunkSize, 1, 0}, {m.Size - 1, 2, 9},
	} {
		if chunk, within := m.Locate(c.off); chunk != c.chunk || within != c.within {
			t.Errorf("byte %d is in chunk %d at %d, want %d at %d", c.off, chunk, within, c.chunk, c.within)
		}
	}
}

func TestLargestManifestFitsIntoAChunk(t *testing.T) {
	if n := len(manifest(blobs.MaxBlobSize).Encode()); n > blobs.ChunkSize {
		t.Errorf("it has %d bytes", n)
	}
}

func TestDecodeManifestRefuses(t *testing.T) {
	good := manifest(2 * blobs.ChunkSize).Encode()
	size := func(n uint64) []byte {
		data := bytes.Clone(good)
		binary.BigEndian.PutUint64(data[8:], n)
		return data
	}
	for _, c := range []struct {
		name string
		data []byte
	}{
		{"nothing", nil},
		{"another magic", append([]byte("mallaMF2"), good[8:]...)},
		{"a header only", good[:48]},
		{"a ref too few", good[:len(good)-32]},
		{"a byte too many", append(bytes.Clone(good), 0)},
		{"a negative size", size(1 << 63)},
		{"a size without end", size(1<<64 - 1)},
		{"a size over the limit", size(uint64(blobs.MaxBlobSize) + 1)},
		{"a size that needs more chunks", size(2*blobs.ChunkSize + 1)},
		{"a size that needs fewer chunks", size(blobs.ChunkSize)},
	} {
		if m, err := blobs.DecodeManifest(c.data); !errors.Is(err, blobs.ErrBadManifest) {
			t.Errorf("%s: %+v, %v", c.name, m, err)
		}
	}
}

func FuzzDecodeManifest(f *testing.F) {
	f.Add(manifest(0).Encode())
	f.Add(manifest(blobs.ChunkSize + 1).Encode())
	f.Add([]byte("mallaMF1"))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := blobs.DecodeManifest(data)
		if err != nil {
			if !errors.Is(err, blobs.ErrBadManifest) {
				t.Errorf("%v is not ErrBadManifest", err)
			}
			return
		}
		// Canonical: one manifest, one encoding, one name.
		if !bytes.Equal(m.Encode(), data) {
			t.Errorf("%x decodes, but encodes to %x", data, m.Encode())
		}
		for _, off := range []int64{0, m.Size / 2, m.Size - 1} {
			if off < 0 || off >= m.Size {
				continue
			}
			if i, within := m.Locate(off); i >= len(m.Chunks) || within >= m.ChunkLen(i) {
				t.Errorf("byte %d of %d is in chunk %d at %d", off, m.Size, i, within)
			}
		}
	})
}
