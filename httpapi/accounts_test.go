package httpapi

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// sessionCookie is the cookie that an answer sets, or "".
func (p *reply) sessionCookie() string {
	for _, k := range (&http.Response{Header: p.header}).Cookies() {
		if strings.Contains(k.Name, "malla_") && k.MaxAge > 0 {
			return k.Name + "=" + k.Value
		}
	}
	return ""
}

func TestSessionByCookie(t *testing.T) {
	r := newRig(t)
	r.put("ana", "song.mp3", "sound")
	p := r.do(req{method: "POST", path: "/auth/login", body: credentials{"ana", password}}).want(200)
	cookie := p.sessionCookie()
	if cookie == "" || !strings.Contains(p.header.Get("Set-Cookie"), "HttpOnly") || !strings.Contains(p.header.Get("Set-Cookie"), "SameSite=Lax") {
		t.Fatalf("cookie %q", p.header.Get("Set-Cookie"))
	}
	same := []string{"Cookie", cookie, "Sec-Fetch-Site", "same-origin"}
	if me := read[Me](r.do(req{method: "GET", path: "/auth/me", header: same}).want(200)); me.Username != "ana" || me.Role != "user" {
		t.Errorf("me is %+v", me)
	}
	r.do(req{method: "GET", path: "/media/song.mp3", header: same}).want(200)
	r.do(req{method: "POST", path: "/share/song.mp3", header: same}).want(200)
	for name, foreign := range map[string][]string{
		"cross-site": {"Cookie", cookie, "Sec-Fetch-Site", "cross-site", "Origin", "https://evil.example"},
		"other port": {"Cookie", cookie, "Sec-Fetch-Site", "same-site", "Origin", "http://127.0.0.1:1"},
		"old":        {"Cookie", cookie, "Origin", "https://evil.example"},
		"null":       {"Cookie", cookie, "Origin", "null"},
		"plain text": {"Cookie", cookie, "Origin", "https://evil.example", "Content-Type", "text/plain"},
	} {
		for _, q := range []req{{method: "POST", path: "/share/song.mp3"}, {method: "DELETE", path: "/media/song.mp3"}, {method: "POST", path: "/auth/logout"},
			{method: "POST", path: "/convert", body: ConvertRequest{InputFile: "song.mp3", OutputFormat: "mp3"}}} {
			q.header = foreign
			if p := r.do(q); p.status != 403 {
				t.Errorf("%s: %s: %d", name, p.what, p.status)
			}
		}
	}
	// A bad bearer is not made good by a cookie; a good one needs no origin.
	r.do(req{method: "GET", path: "/auth/me", header: append(same, "Authorization", "Bearer x")}).want(401)
	r.do(req{method: "POST", path: "/share/song.mp3", as: "ana", header: []string{"Origin", "https://other.example", "Sec-Fetch-Site", "cross-site"}}).want(200)
	r.do(req{method: "POST", path: "/share/song.mp3", as: "ana", header: []string{"Origin", "null"}}).want(200)

	out := r.do(req{method: "POST", path: "/auth/logout", header: same}).want(200)
	if !strings.Contains(out.header.Get("Set-Cookie"), "Max-Age=0") {
		t.Errorf("logout sets %q", out.header.Get("Set-Cookie"))
	}
	r.do(req{method: "GET", path: "/auth/me", header: same}).want(401)
	r.do(req{method: "GET", path: "/auth/me", as: "ana"}).want(401)
}

// A page of another origin may sign in for itself, but not sign the browser in here.
func TestForeignLoginSetsNoCookie(t *testing.T) {
	r := newRig(t)
	r.token("ana")
	for _, origin := range []string{"null", "https://other.example"} {
		p := r.do(req{method: "POST", path: "/auth/login", header: []string{"Origin", origin, "Content-Type", "application/x-www-form-urlencoded"}, body: "username=ana&password=correct+horse"}).want(200)
		if p.sessionCookie() != "" || read[Token](p).AccessToken == "" || p.header.Get("Access-Control-Allow-Origin") != "*" {
			t.Errorf("%s: %v", origin, p.header)
		}
	}
}

func TestCookieIsRenewedPastHalfItsLife(t *testing.T) {
	r := newRig(t)
	r.token("ana")
	cookie := r.do(req{method: "POST", path: "/auth/login", body: credentials{"ana", password}}).want(200).sessionCookie()
	q := req{method: "GET", path: "/auth/me", header: []string{"Cookie", cookie}}
	if again := r.do(q).want(200).sessionCookie(); again != "" {
		t.Error("renewed at once")
	}
	r.clock.pass(4 * 24 * time.Hour)
	renewed := r.do(q).want(200).sessionCookie()
	if renewed == "" || renewed == cookie {
		t.Fatalf("renewed to %q", renewed)
	}
	r.clock.pass(4 * 24 * time.Hour)
	r.do(q).want(401)
	r.do(req{method: "GET", path: "/auth/me", header: []string{"Cookie", renewed}}).want(200)
}

