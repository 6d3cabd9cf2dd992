package cluster

import (
	"context"
	"time"

	"golang.org/x/time/rate"

	"malla/cluster/state"
)

// raise has the mesh agree, while this node leads, on the newest level of
// commands that all its nodes know: the end of an upgrade.
func (c *Cluster) raise(ctx context.Context) {
	noise := rate.Sometimes{First: 1, Interval: time.Minute}
	for {
		view := c.cfg.State.View()
		if to := view.CommonLevel(); to > view.Level() && c.allRecorded(view) {
			_, err := c.Propose(ctx, state.RaiseLevel{To: to})
			if err == nil {
				c.log.Info("all nodes are upgraded: the mesh uses what the new version can", "level", to)
			} else if ctx.Err() == nil {
				noise.Do(func() { c.log.Warn("the mesh does not agree on its new version yet", "level", to, "err", err) })
			}
		}
		select {
		case <-time.After(c.cfg.Timing.Join):
		case <-ctx.Done():
			return
		}
	}
}

// allRecorded tells whether there is a record of every node that raft knows:
// one without could be of any version.
func (c *Cluster) allRecorded(view *state.View) bool {
	for id := range c.raft.roles() {
		if _, ok := view.Node(id); !ok {
			return false
		}
	}
	return true
}
