package cluster

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
	"golang.org/x/time/rate"

	"malla/cluster/state"
	"malla/cluster/transport"
)

// rotating is this node's part in replacing the mesh's secret.
type rotating struct {
	mu      sync.Mutex // held over a step: one change of the secrets at a time
	renewed uint64     // epoch in which the connections were renewed
	lost    []string   // fingerprints whose token keys no node has
}

// RotateSecret begins to replace the mesh's secret by one that this node draws;
// the nodes do the rest, and [state.View.Rotation] tells how far they are. Nodes
// in without are not waited for. Users' tokens of the old secret stay good for
// keepSessions. While the secret is being replaced already, it only excuses
// these nodes too. That a node is not there is a Conflict that names it.
func (c *Cluster) RotateSecret(ctx context.Context, without []state.NodeID, keepSessions time.Duration) error {
	c.secret.mu.Lock()
	defer c.secret.mu.Unlock()
	if err := c.Ready(); err != nil {
		return err
	}
	view := c.cfg.State.View()
	r := view.Rotation()
	if r.Phase != state.SecretSettled {
		if len(without) > 0 {
			if _, err := c.Propose(ctx, state.ExcuseFromRotation{Epoch: r.Epoch, Nodes: without}); err != nil {
				return err
			}
		}
		if r.Phase == state.SecretSwitching || slices.ContainsFunc(r.Holders(), c.lives) {
			return nil
		}
	} else if err := c.settle(ctx, r); err != nil {
		return err
	}
	var silent []string
	for _, n := range view.Nodes() {
		if !slices.Contains(without, n.ID) && !c.lives(n.ID) {
			silent = append(silent, n.Name)
		}
	}
	if len(silent) > 0 {
		return state.Errorf(state.Conflict, "these nodes are not there to be given the new secret: %s. Start or remove them, or go on without them (--without); they need the new secret by hand when they return", strings.Join(silent, ", "))
	}
	current := c.cfg.Secrets.Current()
	next := current.Successor()
	if err := c.change(func() error { return c.cfg.Secrets.Prepare(next) }); err != nil {
		return err
	}
	_, err := c.Propose(ctx, state.BeginRotation{
		Current: current.Fingerprint(), Next: next.Fingerprint(), By: c.cfg.ID, Without: without,
		KeepSessions: keepSessions, At: time.Now().UTC(),
	})
	return err
}

// lives tells whether the gossip says that a node is there.
func (c *Cluster) lives(id state.NodeID) bool {
	p, ok := c.gossip.table.get(id)
	return ok && p.state == Alive
}

// keepSecret does this node's part whenever the mesh replaces its secret.
func (c *Cluster) keepSecret(ctx context.Context) {
	noise := rate.Sometimes{First: 1, Interval: 10 * time.Second}
	for {
		if c.Ready() == nil { // else the log that is read at the start tells of rotations long over
			c.secret.mu.Lock()
			err := c.stepRotation(ctx)
			c.secret.mu.Unlock()
			if err != nil && ctx.Err() == nil {
				noise.Do(func() { c.log.Warn("replacing the mesh's secret", "err", err) })
			}
		}
		select {
		case <-time.After(c.cfg.Timing.Join):
		case <-ctx.Done():
			return
		}
	}
}

// stepRotation does what is next to be done. Each step may be done again: the
// node may end between a change and the word of it.
func (c *Cluster) stepRotation(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, rpcTimeout)
	defer cancel()
	view, secrets := c.cfg.State.View(), c.cfg.Secrets
	r := view.Rotation()
	if r.Phase == state.SecretSettled {
		return c.settle(ctx, r)
	}
	if old, ok := secrets.Previous(); ok && old.Fingerprint() != r.Current {
		if err := c.drop(r); err != nil { // of the rotation before, whose end this node missed
			return err
		}
	}
	if _, ok := secrets.Find(r.Next); !ok {
		if err := c.fetchSecret(ctx, r); err != nil {
			return err
		}
	}
	if !slices.Contains(r.Prepared, c.cfg.ID) {
		return c.advance(ctx, r, state.SecretPreparing)
	}
	if r.Phase == state.SecretSwitching {
		if secrets.Current().Fingerprint() != r.Next {
			if err := c.change(func() error { return secrets.Switch(r.Next) }); err != nil {
				return err
			}
			c.log.Info("this node uses the mesh's new secret")
		}
		if !slices.Contains(r.Switched, c.cfg.ID) {
			return c.advance(ctx, r, state.SecretSwitching)
		}
		if c.secret.renewed != r.Epoch && len(view.Awaited(r, r.Switched)) == 0 {
			// In time, so that no connection has to be cut under a request
			// when the old secret ends.
			c.cfg.Link.Renew()
			c.secret.renewed = r.Epoch
		}
	}
	return nil
}

