package httpapi

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"malla/cluster/state"
)

// A Consistency is how new the state must be that a request is answered from:
// the parameter ?consistency= of every request.
type Consistency string

const (
	// Stale is the state that the node has, at once, however old it is.
	Stale Consistency = "stale"
	// Session is at least as new as the X-Malla-Index that the request
	// carries: who passes on what answers said always finds what they have
	// seen and done. It is the default.
	Session Consistency = "session"
	// Strong shows everything that anybody was told of before the request
	// came, at any node. It takes a question to the leader, and is refused
	// where the mesh cannot agree.
	Strong Consistency = "strong"
)

const (
	indexHeader = "X-Malla-Index"
	// staleHeader is in answers of a node that cannot tell whether its state
	// is the newest, and says why, for people.
	staleHeader = "X-Malla-Stale"
	maxIndexLag = 5 * time.Second // that a request waits for the state it asks for
)

// consistencyOf reads what the request asks for.
func consistencyOf(r *http.Request) (Consistency, error) {
	if !strings.Contains(r.URL.RawQuery, "consistency") {
		return Session, nil
	}
	asked := r.URL.Query()
	if !asked.Has("consistency") {
		return Session, nil
	}
	level := Consistency(asked.Get("consistency"))
	switch level {
	case Stale, Session, Strong:
		return level, nil
	}
	return "", state.InvalidField("consistency", "%q is none of %s, %s, %s", shorten(string(level)), Stale, Session, Strong)
}

// with adds the parameter to a path with a query.
func (level Consistency) with(path string) string {
	if level == "" {
		return path
	}
	sep := "?"
	if strings.Contains(path, "?") {
		sep = "&"
	}
	return path + sep + "consistency=" + url.QueryEscape(string(level))
}

// catchUp waits until this node's state is as new as the request asks for, and
// says in the headers of the answer how new it is.
func (a *API) catchUp(w http.ResponseWriter, r *http.Request) error {
	level, err := consistencyOf(r)
	if err == nil {
		err = a.waitAs(level, r)
	}
	a.setIndex(w.Header(), a.cfg.State.View().Index())
	if err == nil && level == Strong {
		return nil // nothing newer was known
	}
	if unready := a.cfg.Mesh.Ready(); unready != nil {
		w.Header().Set(staleHeader, unready.Error())
	}
	return err
}

func (a *API) waitAs(level Consistency, r *http.Request) error {
	if level == Stale {
		return nil
	}
	if level == Strong {
		if err := a.readIndex(r.Context()); err != nil {
			return err
		}
	}
	text := r.Header.Get(indexHeader)
	if text == "" {
		return nil
	}
	index, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		p := statusProblem(http.StatusBadRequest, "%s must be a number that an answer gave", indexHeader)
		p.Field = indexHeader
		return p
	}
	return a.waitFor(r.Context(), index)
}

// readIndex waits for everything that anybody was told of before.
func (a *API) readIndex(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, maxIndexLag)
	defer cancel()
	_, err := a.cfg.Proposer.ReadIndex(ctx)
	if errors.Is(err, state.ErrNoLeader) {
		return state.Errorf(state.NoLeader, "a strong read needs the agreement of the mesh: %v; without ?consistency=strong this node answers from what it has", err)
	}
	return err
}

func (a *API) waitFor(ctx context.Context, index uint64) error {
	ctx, cancel := context.WithTimeout(ctx, maxIndexLag)
	defer cancel()
	if err := a.cfg.State.WaitIndex(ctx, index); err != nil {
		return unavailable.refusal("this node is behind the others: try again in a moment, ask another node, or take what it has with ?consistency=stale")
	}
	return nil
}

// setIndex tells which state an answer shows.
func (a *API) setIndex(h http.Header, index uint64) {
	h.Set(indexHeader, strconv.FormatUint(index, 10))
}
