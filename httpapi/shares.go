package httpapi

import (
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"

	"malla/cluster/state"
	"malla/httpapi/auth"
)

// share makes a public link to the caller's item, for ?minutes= (60), from one
// minute to seven days: what is beyond is cut to that, as it always was.
func (c *call) share() error {
	m, err := c.find(c.param("ref"))
	if err != nil {
		return err
	}
	minutes := 60
	if text := c.query("minutes"); text != "" {
		if minutes, err = strconv.Atoi(text); err != nil {
			return state.InvalidField("minutes", "must be a whole number")
		}
	}
	minutes = min(max(minutes, 1), int(state.MaxShareTime.Minutes()))
	token := auth.NewShareToken()
	id, _ := auth.ShareOf(token)
	now, ttl := c.api.cfg.Now().UTC(), time.Duration(minutes)*time.Minute
	if _, err := c.propose(state.AddShare{ID: id, Owner: c.user(), Media: m.ID, For: ttl, At: now}); err != nil {
		return err
	}
	return c.send(Shared{URL: c.publicBase() + "/s/" + token, ExpiresIn: minutes, ID: string(id), ExpiresAt: wireTime(now.Add(ttl))})
}

// publicBase is what links begin with: the public URL; without one the address
// by which the caller reached this node, where it is one of the mesh's or an IP
// address; and else the address that this node tells the others. The Host header
// alone is not believed.
func (c *call) publicBase() string {
	if c.api.public != nil {
		return c.api.public.String()
	}
	scheme := "http"
	if c.r.TLS != nil {
		scheme = "https"
	}
	name := c.r.Host
	if host, _, err := net.SplitHostPort(c.r.Host); err == nil {
		name = host
	}
	if name = strings.Trim(name, "[]"); net.ParseIP(name) != nil || name == "localhost" {
		return scheme + "://" + c.r.Host
	}
	for _, n := range c.api.cfg.Mesh.Nodes() {
		if u, err := url.Parse(n.URL); err == nil && u.Host != "" && u.Host == c.r.Host {
			return strings.TrimRight(n.URL, "/")
		}
	}
	return strings.TrimRight(c.api.cfg.Mesh.Self().URL, "/")
}

func (c *call) listShares() error {
	list := struct {
		Shares []Share `json:"shares"`
	}{[]Share{}}
	for s := range c.view.SharesOf(c.user()) {
		if _, m, ok := c.view.Share(s.ID, c.api.cfg.Now()); ok {
			list.Shares = append(list.Shares, Share{string(s.ID), string(s.ID), m.Name, string(m.ID), wireTime(s.CreatedAt), wireTime(s.ExpiresAt)})
		}
	}
	return c.send(list)
}

// unshare ends a link, named by its id or by its own token.
func (c *call) unshare() error {
	id := state.ShareID(c.param("id"))
	if hashed, ok := auth.ShareOf(string(id)); ok {
		id = hashed
	}
	if _, err := c.propose(state.RemoveShare{ID: id, Owner: c.user()}); err != nil {
		return err
	}
	return c.send(done{true})
}

// readShare serves a public link. A wrong, an expired and a revoked one look
// the same, and who tries many is slowed down.
func (c *call) readShare() error {
	if err := c.notTooFast(c.api.slow.share, c.network()); err != nil {
		return err
	}
	h := c.w.Header()
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("X-Robots-Tag", "noindex")
	id, ok := auth.ShareOf(c.param("token"))
	if !ok {
		return c.noShare()
	}
	_, m, ok := c.view.Share(id, c.api.cfg.Now())
	if !ok {
		return c.noShare()
	}
	return c.serveMedia(m, serving{embed: true, allowed: func(view *state.View) bool {
		_, _, ok := view.Share(id, c.api.cfg.Now())
		return ok
	}})
}

func (c *call) noShare() error {
	c.api.slow.share.Fail(c.network())
	return state.Errorf(state.NotFound, "this link does not exist, or it has expired")
}
