package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"strconv"
	"time"

	"malla/blobs"
	"malla/blobs/upload"
	"malla/cluster/state"
	"malla/httpapi/auth"
)

// A Problem is a refusal as it goes over the wire (RFC 9457), and the error
// that a [Client] returns for it. Detail is safe to show to people.
type Problem struct {
	Type     string `json:"type"` // urn:malla:problem: and one of a closed list of kinds
	Title    string `json:"title"`
	Status   int    `json:"status"`
	Detail   string `json:"detail"`
	Instance string `json:"instance,omitempty"` // the request, as the node's log names it
	Field    string `json:"field,omitempty"`    // of the request, where one is wrong

	SetupNeeded bool `json:"setup_needed,omitempty"` // with 401: the mesh has no administrator yet

	RetryAfter time.Duration `json:"-"` // when to try again; a header on the wire
}

const problemType = "urn:malla:problem:"

// Error is the text for people.
func (p *Problem) Error() string { return p.Detail }

// Uncertain tells whether what was asked for may have been done all the same, or
// may still be.
func (p *Problem) Uncertain() bool { return p.Type == problemType+uncertain.kind }

// outcome is how a kind of error is told over HTTP.
type outcome struct {
	kind   string
	status int
	title  string
	retry  time.Duration // zero: trying again does not help
}

var (
	unauthorized = outcome{"unauthorized", http.StatusUnauthorized, "Sign in first", 0}
	tooLarge     = outcome{"too_large", http.StatusRequestEntityTooLarge, "The file is too large", 0}
	locked       = outcome{strconv.Itoa(http.StatusLocked), http.StatusLocked, http.StatusText(http.StatusLocked), 2 * time.Second}
	unavailable  = outcome{"unavailable", http.StatusServiceUnavailable, "The mesh cannot do that at the moment", 2 * time.Second}
	uncertain    = outcome{"uncertain", http.StatusServiceUnavailable, "Whether it was done is not known", 2 * time.Second}
	internal     = outcome{"internal", http.StatusInternalServerError, "Something went wrong on our side", 0}
)

// outcomes is the one table from the kind of a refusal to its status.
var outcomes = map[state.Kind]outcome{
	state.Invalid:  {"invalid", http.StatusBadRequest, "The request is wrong", 0},
	state.Denied:   {"denied", http.StatusForbidden, "You may not do that", 0},
	state.NotFound: {"not_found", http.StatusNotFound, "Not found", 0},
	state.Conflict: {"conflict", http.StatusConflict, "It clashes with what is there", 0},
	state.Stale:    {"stale", http.StatusConflict, "It was given up on", 0},
	state.NoLeader: {"no_leader", http.StatusServiceUnavailable, "The mesh cannot agree at the moment", 2 * time.Second},
	state.Busy:     {"busy", http.StatusTooManyRequests, "Too much at once", 2 * time.Second},
	state.Full:     {"full", http.StatusInsufficientStorage, "No room left", 0},
	state.NotMedia: {"not_media", http.StatusUnprocessableEntity, "Not audio or video", 0},
	state.Internal: internal,
}

// refusal makes the problem of that outcome.
func (o outcome) refusal(detail string) *Problem {
	return &Problem{Type: problemType + o.kind, Title: o.title, Status: o.status, Detail: detail, RetryAfter: o.retry}
}

// statusProblem is a refusal that has no kind but a status of HTTP's own.
func statusProblem(status int, format string, args ...any) *Problem {
	return outcome{strconv.Itoa(status), status, http.StatusText(status), 0}.refusal(fmt.Sprintf(format, args...))
}

