package httpapi

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"malla/blobs"
	"malla/cluster/state"
)

const boundary = "xxBOUNDARYxx"

// raw is a request with exactly that form.
func (r *rig) raw(parts string) req {
	return req{method: "POST", path: "/upload", as: "ana", header: []string{"Content-Type", "multipart/form-data; boundary=" + boundary},
		body: strings.NewReplacer("\n", "\r\n", "BOUNDARY", "--"+boundary).Replace(parts)}
}

func TestForms(t *testing.T) {
	r := newRig(t)
	for _, row := range []struct {
		name, parts string
		status      int
		field, kept string
	}{
		{"other fields before the file", "BOUNDARY\nContent-Disposition: form-data; name=\"note\"\n\nhello\nBOUNDARY\nContent-Disposition: form-data; name=\"file\"; filename=\"a.mp3\"\n\nsound\nBOUNDARY--\n", 200, "", "a.mp3"},
		{"a client's content type", "BOUNDARY\nContent-Disposition: form-data; name=\"file\"; filename=\"b.mp3\"\nContent-Type: text/html\nContent-Transfer-Encoding: quoted-printable\n\nsound=3D\nBOUNDARY--\n", 200, "", "b.mp3"},
		{"a name as browsers escape it", "BOUNDARY\nContent-Disposition: form-data; name=\"file\"; filename=\"say %22hi%22%0D%0A.mp3\"\n\nsound\nBOUNDARY--\n", 200, "", `say "hi"  .mp3`},
		{"a name as RFC 5987 writes it", "BOUNDARY\nContent-Disposition: form-data; name=\"file\"; filename*=UTF-8''%C3%B1.mp3\n\nsound\nBOUNDARY--\n", 200, "", "ñ.mp3"},
		{"a name that is no UTF-8", "BOUNDARY\nContent-Disposition: form-data; name=\"file\"; filename=\"\xff.mp3\"\n\nsound\nBOUNDARY--\n", 200, "", "_.mp3"},
		{"no file", "BOUNDARY\nContent-Disposition: form-data; name=\"note\"\n\nhello\nBOUNDARY--\n", 400, "file", ""},
		{"no parts", "BOUNDARY--\n", 400, "file", ""},
		{"another field's file", "BOUNDARY\nContent-Disposition: form-data; name=\"data\"; filename=\"a.mp3\"\n\nsound\nBOUNDARY--\n", 400, "file", ""},
		{"no filename", "BOUNDARY\nContent-Disposition: form-data; name=\"file\"\n\nsound\nBOUNDARY--\n", 400, "file", ""},
		{"an empty filename", "BOUNDARY\nContent-Disposition: form-data; name=\"file\"; filename=\"\"\n\nsound\nBOUNDARY--\n", 400, "file", ""},
		{"an endless field", "BOUNDARY\nContent-Disposition: form-data; name=\"note\"\n\n" + strings.Repeat("x", 70<<10) + "\nBOUNDARY--\n", 400, "note", ""},
		{"too many fields", strings.Repeat("BOUNDARY\nContent-Disposition: form-data; name=\"note\"\n\nx\n", 17) + "BOUNDARY--\n", 400, "file", ""},
		{"cut before the file", "BOUNDARY\nContent-Dispo", 400, "", ""},
		{"cut in the file", "BOUNDARY\nContent-Disposition: form-data; name=\"file\"; filename=\"c.mp3\"\n\nsou", 400, "", ""},
		{"cut before the first byte", "BOUNDARY\nContent-Disposition: form-data; name=\"file\"; filename=\"c.mp3\"\n\n", 400, "", ""},
		{"nothing", "", 400, "", ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			r.t = t
			before := r.disk.chunks(t)
			p := r.do(r.raw(row.parts))
			if row.status != 200 {
				p.want(row.status)
				if row.field != "" {
					p.refused(row.status, row.field)
				}
				if r.disk.chunks(t) != before {
					t.Error("something was left behind")
				}
				return
			}
			if got := read[Uploaded](p.want(200)).Name; got != row.kept {
				t.Errorf("kept as %q, want %q", got, row.kept)
			}
		})
	}
	compressed := r.raw("BOUNDARY--\n")
	compressed.header = append(compressed.header, "Content-Encoding", "gzip")
	r.do(compressed).want(415)
}

