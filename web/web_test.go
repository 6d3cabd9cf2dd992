package web

import (
	"compress/gzip"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func get(t *testing.T, method, path string, header http.Header) *http.Response {
	t.Helper()
	r := httptest.NewRequest(method, path, nil)
	for name, values := range header {
		r.Header[name] = values
	}
	w := httptest.NewRecorder()
	Handler().ServeHTTP(w, r)
	return w.Result()
}

func body(t *testing.T, res *http.Response) string {
	t.Helper()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestServesPagesAndWhatTheyLoad(t *testing.T) {
	for path, want := range map[string]struct{ contentType, contains string }{
		"/":                     {"text/html; charset=utf-8", `id="video-player"`},
		"/player.html":          {"text/html; charset=utf-8", `id="video-player"`},
		"/admin.html":           {"text/html; charset=utf-8", `id="node-cards"`},
		"/assets/js/player.js":  {"text/javascript; charset=utf-8", "startSession"},
		"/assets/css/base.css":  {"text/css; charset=utf-8", "--accent"},
		"/assets/icons.svg":     {"image/svg+xml", "<symbol"},
		"/assets/logo.svg":      {"image/svg+xml", "<svg"},
		"/favicon.ico":          {"image/svg+xml", "<svg"},
		"/assets/js/i18n/es.js": {"text/javascript; charset=utf-8", "Reproductor"},
		"/assets/vendor/chart.js/chart.umd.min.js": {"text/javascript; charset=utf-8", "Chart.js"},
		"/assets/vendor/tus-js-client/tus.min.js":  {"text/javascript; charset=utf-8", "Upload-Offset"},
		"/assets/vendor/chart.js/LICENSE.md":       {"text/markdown; charset=utf-8", "MIT"},
	} {
		t.Run(path, func(t *testing.T) {
			res := get(t, http.MethodGet, path, nil)
			if res.StatusCode != http.StatusOK {
				t.Fatalf("status %d", res.StatusCode)
			}
			if got := res.Header.Get("Content-Type"); got != want.contentType {
				t.Errorf("Content-Type %q, want %q", got, want.contentType)
			}
			for name, value := range map[string]string{"Content-Security-Policy": CSP(), "X-Content-Type-Options": "nosniff", "Cache-Control": "no-cache"} {
				if got := res.Header.Get(name); got != value {
					t.Errorf("%s %q, want %q", name, got, value)
				}
			}
			if !strings.Contains(body(t, res), want.contains) {
				t.Errorf("the body lacks %q", want.contains)
			}
		})
	}
}

func TestRefusesWhatIsNotAPage(t *testing.T) {
	for _, path := range []string{"/nothing", "/assets", "/assets/", "/assets/js/", "/assets/../web.go", "/pages/player.html", "/web.go", "/vendor.sh", "/assets/vendor/chart.js/VERSION"} {
		if res := get(t, http.MethodGet, "http://node"+path, nil); res.StatusCode != http.StatusNotFound {
			t.Errorf("%s: status %d, want 404", path, res.StatusCode)
		}
	}
	res := get(t, http.MethodPost, "/", nil)
	if res.StatusCode != http.StatusMethodNotAllowed || res.Header.Get("Allow") != "GET, HEAD" {
		t.Errorf("POST /: status %d, Allow %q", res.StatusCode, res.Header.Get("Allow"))
	}
}

func TestHeadHasTheHeadersOfGetAndNoBody(t *testing.T) {
	res := get(t, http.MethodHead, "/player.html", nil)
	if res.StatusCode != http.StatusOK || res.Header.Get("ETag") == "" || body(t, res) != "" {
		t.Errorf("status %d, ETag %q", res.StatusCode, res.Header.Get("ETag"))
	}
}

func TestAnUnchangedFileIsNotSentAgain(t *testing.T) {
	for _, encoding := range []string{"", "gzip"} {
		header := http.Header{"Accept-Encoding": {encoding}}
		first := get(t, http.MethodGet, "/player.html", header)
		header.Set("If-None-Match", first.Header.Get("ETag"))
		second := get(t, http.MethodGet, "/player.html", header)
		if second.StatusCode != http.StatusNotModified {
			t.Errorf("encoding %q: status %d, want 304", encoding, second.StatusCode)
		}
	}
}

func TestPackedAnswersUnpackToThePlainOnes(t *testing.T) {
	const path = "/assets/vendor/chart.js/chart.umd.min.js"
	plain := get(t, http.MethodGet, path, nil)
	packed := get(t, http.MethodGet, path, http.Header{"Accept-Encoding": {"br, gzip;q=0.8"}})
	if packed.Header.Get("Content-Encoding") != "gzip" || packed.Header.Get("ETag") == plain.Header.Get("ETag") {
		t.Fatalf("encoding %q, ETag %q beside %q", packed.Header.Get("Content-Encoding"), packed.Header.Get("ETag"), plain.Header.Get("ETag"))
	}
	unpacked, err := gzip.NewReader(packed.Body)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(unpacked)
	if err != nil {
		t.Fatal(err)
	}
	if want := body(t, plain); string(b) != want {
		t.Errorf("%d bytes, want the %d plain ones", len(b), len(want))
	}
	refused := get(t, http.MethodGet, path, http.Header{"Accept-Encoding": {"gzip;q=0"}})
	if refused.Header.Get("Content-Encoding") != "" {
		t.Error("packed although the browser refuses it")
	}
	ranged := get(t, http.MethodGet, path, http.Header{"Accept-Encoding": {"gzip"}, "Range": {"bytes=0-9"}})
	if ranged.StatusCode != http.StatusPartialContent || len(body(t, ranged)) != 10 {
		t.Errorf("range: status %d", ranged.StatusCode)
	}
}

func TestCSPNamesOnlyRealOrigins(t *testing.T) {
	got := CSP("http://10.0.0.2:8000", "https://[fd00::1]:8443", "javascript:alert(1)", "http://", "http://a b", "https://x; script-src *", "http://x/y")
	for _, want := range []string{
		"connect-src 'self' http://10.0.0.2:8000 https://[fd00::1]:8443;",
		"media-src 'self' blob: http://10.0.0.2:8000 https://[fd00::1]:8443;",
		"script-src 'self';", "style-src 'self';", "default-src 'none';",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("lacks %q: %s", want, got)
		}
	}
	if strings.Contains(got, "unsafe") || strings.Contains(got, "alert") || strings.Count(got, "script-src") != 1 {
		t.Errorf("lets in too much: %s", got)
	}
}

func TestTheCallersPolicyIsKept(t *testing.T) {
	w := httptest.NewRecorder()
	w.Header().Set("Content-Security-Policy", CSP("http://b:8000"))
	Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
	if got := w.Header().Get("Content-Security-Policy"); !strings.Contains(got, "http://b:8000") {
		t.Errorf("policy %q", got)
	}
}
