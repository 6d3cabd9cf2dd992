package httpapi

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"malla/blobs"
	"malla/cluster/state"
	"malla/httpapi/auth"
)

func TestForeignPagesMayCall(t *testing.T) {
	r := newRig(t)
	r.put("ana", "song.mp3", "sound")
	for _, origin := range []string{"null", "http://localhost:5500", "https://other.example"} {
		preflight := r.do(req{method: "OPTIONS", path: "/media/song.mp3", header: []string{"Origin", origin,
			"Access-Control-Request-Method", "DELETE", "Access-Control-Request-Headers", "authorization,content-type,ngrok-skip-browser-warning,x-anything"}}).want(204).header
		for name, part := range map[string]string{
			"Access-Control-Allow-Origin": "*", "Access-Control-Allow-Methods": "DELETE", "Access-Control-Allow-Headers": "ngrok-skip-browser-warning", "Access-Control-Max-Age": "600",
		} {
			if !strings.Contains(preflight.Get(name), part) {
				t.Errorf("%s: %s is %q", origin, name, preflight.Get(name))
			}
		}
		h := r.do(req{method: "GET", path: "/media/song.mp3", as: "ana", header: []string{"Origin", origin, "Range", "bytes=0-1", "ngrok-skip-browser-warning", "true"}}).want(206).header
		for _, name := range []string{"Content-Range", "Accept-Ranges", "Content-Length", "ETag", "X-Malla-Index", "Location", "Upload-Offset", "Tus-Resumable"} {
			if !strings.Contains(h.Get("Access-Control-Expose-Headers"), name) {
				t.Errorf("%s is not exposed", name)
			}
		}
		if h.Get("Access-Control-Allow-Origin") != "*" || h.Get("Access-Control-Allow-Credentials") != "" {
			t.Errorf("%s: %v", origin, h)
		}
		// Refusals can be read there too.
		for _, q := range []req{{method: "GET", path: "/media"}, {method: "GET", path: "/nothing"}, {method: "PUT", path: "/media"}} {
			q.header = []string{"Origin", origin}
			if p := r.do(q); p.status < 400 || p.header.Get("Access-Control-Allow-Origin") != "*" {
				t.Errorf("%s: %d without CORS", p.what, p.status)
			}
		}
	}
	if h := r.do(req{method: "GET", path: "/health"}).header; h.Get("Access-Control-Allow-Origin") != "" {
		t.Error("CORS where no page asked")
	}
}

func TestHeadersOfEveryAnswer(t *testing.T) {
	r := newRig(t)
	for _, q := range []req{{method: "GET", path: "/health"}, {method: "GET", path: "/nothing"}, {method: "POST", path: "/health"}, {method: "GET", path: "/media"}, {method: "OPTIONS", path: "/media"}} {
		h := r.do(q).header
		for name, value := range map[string]string{"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Cross-Origin-Opener-Policy": "same-origin"} {
			if h.Get(name) != value {
				t.Errorf("%s %s: %s is %q", q.method, q.path, name, h.Get(name))
			}
		}
		if h.Get("Permissions-Policy") == "" || h.Get("X-Malla-Index") == "" || h.Get("X-Request-Id") == "" {
			t.Errorf("%s %s: %v", q.method, q.path, h)
		}
	}
	if id := r.do(req{method: "GET", path: "/health", header: []string{"X-Request-Id", "mine-1"}}).header.Get("X-Request-Id"); id != "mine-1" {
		t.Errorf("request id %q", id)
	}
	if id := r.do(req{method: "GET", path: "/health", header: []string{"X-Request-Id", "a b\"<"}}).header.Get("X-Request-Id"); id == "a b\"<" {
		t.Error("any text is a request id")
	}
}

