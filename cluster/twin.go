package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"malla/cluster/state"
)

// A run is one process that runs with this node's id.
type run struct {
	Started uint64 `json:"started"` // milliseconds since 1970
	Gossip  string `json:"gossip"`  // host:port
}

func (c *Cluster) run() run { return run{c.gossip.started, c.gossip.addr()} }

// younger tells which of two runs must give way.
func (r run) younger(than run) bool {
	if r.Started != than.Started {
		return r.Started > than.Started
	}
	return r.Gossip > than.Gossip
}

// askTwin looks for a second process with this node's id where the gossip saw
// one: a copied data directory, or only the last place of this node. Two that
// vote under one id could make two leaders, so one of them must end: the one
// that was started later, as both find out.
func (c *Cluster) askTwin(ctx context.Context) {
	if _, seen := c.gossip.table.twin(); !seen {
		return
	}
	body, err := json.Marshal(c.run())
	if err != nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, tryTimeout)
	defer cancel()
	result, err := c.call(ctx, c.cfg.ID, pathTwin, body)
	if err != nil {
		c.log.Debug("nobody answers where this node was seen", "err", err)
		return
	}
	c.meetTwin(run{result.Index, result.ID})
}

// answerTwin answers a process with this node's id.
func (c *Cluster) answerTwin(_ context.Context, from state.NodeID, body []byte) (state.Result, error) {
	var other run
	if err := json.Unmarshal(body, &other); err != nil || from != c.cfg.ID {
		return state.Result{}, state.Errorf(state.Denied, "only a process with the id of node %s asks that", c.cfg.Name)
	}
	c.meetTwin(other)
	return state.Result{Index: c.gossip.started, ID: c.gossip.addr()}, nil
}

// meetTwin ends this node where the other process was there first.
func (c *Cluster) meetTwin(other run) {
	own := c.run()
	switch {
	case other == own:
	case own.younger(other):
		c.fail(fmt.Errorf("another process runs with this node's id, at %s since %s: the data directory of one is a copy of the other's; start this one with an empty data directory, or, if this is the right one, stop the other first",
			other.Gossip, time.UnixMilli(int64(other.Started)).Format(time.DateTime)))
	default:
		// The others may have believed the other one; what this node says
		// later counts.
		c.gossip.say(func(m *meta) { m.epoch = max(m.epoch, other.Started) + 1 })
		c.log.Warn("another process was started with this node's id, and told to end: its data directory is a copy of this one's; give it an empty one", "at", other.Gossip)
	}
}
