package httpapi

import (
	"encoding/base64"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"malla/cluster/state"
)

func TestRanges(t *testing.T) {
	r := newRig(t)
	item := r.put("ana", "song.mp3", "0123456789")
	etag := `"` + item.SHA256 + `"`
	for _, row := range []struct {
		name   string
		header []string
		status int
		body   string
		rng    string // Content-Range
	}{
		{"none", nil, 200, "0123456789", ""},
		{"first", []string{"Range", "bytes=0-0"}, 206, "0", "bytes 0-0/10"},
		{"middle", []string{"Range", "bytes=2-4"}, 206, "234", "bytes 2-4/10"},
		{"open", []string{"Range", "bytes=7-"}, 206, "789", "bytes 7-9/10"},
		{"suffix", []string{"Range", "bytes=-3"}, 206, "789", "bytes 7-9/10"},
		{"endless suffix", []string{"Range", "bytes=-999"}, 206, "0123456789", "bytes 0-9/10"},
		{"the last nothing", []string{"Range", "bytes=-0"}, 200, "0123456789", ""},
		{"beyond the end", []string{"Range", "bytes=8-999999999999999999"}, 206, "89", "bytes 8-9/10"},
		{"behind the end", []string{"Range", "bytes=10-"}, 416, "", "bytes */10"},
		{"reversed", []string{"Range", "bytes=4-2"}, 200, "0123456789", ""},
		{"reversed with zeros", []string{"Range", "bytes=004-2"}, 200, "0123456789", ""},
		{"reversed to the first", []string{"Range", "bytes=1-0"}, 200, "0123456789", ""},
		{"overflow", []string{"Range", "bytes=9223372036854775808-"}, 200, "0123456789", ""},
		{"overflow of the end", []string{"Range", "bytes=0-9223372036854775808"}, 200, "0123456789", ""},
		{"two ranges", []string{"Range", "bytes=0-1,4-5"}, 200, "0123456789", ""},
		{"other units", []string{"Range", "lines=0-1"}, 200, "0123456789", ""},
		{"nonsense", []string{"Range", "bytes=-"}, 200, "0123456789", ""},
		{"long", []string{"Range", "bytes=" + strings.Repeat("0", 200) + "-1"}, 200, "0123456789", ""},
		{"if unchanged", []string{"Range", "bytes=2-4", "If-Range", etag}, 206, "234", "bytes 2-4/10"},
		{"if changed", []string{"Range", "bytes=2-4", "If-Range", `"other"`}, 200, "0123456789", ""},
		{"had already", []string{"If-None-Match", etag}, 304, "", ""},
		{"had another", []string{"If-None-Match", `"other"`}, 200, "0123456789", ""},
		{"wants another", []string{"If-Match", `"other"`}, 412, "", ""},
		{"since", []string{"If-Modified-Since", "Mon, 23 Nov 2026 12:00:00 GMT"}, 304, "", ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			r.t = t
			p := r.do(req{method: "GET", path: "/media/song.mp3", as: "ana", header: row.header}).want(row.status)
			if row.status < 300 && string(p.body) != row.body || p.header.Get("Content-Range") != row.rng {
				t.Errorf("%q %q", p.body, p.header.Get("Content-Range"))
			}
			if row.status < 300 && (p.header.Get("ETag") != etag || p.header.Get("Accept-Ranges") != "bytes" || p.header.Get("Last-Modified") == "") {
				t.Errorf("headers %v", p.header)
			}
			head := r.do(req{method: "HEAD", path: "/media/song.mp3", as: "ana", header: row.header}).want(row.status)
			if row.status < 300 && head.header.Get("Content-Length") != fmt.Sprint(len(row.body)) {
				t.Errorf("HEAD says %s bytes", head.header.Get("Content-Length"))
			}
		})
	}
}

func TestBrowsersTakeMediaForNothingElse(t *testing.T) {
	r := newRig(t)
	r.put("ana", "film.mp4", "film")
	r.put("ana", "image.svg", "<svg>")
	for name, want := range map[string][2]string{"film.mp4": {"video/mp4", "inline"}, "image.svg": {"application/octet-stream", "attachment"}, "film.mp4?download=1": {"video/mp4", "attachment"}} {
		h := r.do(req{method: "GET", path: "/media/" + name, as: "ana"}).want(200).header
		disposition, _, _ := mime.ParseMediaType(h.Get("Content-Disposition"))
		if h.Get("Content-Type") != want[0] || disposition != want[1] || h.Get("X-Content-Type-Options") != "nosniff" ||
			h.Get("Content-Security-Policy") != "default-src 'none'; media-src 'self'; sandbox" || h.Get("Cross-Origin-Resource-Policy") != "same-origin" {
			t.Errorf("%s: %v", name, h)
		}
	}
}

