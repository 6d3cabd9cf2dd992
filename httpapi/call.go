package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/julienschmidt/httprouter"

	"malla/cluster/state"
	"malla/httpapi/auth"
)

const (
	maxJSON     = 64 << 10         // bytes of a body that is not a file
	bodyTime    = 15 * time.Second // for such a body to come
	proposeTime = 5 * time.Second  // for the mesh to agree
)

// A call is one request to a route, being answered.
type call struct {
	api    *API
	w      *answer
	r      *http.Request
	params httprouter.Params
	view   *state.View // the state that the answer shows
	caller auth.Caller
}

// run finds out who calls, and lets them if they may.
func (c *call) run(rt route) error {
	c.identify(rt.right)
	if err := auth.May(c.caller, rt.right); err != nil {
		return err
	}
	if c.caller.Session.Cookie {
		if err := c.api.origin.Check(c.r); err != nil {
			return state.Errorf(state.Denied, "this change was asked for by a page of another origin: use a bearer token there")
		}
		if c.api.cookies.Due(c.caller.Session) {
			if err := c.setCookie(c.caller.User); err != nil {
				return err
			}
		}
	}
	return rt.handle(c)
}

// identify sets the caller. Credentials that are worth nothing are like none:
// routes for anyone answer nevertheless.
func (c *call) identify(right auth.Right) {
	token, given := auth.Bearer(c.r)
	if right == auth.Scraper {
		c.caller.Scraper = c.api.cfg.MetricsToken == "" || auth.SameText(token, c.api.cfg.MetricsToken)
		return
	}
	if right == auth.Link {
		c.caller.Linked = auth.Linked(c.r.URL.Query())
	}
	if !given {
		token = c.api.cookies.Token(c.r)
	}
	if token == "" {
		return
	}
	u, session, err := c.api.sessions.Check(c.view, token)
	if err != nil {
		return
	}
	session.Cookie = !given
	c.caller.User, c.caller.Session = u, session
	c.api.active.seen(session.ID)
}

func (c *call) param(name string) string { return c.params.ByName(name) }

func (c *call) query(name string) string { return c.r.URL.Query().Get(name) }

func (c *call) user() state.UserID { return c.caller.User.ID }

// propose puts a command into the log; afterwards the call's view has it, and
// the answer carries its index.
func (c *call) propose(cmd state.Command) (state.Result, error) {
	ctx, cancel := context.WithTimeout(c.r.Context(), proposeTime)
	defer cancel()
	done, err := c.api.cfg.Proposer.Propose(ctx, cmd)
	if err != nil {
		return done, err
	}
	c.agreed(done.Index)
	return done, nil
}

// agreed notes that the answer shows a change at that index.
func (c *call) agreed(index uint64) {
	c.view = c.api.cfg.State.View()
	c.api.setIndex(c.w.Header(), max(index, c.view.Index()))
}

// send answers 200 with v as JSON.
func (c *call) send(v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("write the answer: %w", err)
	}
	c.sendText(append(body, '\n'))
	return nil
}

// sendText answers with a text of JSON.
func (c *call) sendText(body []byte) {
	h := c.w.Header()
	h.Set("Content-Type", "application/json")
	if h.Get("Cache-Control") == "" {
		h.Set("Cache-Control", "no-store")
	}
	c.w.Write(body) // the caller may be gone; nobody else hears of it
}

// receive reads a JSON object into the struct that v points to. A field that v
// does not have, or of another type, is refused with its name.
func (c *call) receive(v any) error { return c.receiveLong(v, maxJSON) }

// receiveLong is receive for an object of up to that many bytes.
func (c *call) receiveLong(v any, limit int64) error {
	body, err := c.body(limit)
	if err != nil {
		return err
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(body, &fields); err != nil || fields == nil {
		return state.Errorf(state.Invalid, "the body must be a JSON object")
	}
	known := jsonNames(v)
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		if !slices.Contains(known, name) {
			return state.InvalidField(shorten(name), "is not a field of this request: it takes %s", strings.Join(known, ", "))
		}
	}
	var wrong *json.UnmarshalTypeError
	if err := json.Unmarshal(body, v); errors.As(err, &wrong) {
		return state.InvalidField(wrong.Field, "must be a %s, not a %s", wrong.Type.Kind(), wrong.Value)
	} else if err != nil {
		return state.Errorf(state.Invalid, "the body must be a JSON object")
	}
	return nil
}

// body reads a body of at most limit bytes to its end.
func (c *call) body(limit int64) ([]byte, error) {
	if coding := c.r.Header.Get("Content-Encoding"); coding != "" && coding != "identity" {
		return nil, statusProblem(http.StatusUnsupportedMediaType, "compressed requests are not taken")
	}
	conn := http.NewResponseController(c.w)
	conn.SetReadDeadline(time.Now().Add(bodyTime)) // not on every kind of connection
	defer conn.SetReadDeadline(time.Time{})
	body, err := io.ReadAll(http.MaxBytesReader(c.w, c.r.Body, limit))
	if err == nil {
		return body, nil
	}
	var tooMuch *http.MaxBytesError
	if errors.As(err, &tooMuch) {
		return nil, err
	}
	return nil, state.Errorf(state.Invalid, "the request ended before its body did")
}

// jsonNames lists the names of the fields of the struct that v points to.
func jsonNames(v any) []string {
	t := reflect.TypeOf(v).Elem()
	var names []string
	for i := range t.NumField() {
		name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		names = append(names, name)
	}
	return names
}

// shorten makes a text that a caller sent fit for being shown back.
func shorten(text string) string {
	if len(text) > 64 {
		text = text[:64] + "…"
	}
	return strings.ToValidUTF8(text, "?")
}