func (c *Cluster) advance(ctx context.Context, r state.Rotation, phase state.SecretPhase) error {
	_, err := c.Propose(ctx, state.AdvanceRotation{Epoch: r.Epoch, Node: c.cfg.ID, Phase: phase})
	return err
}

// leadRotation takes the mesh, while this node leads, to the next phase as soon
// as nobody is waited for.
func (c *Cluster) leadRotation(ctx context.Context) {
	var epoch uint64    // in which all have switched
	var since time.Time // this node saw it
	for {
		view := c.cfg.State.View()
		r := view.Rotation()
		var next state.Command
		switch {
		case r.Phase == state.SecretPreparing && len(view.Awaited(r, r.Prepared)) == 0:
			next = state.SwitchSecret{Epoch: r.Epoch, At: time.Now().UTC()}
		case r.Phase == state.SecretSwitching && len(view.Awaited(r, r.Switched)) == 0:
			if epoch != r.Epoch {
				epoch, since = r.Epoch, time.Now()
			}
			if time.Since(since) >= c.cfg.Timing.Overlap {
				next = state.DropSecret{Epoch: r.Epoch, At: time.Now().UTC()}
			}
		}
		if next != nil {
			if _, err := c.Propose(ctx, next); err != nil && ctx.Err() == nil {
				c.log.Info("the mesh does not go on replacing its secret yet", "phase", r.Phase, "err", err)
			}
		}
		select {
		case <-time.After(c.cfg.Timing.Join):
		case <-ctx.Done():
			return
		}
	}
}

// settle makes this node's secrets what they are when none is being replaced: a
// rotation may have ended, or come to nothing, while this node was away.
func (c *Cluster) settle(ctx context.Context, r state.Rotation) error {
	secrets := c.cfg.Secrets
	if next, ok := secrets.Next(); ok {
		change := secrets.Forget
		if next.Fingerprint() == r.Current {
			change = func() error { return secrets.Switch(r.Current) }
		}
		if err := c.change(change); err != nil {
			return err
		}
	}
	if err := c.drop(r); err != nil {
		return err
	}
	return c.fetchTokenKeys(ctx, r)
}

// drop ends the previous secret.
func (c *Cluster) drop(r state.Rotation) error {
	keep := map[string]time.Time{}
	for _, s := range r.Sessions {
		if time.Now().Before(s.Until) {
			keep[s.Secret] = s.Until
		}
	}
	if _, ok := c.cfg.Secrets.Previous(); !ok {
		return c.cfg.Secrets.Drop(keep) // token keys that have run out
	}
	err := c.change(func() error { return c.cfg.Secrets.Drop(keep) })
	if err == nil {
		c.log.Info("the mesh's old secret is worth nothing any more")
	}
	return err
}

// change changes the secrets on disk, and then what is made of them.
func (c *Cluster) change(how func() error) error {
	if err := how(); err != nil {
		return err
	}
	secrets := c.cfg.Secrets
	return errors.Join(
		c.cfg.Link.Trust(secrets.Current(), secrets.Accepted()[1:]...),
		setGossipKeys(c.gossip.keys, secrets),
	)
}

// A holding is what one node tells another about the secrets.
type holding struct {
	Secret string               `json:"secret,omitempty"` // the one asked for
	Tokens []transport.TokenKey `json:"tokens,omitempty"`
}

// fetchSecret asks the nodes that have it for the next secret.
func (c *Cluster) fetchSecret(ctx context.Context, r state.Rotation) error {
	errs := []error{fmt.Errorf("no node gives this one the mesh's next secret")}
	from := r.Holders()
	rand.Shuffle(len(from), func(i, j int) { from[i], from[j] = from[j], from[i] })
	for _, id := range from {
		if id == c.cfg.ID {
			continue
		}
		h, err := c.askHolding(ctx, id, r.Next)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		next, err := transport.ParseSecret(h.Secret)
		if err != nil || next.Fingerprint() != r.Next || next.MeshID() != c.cfg.Secrets.MeshID() {
			errs = append(errs, fmt.Errorf("node %s gave another secret than the one agreed on", id))
			continue
		}
		return c.change(func() error { return c.cfg.Secrets.Prepare(next) })
	}
	return errors.Join(errs...)
}

