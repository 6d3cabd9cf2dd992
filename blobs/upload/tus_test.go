package upload

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/tus/tusd/v2/pkg/handler"
	xslog "golang.org/x/exp/slog"

	"malla/blobs"
	"malla/blobs/blobstest"
)

type ownerKey struct{}

// serveTus mounts tusd's handler over s; the header X-Owner is who asks.
func serveTus(t *testing.T, s *Store) string {
	t.Helper()
	composer := handler.NewStoreComposer()
	NewTus(s, func(ctx context.Context) string {
		owner, _ := ctx.Value(ownerKey{}).(string)
		return owner
	}).UseIn(composer)
	h, err := handler.NewHandler(handler.Config{
		BasePath: "/files/", StoreComposer: composer,
		Logger: xslog.New(xslog.NewTextHandler(io.Discard, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r = r.WithContext(context.WithValue(r.Context(), ownerKey{}, r.Header.Get("X-Owner")))
		http.StripPrefix("/files/", h).ServeHTTP(w, r)
	}))
	t.Cleanup(srv.Close)
	return srv.URL + "/files/"
}

func tus(t *testing.T, method, url string, body []byte, header ...string) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Tus-Resumable", "1.0.0")
	req.Header.Set("X-Owner", "ana")
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	return resp
}

func patch(t *testing.T, url string, offset int, body []byte) *http.Response {
	t.Helper()
	return tus(t, "PATCH", url, body, "Upload-Offset", fmt.Sprint(offset), "Content-Type", "application/offset+octet-stream")
}

func wantStatus(t *testing.T, what string, resp *http.Response, want int) {
	t.Helper()
	if resp.StatusCode != want {
		t.Fatalf("%s answers %d, want %d", what, resp.StatusCode, want)
	}
}

func TestTusResumesAndFinishes(t *testing.T) {
	d, dir := newFolder(t), t.TempDir()
	s := openStore(t, d, dir)
	base := serveTus(t, s)
	data := blobstest.Bytes(blobs.ChunkSize+50_000, 1)

	resp := tus(t, "POST", base, nil, "Upload-Length", fmt.Sprint(len(data)), "Upload-Metadata", "filename YS5tcDQ=")
	wantStatus(t, "creation", resp, http.StatusCreated)
	id := resp.Header.Get("Location")[len(base):]
	wantStatus(t, "a piece", patch(t, base+id, 0, data[:60_000]), http.StatusNoContent)
	wantStatus(t, "the wrong offset", patch(t, base+id, 0, data[:10]), http.StatusConflict)
	wantStatus(t, "somebody else", tus(t, "HEAD", base+id, nil, "X-Owner", "bob"), http.StatusNotFound)

	s = openStore(t, d, dir) // the node restarts
	base = serveTus(t, s)
	resp = tus(t, "HEAD", base+id, nil)
	wantStatus(t, "the offset", resp, http.StatusOK)
	if got := resp.Header.Get("Upload-Offset"); got != "60000" {
		t.Fatalf("offset = %s, want 60000", got)
	}
	wantStatus(t, "the rest", patch(t, base+id, 60_000, data[60_000:]), http.StatusNoContent)
	i, err := s.Get(id)
	if err != nil || !i.Finished || i.Meta["filename"] != "a.mp4" {
		t.Fatalf("%+v, %v", i, err)
	}
	if !bytes.Equal(d.content(t, i.Blob), data) {
		t.Error("the bytes came back different")
	}
	wantStatus(t, "termination of what is finished", tus(t, "DELETE", base+id, nil), http.StatusNotFound)
}

func TestTusDeferredLengthAndTermination(t *testing.T) {
	d, dir := newFolder(t), t.TempDir()
	s := openStore(t, d, dir)
	base := serveTus(t, s)
	resp := tus(t, "POST", base, nil, "Upload-Defer-Length", "1")
	wantStatus(t, "creation", resp, http.StatusCreated)
	url := resp.Header.Get("Location")
	wantStatus(t, "a piece", patch(t, url, 0, make([]byte, 1000)), http.StatusNoContent)
	resp = tus(t, "PATCH", url, make([]byte, 500), "Upload-Offset", "1000", "Upload-Length", "2000",
		"Content-Type", "application/offset+octet-stream")
	wantStatus(t, "a piece with the length", resp, http.StatusNoContent)
	if got := tus(t, "HEAD", url, nil).Header.Get("Upload-Length"); got != "2000" {
		t.Errorf("length = %q", got)
	}
	wantStatus(t, "termination", tus(t, "DELETE", url, nil), http.StatusNoContent)
	wantStatus(t, "the offset of what is gone", tus(t, "HEAD", url, nil), http.StatusNotFound)
	wantEmpty(t, dir)
	wantEmpty(t, d.dir)
}

func TestTusTellsWhenThereIsNoRoom(t *testing.T) {
	d := newFolder(t)
	d.room = func(n int64) error { return blobs.ErrFull }
	base := serveTus(t, openStore(t, d, t.TempDir()))
	wantStatus(t, "creation on a full disk", tus(t, "POST", base, nil, "Upload-Length", "1000"), http.StatusInsufficientStorage)
}
