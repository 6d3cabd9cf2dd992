package backup

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"malla/blobs"
)

// written is a backup with a state of three pieces, and three chunks of which
// one is missing.
func written(t testing.TB) (data []byte, state string, chunks [][]byte) {
	t.Helper()
	state = strings.Repeat("0123456789abcdef", 2*pieceSize/16) + "the end\n"
	chunks = [][]byte{[]byte("a manifest"), bytes.Repeat([]byte("chunk"), 1000), {}}
	var out bytes.Buffer
	b, err := NewWriter(&out, Header{Version: "test", Mesh: "00ff", Node: "one", Index: 42, At: time.Unix(1e9, 0).UTC(), Files: true})
	if err != nil {
		t.Fatal(err)
	}
	err = b.State(func(w io.Writer) error {
		_, err := io.Copy(w, iotest.HalfReader(strings.NewReader(state)))
		return err
	})
	for _, c := range chunks {
		err = errors.Join(err, b.Chunk(blobs.RefOf(c), int64(len(c)), bytes.NewReader(c)))
	}
	b.Missing(blobs.RefOf([]byte("lost")))
	if err := errors.Join(err, b.Close()); err != nil {
		t.Fatal(err)
	}
	return out.Bytes(), state, chunks
}

func TestWhatIsReadIsWhatWasWritten(t *testing.T) {
	data, state, chunks := written(t)
	var gotState strings.Builder
	var got [][]byte
	h, end, err := Read(iotest.OneByteReader(bytes.NewReader(data)), Visitor{
		State: func(r io.Reader) error { _, err := io.Copy(&gotState, r); return err },
		Chunk: func(ref blobs.Ref, size int64, r io.Reader) error {
			c, err := io.ReadAll(r)
			if int64(len(c)) != size || blobs.RefOf(c) != ref {
				t.Errorf("chunk %s of %d bytes has %d", ref, size, len(c))
			}
			got = append(got, c)
			return err
		},
	})
	if err != nil || h.Index != 42 || !h.Files || gotState.String() != state || len(got) != len(chunks) {
		t.Fatalf("%+v, %d bytes of state, %d chunks, %v", h, gotState.Len(), len(got), err)
	}
	if end.Chunks != 3 || end.Bytes != 5010 || len(end.Missing) != 1 || end.Missing[0] != blobs.RefOf([]byte("lost")) {
		t.Errorf("trailer %+v", end)
	}
	if _, _, err := Read(bytes.NewReader(data), Visitor{State: func(io.Reader) error { return io.ErrClosedPipe }}); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("the visitor's own error: %v", err)
	}
}

// TestNothingDamagedIsTakenForWhole cuts a backup off and flips bits in it.
func TestNothingDamagedIsTakenForWhole(t *testing.T) {
	data, _, _ := written(t)
	end := bytes.LastIndex(data, []byte(trailerName))
	for _, size := range []int{0, 1, 511, 512, 513, 1024, 1536, len(data) / 2, end - 1, end, end + 512, end + 700} {
		if _, _, err := Read(bytes.NewReader(data[:size]), Visitor{}); !errors.Is(err, ErrDamaged) {
			t.Errorf("cut off at %d of %d: %v", size, len(data), err)
		}
	}
	if _, _, err := Read(strings.NewReader(strings.Repeat("no backup at all", 100)), Visitor{}); !errors.Is(err, ErrDamaged) {
		t.Errorf("another file: %v", err)
	}
	for at := 0; at < 2*pieceSize; at += 99_991 {
		hurt := bytes.Clone(data)
		hurt[at] ^= 4
		if _, _, err := Read(bytes.NewReader(hurt), Visitor{}); !errors.Is(err, ErrDamaged) {
			t.Errorf("a flipped bit at %d: %v", at, err)
		}
	}
	for _, text := range []string{"a manifest", "chunkchunk", "the end", statePrefix, chunkPrefix, "0123456789", trailerName} {
		hurt := bytes.Clone(data)
		hurt[bytes.LastIndex(hurt, []byte(text))] ^= 1
		if _, _, err := Read(bytes.NewReader(hurt), Visitor{}); !errors.Is(err, ErrDamaged) {
			t.Errorf("a flipped bit in %q: %v", text, err)
		}
	}
	parts := bytes.SplitN(data, []byte(chunkPrefix), 2)
	if _, _, err := Read(bytes.NewReader(append(bytes.Clone(parts[0]), data[end:]...)), Visitor{}); !errors.Is(err, ErrDamaged) {
		t.Errorf("without its chunks: %v", err)
	}
}
