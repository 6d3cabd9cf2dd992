// Package httpapi is the HTTP API of a node: the contract that pages, programs
// and people rely on. Any node of a mesh answers it in the same way.
//
// The routes stand in one table, each with the right that it asks for. Handlers
// return an error; one place turns errors into problems (RFC 9457). Names and
// rules are in the agreed state, bytes come through interfaces: this package
// decides who may, and how it is told.
//
// Every answer carries X-Malla-Index, the index of the agreed state that it
// shows or made; a request that carries it is answered from a state at least
// that new; ?consistency= asks for more or less, see [Consistency]. Reads go on
// while the mesh has no leader, and their answers say so in X-Malla-Stale.
//
// [Client] is the other side of the same wire types.
//
// # Concurrency
//
// An API starts no goroutine: run Run. Streams of events end with their request's
// context: give the server a BaseContext that ends when the node closes.
package httpapi

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/julienschmidt/httprouter"

	"malla/cluster/state"
	"malla/httpapi/auth"
)

// API answers requests. Make it with New.
type API struct {
	cfg       Config
	public    *url.URL // nil where there is none
	sessions  *auth.Sessions
	cookies   *auth.Cookies
	passwords *auth.Passwords
	links     *auth.Links
	slow      throttles
	origin    http.CrossOriginProtection
	metrics   *metrics
	active    *activeSessions
	progress  *progressCache
	queue     *queueCache
	texts     mediaTexts
	streams   *streamLimit
	tus       http.Handler // the protocol of resumable uploads
	importing sync.Map     // id of each resumable upload that is being named -> struct{}
	router    *httprouter.Router
	caughtUp  atomic.Bool   // this node's state has been as new as the mesh's once
	tick      time.Duration // between looks at what is not in the state; tests shorten it
	stall     time.Duration // stallTime; tests shorten it
}

// throttles slow down whoever guesses.
type throttles struct {
	account *auth.Throttle // by user name: wrong passwords
	network *auth.Throttle // by network: wrong passwords and setup tokens
	signup  *auth.Throttle // by network: accounts made
	share   *auth.Throttle // by network: links that do not exist
}

// New returns the API of a node. It registers its metrics.
func New(cfg Config) (*API, error) {
	public, err := cfg.validate()
	if err != nil {
		return nil, err
	}
	a := &API{cfg: cfg, public: public, cookies: auth.NewCookies(cfg.MeshID, public, cfg.Now), tick: time.Second, stall: stallTime, streams: newStreamLimit()}
	if a.sessions, err = auth.NewSessions(cfg.TokenKeys, cfg.MeshID, cfg.Now); err != nil {
		return nil, fmt.Errorf("httpapi: %w", err)
	}
	a.links = auth.NewLinks(cfg.TokenKeys, cfg.Now)
	if a.passwords, err = auth.NewPasswords(cfg.Passwords); err != nil {
		return nil, fmt.Errorf("httpapi: %w", err)
	}
	a.slow = throttles{
		account: auth.NewThrottle(5, cfg.Now),
		network: auth.NewThrottle(30, cfg.Now), // a household or an office sits behind one address
		signup:  auth.NewThrottle(100, cfg.Now),
		share:   auth.NewThrottle(60, cfg.Now),
	}
	a.active = newActiveSessions(cfg.Now)
	a.progress = newProgressCache(cfg.Progress, cfg.Now)
	a.queue = &queueCache{now: cfg.Now}
	if a.metrics, err = newMetrics(cfg.Registerer, a.active.count); err != nil {
		return nil, fmt.Errorf("httpapi: register metrics: %w", err)
	}
	if a.tus, err = a.newTus(); err != nil {
		return nil, fmt.Errorf("httpapi: resumable uploads: %w", err)
	}
	return a, a.mount()
}

// Handler returns the handler of all routes and pages.
func (a *API) Handler() http.Handler { return a }

// route is one row of the table.
type route struct {
	method string
	path   string // pattern of httprouter
	right  auth.Right
	handle func(*call) error
}

