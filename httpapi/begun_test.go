package httpapi

import (
	"strings"
	"testing"
)

// TestANodeThatHasJustStarted does not answer from a state that it has not
// read yet; once it was ready, it goes on answering reads whatever happens.
func TestANodeThatHasJustStarted(t *testing.T) {
	r := newRig(t)
	r.token("ana")
	r.api.caughtUp.Store(false) // as after a start
	r.mesh.ready = errBoom
	for _, row := range []struct {
		req    req
		status int
	}{
		{req{method: "GET", path: "/media", as: "ana"}, 503},
		{req{method: "GET", path: "/media/song.mp3", as: "ana"}, 503},
		{req{method: "POST", path: "/auth/login", body: credentials{"ana", password}}, 503},
		{req{method: "GET", path: "/s/" + strings.Repeat("x", 32)}, 503},
		{req{method: "GET", path: "/jobs"}, 503},
		{req{method: "GET", path: "/ready"}, 503},
		{req{method: "GET", path: "/health"}, 200},
		{req{method: "GET", path: "/version"}, 200},
		{req{method: "GET", path: "/metrics"}, 200},
	} {
		res := r.do(row.req).want(row.status)
		if row.status == 503 && res.header.Get("Retry-After") == "" {
			t.Errorf("%s %s: no Retry-After", row.req.method, row.req.path)
		}
	}
	r.mesh.ready = nil
	r.do(req{method: "GET", path: "/media", as: "ana"}).want(200)
	r.mesh.ready = errBoom
	r.do(req{method: "GET", path: "/media", as: "ana"}).want(200)
}
