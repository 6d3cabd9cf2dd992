package replica_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"testing"

	"malla/blobs"
	"malla/blobs/blobstest"
	"malla/blobs/replica"
)

// TestSpansOfAChunkOnThisDiskAreFiles is what sendfile(2) needs: the HTTP API
// hands a span to the connection, which sends it itself only where its reader is
// an [io.LimitedReader] of a file.
func TestSpansOfAChunkOnThisDiskAreFiles(t *testing.T) {
	m := newMesh(t, 1, func(cfg *replica.Config) { cfg.Copies = 1 })
	data := blobstest.Bytes(blobs.ChunkSize+3000, 1)
	ref, _ := m.nodes[0].store(data)
	b, err := m.nodes[0].Open(t.Context(), ref)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	spans, ok := b.(interface {
		Span(n int64) (io.Reader, int64, error)
	})
	if !ok {
		t.Fatalf("%T has no spans", b)
	}
	var got []byte
	for {
		span, n, err := spans.Span(3 << 20)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		limited, ok := span.(*io.LimitedReader)
		if !ok || limited.N != n {
			t.Fatalf("at %d: a span of %d bytes is %T: %+v", len(got), n, span, span)
		}
		if _, ok := limited.R.(*os.File); !ok {
			t.Fatalf("at %d: the span reads from %T, which the kernel cannot send", len(got), limited.R)
		}
		part, err := io.ReadAll(span)
		if err != nil || int64(len(part)) != n {
			t.Fatalf("at %d: %d of %d bytes, %v", len(got), len(part), n, err)
		}
		got = append(got, part...)
	}
	if !bytes.Equal(got, data) {
		t.Errorf("%d bytes, want %d, or they are others", len(got), len(data))
	}
}