// routes is the table. Who may use a route at all stands here; whose things it
// shows is found by looking them up under their owner.
func routes() []route {
	return []route{
		{"POST", "/auth/signup", auth.Anyone, (*call).signup},
		{"POST", "/auth/login", auth.Anyone, (*call).login},
		{"POST", "/auth/setup", auth.Anyone, (*call).setup},
		{"POST", "/auth/logout", auth.User, (*call).logout},
		{"GET", "/auth/me", auth.User, (*call).me},

		{"GET", "/media", auth.User, (*call).listMedia},
		{"GET", "/media/:ref", auth.Link, (*call).readMedia},
		{"HEAD", "/media/:ref", auth.Link, (*call).readMedia},
		{"DELETE", "/media/:ref", auth.User, (*call).deleteMedia},
		{"GET", "/media/:ref/info", auth.User, (*call).mediaInfo},
		{"POST", "/media/:ref/url", auth.User, (*call).signMedia},
		{"GET", "/trash", auth.User, (*call).listTrash},
		{"DELETE", "/trash", auth.User, (*call).emptyTrash},
		{"DELETE", "/trash/:id", auth.User, (*call).purgeMedia},
		{"POST", "/trash/:id/restore", auth.User, (*call).restoreMedia},
		{"POST", "/upload", auth.User, (*call).upload},
		{"OPTIONS", "/files/", auth.Anyone, (*call).resumable},
		{"POST", "/files/", auth.User, (*call).resumable},
		{"HEAD", "/files/:id", auth.User, (*call).resumable},
		{"PATCH", "/files/:id", auth.User, (*call).resumable},
		{"DELETE", "/files/:id", auth.User, (*call).resumable},

		{"GET", "/formats", auth.Anyone, (*call).formats},
		{"POST", "/convert", auth.User, (*call).convert},
		{"GET", "/jobs", auth.Anyone, (*call).listJobs}, // others' jobs are masked
		{"GET", "/jobs/:id", auth.User, (*call).showJob},
		{"PATCH", "/jobs/:id", auth.User, (*call).changeJob},
		{"DELETE", "/jobs/:id", auth.User, (*call).cancelJob},
		{"POST", "/jobs/:id/retry", auth.User, (*call).retryJob},
		{"GET", "/jobs/:id/log", auth.User, (*call).jobLog},
		{"GET", "/queue/stats", auth.User, (*call).queueStats},
		{"GET", "/workers/stats", auth.Anyone, (*call).workerStats},

		{"POST", "/share/:ref", auth.User, (*call).share},
		{"GET", "/shares", auth.User, (*call).listShares},
		{"DELETE", "/shares/:id", auth.User, (*call).unshare},
		{"GET", "/s/:token", auth.Anyone, (*call).readShare},
		{"HEAD", "/s/:token", auth.Anyone, (*call).readShare},

		{"GET", "/events", auth.Anyone, (*call).events}, // a user's own, or the public ones
		{"GET", "/nodes", auth.User, (*call).listNodes},
		{"POST", "/nodes/:id/drain", auth.Admin, (*call).drainNode},
		{"DELETE", "/nodes/:id/drain", auth.Admin, (*call).undrainNode},
		{"DELETE", "/nodes/:id", auth.Admin, (*call).forgetNode},
		{"GET", "/cluster/secret", auth.Admin, (*call).secretStatus},
		{"POST", "/cluster/secret/rotate", auth.Admin, (*call).rotateSecret},
		{"GET", "/cluster/backup", auth.Admin, (*call).backup},
		{"GET", "/health", auth.Anyone, (*call).health},
		{"HEAD", "/health", auth.Anyone, (*call).health},
		{"GET", "/ready", auth.Anyone, (*call).ready},
		{"HEAD", "/ready", auth.Anyone, (*call).ready},
		{"GET", "/version", auth.Anyone, (*call).version},
		{"GET", "/metrics", auth.Scraper, (*call).scrape},
	}
}

// mount makes the router of the table.
func (a *API) mount() error {
	r := httprouter.New()
	r.RedirectFixedPath = false // a name is what it is: no guessing what was meant
	for _, rt := range routes() {
		if rt.right == auth.Unset {
			return fmt.Errorf("httpapi: %s %s names no right", rt.method, rt.path)
		}
		r.Handle(rt.method, rt.path, a.serve(rt))
	}
	r.NotFound = http.HandlerFunc(a.page)
	r.MethodNotAllowed = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		statusProblem(http.StatusMethodNotAllowed, "this address takes %s", w.Header().Get("Allow")).write(w, instanceOf(w))
	})
	a.router = r
	return nil
}

// serve is what all routes have in common: who calls, whether they may, and how
// an error is told.
func (a *API) serve(rt route) httprouter.Handle {
	return func(w http.ResponseWriter, r *http.Request, params httprouter.Params) {
		ans, ok := w.(*answer)
		if !ok {
			ans = &answer{ResponseWriter: w}
		}
		ans.route = rt.path
		err := a.begun(rt)
		c := &call{api: a, w: ans, r: r, params: params, view: a.cfg.State.View()}
		a.setIndex(w.Header(), c.view.Index())
		if err == nil {
			err = c.run(rt)
		}
		if err != nil {
			c.fail(err)
		}
	}
}

// aboutItself are the routes that tell of the node alone, not of the state.
var aboutItself = map[string]bool{"/health": true, "/ready": true, "/metrics": true, "/version": true}

// begun refuses to answer from a state that has not been read yet: a node that
// has just started would tell users that they do not exist. Later on, a node
// that lost the mesh goes on answering reads.
func (a *API) begun(rt route) error {
	if aboutItself[rt.path] || a.caughtUp.Load() {
		return nil
	}
	if err := a.cfg.Mesh.Ready(); err != nil {
		return state.Errorf(state.NoLeader, "this node has just started and is not ready: %s", err)
	}
	a.caughtUp.Store(true)
	return nil
}

// page serves what is no route: the pages, or nothing.
func (a *API) page(w http.ResponseWriter, r *http.Request) {
	if a.cfg.Pages == nil {
		statusProblem(http.StatusNotFound, "there is nothing at this address").write(w, instanceOf(w))
		return
	}
	if ans, ok := w.(*answer); ok {
		ans.route = "pages"
	}
	if a.cfg.PagesCSP != nil {
		w.Header().Set("Content-Security-Policy", a.cfg.PagesCSP())
	}
	a.cfg.Pages.ServeHTTP(&problemWriter{ResponseWriter: w, instance: instanceOf(w)}, r)
}

// errAborted ends a call whose answer has begun and cannot be finished: the
// connection is cut, so that nobody takes the part for the whole.
var errAborted = errors.New("answer cut off")
