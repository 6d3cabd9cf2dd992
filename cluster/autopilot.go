package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/hashicorp/raft"
	autopilot "github.com/hashicorp/raft-autopilot"

	"malla/cluster/state"
)

// maxTrailing is how many entries a node's log may be behind the leader's and
// still count as close.
const maxTrailing = 1000

// keepVoters runs autopilot while this node leads: it watches how well the
// nodes are and gives and takes votes by the rules of [electorate]. Each
// leadership has one of its own, which has seen nothing yet: times count anew.
func (c *Cluster) keepVoters(ctx context.Context) {
	c.gossip.clockOff.Store(false) // this one's is the clock that counts now
	v := &voting{c: c, heard: map[raft.ServerID]heard{}}
	pilot := autopilot.New(ballots{c.raft.raft(), c}, v,
		autopilot.WithLogger(newHCLog(c.log)), autopilot.WithPromoter(v),
		autopilot.WithUpdateInterval(c.cfg.Timing.Vote), autopilot.WithReconcileInterval(c.cfg.Timing.Vote/2))
	pilot.Start(ctx)
	<-ctx.Done()
	<-pilot.Stop()
}

// A standing is how far a node's log is, as it says itself.
type standing struct {
	Term    uint64        `json:"term"`    // of its last entry
	Index   uint64        `json:"index"`   // of its last entry
	Contact time.Duration `json:"contact"` // since it heard the leader, in nanoseconds
}

// standing of this node.
func (a *agreement) standing() (standing, error) {
	r := a.raft()
	if r == nil {
		return standing{}, errNotLeading
	}
	stats := r.Stats()
	term, err := strconv.ParseUint(stats["last_log_term"], 10, 64)
	if err != nil {
		return standing{}, fmt.Errorf("term of the last entry: %w", err)
	}
	s := standing{Term: term, Index: r.LastIndex()}
	if r.State() != raft.Leader {
		s.Contact = time.Since(r.LastContact())
	}
	return s, nil
}

// serveStanding answers the leader.
func (c *Cluster) serveStanding(w http.ResponseWriter, r *http.Request) {
	c.compareClock(r)
	s, err := c.raft.standing()
	if err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(s)
}

// standingOf asks a node.
func (c *Cluster) standingOf(ctx context.Context, id state.NodeID) (s standing, err error) {
	if id == c.cfg.ID {
		return c.raft.standing()
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, pathStanding+"?clock="+strconv.FormatInt(time.Now().UnixNano(), 10), nil)
	if err != nil {
		return s, err
	}
	resp, err := c.cfg.Link.Do(ctx, string(id), req)
	if err != nil {
		return s, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return s, fmt.Errorf("standing of node %s: status %d", id, resp.StatusCode)
	}
	return s, json.NewDecoder(http.MaxBytesReader(nil, resp.Body, 4096)).Decode(&s)
}

// A voting is what autopilot asks this node, as [autopilot.ApplicationIntegration]
// and as [autopilot.Promoter].
type voting struct {
	c *Cluster

	mu    sync.Mutex // guards heard
	heard map[raft.ServerID]heard
}

// heard is the last answer of a node.
type heard struct {
	standing
	at time.Time
}

var (
	_ autopilot.ApplicationIntegration = (*voting)(nil)
	_ autopilot.Promoter               = (*voting)(nil)
)

// AutopilotConfig returns when a node counts as well. Dead nodes are never
// removed: the quorum must not shrink because nodes failed. How long a node must
// be well is a rule of [electorate].
func (v *voting) AutopilotConfig() *autopilot.Config {
	return &autopilot.Config{
		CleanupDeadServers:   false,
		LastContactThreshold: 2 * v.c.cfg.Timing.Raft,
		MaxTrailingLogs:      maxTrailing,
	}
}

// KnownServers returns the nodes of the configuration that the gossip knows.
func (v *voting) KnownServers() map[raft.ServerID]*autopilot.Server {
	statuses := map[MemberState]autopilot.NodeStatus{Alive: autopilot.NodeAlive, Dead: autopilot.NodeFailed, Left: autopilot.NodeLeft}
	all := map[raft.ServerID]*autopilot.Server{}
	for id := range v.c.raft.roles() {
		if p, ok := v.c.gossip.table.get(id); ok {
			all[raft.ServerID(id)] = &autopilot.Server{
				ID: raft.ServerID(id), Name: p.meta.name, Address: raft.ServerAddress(id),
				NodeStatus: statuses[p.state], IsLeader: id == v.c.cfg.ID,
			}
		}
	}
	return all
}

