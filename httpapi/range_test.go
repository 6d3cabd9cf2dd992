package httpapi

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strconv"
	"testing"
)

// plainRange is a header of one range whose numbers are small: what it means is
// known without our code.
var plainRange = regexp.MustCompile(`^bytes=([0-9]{0,9})-([0-9]{0,9})$`)

// wantRange returns the bytes from..to that a plain range asks for of a file of
// that size, and whether there are any.
func wantRange(first, last string, size int) (from, to int, ok bool) {
	a, _ := strconv.Atoi(first)
	b, _ := strconv.Atoi(last)
	switch {
	case first == "":
		return max(0, size-b), size - 1, b > 0
	case last == "":
		return a, size - 1, a < size
	}
	return a, min(b, size-1), a < size
}

// FuzzRange reads a file with any Range header: what comes are the bytes that
// the answer says they are, or all of them, or none.
func FuzzRange(f *testing.F) {
	const content = "0123456789abcdefghij"
	r := newRig(f)
	id := r.put("ana", "song.mp3", content).ID
	token := r.token("ana")
	for _, seed := range []string{
		"", "bytes=0-0", "bytes=5-", "bytes=-5", "bytes=-0", "bytes=19-20", "bytes=20-", "bytes=3-2", "bytes=1-0", "bytes=0-1,4-5", "bytes=-", "lines=0-1",
		"bytes= 0-1", "bytes=0-1 ", "bytes=+1-2", "bytes=00000000-000000001", "bytes=0-18446744073709551616", "BYTES=0-1", "bytes=0-9\x00", "bytes=\xff-",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, header string) {
		req := httptest.NewRequest(http.MethodGet, "/media/"+id, nil)
		req.Header.Set("Authorization", "Bearer "+token)
		if header != "" {
			req.Header["Range"] = []string{header}
		}
		w := httptest.NewRecorder()
		r.api.Handler().ServeHTTP(w, req)
		body := w.Body.String()
		switch w.Code {
		case http.StatusOK:
			if body != content {
				t.Errorf("%q: the whole file is %q", header, body)
			}
		case http.StatusPartialContent:
			var from, to, size int
			if _, err := fmt.Sscanf(w.Header().Get("Content-Range"), "bytes %d-%d/%d", &from, &to, &size); err != nil ||
				size != len(content) || from < 0 || from > to || to >= size {
				t.Fatalf("%q: Content-Range %q, %v", header, w.Header().Get("Content-Range"), err)
			}
			if body != content[from:to+1] || w.Header().Get("Content-Length") != strconv.Itoa(len(body)) {
				t.Errorf("%q: %d-%d is %q, length %s", header, from, to, body, w.Header().Get("Content-Length"))
			}
		case http.StatusRequestedRangeNotSatisfiable:
			if got := w.Header().Get("Content-Range"); got != fmt.Sprintf("bytes */%d", len(content)) {
				t.Errorf("%q: 416 with Content-Range %q", header, got)
			}
		default:
			t.Errorf("%q: status %d", header, w.Code)
		}
		checkPlain(t, header, content, w.Code, body)
	})
}

// checkPlain compares the answer with what a plain range means.
func checkPlain(t *testing.T, header, content string, status int, body string) {
	t.Helper()
	parts := plainRange.FindStringSubmatch(header)
	if parts == nil || parts[1]+parts[2] == "" {
		return
	}
	from, to, ok := wantRange(parts[1], parts[2], len(content))
	switch {
	case ok && to < from: // it may be ignored
	case ok && (status != http.StatusPartialContent || body != content[from:to+1]):
		t.Errorf("%q: %d, %q, want %q", header, status, body, content[from:to+1])
	case !ok && status == http.StatusPartialContent:
		t.Errorf("%q: %q, and there are no such bytes", header, body)
	}
}