// Whoever vanishes in the middle leaves nothing.
func TestCutUploads(t *testing.T) {
	r := newRig(t)
	token := r.token("ana")
	body, kind := form(t, "film.mp4", strings.Repeat("x", 9<<20)) // more than a chunk
	for _, sent := range []int{0, 10, 200, 1 << 20, 8<<20 + 1000, len(body) - 5} {
		conn, err := net.Dial("tcp", strings.TrimPrefix(r.url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(conn, "POST /upload HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n", token, kind, len(body))
		conn.Write(body[:sent])
		conn.(*net.TCPConn).CloseWrite()
		res, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatalf("after %d bytes: %v", sent, err)
		}
		if res.StatusCode != 400 {
			t.Errorf("after %d bytes: %s", sent, res.Status)
		}
		res.Body.Close()
		conn.Close()
		if n := r.disk.chunks(t); n != 0 {
			t.Errorf("after %d bytes: %d chunks were left", sent, n)
		}
	}
	if list := read[MediaList](r.do(req{method: "GET", path: "/media", as: "ana"})); len(list.Objects) != 0 {
		t.Errorf("the library has %v", list.Objects)
	}
}

func TestRefusedUploadsLeaveNothing(t *testing.T) {
	r := newRig(t)
	body, kind := form(t, "a.mp3", "text")
	q := req{method: "POST", path: "/upload", as: "ana", header: []string{"Content-Type", kind}, body: body}
	r.do(q).want(422)
	if n := r.disk.chunks(t); n != 0 {
		t.Errorf("%d chunks were left", n)
	}
	// Where nobody knows whether the name was agreed on, the bytes must stay.
	r.library.fail = errBoom
	r.do(q).want(500)
	if n := r.disk.chunks(t); n == 0 {
		t.Error("bytes were thrown away that a record may name")
	}
}

func TestManyUploadsAtOnce(t *testing.T) {
	r := newRig(t)
	r.token("ana")
	var all sync.WaitGroup
	for i := range 20 {
		all.Go(func() {
			c := &Client{Base: r.url, Token: r.tokens["ana"]}
			if _, err := c.Upload(t.Context(), fmt.Sprintf("%d.mp3", i), strings.NewReader(strings.Repeat("x", 1000+i)), int64(1000+i), nil); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if list := read[MediaList](r.do(req{method: "GET", path: "/media", as: "ana"})); len(list.Objects) != 20 {
		t.Errorf("%d files are there", len(list.Objects))
	}
}

func (r *rig) tus(as, method, path string, body any, header ...string) *reply {
	r.t.Helper()
	return r.do(req{method: method, path: path, as: as, body: body, header: append([]string{"Tus-Resumable", "1.0.0"}, header...)})
}

func meta(name string) string { return "filename " + base64.StdEncoding.EncodeToString([]byte(name)) }

const offsetType = "application/offset+octet-stream"

func TestResumableUpload(t *testing.T) {
	r := newRig(t, func(c *Config) { c.MaxUpload = 1000 })
	options := r.do(req{method: "OPTIONS", path: "/files/"}).want(200).header
	for name, want := range map[string]string{"Tus-Version": "1.0.0", "Tus-Max-Size": "1000"} {
		if options.Get(name) != want {
			t.Errorf("%s: %q", name, options.Get(name))
		}
	}
	for _, extension := range []string{"creation", "creation-with-upload", "termination", "concatenation", "expiration"} {
		if !strings.Contains(options.Get("Tus-Extension"), extension) {
			t.Errorf("extensions are %q", options.Get("Tus-Extension"))
		}
	}
	made := r.tus("ana", "POST", "/files/", nil, "Upload-Length", "10", "Upload-Metadata", meta("a ñ.mp3")).want(201).header
	at := made.Get("Location")
	if !strings.HasPrefix(at, "/files/") || made.Get("Upload-Expires") == "" {
		t.Fatalf("headers %v", made)
	}
	r.tus("ana", "PATCH", at, "sound", "Content-Type", offsetType, "Upload-Offset", "0").want(204)
	head := r.tus("ana", "HEAD", at, nil).want(200).header
	if head.Get("Upload-Offset") != "5" || head.Get("Upload-Length") != "10" {
		t.Errorf("headers %v", head)
	}
	r.tus("ana", "PATCH", at, "sound", "Content-Type", offsetType, "Upload-Offset", "3").want(409)
	r.tus("ana", "PATCH", at, "too much of it", "Content-Type", offsetType, "Upload-Offset", "5").want(413)
	for _, method := range []string{"HEAD", "DELETE"} {
		r.tus("bob", method, at, nil).want(404)
	}
	r.tus("bob", "PATCH", at, "evil!", "Content-Type", offsetType, "Upload-Offset", "5").want(404)
	done := r.tus("ana", "PATCH", at, "track", "Content-Type", offsetType, "Upload-Offset", "5").want(204).header
	name, _ := url.PathUnescape(done.Get("Malla-Media-Name"))
	if name != "a ñ.mp3" || done.Get("X-Malla-Index") == "" {
		t.Errorf("headers %v", done)
	}
	if got := string(r.do(req{method: "GET", path: "/media/" + done.Get("Malla-Media-Id"), as: "ana"}).want(200).body); got != "soundtrack" {
		t.Errorf("the item has %q", got)
	}
	// Who missed the last answer hears it again.
	again := r.tus("ana", "HEAD", at, nil).want(200).header
	if again.Get("Upload-Offset") != "10" || again.Get("Malla-Media-Id") != done.Get("Malla-Media-Id") {
		t.Errorf("headers %v", again)
	}
	r.tus("bob", "HEAD", at, nil).want(404)
}

func TestResumableRefusals(t *testing.T) {
	r := newRig(t, func(c *Config) { c.MaxUpload = 1000 })
	r.do(req{method: "POST", path: "/files/", as: "ana", header: []string{"Upload-Length", "10", "Upload-Metadata", meta("a.mp3")}}).want(412)
	r.tus("ana", "POST", "/files/", nil, "Upload-Metadata", meta("a.mp3")).want(400)
	r.tus("ana", "POST", "/files/", nil, "Upload-Length", "10").refused(400, "Upload-Metadata")
	r.tus("ana", "POST", "/files/", nil, "Upload-Length", "0", "Upload-Metadata", meta("a.mp3")).refused(400, "Upload-Length")
	r.tus("ana", "POST", "/files/", nil, "Upload-Length", "1001", "Upload-Metadata", meta("a.mp3")).want(413)
	r.tus("", "POST", "/files/", nil, "Upload-Length", "10", "Upload-Metadata", meta("a.mp3")).want(401)
	r.tus("ana", "HEAD", "/files/none", nil).want(404)
	r.disk.set(true, false)
	r.tus("ana", "POST", "/files/", nil, "Upload-Length", "10", "Upload-Metadata", meta("a.mp3")).want(507)
	r.disk.set(false, false)

	begin := func() string {
		return r.tus("ana", "POST", "/files/", nil, "Upload-Length", "4", "Upload-Metadata", meta("a.mp3")).want(201).header.Get("Location")
	}
	at := begin()
	r.tus("ana", "DELETE", at, nil).want(204)
	r.tus("ana", "HEAD", at, nil).want(404)

	at = begin()
	if p := read[Problem](r.tus("ana", "PATCH", at, "text", "Content-Type", offsetType, "Upload-Offset", "0").want(422)); !strings.HasSuffix(p.Type, "not_media") {
		t.Errorf("problem %+v", p)
	}
	if n := r.disk.chunks(t); n != 0 {
		t.Errorf("%d chunks were left", n)
	}
	r.tus("ana", "HEAD", at, nil).want(404)

	// All bytes came while the mesh could not agree: a question only reports, the
	// next PATCH names them.
	at = begin()
	r.log.lead(false)
	if r.tus("ana", "PATCH", at, "tune", "Content-Type", offsetType, "Upload-Offset", "0").want(503).header.Get("Retry-After") == "" {
		t.Error("503 without Retry-After")
	}
	for range 2 {
		if h := r.tus("ana", "HEAD", at, nil).want(200).header; h.Get("Upload-Offset") != "4" || h.Get("Malla-Media-Id") != "" {
			t.Errorf("headers %v", h)
		}
	}
	r.tus("ana", "PATCH", at, nil, "Content-Type", offsetType, "Upload-Offset", "4").want(503)
	r.log.lead(true)
	if id := r.tus("ana", "PATCH", at, nil, "Content-Type", offsetType, "Upload-Offset", "4").want(204).header.Get("Malla-Media-Id"); id == "" {
		t.Error("the upload was not imported")
	}
	if id := r.tus("ana", "HEAD", at, nil).want(200).header.Get("Malla-Media-Id"); id == "" {
		t.Error("HEAD does not tell what the upload became")
	}
	if list := read[MediaList](r.do(req{method: "GET", path: "/media", as: "ana"})); len(list.Objects) != 1 {
		t.Errorf("the library has %v", list.Objects)
	}
}

// TestCompleteUploadsAreNamedUnasked: a sender that believes HEAD (as
// tus-js-client does) never comes back.
func TestCompleteUploadsAreNamedUnasked(t *testing.T) {
	r := newRig(t)
	at := r.tus("ana", "POST", "/files/", nil, "Upload-Length", "4", "Upload-Metadata", meta("a.mp3")).want(201).header.Get("Location")
	r.log.lead(false)
	r.tus("ana", "PATCH", at, "tune", "Content-Type", offsetType, "Upload-Offset", "0").want(503)
	r.api.importComplete(t.Context(), 0)
	r.log.lead(true)
	for range 2 {
		r.api.importComplete(t.Context(), 0)
		if list := read[MediaList](r.do(req{method: "GET", path: "/media", as: "ana"})); len(list.Objects) != 1 {
			t.Errorf("the library has %v", list.Objects)
		}
	}
}

func TestConcatenation(t *testing.T) {
	r := newRig(t, func(c *Config) { c.MaxUpload = 100 << 20 })
	whole := make([]byte, 2*blobs.ChunkSize+5000)
	source := rand.NewChaCha8([32]byte{7})
	source.Read(whole)
	var parts []string
	begin := 0
	for _, end := range []int{blobs.ChunkSize, blobs.ChunkSize + 4000, len(whole)} {
		piece := whole[begin:end]
		begin = end
		// Made, and its first bytes sent, in one request.
		made := r.tus("ana", "POST", "/files/", piece[:1000], "Upload-Concat", "partial", "Upload-Length", fmt.Sprint(len(piece)), "Content-Type", offsetType).want(201)
		at := made.header.Get("Location")
		if made.header.Get("Upload-Offset") != "1000" {
			t.Fatalf("headers %v", made.header)
		}
		if h := r.tus("ana", "HEAD", at, nil).want(200).header; h.Get("Upload-Concat") != "partial" || h.Get("Upload-Offset") != "1000" {
			t.Errorf("headers %v", h)
		}
		final := "final;" + strings.Join(append(parts, at), " ")
		r.tus("ana", "POST", "/files/", nil, "Upload-Concat", final, "Upload-Metadata", meta("a.mp4")).want(400) // it is not whole
		r.tus("ana", "PATCH", at, piece[1000:], "Content-Type", offsetType, "Upload-Offset", "1000").want(204)
		parts = append(parts, at)
	}
	if list := read[MediaList](r.do(req{method: "GET", path: "/media", as: "ana"})); len(list.Objects) != 0 {
		t.Errorf("pieces are in the library: %v", list.Objects)
	}
	r.api.importComplete(t.Context(), 0)
	final := "final;" + strings.Join(parts, " ")
	r.tus("ana", "POST", "/files/", nil, "Upload-Concat", final).refused(400, "Upload-Metadata")
	r.tus("bob", "POST", "/files/", nil, "Upload-Concat", final, "Upload-Metadata", meta("a.mp4")).want(404)
	done := r.tus("ana", "POST", "/files/", nil, "Upload-Concat", final, "Upload-Metadata", meta("a.mp4")).want(201).header
	got := r.do(req{method: "GET", path: "/media/" + done.Get("Malla-Media-Id"), as: "ana"}).want(200).body
	if !bytes.Equal(got, whole) {
		t.Errorf("%d bytes came back, not those that were sent", len(got))
	}
	if id := r.tus("ana", "HEAD", done.Get("Location"), nil).want(200).header.Get("Malla-Media-Id"); id != done.Get("Malla-Media-Id") {
		t.Errorf("the final upload became %q", id)
	}
	// A finished file is no piece.
	r.tus("ana", "POST", "/files/", nil, "Upload-Concat", "final;"+done.Get("Location"), "Upload-Metadata", meta("b.mp4")).want(400)
	// The pieces may go; the file stays.
	for _, at := range parts {
		r.tus("ana", "DELETE", at, nil).want(204)
		r.tus("ana", "HEAD", at, nil).want(404)
	}
}

// FuzzTusHeaders sends headers of the protocol as nobody should: every answer
// is a whole one, and what was not refused is told as it was announced.
func FuzzTusHeaders(f *testing.F) {
	f.Add("10", "0", "filename YS5tcDM=", "")
	f.Add("-1", "-1", "filename", "partial")
	f.Add("9223372036854775808", "18446744073709551615", "filename ====,x y z", "final;")
	f.Add("0x10", "1e3", ",,, filename YS5tcDM=", "final;/files/ /files/../x http://[::1/files/a")
	f.Add("", " ", "\xff \xff", "final;/files/none")
	f.Add("4", "4", "filename YS5tcDM=,replace dHJ1ZQ==", "PARTIAL")
	r := newRig(f)
	r.token("ana")
	f.Fuzz(func(t *testing.T, length, offset, metadata, concat string) {
		send := func(method, path string, header ...string) *http.Response {
			w := httptest.NewRecorder()
			q := httptest.NewRequest(method, "http://node"+path, strings.NewReader("tune"))
			q.Header.Set("Authorization", "Bearer "+r.tokens["ana"])
			q.Header.Set("Tus-Resumable", "1.0.0")
			for i := 0; i < len(header); i += 2 {
				q.Header[header[i]] = []string{header[i+1]} // as it is
			}
			r.api.Handler().ServeHTTP(w, q)
			res := w.Result()
			if res.StatusCode == http.StatusInternalServerError {
				t.Fatalf("%s %s %q: %d %s", method, path, header, res.StatusCode, w.Body)
			}
			if res.StatusCode >= 400 && method != http.MethodHead && res.Header.Get("Content-Type") != "application/problem+json" {
				t.Errorf("%s %s %q: %d is no problem: %s", method, path, header, res.StatusCode, w.Body)
			}
			return res
		}
		made := send("POST", "/files/", "Upload-Length", length, "Upload-Metadata", metadata, "Upload-Concat", concat)
		at := made.Header.Get("Location")
		if made.StatusCode != http.StatusCreated {
			return
		}
		head := send("HEAD", at)
		if n, err := strconv.ParseInt(length, 10, 64); head.StatusCode != 200 || err != nil || n <= 0 || head.Header.Get("Upload-Length") != strconv.FormatInt(n, 10) || head.Header.Get("Upload-Offset") != "0" {
			t.Errorf("length %q was taken as %v", length, head.Header)
		}
		patched := send("PATCH", at, "Upload-Offset", offset, "Content-Type", offsetType)
		if n, err := strconv.ParseInt(offset, 10, 64); patched.StatusCode == http.StatusNoContent && (err != nil || n != 0) {
			t.Errorf("bytes were taken at %q", offset)
		}
		send("DELETE", at)
	})
}

// breaking is a network that breaks after so many bytes of requests, again and again.
type breaking struct {
	next  http.RoundTripper
	mu    sync.Mutex
	after int64
	cuts  int
}

func (b *breaking) RoundTrip(r *http.Request) (*http.Response, error) {
	b.mu.Lock()
	cut := r.Method == http.MethodPatch && b.cuts > 0
	if cut {
		b.cuts--
	}
	b.mu.Unlock()
	if cut {
		r = r.Clone(r.Context())
		r.Body = io.NopCloser(io.MultiReader(io.LimitReader(r.Body, b.after), iotest.ErrReader(errors.New("cable pulled"))))
	}
	return b.next.RoundTrip(r)
}

func TestClientResumesUploads(t *testing.T) {
	r := newRig(t)
	content := make([]byte, 10<<20)
	source := rand.NewChaCha8([32]byte{1})
	source.Read(content)
	c := &Client{Base: r.url, Token: r.token("ana"), HTTP: &http.Client{Transport: &breaking{next: http.DefaultTransport, after: 4 << 20, cuts: 2}}}
	var location string
	var most int64
	f := File{Name: "film.mp4", Body: bytes.NewReader(content), Size: int64(len(content)),
		Started: func(at string) { location = at }, Progress: func(n int64) { most = max(most, n) }}
	m, err := c.UploadFile(t.Context(), f)
	if err != nil {
		t.Fatal(err)
	}
	if m.Name != "film.mp4" || m.Size != f.Size || m.SHA256 != blobs.RefOf(content).String() || most != f.Size || !strings.HasPrefix(location, r.url+"/files/") {
		t.Errorf("%+v, progress %d, location %s", m, most, location)
	}
	// A second call with the first one's location finds that it is done.
	f.Location = location
	if again, err := c.UploadFile(t.Context(), f); err != nil || again.ID != m.ID {
		t.Errorf("%v %v", again, err)
	}
	// A location that has expired begins anew.
	f.Location = r.url + "/files/0123456789abcdef"
	if again, err := c.UploadFile(t.Context(), f); err != nil || again.ID != m.ID {
		t.Errorf("%v %v", again, err)
	}
}

func TestClientGoesOnWhereItGaveUp(t *testing.T) {
	r := newRig(t)
	content := []byte(strings.Repeat("0123456789", 1<<20))
	broken := &breaking{next: http.DefaultTransport, after: 9 << 20, cuts: 100}
	c := &Client{Base: r.url, Token: r.token("ana"), HTTP: &http.Client{Transport: &stubborn{broken}}}
	var location string
	f := File{Name: "a.mp4", Body: bytes.NewReader(content), Size: int64(len(content)), Started: func(at string) { location = at }}
	if _, err := c.UploadFile(t.Context(), f); err == nil || location == "" {
		t.Fatal("nothing broke")
	}
	c.HTTP = nil
	f.Location = location
	first := int64(-1)
	f.Progress = func(n int64) {
		if first < 0 {
			first = n
		}
	}
	m, err := c.UploadFile(t.Context(), f)
	if err != nil || m.SHA256 != blobs.RefOf(content).String() || first < 256<<10 {
		t.Errorf("%+v %v, went on at %d", m, err, first)
	}
}

// stubborn tells of a broken network as of a refusal that does not pass, so that
// the client gives up at once.
type stubborn struct{ next http.RoundTripper }

func (s *stubborn) RoundTrip(r *http.Request) (*http.Response, error) {
	res, err := s.next.RoundTrip(r)
	if err != nil {
		return &http.Response{StatusCode: 400, Status: "400", Header: http.Header{}, Body: http.NoBody, Request: r}, nil
	}
	return res, nil
}

func FuzzFileNames(f *testing.F) {
	for _, name := range []string{"a.mp3", "../../x", `C:\x`, "\xff", "", ".", strings.Repeat("ñ", 300)} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		clean := cleanFileName(name)
		if err := state.CheckMediaName(clean); err != nil && clean != "" && clean != "." && clean != ".." {
			t.Errorf("%q became %q: %v", name, clean, err)
		}
		if strings.ContainsAny(contentDisposition("inline", clean), "\r\n") {
			t.Errorf("%q breaks a header", clean)
		}
	})
}