func TestFirstAdministrator(t *testing.T) {
	r := newRig(t)
	setup := func(token string) *reply {
		return r.do(req{method: "POST", path: "/auth/setup", body: map[string]string{"token": token, "username": "root", "password": password}})
	}
	if p := read[Problem](r.do(req{method: "GET", path: "/auth/me"}).want(401)); !p.SetupNeeded {
		t.Error("nobody is told that the mesh needs an administrator")
	}
	if v := read[VersionInfo](r.do(req{method: "GET", path: "/version"})); !v.SetupNeed || v.Node != "worker_a" || v.Version != "test" || !v.SignupOpen {
		t.Errorf("version is %+v", v)
	}
	setup("wrong").want(403)
	setup("").want(403)
	p := setup(setupToken).want(200)
	r.tokens["root"] = read[Token](p).AccessToken
	if p.sessionCookie() == "" || r.user("root").Role != "admin" {
		t.Error("the administrator is none, or not signed in")
	}
	setup(setupToken).want(409)
	if p := read[Problem](r.do(req{method: "GET", path: "/auth/me"}).want(401)); p.SetupNeeded {
		t.Error("the mesh still asks for an administrator")
	}
	closed := newRig(t, func(c *Config) { c.SetupToken = nil })
	closed.do(req{method: "POST", path: "/auth/setup", body: map[string]string{"token": "", "username": "root", "password": password}}).want(403)
}

func TestFirstAdministratorIsOne(t *testing.T) {
	r := newRig(t)
	var all sync.WaitGroup
	var mu sync.Mutex
	made := 0
	for i := range 8 {
		all.Go(func() {
			body := fmt.Sprintf(`{"token":%q,"username":"root%d","password":%q}`, setupToken, i, password)
			res, err := http.Post(r.url+"/auth/setup", "application/json", strings.NewReader(body))
			if err != nil {
				t.Error(err)
				return
			}
			res.Body.Close()
			mu.Lock()
			defer mu.Unlock()
			if res.StatusCode == 200 {
				made++
			} else if res.StatusCode != 409 {
				t.Errorf("status %d", res.StatusCode)
			}
		})
	}
	all.Wait()
	if made != 1 {
		t.Errorf("%d administrators were made", made)
	}
}

func TestGuessingIsSlowedDown(t *testing.T) {
	r := newRig(t)
	r.token("ana")
	try := func(name, pass string) *reply {
		return r.do(req{method: "POST", path: "/auth/login", body: credentials{name, pass}})
	}
	for range 5 {
		try("ana", "wrong horse").want(400)
	}
	p := try("ana", password).want(429)
	if p.header.Get("Retry-After") != "1" {
		t.Errorf("Retry-After %q", p.header.Get("Retry-After"))
	}
	r.token("bob")
	try("bob", password).want(200)
	r.clock.pass(time.Second)
	try("ana", "wrong horse").want(400)
	r.clock.pass(time.Second)
	try("ana", password).want(429)
	r.clock.pass(time.Second)
	try("ana", password).want(200)
	for range 5 {
		try("ana", "wrong horse").want(400) // a success forgets
	}
	// One network, many names.
	for i := range 40 {
		if try(fmt.Sprintf("user%d", i), "wrong horse").status == 429 {
			return
		}
	}
	t.Error("one network may try as many names as it likes")
}

func TestGuessingLinksIsSlowedDown(t *testing.T) {
	r := newRig(t)
	for i := range 100 {
		p := r.do(req{method: "GET", path: "/s/" + fmt.Sprintf("%032d", i)})
		if p.status == 429 {
			if i < 50 {
				t.Errorf("after %d tries", i)
			}
			return
		}
		p.want(404)
	}
	t.Error("links may be guessed without end")
}

func TestCookieIsSecureUnderTLS(t *testing.T) {
	r := newRig(t)
	r.token("ana")
	request, _ := http.NewRequest("POST", "/auth/login", strings.NewReader(`{"username":"ana","password":"`+password+`"}`))
	request.TLS = &tls.ConnectionState{}
	w := &recorder{header: http.Header{}}
	r.api.Handler().ServeHTTP(w, request)
	if k := w.header.Get("Set-Cookie"); !strings.HasPrefix(k, "__Host-malla_") || !strings.Contains(k, "Secure") {
		t.Errorf("cookie %q", k)
	}
	if w.header.Get("Strict-Transport-Security") == "" {
		t.Error("no HSTS under TLS")
	}
}

// recorder is a response without a connection.
type recorder struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (w *recorder) Header() http.Header         { return w.header }
func (w *recorder) WriteHeader(status int)      { w.status = status }
func (w *recorder) Write(b []byte) (int, error) { return w.body.Write(b) }
