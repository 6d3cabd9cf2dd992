package auth

import (
	"net/http"
	"net/url"
	"time"
)

// Cookies keeps session tokens in the browser where no script can read them.
// Cookies of one host are shared by all its ports, so the name carries the
// mesh: nodes of one mesh share a session, two meshes do not disturb each other.
type Cookies struct {
	name   string
	public *url.URL // nil where there is none
	now    func() time.Time
}

// NewCookies returns the cookies of the mesh with that id. public is the URL by
// which people reach it, or nil.
func NewCookies(meshID string, public *url.URL, now func() time.Time) *Cookies {
	return &Cookies{name: "malla_" + meshID, public: public, now: now}
}

// secure tells whether the browser speaks TLS to us, also through a proxy that
// serves the public URL.
func (c *Cookies) secure(r *http.Request) bool {
	return r.TLS != nil || c.public != nil && c.public.Scheme == "https" && r.Host == c.public.Host
}

func (c *Cookies) nameFor(r *http.Request) string {
	if c.secure(r) {
		return "__Host-" + c.name
	}
	return c.name
}

// Token returns the session token of the request's cookie, or "".
func (c *Cookies) Token(r *http.Request) string {
	cookie, err := r.Cookie(c.nameFor(r))
	if err != nil {
		return ""
	}
	return cookie.Value
}

// Set gives the browser a new token.
func (c *Cookies) Set(w http.ResponseWriter, r *http.Request, token string) {
	c.set(w, r, token, int(SessionTime/time.Second))
}

// Clear takes the token from the browser.
func (c *Cookies) Clear(w http.ResponseWriter, r *http.Request) { c.set(w, r, "", -1) }

func (c *Cookies) set(w http.ResponseWriter, r *http.Request, token string, maxAge int) {
	http.SetCookie(w, &http.Cookie{
		Name: c.nameFor(r), Value: token, Path: "/", MaxAge: maxAge,
		HttpOnly: true, Secure: c.secure(r), SameSite: http.SameSiteLaxMode,
	})
}

// Due tells whether a session that came by cookie is past half its life and
// should be replaced by a new one, so that who comes back stays signed in.
func (c *Cookies) Due(s Session) bool {
	return s.Cookie && s.Expires.Sub(c.now()) < SessionTime/2
}