// fetchTokenKeys asks another node for the keys with which users' tokens were
// signed before this node came, and which are still good.
func (c *Cluster) fetchTokenKeys(ctx context.Context, r state.Rotation) error {
	have := c.cfg.Secrets.KeptTokens()
	missing := map[string]time.Time{}
	for _, s := range r.Sessions {
		if time.Now().Before(s.Until) && !slices.Contains(c.secret.lost, s.Secret) && !slices.ContainsFunc(have, func(k transport.TokenKey) bool { return k.Secret == s.Secret }) {
			missing[s.Secret] = s.Until
		}
	}
	if len(missing) == 0 {
		return nil
	}
	var errs []error
	for _, p := range c.gossip.table.living() {
		if p.meta.id == c.cfg.ID {
			continue
		}
		h, err := c.askHolding(ctx, p.meta.id, "")
		if err != nil {
			errs = append(errs, err) // another one may answer
			continue
		}
		var found []transport.TokenKey
		for _, k := range h.Tokens {
			if until, ok := missing[k.Secret]; ok && len(k.Key) >= 32 {
				delete(missing, k.Secret)
				found = append(found, transport.TokenKey{Secret: k.Secret, Key: k.Key, Until: until})
			}
		}
		if len(found) == 0 {
			continue
		}
		if err := c.cfg.Secrets.KeepTokens(found); err != nil {
			return err
		}
	}
	if len(missing) > 0 && len(errs) == 0 {
		c.log.Warn("no node has the keys of sessions that began before the last rotation: this one refuses them")
		c.secret.lost = slices.AppendSeq(c.secret.lost, maps.Keys(missing))
	}
	return errors.Join(errs...)
}

func (c *Cluster) askHolding(ctx context.Context, id state.NodeID, fingerprint string) (holding, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, pathSecret, strings.NewReader(fingerprint))
	if err != nil {
		return holding{}, err
	}
	resp, err := c.cfg.Link.Do(ctx, string(id), req)
	if err != nil {
		return holding{}, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return holding{}, fmt.Errorf("node %s keeps its secrets to itself (status %d)", id, resp.StatusCode)
	}
	var h holding
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxEntry)).Decode(&h); err != nil {
		return holding{}, fmt.Errorf("answer of node %s to %s: %w", id, pathSecret, err)
	}
	return h, nil
}

// serveSecret hands what this node holds to a node of the agreed state that has
// the key by which the state knows it. Nothing less will do: whoever has the old
// secret can make a certificate with any id.
func (c *Cluster) serveSecret(w http.ResponseWriter, r *http.Request) {
	from, known := c.cfg.State.View().Node(state.NodeID(transport.PeerID(r)))
	if !known || len(from.Key) == 0 || !transport.PeerPublicKey(r).Equal(ed25519.PublicKey(from.Key)) || c.Ready() != nil {
		http.Error(w, "only for members of the mesh", http.StatusForbidden)
		return
	}
	fingerprint, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 64))
	if err != nil {
		return
	}
	h := holding{Tokens: c.cfg.Secrets.KeptTokens()}
	if rotation := c.cfg.State.View().Rotation(); rotation.Phase != state.SecretSettled && rotation.Next == string(fingerprint) {
		if s, ok := c.cfg.Secrets.Find(rotation.Next); ok {
			h.Secret = s.Text()
		}
	}
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(h)
}

// gossipKeys are the keys of the gossip: of the secret in use, and of the others
// that are accepted.
func gossipKeys(secrets *transport.Keyring) (*memberlist.Keyring, error) {
	keys := &memberlist.Keyring{}
	return keys, setGossipKeys(keys, secrets)
}

// setGossipKeys changes the keys while they are in use.
func setGossipKeys(ring *memberlist.Keyring, secrets *transport.Keyring) error {
	var wanted [][]byte
	for _, s := range secrets.Accepted() {
		wanted = append(wanted, s.Derive("gossip", 32))
	}
	isWanted := func(key []byte) bool {
		return slices.ContainsFunc(wanted, func(w []byte) bool { return string(w) == string(key) })
	}
	// From the back: memberlist moves the keys behind one that is removed while
	// it decrypts with them. What is not wanted any more always stands behind
	// what is.
	for _, key := range slices.Backward(ring.GetKeys()) {
		if !isWanted(key) {
			if err := ring.RemoveKey(key); err != nil {
				return err
			}
		}
	}
	for _, key := range wanted {
		if err := ring.AddKey(key); err != nil {
			return err
		}
	}
	return ring.UseKey(wanted[0])
}
