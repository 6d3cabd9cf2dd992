package replica

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"testing"

	"malla/blobs"
)

func TestErrorsKeepTheirKindOverTheWire(t *testing.T) {
	for _, s := range statuses {
		wrapped := fmt.Errorf("while doing something: %w", s.err)
		if got := errorOf(statusOf(wrapped)); !errors.Is(got, s.err) {
			t.Errorf("%v arrives as %v", s.err, got)
		}
	}
	if got := statusOf(errors.New("anything")); got != http.StatusInternalServerError {
		t.Errorf("an unknown error is %d", got)
	}
}

func FuzzDecodeRefs(f *testing.F) {
	one := blobs.RefOf([]byte("one"))
	f.Add(encodeRefs([]blobs.Ref{one, {}}))
	f.Add(one[:31])
	f.Add(bytes.Repeat(one[:], 17))
	f.Fuzz(func(t *testing.T, data []byte) {
		const limit = 16
		refs, err := decodeRefs(bytes.NewReader(data), limit)
		if err != nil {
			if !errors.Is(err, blobs.ErrBadRef) {
				t.Errorf("%v is not ErrBadRef", err)
			}
			return
		}
		if len(refs) > limit || !bytes.Equal(encodeRefs(refs), data) {
			t.Errorf("%d bytes became %d refs", len(data), len(refs))
		}
	})
}
