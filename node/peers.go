package node

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"time"

	"malla/blobs"
	"malla/blobs/replica"
	"malla/blobs/upload"
	"malla/cluster"
	"malla/cluster/state"
	"malla/cluster/transport"
	"malla/httpapi"
	"malla/node/worker"
)

// peers shows the mesh to the parts that must not know of gossip or log.
type peers struct {
	state   *state.State
	cluster *cluster.Cluster
	link    *transport.Link
	self    state.NodeID
	worker  *worker.Worker
}

// Nodes implements [replica.Peers]: who belongs to the mesh is what was agreed
// on; who is alive is what the gossip says.
func (p *peers) Nodes() []replica.Peer {
	members := byID(p.cluster.Members())
	nodes := p.state.View().Nodes()
	weights := weigh(nodes)
	var all []replica.Peer
	for _, n := range nodes {
		m, known := members[n.ID]
		peer := replica.Peer{ID: string(n.ID), Zone: n.Zone, Weight: weights.of(n), Draining: !n.DrainingAt.IsZero()}
		switch {
		case n.ID == p.self:
			peer.Alive = true
		case !known:
			// The gossip has forgotten it, or has not met it yet: since when is not known.
		default:
			peer.Alive = m.State == cluster.Alive || m.State == cluster.Suspect
			peer.Gone = m.Since
		}
		peer.Full, peer.GivenUp = known && m.Load.Full, known && m.Load.GivenUp
		all = append(all, peer)
	}
	return all
}

// Do implements [replica.Peers].
func (p *peers) Do(ctx context.Context, node string, req *http.Request) (*http.Response, error) {
	return p.link.Do(ctx, node, req)
}

// recordKeepers shows the nodes to package upload.
type recordKeepers struct{ *peers }

// Nodes implements [upload.Peers].
func (p recordKeepers) Nodes() []upload.Peer {
	var all []upload.Peer
	for _, n := range p.peers.Nodes() {
		all = append(all, upload.Peer{
			Holder: blobs.Holder{ID: n.ID, Zone: n.Zone, Weight: n.Weight}, Alive: n.Alive, Takes: n.Alive && !n.Draining && !n.Full,
		})
	}
	return all
}

// encoders are those of each member that converts, as bits.
func (p *peers) encoders() []uint64 {
	var all []uint64
	for _, m := range p.cluster.Members() {
		if m.Load.Slots > 0 && (m.State == cluster.Alive || m.State == cluster.Suspect) {
			all = append(all, m.Load.Encoders)
		}
	}
	return all
}

func byID(members []cluster.Member) map[state.NodeID]cluster.Member {
	all := make(map[state.NodeID]cluster.Member, len(members))
	for _, m := range members {
		all[m.ID] = m
	}
	return all
}

const progressPath = "/progress"

// progressWait is how long a node may take to say how far its tasks are; the
// answer to a user does not wait longer for a node that has just died.
const progressWait = time.Second

// serveProgress answers the other nodes how far this one's tasks are.
func (p *peers) serveProgress(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(p.own())
}

// Progress tells how far tasks are, 0..1, asking each node that runs one. Of a
// node that does not answer nothing is told.
func (p *peers) Progress(ctx context.Context, tasks []state.Task) map[state.TaskID]httpapi.TaskProgress {
	ctx, cancel := context.WithTimeout(ctx, progressWait)
	defer cancel()
	asked := map[state.NodeID]bool{}
	var mu sync.Mutex // guards all
	all := map[state.TaskID]httpapi.TaskProgress{}
	var wg sync.WaitGroup
	for _, t := range tasks {
		if t.State != state.Assigned || asked[t.Node] {
			continue
		}
		asked[t.Node] = true
		wg.Go(func() {
			theirs, err := p.progressOf(ctx, t.Node)
			if err != nil {
				return // it is slow or gone; what it does will show later
			}
			mu.Lock()
			defer mu.Unlock()
			for id, f := range theirs {
				all[id] = f
			}
		})
	}
	wg.Wait()
	return all
}

// own is how far this node's tasks are.
func (p *peers) own() map[state.TaskID]httpapi.TaskProgress {
	all := map[state.TaskID]httpapi.TaskProgress{}
	for id, f := range p.worker.Progress() {
		all[id] = httpapi.TaskProgress{Fraction: f.Fraction, Speed: f.Speed, Waiting: f.Waiting, Moved: f.Moved}
	}
	return all
}

func (p *peers) progressOf(ctx context.Context, node state.NodeID) (map[state.TaskID]httpapi.TaskProgress, error) {
	if node == p.self {
		return p.own(), nil
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, progressPath, nil)
	if err != nil {
		return nil, err
	}
	resp, err := p.link.Do(ctx, string(node), req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("progress of %s: status %d", node, resp.StatusCode)
	}
	var theirs map[state.TaskID]httpapi.TaskProgress
	err = json.NewDecoder(http.MaxBytesReader(nil, resp.Body, 1<<20)).Decode(&theirs)
	return theirs, err
}
