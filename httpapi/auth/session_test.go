package auth

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"malla/cluster/state"
)

var start = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// agreed is a state with the user ana, and the state's log.
func agreed(t *testing.T) (*state.State, func(state.Command) uint64) {
	t.Helper()
	s, index := state.New(), uint64(0)
	apply := func(cmd state.Command) uint64 {
		t.Helper()
		data, err := state.Encode("", cmd)
		if err != nil {
			t.Fatal(err)
		}
		index++
		if _, err := s.Apply(index, data); err != nil {
			t.Fatal(err)
		}
		return index
	}
	apply(state.AddUser{ID: "u1", Name: "ana", Password: "phc", At: start})
	return s, apply
}

// keys are token keys that consist of one byte each; the first signs.
func keys(of ...byte) func() [][]byte {
	return func() (all [][]byte) {
		for _, b := range of {
			all = append(all, bytes.Repeat([]byte{b}, 32))
		}
		return all
	}
}

func sessions(t *testing.T, now *time.Time, key byte, mesh string) *Sessions {
	t.Helper()
	s, err := NewSessions(keys(key), mesh, func() time.Time { return *now })
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSessionOfItsUser(t *testing.T) {
	now := start
	s, apply := agreed(t)
	ours := sessions(t, &now, 'k', "m1")
	u, _ := s.View().User("u1")
	token, err := ours.Issue(u)
	if err != nil {
		t.Fatal(err)
	}
	got, session, err := ours.Check(s.View(), token)
	if err != nil || got.Name != "ana" || session.ID == "" || !session.Expires.Equal(start.Add(SessionTime)) {
		t.Fatalf("%v %v %v", got, session, err)
	}
	now = start.Add(SessionTime + 29*time.Second)
	if _, _, err := ours.Check(s.View(), token); err != nil {
		t.Error("clocks may differ by 30 s:", err)
	}
	now = start.Add(SessionTime + 31*time.Second)
	if _, _, err := ours.Check(s.View(), token); !errors.Is(err, ErrSignIn) {
		t.Error("an expired token is good")
	}
	if !ours.Ended(s.View(), u, session) {
		t.Error("an expired session goes on")
	}
	now = start
	if ours.Ended(s.View(), u, session) {
		t.Error("a good session has ended")
	}
	apply(state.EndSessions{User: "u1"})
	if _, _, err := ours.Check(s.View(), token); !errors.Is(err, ErrSignIn) || !ours.Ended(s.View(), u, session) {
		t.Error("a token outlives a sign-out")
	}
}

// The old pages read the middle part with atob, which knows no - and no _.
func TestPagesCanReadTheToken(t *testing.T) {
	now := start
	for _, name := range []string{"ana", "A.-_z", strings.Repeat("_-", 16), "zzz", "...", "~~~"} {
		token, err := sessions(t, &now, 'k', "00ff00ff00ff00ff").Issue(state.User{ID: "TVYUKTDMMBXUSL2Q5QWRQQMKKR", Name: name, Session: 1 << 40})
		if err != nil {
			t.Fatal(err)
		}
		middle := strings.Split(token, ".")[1]
		text, err := base64.RawStdEncoding.DecodeString(middle)
		var claims struct{ Sub string }
		if err != nil || json.Unmarshal(text, &claims) != nil || claims.Sub != name {
			if name != "~~~" { // no user's name
				t.Errorf("%s: %v, sub %q", name, err, claims.Sub)
			}
		}
	}
}

func TestForgedTokens(t *testing.T) {
	now := start
	s, _ := agreed(t)
	ours := sessions(t, &now, 'k', "m1")
	u, _ := s.View().User("u1")
	key := bytes.Repeat([]byte{'k'}, 32)
	sign := func(change func(*jwt.Token)) string {
		token := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{
			"iss": "malla:m1", "aud": "api", "sub": "ana", "jti": "1", "uid": "u1", "ses": u.Session,
			"iat": start.Unix(), "nbf": start.Unix(), "exp": start.Add(time.Hour).Unix(),
		})
		change(token)
		var with any = key
		if token.Method == jwt.SigningMethodNone {
			with = jwt.UnsafeAllowNoneSignatureType
		}
		text, err := token.SignedString(with)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	claim := func(name string, value any) func(*jwt.Token) {
		return func(k *jwt.Token) {
			if value == nil {
				delete(k.Claims.(jwt.MapClaims), name)
			} else {
				k.Claims.(jwt.MapClaims)[name] = value
			}
		}
	}
	header := func(name string, value any) func(*jwt.Token) {
		return func(k *jwt.Token) { k.Header[name] = value }
	}
	good := sign(func(*jwt.Token) {})
	if _, _, err := ours.Check(s.View(), good); err != nil {
		t.Fatal("the token that the attacks begin with is refused:", err)
	}
	parts := strings.Split(good, ".")
	otherMesh, _ := sessions(t, &now, 'k', "m2").Issue(u)
	otherKey, _ := sessions(t, &now, 'x', "m1").Issue(u)
	none := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"None","typ":"JWT"}`))
	rs := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"RS256","typ":"JWT"}`))
	empty := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"","typ":"JWT"}`))
	for name, token := range map[string]string{
		"nothing":              "",
		"no signature":         parts[0] + "." + parts[1] + ".",
		"two parts":            parts[0] + "." + parts[1],
		"alg none":             sign(func(k *jwt.Token) { k.Method = jwt.SigningMethodNone; k.Header["alg"] = "none" }),
		"alg None":             none + "." + parts[1] + ".",
		"alg RS256":            rs + "." + parts[1] + "." + parts[2],
		"alg empty":            empty + "." + parts[1] + "." + parts[2],
		"alg HS512":            sign(func(k *jwt.Token) { k.Method = jwt.SigningMethodHS512; k.Header["alg"] = "HS512" }),
		"another key":          otherKey,
		"another mesh":         otherMesh,
		"jku":                  sign(header("jku", "http://evil/keys")),
		"jwk":                  sign(header("jwk", map[string]string{"k": "x"})),
		"x5u":                  sign(header("x5u", "http://evil")),
		"kid that is a path":   sign(header("kid", "../../dev/null")),
		"critical extension":   sign(header("crit", []string{"x"})),
		"no issuer":            sign(claim("iss", nil)),
		"no audience":          sign(claim("aud", nil)),
		"another audience":     sign(claim("aud", "media")),
		"no end":               sign(claim("exp", nil)),
		"ended":                sign(claim("exp", start.Add(-time.Minute).Unix())),
		"no beginning":         sign(claim("nbf", nil)),
		"not begun":            sign(claim("nbf", start.Add(time.Minute).Unix())),
		"issued in the future": sign(claim("iat", start.Add(time.Minute).Unix())),
		"not issued":           sign(claim("iat", nil)),
		"no id":                sign(claim("jti", nil)),
		"no user":              sign(claim("uid", nil)),
		"another user":         sign(claim("uid", "u2")),
		"another session":      sign(claim("ses", u.Session+1)),
		"changed payload":      parts[0] + "." + parts[1] + "A." + parts[2],
		"padding":              good + "==",
		"too long":             good + strings.Repeat("A", MaxTokenLen),
		"100,000 dots":         strings.Repeat(".", 100_000),
	} {
		if _, _, err := ours.Check(s.View(), token); !errors.Is(err, ErrSignIn) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := NewSessions(func() [][]byte { return [][]byte{[]byte("short")} }, "m1", time.Now); err == nil {
		t.Error("a short key is taken")
	}
}

func TestMay(t *testing.T) {
	nobody := Caller{}
	user := Caller{User: state.User{ID: "u1", Role: state.Member}}
	admin := Caller{User: state.User{ID: "u2", Role: state.Admin}}
	linked, scraper := Caller{Linked: true}, Caller{Scraper: true}
	for _, row := range []struct {
		right   Right
		allowed []Caller
		signIn  []Caller
		denied  []Caller
	}{
		{Unset, nil, nil, []Caller{nobody, user, admin, linked, scraper}},
		{Anyone, []Caller{nobody, user, admin, linked, scraper}, nil, nil},
		{User, []Caller{user, admin}, []Caller{nobody, linked, scraper}, nil},
		{Link, []Caller{user, admin, linked}, []Caller{nobody, scraper}, nil},
		{Scraper, []Caller{scraper}, nil, []Caller{nobody, user, admin, linked}},
		{Admin, []Caller{admin}, []Caller{nobody, linked, scraper}, []Caller{user}},
		{Right(99), nil, nil, nil},
	} {
		for _, c := range row.allowed {
			if err := May(c, row.right); err != nil {
				t.Errorf("%v, %+v: %v", row.right, c, err)
			}
		}
		for _, c := range row.signIn {
			if err := May(c, row.right); !errors.Is(err, ErrSignIn) {
				t.Errorf("%v, %+v: %v, want ErrSignIn", row.right, c, err)
			}
		}
		for _, c := range row.denied {
			if err := May(c, row.right); !errors.Is(err, state.ErrDenied) {
				t.Errorf("%v, %+v: %v, want denied", row.right, c, err)
			}
		}
	}
}

func TestCookies(t *testing.T) {
	now := start
	public, _ := url.Parse("https://media.example.org")
	c := NewCookies("ff00", public, func() time.Time { return now })
	plain := httptest.NewRequest("GET", "http://10.0.0.1:8000/", nil)
	behindTLS := httptest.NewRequest("GET", "http://media.example.org/", nil)
	withTLS := httptest.NewRequest("GET", "https://10.0.0.1/", nil)
	for _, row := range []struct {
		r      *http.Request
		name   string
		secure bool
	}{{plain, "malla_ff00", false}, {behindTLS, "__Host-malla_ff00", true}, {withTLS, "__Host-malla_ff00", true}} {
		w := httptest.NewRecorder()
		c.Set(w, row.r, "token")
		k := w.Result().Cookies()[0]
		if k.Name != row.name || k.Secure != row.secure || !k.HttpOnly || k.SameSite != http.SameSiteLaxMode || k.Path != "/" || k.Domain != "" || k.MaxAge != 7*24*3600 {
			t.Errorf("%s: %+v", row.r.URL, k)
		}
		row.r.AddCookie(k)
		if c.Token(row.r) != "token" {
			t.Errorf("%s: the cookie is not read back", row.r.URL)
		}
		w = httptest.NewRecorder()
		c.Clear(w, row.r)
		if k := w.Result().Cookies()[0]; k.MaxAge >= 0 || k.Value != "" {
			t.Errorf("cleared: %+v", k)
		}
	}
	session := Session{Cookie: true, Expires: start.Add(SessionTime)}
	if c.Due(session) {
		t.Error("a new session is due")
	}
	now = start.Add(SessionTime/2 + time.Minute)
	if !c.Due(session) || c.Due(Session{Expires: session.Expires}) {
		t.Error("a cookie, and it alone, is due past half its life")
	}
}

func TestBearer(t *testing.T) {
	for header, want := range map[string]string{"Bearer a.b": "a.b", "bearer  x ": "x", "Basic eA==": "", "Bearer": "", "x": ""} {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set("Authorization", header)
		if token, given := Bearer(r); token != want || !given {
			t.Errorf("%q: %q %v", header, token, given)
		}
	}
	if _, given := Bearer(httptest.NewRequest("GET", "/", nil)); given {
		t.Error("no header is a header")
	}
}

// TestTokenKeysAreReplaced: what was signed with the old key is good as long as
// the key is accepted.
func TestTokenKeysAreReplaced(t *testing.T) {
	s, _ := agreed(t)
	u, _ := s.View().User("u1")
	ring := keys('a')
	ours, err := NewSessions(func() [][]byte { return ring() }, "m1", func() time.Time { return start })
	if err != nil {
		t.Fatal(err)
	}
	issue := func() string {
		t.Helper()
		token, err := ours.Issue(u)
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	old := issue()
	ring = keys('b', 'a')
	fresh := issue()
	check := func(when, token string, good bool) {
		t.Helper()
		if _, _, err := ours.Check(s.View(), token); (err == nil) != good {
			t.Errorf("%s: %v", when, err)
		}
	}
	check("a token of the old key beside the new one", old, true)
	check("a token of the new key beside the old one", fresh, true)
	ring = keys('b')
	check("a token of the old key that was dropped", old, false)
	check("a token of the new key alone", fresh, true)
	ring = keys('a')
	check("a token of the new key where only the old one is known", fresh, false)
}
