package httpapi

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"runtime/debug"
	"strings"
	"time"
)

// answer is a response with what the log and the metrics want to know of it.
type answer struct {
	http.ResponseWriter
	id     string // of the request
	route  string // pattern; "" until one matched
	status int    // 0 until the header was sent
	bytes  int64  // of the body
}

func (w *answer) WriteHeader(status int) {
	if status >= 200 && w.status == 0 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *answer) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	n, err := w.ResponseWriter.Write(b)
	w.bytes += int64(n)
	return n, err
}

// ReadFrom implements [io.ReaderFrom]: the kernel sends what comes from a file.
func (w *answer) ReadFrom(src io.Reader) (int64, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	n, err := io.Copy(w.ResponseWriter, src)
	w.bytes += n
	return n, err
}

// Unwrap lets [http.ResponseController] reach the connection.
func (w *answer) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// instanceOf names the request of an answer, as problems and the log do.
func instanceOf(w http.ResponseWriter) string {
	if ans, ok := w.(*answer); ok && ans.id != "" {
		return "urn:malla:request:" + ans.id
	}
	return ""
}

const idHeader = "X-Request-Id"

var requestID = regexp.MustCompile(`^[a-zA-Z0-9_-]{1,64}$`)

// ServeHTTP answers one request: what all answers have in common, then the
// route or the page.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	began := time.Now()
	ans := &answer{ResponseWriter: w, id: r.Header.Get(idHeader)}
	if !requestID.MatchString(ans.id) {
		ans.id = rand.Text()[:16]
	}
	defer a.finish(ans, r, began)
	setSecurityHeaders(w.Header(), r)
	w.Header().Set(idHeader, ans.id)
	a.setIndex(w.Header(), a.cfg.State.View().Index())
	if cors(ans, r) {
		return
	}
	if err := a.catchUp(ans, r); err != nil {
		problemOf(err).write(ans, instanceOf(ans))
		return
	}
	a.router.ServeHTTP(ans, r)
}

// finish runs when an answer has ended, well or not.
func (a *API) finish(ans *answer, r *http.Request, began time.Time) {
	fault := recover()
	if fault != nil && fault != http.ErrAbortHandler {
		a.cfg.Logger.Error("request panicked", "req", ans.id, "route", ans.route, "err", fmt.Sprint(fault), "stack", string(debug.Stack()))
		if ans.status == 0 {
			internal.refusal("something went wrong on our side; the node's log has more under the id of this request").write(ans, instanceOf(ans))
			fault = nil
		} else {
			fault = http.ErrAbortHandler
		}
	}
	if ans.status == 0 {
		ans.status = http.StatusOK // net/http sends it when the handler returns
	}
	took := time.Since(began)
	a.metrics.request(ans.route, r.Method, ans.status, took)
	path := r.URL.Path
	if strings.HasPrefix(path, "/s/") {
		path = "/s/" // what follows opens a file
	}
	a.cfg.Logger.Debug("request", "req", ans.id, "method", r.Method, "route", ans.route, "path", path, "status", ans.status, "bytes", ans.bytes, "took", took)
	if fault != nil {
		panic(fault)
	}
}

// setSecurityHeaders sets what every answer carries; routes that serve bytes or
// pages say more.
func setSecurityHeaders(h http.Header, r *http.Request) {
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Permissions-Policy", "camera=(), microphone=(), geolocation=(), payment=(), usb=()")
	if r.TLS != nil {
		h.Set("Strict-Transport-Security", "max-age=31536000")
	}
}

const exposed = "Accept-Ranges, Content-Disposition, Content-Length, Content-Range, ETag, Location, Malla-Media-Id, Malla-Media-Name, Retry-After, " +
	"Tus-Extension, Tus-Max-Size, Tus-Resumable, Tus-Version, Upload-Expires, Upload-Length, Upload-Metadata, Upload-Offset, X-Malla-Index, X-Malla-Stale, X-Request-Id"

// cors lets pages of any origin call with a bearer token, without cookies, and
// answers their preflights. It returns whether the request is answered.
func cors(w http.ResponseWriter, r *http.Request) bool {
	if r.Header.Get("Origin") == "" {
		return false
	}
	h := w.Header()
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("Access-Control-Expose-Headers", exposed)
	if r.Method != http.MethodOptions || r.Header.Get("Access-Control-Request-Method") == "" {
		return false
	}
	h.Set("Access-Control-Allow-Methods", "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS")
	if asked := r.Header.Get("Access-Control-Request-Headers"); asked != "" && len(asked) < 4<<10 {
		h.Set("Access-Control-Allow-Headers", asked)
	}
	h.Add("Vary", "Access-Control-Request-Headers")
	h.Set("Access-Control-Max-Age", "600")
	w.WriteHeader(http.StatusNoContent)
	return true
}

// fail tells the error, and logs it when it is not the caller's. What a handler
// refuses with a problem of its own is known to whoever should know.
func (c *call) fail(err error) {
	if errors.Is(err, errAborted) || c.w.status != 0 {
		panic(http.ErrAbortHandler)
	}
	// What was refused may have to do with what is newer than the call's view.
	c.api.setIndex(c.w.Header(), c.api.cfg.State.View().Index())
	p := problemOf(err)
	var known *Problem
	if p.Status >= 500 && !errors.As(err, &known) && c.r.Context().Err() == nil {
		log := c.api.cfg.Logger.Warn
		if p.Status == http.StatusInternalServerError {
			log = c.api.cfg.Logger.Error
		}
		log("request failed", "req", c.w.id, "route", c.w.route, "status", p.Status, "err", err)
	}
	if p.Status == http.StatusUnauthorized && c.api.setupOpen(c.view) {
		needed := *p
		needed.SetupNeeded, p = true, &needed
	}
	c.drain()
	p.write(c.w, instanceOf(c.w))
}

const (
	drainBytes = 64 << 20
	drainTime  = 5 * time.Second
)

// drain reads what a refused request still sends, within bounds: browsers show
// a broken connection, not the refusal, where nobody reads to the end.
func (c *call) drain() {
	if c.r.Body == nil || c.r.Body == http.NoBody || c.r.Header.Get("Expect") != "" {
		return
	}
	conn := http.NewResponseController(c.w)
	conn.SetReadDeadline(time.Now().Add(drainTime)) // not on every kind of connection
	io.CopyN(io.Discard, c.r.Body, drainBytes)      // however it ends, the refusal comes next
	conn.SetReadDeadline(time.Time{})
}
