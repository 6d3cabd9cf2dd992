package cluster

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"net"
	"net/http"
	"time"

	"github.com/hashicorp/raft"

	"malla/cluster/state"
	"malla/cluster/transport"
)

const (
	// maxEntry bounds an entry of the log: larger ones hold up heartbeats.
	maxEntry = 256 << 10
	// tryTimeout bounds one attempt at the leader. Trying again is safe.
	tryTimeout = 2 * time.Second
)

// What nodes ask each other over the link. Those below the line only the
// leader answers; it never passes them on, so a request makes one hop.
const (
	pathJoin    = "/cluster/join"    // any member: let me in
	pathRejoin  = "/cluster/rejoin"  // any member: I lost my log
	pathPromise = "/cluster/promise" // any node: make a mesh with me and nobody else
	pathSecret  = "/cluster/secret"  // any member: what do you hold of the mesh's secrets?

	pathStanding = "/cluster/standing" // any node: how far is your log?
	pathBelong   = "/cluster/belong"   // any member: am I one?
	pathTwin     = "/cluster/twin"     // a process with the same id: which of us was first?

	pathPropose = "/cluster/propose"
	pathIndex   = "/cluster/index"
	pathAdmit   = "/cluster/admit"
	pathReadmit = "/cluster/readmit"
	pathRemove  = "/cluster/remove"
	pathKnows   = "/cluster/knows"
)

// An answer is what comes back.
type answer struct {
	Result state.Result `json:"result"`
	Error  *state.Error `json:"error,omitempty"`
	Each   []answer     `json:"each,omitempty"` // of an entry with several commands
}

var (
	errNotLeading = state.Errorf(state.NoLeader, "the mesh has no leader at the moment")
	errLost       = &state.Error{Kind: state.NoLeader, Msg: "the leader was lost on the way", Unsure: true}
)

// Propose puts a command into the log and returns what became of it, once this
// node's own state shows it. It may be called on any node. An error of type
// *state.Error is a refusal by the state, the same as if this node had refused
// it; of kind NoLeader where the mesh cannot agree until ctx ends, or for some
// seconds where ctx has no deadline: the command may then still come into
// force, if the error is Unsure. A command that was retried on the way is
// applied once. Where ctx is canceled the error is its own, and such a refusal too
// if it is Unsure.
func (c *Cluster) Propose(ctx context.Context, cmd state.Command) (state.Result, error) {
	entry, err := state.EncodeSince(c.cfg.State.Index(), rand.Text(), cmd)
	if err != nil {
		return state.Result{}, err
	}
	if len(entry) > maxEntry {
		return state.Result{}, state.Errorf(state.Invalid, "the request is too large: %d bytes, at most %d", len(entry), maxEntry)
	}
	ctx, cancel := c.bounded(ctx)
	defer cancel()
	p := &proposal{ctx: ctx, entry: entry, told: make(chan struct{})}
	c.proposals.add(p)
	select {
	case <-p.told:
	case <-c.ctx.Done():
		return state.Result{}, &state.Error{Kind: state.NoLeader, Msg: "this node is stopping", Unsure: !p.giveUp()}
	case <-ctx.Done():
		certain := p.giveUp()
		switch canceled := errors.Is(ctx.Err(), context.Canceled); {
		case canceled && certain:
			return state.Result{}, ctx.Err()
		case canceled:
			return state.Result{}, errors.Join(errLost, ctx.Err())
		}
		return state.Result{}, &state.Error{Kind: state.NoLeader, Msg: c.disagreement(), Unsure: !certain}
	}
	// A refusal is waited for too: this node must not show a state without the
	// cause of it.
	if c.cfg.State.WaitIndex(ctx, p.result.Index) != nil {
		// It is agreed on all the same; saying otherwise would have it
		// proposed a second time.
		c.log.Warn("this node lags behind the mesh", "index", p.result.Index, "own", c.cfg.State.Index())
	}
	if p.err != nil {
		return state.Result{}, p.err
	}
	return p.result, nil
}

// bounded gives ctx the default deadline of proposals where it has none.
func (c *Cluster) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, has := ctx.Deadline(); has {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, c.cfg.Timing.Propose)
}

// atLeader has something done by the leader: by serve where this node leads,
// else through the link. While there is no leader, or it does not answer, it
// tries again until ctx ends.
func (c *Cluster) atLeader(ctx context.Context, path string, body []byte, serve func(context.Context, []byte) (state.Result, error)) (state.Result, error) {
	doubt := false
	for pause := 20 * time.Millisecond; ; pause = min(2*pause, 200*time.Millisecond) {
		leader, reign := c.lead.current()
		result, err := c.tryLeader(ctx, leader, reign, path, body, serve)
		var refusal *state.Error
		if err == nil || (errors.As(err, &refusal) && refusal.Kind != state.NoLeader) {
			return result, err
		}
		doubt = doubt || unsure(err)
		if leader != "" {
			c.log.Debug("the leader did not answer", "leader", leader, "path", path, "err", err)
		}
		select {
		case <-time.After(pause/2 + mathrand.N(pause)):
		case <-reign.Done():
		case <-c.ctx.Done():
			return state.Result{}, &state.Error{Kind: state.NoLeader, Msg: "this node is stopping", Unsure: doubt}
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.Canceled) {
				return state.Result{}, ctx.Err()
			}
			return state.Result{}, &state.Error{Kind: state.NoLeader, Msg: c.disagreement(), Unsure: doubt}
		}
	}
}