// problemOf finds what to tell about an error. Faults of ours are told without
// a detail; the log has it.
func problemOf(err error) *Problem {
	var p *Problem
	var refused *state.Error
	var tooMuch *http.MaxBytesError
	err = blobs.OfDisk(err)
	switch {
	case errors.As(err, &p):
		return p
	case errors.As(err, &refused):
		return refusalOf(refused)
	case errors.Is(err, auth.ErrSignIn):
		return unauthorized.refusal("you are not signed in, or your session has ended: sign in again")
	case errors.Is(err, upload.ErrBusy):
		return locked.refusal(tusDetails[http.StatusLocked])
	case errors.As(err, &tooMuch), errors.Is(err, blobs.ErrTooLarge):
		return tooLarge.refusal("that is larger than what is accepted here")
	case errors.Is(err, blobs.ErrFull):
		return outcomes[state.Full].refusal("the mesh has no room left for this file")
	case errors.Is(err, blobs.ErrBroken):
		return unavailable.refusal("the disk of this node does not take files at the moment: use another node of the mesh")
	case errors.Is(err, blobs.ErrUnavailable), errors.Is(err, blobs.ErrNotFound), errors.Is(err, fs.ErrNotExist):
		return unavailable.refusal("too few nodes that hold this file can be reached: try again in a moment")
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return unavailable.refusal("the mesh did not answer in time: try again in a moment")
	}
	return internal.refusal("something went wrong on our side; the node's log has more under the id of this request")
}

func refusalOf(e *state.Error) *Problem {
	o, ok := outcomes[e.Kind]
	if !ok || e.Kind == state.Internal {
		return internal.refusal("something went wrong on our side; the node's log has more under the id of this request")
	}
	detail := e.Msg
	if e.Unsure {
		o, detail = uncertain, e.Msg+"; whether it was done is not known: look before you ask again"
	}
	p := o.refusal(detail)
	p.Field = e.Field
	if p.Detail == "" {
		p.Detail = o.title
	}
	if e.Field != "" {
		p.Detail = e.Field + ": " + e.Msg // pages show the detail alone
	}
	return p
}

// headers are those of the answer that tells the problem.
func (p *Problem) headers() map[string]string {
	h := map[string]string{"Content-Type": "application/problem+json", "Cache-Control": "no-store"}
	if p.Status == http.StatusUnauthorized {
		h["WWW-Authenticate"] = "Bearer"
	}
	if p.RetryAfter > 0 {
		h["Retry-After"] = strconv.Itoa(max(1, int((p.RetryAfter+time.Second-1)/time.Second)))
	}
	return h
}

// body is the problem as it is told about the request named instance.
func (p *Problem) body(instance string) []byte {
	told := *p
	told.Instance = instance
	text, err := json.Marshal(told)
	if err != nil {
		return nil // texts and numbers alone cannot fail
	}
	return append(text, '\n')
}

// write sends the problem as the whole answer. Headers that were meant for a
// good answer go.
func (p *Problem) write(w http.ResponseWriter, instance string) {
	h := w.Header()
	for _, name := range []string{"Content-Length", "Content-Encoding", "Content-Disposition", "Etag", "Last-Modified", "Accept-Ranges"} {
		h.Del(name)
	}
	for name, value := range p.headers() {
		h.Set(name, value)
	}
	w.WriteHeader(p.Status)
	w.Write(p.body(instance)) // the caller may be gone; nobody else hears of it
}

// problemWriter turns plain-text refusals of handlers that are not ours (the
// pages, the standard library) into problems.
type problemWriter struct {
	http.ResponseWriter
	instance string
	swallow  bool // a problem was sent in the place of the body
}

func (w *problemWriter) WriteHeader(status int) {
	if status < 400 || w.swallow {
		w.ResponseWriter.WriteHeader(status)
		return
	}
	w.swallow = true
	details := map[int]string{
		http.StatusNotFound:                     "there is nothing at this address",
		http.StatusMethodNotAllowed:             "this address does not take that method",
		http.StatusRequestedRangeNotSatisfiable: "the file ends before the range that was asked for",
		http.StatusPreconditionFailed:           "the file is not the one that was asked for any more",
	}
	detail := details[status]
	if detail == "" {
		detail = http.StatusText(status)
	}
	statusProblem(status, "%s", detail).write(w.ResponseWriter, w.instance)
}

func (w *problemWriter) Write(b []byte) (int, error) {
	if w.swallow {
		return len(b), nil
	}
	return w.ResponseWriter.Write(b)
}

// ReadFrom implements [io.ReaderFrom] for the writer below.
func (w *problemWriter) ReadFrom(src io.Reader) (int64, error) {
	if w.swallow {
		return io.Copy(io.Discard, src)
	}
	return io.Copy(w.ResponseWriter, src)
}

// Unwrap lets [http.ResponseController] reach the connection.
func (w *problemWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
