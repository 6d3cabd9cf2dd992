package node

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"malla/cluster/state"
	"malla/httpapi"
)

const sparesPath = "/spares"

// sparesWait is how long a node may take to say whether it needs another one.
const sparesWait = 3 * time.Second

// serveSpares answers another node whether this one has everything that it
// should keep without the node named.
func (n *Node) serveSpares(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(n.replica.Spares(r.URL.Query().Get("node")))
}

// spares asks a node that.
func (p *peers) spares(ctx context.Context, at, without string) (spared bool, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, sparesPath+"?node="+url.QueryEscape(without), nil)
	if err != nil {
		return false, err
	}
	resp, err := p.link.Do(ctx, at, req)
	if err != nil {
		return false, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return false, fmt.Errorf("ask %s whether it spares %s: status %d", at, without, resp.StatusCode)
	}
	return spared, json.NewDecoder(http.MaxBytesReader(nil, resp.Body, 64)).Decode(&spared)
}

// CanForget implements [httpapi.Mesh]: a node that runs must be empty; of one
// that is gone the others must have copied all that it kept.
func (n *Node) CanForget(ctx context.Context, id string) error {
	nodes := n.Nodes()
	var target httpapi.NodeStatus
	for _, s := range nodes {
		if s.ID == id {
			target = s
		}
	}
	if living(target) {
		if target.Draining != httpapi.IsEmpty {
			return state.Errorf(state.Conflict, "%s is running and keeps files: empty it first (malla nodes leave %s does both)", target.Name, target.Name)
		}
		return nil
	}
	if lack := n.lacking(ctx, nodes, id); len(lack) > 0 {
		return state.Errorf(state.Conflict, "what %s kept is not yet copied to %s, or cannot be: wait until nothing is left to copy, or force it and lose what only %s has",
			target.Name, strings.Join(lack, ", "), target.Name)
	}
	return nil
}

// lacking returns the names of the other nodes that answer and still need the
// one that is gone, or do not say.
func (n *Node) lacking(ctx context.Context, nodes []httpapi.NodeStatus, gone string) (names []string) {
	ctx, cancel := context.WithTimeout(ctx, sparesWait)
	defer cancel()
	var mu sync.Mutex // guards names
	var wg sync.WaitGroup
	for _, s := range nodes {
		if !living(s) || s.Draining != "" {
			continue // what is being emptied keeps nothing
		}
		wg.Go(func() {
			spared := n.replica.Spares(gone)
			if !s.Self {
				var err error
				if spared, err = n.peers.spares(ctx, s.ID, gone); err != nil {
					n.log.Debug("a node does not say whether it needs another", "asked", s.Name, "err", err)
				}
			}
			if !spared {
				mu.Lock()
				defer mu.Unlock()
				names = append(names, s.Name)
			}
		})
	}
	wg.Wait()
	return names
}

// Forget implements [httpapi.Mesh].
func (n *Node) Forget(ctx context.Context, id string) error {
	return n.cluster.Remove(ctx, state.NodeID(id))
}

// Strength implements [httpapi.Mesh].
func (n *Node) Strength() httpapi.Strength {
	s := n.cluster.Strength()
	return httpapi.Strength{Nodes: s.Nodes, Voters: s.Voters, Alive: s.Alive, Survives: s.Survives, Text: s.String()}
}

// Leave empties this node and takes it out of the mesh for good, however long
// that takes; [Node.Close] it then. On an error, that of ctx too, it is a member
// still, and goes on being emptied where that had begun. An error of kind
// Conflict or Full: the others cannot take what is on it.
func (n *Node) Leave(ctx context.Context) error {
	if rec, _ := n.state.View().Node(n.id); rec.DrainingAt.IsZero() {
		if err := n.CanDrain(string(n.id)); err != nil {
			return err
		}
		if _, err := n.cluster.Propose(ctx, state.DrainNode{ID: n.id, At: time.Now().UTC()}); err != nil {
			return err
		}
	}
	n.log.Info("emptying this node before it leaves the mesh; a second signal stops it at once, and it stays a member")
	ticker := time.NewTicker(500 * time.Millisecond)
	defer ticker.Stop()
	for !n.load().Emptied {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if err := n.cluster.Leave(ctx); err != nil {
		return err
	}
	n.log.Info("this node left the mesh")
	return nil
}