// disagreement says why the mesh does not agree, for people, as far as this
// node can tell.
func (c *Cluster) disagreement() string {
	voters, reached := 0, 0
	for id, role := range c.raft.roles() {
		if role != Voter {
			continue
		}
		voters++
		if c.agrees(id) {
			reached++
		}
	}
	switch needed := voters/2 + 1; {
	case voters == 0:
		return "this node has not joined the mesh yet"
	case reached < needed:
		return fmt.Sprintf("the mesh cannot agree on changes at the moment: this node reaches %d of the %d nodes that have a vote, and %d are needed; "+
			"what is here can be read, and changes work again by themselves when they are back", reached, voters, needed)
	}
	return "the mesh cannot agree on changes at the moment: its nodes are choosing a leader, or the one that they have does not answer"
}

// tryLeader is one attempt; it ends early when another node leads.
func (c *Cluster) tryLeader(ctx context.Context, leader state.NodeID, reign context.Context, path string, body []byte, serve func(context.Context, []byte) (state.Result, error)) (state.Result, error) {
	switch leader {
	case "":
		return state.Result{}, errNotLeading
	case c.cfg.ID:
		return serve(ctx, body)
	}
	ctx, cancel := context.WithTimeout(ctx, tryTimeout)
	defer cancel()
	defer context.AfterFunc(reign, cancel)()
	return c.call(ctx, leader, path, body)
}

// apply has this node, which leads, put an entry of one command into the log.
func (c *Cluster) apply(ctx context.Context, entry []byte) (state.Result, error) {
	answers, err := c.applyAll(ctx, entry)
	if err != nil {
		return state.Result{}, err
	}
	return answers[0].outcome()
}

// outcome is the answer to one question.
func (a answer) outcome() (state.Result, error) {
	if a.Error != nil {
		return a.Result, a.Error
	}
	return a.Result, nil
}

// call asks one node one question.
func (c *Cluster) call(ctx context.Context, id state.NodeID, path string, body []byte) (state.Result, error) {
	a, err := c.ask(ctx, id, path, body)
	if err != nil {
		return state.Result{}, err
	}
	return a.outcome()
}

// ask sends a request to one node.
func (c *Cluster) ask(ctx context.Context, id state.NodeID, path string, body []byte) (answer, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, path, bytes.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	resp, err := c.cfg.Link.Do(ctx, string(id), req)
	var op *net.OpError
	switch {
	case errors.As(err, &op) && op.Op == "dial":
		return answer{}, errNotLeading // nothing was sent
	case err != nil:
		return answer{}, err
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusForbidden {
		why, _ := io.ReadAll(io.LimitReader(resp.Body, 1024))
		return answer{}, fmt.Errorf("node %s refuses this one: %w: %s", id, transport.ErrNotMember, bytes.TrimSpace(why))
	}
	var a answer
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxEntry)).Decode(&a); err != nil {
		return answer{}, fmt.Errorf("answer of node %s to %s (status %d): %w", id, path, resp.StatusCode, err)
	}
	return a, nil
}

// handle adds what other nodes may ask.
func (c *Cluster) handle() {
	leading := func(serve func(context.Context, []byte) (answer, error)) http.Handler {
		return c.answering(func(ctx context.Context, _ state.NodeID, body []byte) (answer, error) {
			if r := c.raft.raft(); r == nil || r.State() != raft.Leader {
				return answer{}, errNotLeading
			}
			return serve(ctx, body)
		})
	}
	for path, serve := range map[string]func(context.Context, []byte) (state.Result, error){
		pathIndex:   c.readIndex,
		pathAdmit:   c.admit,
		pathReadmit: c.readmit,
		pathRemove:  c.remove,
		pathKnows:   c.knows,
	} {
		c.cfg.Link.Handle("POST "+path, leading(func(ctx context.Context, body []byte) (answer, error) {
			result, err := serve(ctx, body)
			return answer{Result: result}, err
		}))
	}
	c.cfg.Link.Handle("POST "+pathPropose, leading(func(ctx context.Context, entry []byte) (answer, error) {
		each, err := c.applyAll(ctx, entry)
		if len(each) == 1 {
			return each[0], err
		}
		return answer{Each: each}, err
	}))
	for path, serve := range map[string]func(context.Context, state.NodeID, []byte) (state.Result, error){
		pathJoin:    c.letIn,
		pathRejoin:  c.letBack,
		pathPromise: c.promise,
		pathBelong:  c.belongs,
		pathTwin:    c.answerTwin,
	} {
		c.cfg.Link.HandleAny("POST "+path, c.answering(func(ctx context.Context, from state.NodeID, body []byte) (answer, error) {
			result, err := serve(ctx, from, body)
			return answer{Result: result}, err
		}))
	}
	c.cfg.Link.Handle("GET "+pathStanding, http.HandlerFunc(c.serveStanding))
	c.cfg.Link.Handle("POST "+pathSecret, http.HandlerFunc(c.serveSecret))
}

// answering turns a question of a node into a handler. Refusals travel with
// their kind; other errors tell the caller only to try again.
func (c *Cluster) answering(serve func(ctx context.Context, from state.NodeID, body []byte) (answer, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxEntry+1024))
		if err != nil {
			return // the caller is gone, or no node of ours
		}
		ctx, cancel := context.WithTimeout(r.Context(), 2*tryTimeout)
		defer cancel()
		a, err := serve(ctx, state.NodeID(transport.PeerID(r)), body)
		if err != nil && !errors.As(err, &a.Error) {
			c.log.Debug("a node's request came to nothing", "from", transport.PeerID(r), "path", r.URL.Path, "err", err)
			a.Error = errLost
		}
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(a)
	})
}