// Names may be any text: they are found again, and no header or path suffers.
func TestNames(t *testing.T) {
	r := newRig(t)
	for i, row := range []struct{ sent, kept string }{
		{"música ñandú 日本.mp3", ""}, {`say "hi".mp3`, ""}, {"50%.mp3", ""}, {"100%25.mp3", ""}, {"a+b c.mp3", ""}, {"a;b=c.mp3", ""}, {"-i.mp3", ""},
		{"concat:x.mp3", ""}, {"frame%03d.mp3", ""}, {"<img src=x onerror=alert(1)>.mp3", ""}, {"a#b?c.mp3", ""}, {"..", "-"}, {".", "-"}, {"...", ""},
		{"../../x.mp3", "x.mp3"}, {`C:\Users\ana\y.mp3`, "y.mp3"}, {`AC\DC.mp3`, ""}, {"/etc/passwd.mp3", "passwd.mp3"}, {" spaces .mp3 ", "spaces .mp3"},
		{"new\nline.mp3", "new line.mp3"}, {"tab\there.mp3", "tabhere.mp3"}, {"\u202Egnp.mp3", ""}, {strings.Repeat("ñ", 300) + ".mp3", strings.Repeat("ñ", 125) + ".mp3"},
	} {
		t.Run(fmt.Sprintf("%.30q", row.sent), func(t *testing.T) {
			r.t = t
			body, kind := form(t, row.sent, fmt.Sprint("sound ", i))
			p := r.do(req{method: "POST", path: "/upload", as: "ana", header: []string{"Content-Type", kind}, body: body})
			if row.kept == "-" {
				p.refused(400, "file")
				return
			}
			want := row.kept
			if want == "" {
				want = row.sent
			}
			got := read[Uploaded](p.want(200)).Name
			if got != want {
				t.Fatalf("kept as %q, want %q", got, want)
			}
			path := "/media/" + url.PathEscape(got)
			file := r.do(req{method: "GET", path: path, as: "ana"}).want(200)
			_, params, err := mime.ParseMediaType(file.header.Get("Content-Disposition"))
			if err != nil || params["filename"] != got || string(file.body) != fmt.Sprint("sound ", i) {
				t.Errorf("%v: %q in %q", err, params["filename"], file.header.Get("Content-Disposition"))
			}
			shared := read[Shared](r.do(req{method: "POST", path: "/share/" + url.PathEscape(got), as: "ana"}).want(200))
			r.do(req{method: "GET", path: shared.URL[strings.Index(shared.URL, "/s/"):]}).want(200)
			r.do(req{method: "DELETE", path: path, as: "ana"}).want(200)
		})
	}
}

func TestPathsLeadNowhere(t *testing.T) {
	r := newRig(t)
	r.put("ana", "song.mp3", "sound")
	for _, path := range []string{
		"/media/..%2f..%2fetc%2fpasswd", "/media/%2e%2e", "/media/%2e%2e%2f%2e%2e", "/media/%5c..%5cx", "/media/%00", "/media/%252e%252e", "/media//etc/passwd",
		"/s/..%2fx", "/jobs/..%2f..", "/files/..%2f..%2fx", "/shares/..", "//media/song.mp3", "/MEDIA", "/Media/song.mp3", "/media/song.mp3/",
	} {
		p := r.do(req{method: "GET", path: path, as: "ana"})
		if p.status != 404 && p.status != 301 && p.status != 405 || p.status == 301 && p.header.Get("Location") != "/media/song.mp3" {
			t.Errorf("%s: %d %s", path, p.status, p.header.Get("Location"))
		}
	}
	if p := r.do(req{method: "GET", path: "/media/", as: "ana"}).want(301); p.header.Get("Location") != "/media" {
		t.Errorf("Location %q", p.header.Get("Location"))
	}
}

func TestUploadingANameAgain(t *testing.T) {
	r := newRig(t)
	first := r.put("ana", "song.mp3", "one")
	if again := r.put("ana", "song.mp3", "one"); again.ID != first.ID {
		t.Error("the same bytes became another item")
	}
	if other := r.put("ana", "song.mp3", "two"); other.Name != "song (2).mp3" {
		t.Errorf("other bytes became %q", other.Name)
	}
	body, kind := form(t, "song.mp3", "three")
	replaced := read[Uploaded](r.do(req{method: "POST", path: "/upload?replace=true", as: "ana", header: []string{"Content-Type", kind}, body: body}).want(200))
	if replaced.ID != first.ID || replaced.Name != "song.mp3" {
		t.Errorf("replaced %+v", replaced)
	}
	if got := string(r.do(req{method: "GET", path: "/media/" + first.ID, as: "ana"}).want(200).body); got != "three" {
		t.Errorf("the item has %q", got)
	}
}