func TestProblemsOfErrors(t *testing.T) {
	for _, row := range []struct {
		err    error
		status int
		retry  bool
	}{
		{state.InvalidField("x", "wrong"), 400, false},
		{state.Errorf(state.Denied, ""), 403, false},
		{state.Errorf(state.NotFound, ""), 404, false},
		{state.Errorf(state.Conflict, ""), 409, false},
		{state.Errorf(state.Stale, ""), 409, false},
		{state.Errorf(state.NoLeader, ""), 503, true},
		{state.Errorf(state.Busy, ""), 429, true},
		{state.Errorf(state.Full, ""), 507, false},
		{state.Errorf(state.NotMedia, ""), 422, false},
		{state.Errorf(state.Internal, "secret"), 500, false},
		{state.Errorf("unheard of", "secret"), 500, false},
		{fmt.Errorf("import: %w", state.Errorf(state.NotMedia, "no")), 422, false},
		{auth.ErrSignIn, 401, false},
		{blobs.ErrFull, 507, false},
		{blobs.ErrTooLarge, 413, false},
		{blobs.ErrUnavailable, 503, true},
		{&http.MaxBytesError{Limit: 1}, 413, false},
		{context.DeadlineExceeded, 503, true},
		{errors.New("secret"), 500, false},
	} {
		p := problemOf(row.err)
		if p.Status != row.status || p.Detail == "" || p.Title == "" || (p.RetryAfter > 0) != row.retry || strings.Contains(p.Detail, "secret") {
			t.Errorf("%v: %+v", row.err, p)
		}
	}
	for kind := range outcomes {
		if outcomes[kind].kind != string(kind) {
			t.Errorf("%s is told as %s", kind, outcomes[kind].kind)
		}
	}
}

// panics is a library that has a fault.
type panics struct{ Library }

func TestPanicsAreFaultsOfOurs(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Library = panics{} })
	r.token("ana")
	body, kind := form(t, "a.mp3", "sound")
	p := r.do(req{method: "POST", path: "/upload", as: "ana", header: []string{"Content-Type", kind}, body: body}).want(500)
	if bytes.Contains(p.body, []byte("nil pointer")) || !strings.Contains(r.logged.String(), "nil pointer") {
		t.Errorf("told %s", p.body)
	}
	r.do(req{method: "GET", path: "/health"}).want(200)
}

func TestAnswersAreAsNewAsWhatWasSeen(t *testing.T) {
	r := newRig(t)
	r.token("ana")
	before := r.log.View().Index()
	r.put("ana", "song.mp3", "sound")
	made := r.do(req{method: "POST", path: "/share/song.mp3", as: "ana"}).want(200).header.Get("X-Malla-Index")
	if made != fmt.Sprint(before+2) {
		t.Errorf("a change at %d is told as %s", before+2, made)
	}
	// A request that has seen more than this node waits for it.
	done := make(chan *reply)
	go func() {
		done <- r.do(req{method: "GET", path: "/media", as: "ana", header: []string{"X-Malla-Index", fmt.Sprint(before + 3)}})
	}()
	select {
	case p := <-done:
		t.Fatalf("it did not wait: %d %s", p.status, p.body)
	case <-time.After(50 * time.Millisecond):
	}
	other := r.disk.content(t, "other")
	r.log.must(t, state.AddMedia{ID: "other", Owner: r.user("ana").ID, Name: "other.mp3", Content: other, At: r.clock.Now()})
	if p := <-done; p.status != 200 || !bytes.Contains(p.body, []byte("other.mp3")) {
		t.Errorf("%d %s", p.status, p.body)
	}
	r.do(req{method: "GET", path: "/media", as: "ana", header: []string{"X-Malla-Index", "soon"}}).refused(400, "X-Malla-Index")
}

// behind never gets to what is asked for.
type behind struct{ States }

func (behind) WaitIndex(context.Context, uint64) error { return context.DeadlineExceeded }

func TestANodeThatIsBehindSaysSo(t *testing.T) {
	r := newRig(t, func(c *Config) { c.State = behind{c.State} })
	p := r.do(req{method: "GET", path: "/health", header: []string{"X-Malla-Index", "99"}}).want(503)
	if p.header.Get("Retry-After") == "" {
		t.Error("503 without Retry-After")
	}
}