// FetchServerStats asks the nodes how far they are. Of one that does not answer
// in time the last answer counts on, and grows old: a busy node is not unwell at
// once.
func (v *voting) FetchServerStats(ctx context.Context, servers map[raft.ServerID]*autopilot.Server) map[raft.ServerID]*autopilot.ServerStats {
	var wg sync.WaitGroup
	for id := range servers {
		wg.Go(func() {
			s, err := v.c.standingOf(ctx, state.NodeID(id))
			if err != nil {
				return
			}
			v.mu.Lock()
			defer v.mu.Unlock()
			v.heard[id] = heard{s, time.Now()}
		})
	}
	wg.Wait()
	all := map[raft.ServerID]*autopilot.ServerStats{}
	v.mu.Lock()
	defer v.mu.Unlock()
	for id := range servers {
		stats := &autopilot.ServerStats{LastContact: -1} // never heard of
		if h, ok := v.heard[id]; ok {
			stats = &autopilot.ServerStats{LastContact: h.Contact + time.Since(h.at), LastTerm: h.Term, LastIndex: h.Index}
		}
		all[id] = stats
	}
	return all
}

// CalculatePromotionsAndDemotions applies the rules. It never names another
// leader: leadership is transferred only by a node that stops (raft #696).
func (v *voting) CalculatePromotionsAndDemotions(_ *autopilot.Config, s *autopilot.State) autopilot.RaftChanges {
	now, view := time.Now(), v.c.cfg.State.View()
	roles := v.c.raft.roles() // newer than the picture: who votes already must not be named again
	var nodes []candidate
	for _, srv := range s.Servers {
		id := state.NodeID(srv.Server.ID)
		if roles[id] == "" {
			continue
		}
		rec, known := view.Node(id)
		p, _ := v.c.gossip.table.get(id)
		nodes = append(nodes, candidate{
			id: id, zone: rec.Zone, votes: roles[id] == Voter, leads: id == v.c.cfg.ID,
			well: srv.Health.Healthy, since: now.Sub(srv.Health.StableSince),
			willing: known && rec.DrainingAt.IsZero() && mayVote(p.load),
		})
	}
	var changes autopilot.RaftChanges
	promote, demote := v.c.voters.changes(nodes)
	for _, id := range promote {
		changes.Promotions = append(changes.Promotions, raft.ServerID(id))
	}
	for _, id := range demote {
		changes.Demotions = append(changes.Demotions, raft.ServerID(id))
	}
	return changes
}

// FilterFailedServerRemovals lets none be removed.
func (v *voting) FilterFailedServerRemovals(*autopilot.Config, *autopilot.State, *autopilot.FailedServers) *autopilot.FailedServers {
	return &autopilot.FailedServers{}
}

// RemoveFailedServer removes nothing: see AutopilotConfig.
func (v *voting) RemoveFailedServer(*autopilot.Server) {}

// NotifyState needs nothing: the nodes look at the configuration themselves.
func (v *voting) NotifyState(*autopilot.State) {}

// GetServerExt adds nothing to a server.
func (v *voting) GetServerExt(*autopilot.Config, *autopilot.ServerState) any { return nil }

// GetStateExt adds nothing to the state.
func (v *voting) GetStateExt(*autopilot.Config, *autopilot.State) any { return nil }

// GetNodeTypes tells none apart: which nodes vote is decided anew at each look.
func (v *voting) GetNodeTypes(*autopilot.Config, *autopilot.State) map[raft.ServerID]autopilot.NodeType {
	return nil
}

// IsPotentialVoter says so of every node.
func (v *voting) IsPotentialVoter(autopilot.NodeType) bool { return true }

// ballots is raft as autopilot gets it: votes change only of nodes that are
// still in the configuration. Autopilot decides by a picture that may be older
// than a removal, and raft would take the node in again.
type ballots struct {
	*raft.Raft
	c *Cluster
}

// AddVoter gives a node of the mesh a vote.
func (b ballots) AddVoter(id raft.ServerID, addr raft.ServerAddress, _ uint64, _ time.Duration) raft.IndexFuture {
	return b.change(id, Nonvoter, func() raft.IndexFuture { return b.Raft.AddVoter(id, addr, 0, tryTimeout) })
}

// DemoteVoter takes the vote of a node of the mesh.
func (b ballots) DemoteVoter(id raft.ServerID, _ uint64, _ time.Duration) raft.IndexFuture {
	return b.change(id, Voter, func() raft.IndexFuture { return b.Raft.DemoteVoter(id, 0, tryTimeout) })
}

// change waits until the change is agreed on, but not for ever.
func (b ballots) change(id raft.ServerID, from Role, ask func() raft.IndexFuture) raft.IndexFuture {
	b.c.admits.Lock()
	defer b.c.admits.Unlock()
	if role := b.c.raft.roles()[state.NodeID(id)]; role != from {
		return changed{err: fmt.Errorf("node %s is no %s any more", id, from)}
	}
	ctx, cancel := context.WithTimeout(b.c.ctx, rpcTimeout)
	defer cancel()
	var future raft.IndexFuture
	err := await(ctx, func() raft.Future { future = ask(); return future })
	if err != nil {
		return changed{err: err}
	}
	return changed{index: future.Index()}
}

// changed is how a change went, in raft's words.
type changed struct {
	index uint64
	err   error
}

// Error implements raft.Future.
func (f changed) Error() error { return f.err }

// Index implements raft.IndexFuture.
func (f changed) Index() uint64 { return f.index }