func TestLibraryInParts(t *testing.T) {
	r := newRig(t)
	for i, name := range []string{"b.mp3", "a.mp4", "c.mp3", "d.mp3", "e.mp4"} {
		r.put("ana", name, strings.Repeat("x", 10-i))
		r.clock.pass(time.Second)
	}
	all := func(query string) string {
		var names []string
		cursor := ""
		for range 10 {
			list := read[MediaList](r.do(req{method: "GET", path: "/media?limit=2" + query + "&cursor=" + cursor, as: "ana"}).want(200))
			if len(list.Items) != len(list.Objects) || len(list.Items) > 2 {
				t.Errorf("a part of %d and %d", len(list.Items), len(list.Objects))
			}
			names = append(names, list.Objects...)
			if cursor = list.Next; cursor == "" {
				break
			}
		}
		return strings.ReplaceAll(strings.ReplaceAll(strings.Join(names, " "), ".mp3", ""), ".mp4", "")
	}
	for query, want := range map[string]string{
		"": "a b c d e", "&sort=name": "a b c d e", "&sort=-name": "e d c b a", "&sort=created": "b a c d e", "&sort=-created": "e d c a b",
		"&sort=size": "e d c a b", "&sort=-size": "b a c d e", "&sort=duration": "a b c d e", "&sort=-duration": "e d c b a",
		"&kind=audio": "b c d", "&kind=video": "a e", "&kind=none": "", "&q=MP4": "a e", "&q=a+mp4": "a", "&q=nothing": "",
	} {
		if got := all(query); got != want {
			t.Errorf("%s: %s, want %s", query, got, want)
		}
	}
	whole := read[MediaList](r.do(req{method: "GET", path: "/media", as: "ana"}).want(200))
	if len(whole.Items) != 5 || whole.Next != "" || whole.Items[0].SHA256 == "" || whole.Items[0].Streams == nil || whole.Items[0].Tags == nil {
		t.Errorf("the whole: %+v", whole)
	}
	// An item that goes between two parts does not stop the next one.
	part := read[MediaList](r.do(req{method: "GET", path: "/media?limit=2", as: "ana"}).want(200))
	r.do(req{method: "DELETE", path: "/media/" + part.Items[1].ID, as: "ana"}).want(200)
	rest := read[MediaList](r.do(req{method: "GET", path: "/media?limit=2&cursor=" + part.Next, as: "ana"}).want(200))
	if len(rest.Objects) != 2 || rest.Objects[0] != "c.mp3" {
		t.Errorf("the rest is %v", rest.Objects)
	}
	for query, field := range map[string]string{"sort=xyz": "sort", "limit=x": "limit", "cursor=!": "cursor", "cursor=" + base64.RawURLEncoding.EncodeToString([]byte("[")): "cursor"} {
		r.do(req{method: "GET", path: "/media?" + query, as: "ana"}).refused(400, field)
	}
}

func TestSignedLinks(t *testing.T) {
	r := newRig(t)
	item := r.put("ana", "song.mp3", "sound")
	other := r.put("ana", "other.mp3", "other")
	link := read[SignedURL](r.do(req{method: "POST", path: "/media/song.mp3/url", as: "ana"}).want(200))
	if !strings.HasPrefix(link.URL, "/media/"+item.ID+"?") || link.ExpiresIn != 240 {
		t.Errorf("%+v", link)
	}
	h := r.do(req{method: "GET", path: link.URL, header: []string{"Origin", "https://other.example", "Range", "bytes=1-"}}).want(206).header
	if h.Get("Access-Control-Allow-Origin") != "*" || h.Get("Cross-Origin-Resource-Policy") != "cross-origin" {
		t.Errorf("headers %v", h)
	}
	r.do(req{method: "HEAD", path: link.URL}).want(200)
	r.do(req{method: "GET", path: strings.Replace(link.URL, item.ID, other.ID, 1)}).want(403)
	r.do(req{method: "GET", path: strings.Replace(link.URL, item.ID, "none", 1)}).want(403)
	r.do(req{method: "GET", path: link.URL + "A"}).want(403)
	r.do(req{method: "GET", path: strings.Replace(link.URL, "e=", "e=9", 1)}).want(403)
	r.do(req{method: "DELETE", path: link.URL}).want(401)
	r.do(req{method: "POST", path: "/media/song.mp3/url?minutes=999", as: "ana"}).refused(400, "minutes")
	short := read[SignedURL](r.do(req{method: "POST", path: "/media/song.mp3/url?minutes=5", as: "ana"}).want(200))
	r.clock.pass(6 * time.Minute)
	r.do(req{method: "GET", path: short.URL}).want(403)
	r.do(req{method: "GET", path: link.URL}).want(200)
	r.do(req{method: "POST", path: "/auth/logout", as: "ana"}).want(200)
	r.do(req{method: "GET", path: link.URL}).want(403)
}