func TestPages(t *testing.T) {
	pages := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/" {
			w.Write([]byte("page " + w.Header().Get("Content-Security-Policy")))
			return
		}
		http.NotFound(w, r)
	})
	r := newRig(t, func(c *Config) { c.Pages, c.PagesCSP = pages, func() string { return "default-src 'none'" } })
	if p := r.do(req{method: "GET", path: "/"}).want(200); string(p.body) != "page default-src 'none'" {
		t.Errorf("%s", p.body)
	}
	r.do(req{method: "GET", path: "/nothing.js"}).want(404)
	r.do(req{method: "GET", path: "/auth/login"}).want(405)
}

func TestMetrics(t *testing.T) {
	r := newRig(t)
	r.put("ana", "song.mp3", "sound")
	r.do(req{method: "POST", path: "/auth/login", body: credentials{"ana", password}}).want(200)
	r.do(req{method: "GET", path: "/media/song.mp3", as: "ana"}).want(200)
	r.do(req{method: "GET", path: "/media/song.mp3", as: "ana", header: []string{"Range", "bytes=2-"}}).want(206)
	r.do(req{method: "POST", path: "/convert", as: "ana", body: ConvertRequest{InputFile: "song.mp3", OutputFormat: "mp3"}}).want(200)
	r.do(req{method: "DELETE", path: "/media/song.mp3", as: "ana"}).want(200)
	r.do(req{method: "BREW", path: "/x" + strings.Repeat("y", 100)})
	text := string(r.do(req{method: "GET", path: "/metrics"}).want(200).body)
	for _, line := range []string{
		"api_requests_total 8", "active_sessions 1", "api_uploads_total 1", "api_streams_total 1", "api_logins_total 1", "api_deletes_total 1", "api_jobs_enqueued_total 1",
		`malla_http_request_duration_seconds_count{code="206",method="GET",route="/media/:ref"} 1`,
	} {
		if !strings.Contains(text, line+"\n") {
			t.Errorf("no line %q", line)
		}
	}
	for _, private := range []string{"ana", "song", "yyy", "BREW"} {
		if strings.Contains(text, private) {
			t.Errorf("%q is in the metrics", private)
		}
	}
	r.clock.pass(6 * time.Minute)
	if text := string(r.do(req{method: "GET", path: "/metrics"}).want(200).body); !strings.Contains(text, "active_sessions 0\n") {
		t.Error("a session of six minutes ago is active")
	}
}

func TestConfigIsChecked(t *testing.T) {
	if _, err := New(Config{}); err == nil {
		t.Error("an empty configuration is taken")
	}
	for _, public := range []string{"media.example.org", "ftp://x", "http://", "http://x?y"} {
		c := Config{PublicURL: public}
		r := newRig(t)
		c.State, c.Proposer, c.Library, c.Blobs, c.Uploads, c.Mesh = r.log, r.log, r.library, r.disk, r.api.cfg.Uploads, r.mesh
		c.Registerer, c.Gatherer, c.Logger, c.MeshID, c.TokenKeys = r.api.cfg.Registerer, r.api.cfg.Gatherer, r.api.cfg.Logger, "ff", r.api.cfg.TokenKeys
		if _, err := New(c); err == nil || !strings.Contains(err.Error(), "public URL") {
			t.Errorf("%q: %v", public, err)
		}
	}
}

// An endless Range header costs nothing (Go before 1.26.9 parsed it all).
func TestEndlessRangeHeader(t *testing.T) {
	r := newRig(t)
	r.put("ana", "song.mp3", "sound")
	header := "bytes=" + strings.Repeat("0-0,", 50_000) + "0-0"
	if p := r.do(req{method: "GET", path: "/media/song.mp3", as: "ana", header: []string{"Range", header}}).want(200); string(p.body) != "sound" {
		t.Errorf("%q", p.body)
	}
}
