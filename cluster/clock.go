package cluster

import (
	"fmt"
	"net/http"
	"strconv"
	"time"

	"malla/cluster/state"
)

const (
	// maxSkew is how far a clock may be from the leader's before people are
	// told: links and sessions begin and end by the clock of whichever node is
	// asked.
	maxSkew = 10 * time.Second
	// joinSkew is how far it may be for a node to be let in: what Kerberos
	// tolerates.
	joinSkew = 5 * time.Minute
)

// compareClock notes the leader's clock, as a request that just came brought it. The
// way here makes this node look ahead by as much as it took.
func (c *Cluster) compareClock(r *http.Request) {
	nanos, err := strconv.ParseInt(r.URL.Query().Get("clock"), 10, 64)
	if err != nil {
		return // of an older version
	}
	ahead := time.Since(time.Unix(0, nanos))
	off := ahead.Abs() > maxSkew
	c.gossip.clockOff.Store(off)
	if off {
		c.clockNoise.Do(func() {
			c.log.Warn("the clock of this machine is far from the leader's: set both, best by NTP", "off", skew(ahead))
		})
	}
}

// checkClock refuses a node whose clock is far off.
func checkClock(name string, its, ours time.Time) error {
	if ahead := its.Sub(ours); ahead.Abs() > joinSkew {
		return state.Errorf(state.Conflict, "the clock of node %s is %s the mesh's: set it, best by NTP, and start the node again", name, skew(ahead))
	}
	return nil
}

// skew says how far ahead a clock is, for people.
func skew(ahead time.Duration) string {
	if ahead < 0 {
		return fmt.Sprintf("%v behind", -ahead.Round(time.Second))
	}
	return fmt.Sprintf("%v ahead of", ahead.Round(time.Second))
}