func TestShares(t *testing.T) {
	r := newRig(t, func(c *Config) { c.PublicURL = "https://media.example.org/" })
	r.put("ana", "song.mp3", "sound")
	made := read[Shared](r.do(req{method: "POST", path: "/share/song.mp3?minutes=10", as: "ana"}).want(200))
	if !strings.HasPrefix(made.URL, "https://media.example.org/s/") || !made.ExpiresAt.Equal(r.clock.Now().Add(10*time.Minute)) {
		t.Errorf("%+v", made)
	}
	path := strings.TrimPrefix(made.URL, "https://media.example.org")
	h := r.do(req{method: "GET", path: path}).want(200).header
	if h.Get("Access-Control-Allow-Origin") != "*" || h.Get("X-Robots-Tag") != "noindex" || h.Get("Cross-Origin-Resource-Policy") != "cross-origin" || !strings.HasPrefix(h.Get("Content-Disposition"), "inline") {
		t.Errorf("headers %v", h)
	}
	list := read[struct{ Shares []Share }](r.do(req{method: "GET", path: "/shares", as: "ana"}).want(200)).Shares
	if len(list) != 1 || list[0].ID != made.ID || list[0].Media != "song.mp3" || strings.Contains(fmt.Sprint(list), path[3:]) {
		t.Errorf("shares %+v", list)
	}
	if bob := read[struct{ Shares []Share }](r.do(req{method: "GET", path: "/shares", as: "bob"}).want(200)).Shares; len(bob) != 0 {
		t.Errorf("bob sees %v", bob)
	}
	r.do(req{method: "DELETE", path: "/shares/" + made.ID, as: "bob"}).want(404)
	unknown := r.do(req{method: "GET", path: "/s/" + strings.Repeat("x", 32)}).want(404)
	r.clock.pass(10 * time.Minute)
	expired := r.do(req{method: "GET", path: path}).want(404)
	if a, b := read[Problem](unknown), read[Problem](expired); a.Detail != b.Detail || a.Type != b.Type {
		t.Errorf("an expired link (%v) and an unknown one (%v) differ", b, a)
	}
	again := read[Shared](r.do(req{method: "POST", path: "/share/song.mp3", as: "ana"}).want(200))
	token := again.URL[len(again.URL)-32:]
	r.do(req{method: "GET", path: "/s/" + token}).want(200)
	r.do(req{method: "DELETE", path: "/shares/" + token, as: "ana"}).want(200)
	r.do(req{method: "GET", path: "/s/" + token}).want(404)
	r.do(req{method: "DELETE", path: "/shares/" + token, as: "ana"}).want(404)
}

// Links never begin with what somebody wrote into the Host header.
func TestLinksBeginWithAKnownAddress(t *testing.T) {
	r := newRig(t)
	r.put("ana", "song.mp3", "sound")
	for host, want := range map[string]string{
		"evil.example": "http://10.0.0.1:8000/s/", "10.0.0.2:8000": "http://10.0.0.2:8000/s/", "192.168.1.7:8000": "http://192.168.1.7:8000/s/",
		"[2001:db8::1]:8000": "http://[2001:db8::1]:8000/s/", "localhost:8000": "http://localhost:8000/s/",
	} {
		made := read[Shared](r.do(req{method: "POST", path: "/share/song.mp3", as: "ana", header: []string{"Host", host}}).want(200))
		if !strings.HasPrefix(made.URL, want) {
			t.Errorf("%s: %s", host, made.URL)
		}
	}
}

// A link that is revoked ends also in the middle of an answer.
func TestRevokedInTheMiddle(t *testing.T) {
	allowed := true
	r := newRig(t)
	w := &pacedWriter{ResponseWriter: &recorder{header: http.Header{}}, call: &call{api: r.api}, allowed: allowedIf(&allowed)}
	if _, err := w.Write([]byte("first")); err != nil {
		t.Fatal(err)
	}
	w.checked = time.Now().Add(-time.Minute)
	allowed = false
	if _, err := w.Write([]byte("second")); err == nil || !w.revoked {
		t.Error("what may not be read any more was written")
	}
}

func allowedIf(allowed *bool) func(*state.View) bool {
	return func(*state.View) bool { return *allowed }
}
