package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/hashicorp/raft"
	"golang.org/x/sys/unix"

	"malla/cluster/state"
)

// A voter that lost its log must not vote again: it may vote for a leader that
// lacks what it has confirmed itself, or twice in one term. So it comes back in
// three steps, and how far it is stands in the mark.
//
//  1. rejoining, gate closed: it hears nothing of raft, and asks to be let back.
//     The leader takes its vote away; since it is deaf, that is agreed on by the
//     others alone, of which a majority knows then that it has none.
//  2. rejoining, gate open for logs: it follows, gives no vote and starts no
//     election, whatever configuration the entries that it reads speak of.
//  3. rejoined: its own state shows the entry by which it was let back. From now
//     on it is a node without a vote like any other.

// noElection is a time-out in whose place raft takes no zero.
const noElection = 10 * 365 * 24 * time.Hour

// askAgain is how long a node waits for the log before it asks once more.
const askAgain = 10 * time.Second

// putAside makes a node that is started with Rejoin begin anew. It does so once:
// a flag that was left in a script must not cost the log at each start.
func (c *Config) putAside(knowsOthers bool) error {
	m, err := readMark(c.Dir)
	if err != nil {
		return err
	}
	if !c.Rejoin {
		if m == rejoined {
			return writeMark(c.Dir, joined)
		}
		return nil
	}
	switch m {
	case unmarked:
		return nil // an ordinary start: there is nothing to put aside
	case left:
		return nil // it is told so, with its log in place
	case rejoined:
		if _, err := c.CheckLog(c.Dir); !errors.Is(err, ErrLogDamaged) && fileExists(LogFile(c.Dir)) {
			c.Logger.Warn("--rejoin was done at the last start and is not done again: take it off the command line")
			return nil
		}
	}
	if !knowsOthers && len(c.Join) == 0 {
		return fmt.Errorf("--rejoin: no other node is known to get the log from: name one with --join; a mesh of one node is restored from a backup (malla restore --help)")
	}
	to, err := moveLog(c.Dir)
	if err != nil {
		return fmt.Errorf("--rejoin: %w", err)
	}
	if to != "" {
		c.Logger.Warn("put the log aside; the other nodes have it", "path", to)
	}
	return writeMark(c.Dir, rejoining)
}

func fileExists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// moveLog moves the folder of the log away and returns where to.
func moveLog(dir string) (to string, err error) {
	from := filepath.Dir(LogFile(dir))
	if !fileExists(from) {
		return "", nil
	}
	if log, err := os.Open(LogFile(dir)); err == nil {
		defer log.Close() // and with it the lock
		if err := unix.Flock(int(log.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
			return "", inUse(dir)
		}
	}
	to = from + ".damaged-" + time.Now().UTC().Format("20060102-150405.000")
	if err := os.Rename(from, to); err != nil {
		return "", fmt.Errorf("put the log aside: %w", err)
	}
	return to, syncDir(dir)
}

// adopt makes this node one of that generation, before it asks to be let in. It
// must have no log of another one: there, other entries may have the same number.
func (c *Cluster) adopt(generation uint64) (why string, err error) {
	own := c.raft.generation.Load()
	switch {
	case generation == own:
		return "", nil
	case generation < own:
		return "the nodes here have not heard that the mesh was recovered", nil
	case c.raft.raft().LastIndex() > 0:
		return "", errRecovered(generation)
	}
	if err := writeGeneration(c.cfg.Dir, generation); err != nil {
		return "", err
	}
	c.raft.generation.Store(generation)
	c.gossip.say(func(m *meta) { m.generation = generation })
	return "", nil
}

func errRecovered(generation uint64) error {
	return fmt.Errorf("the mesh was recovered at %s without this node, and what this one agrees on does not count any more: start it once with --rejoin, which puts its log aside and enters the recovered mesh",
		time.UnixMilli(int64(generation)).UTC().Format(time.DateTime))
}

// watchGenerations ends this node when it sees that its mesh was recovered
// without it: what it agrees on with others like it does not count any more.
func (c *Cluster) watchGenerations(ctx context.Context) {
	told := map[state.NodeID]bool{}
	for {
		changed := c.Changed()
		own := c.raft.generation.Load()
		for _, p := range c.gossip.table.living() {
			switch {
			case p.meta.id == c.cfg.ID || !p.meta.joined || p.meta.generation == own:
			case p.meta.generation > own && c.gossip.saying().joined:
				c.fail(errRecovered(p.meta.generation))
				return
			case p.meta.generation < own && !told[p.meta.id]:
				told[p.meta.id] = true
				c.log.Warn("a node is still in the mesh of before it was recovered: start it once with --rejoin, or forget it", "name", p.meta.name, "id", p.meta.id)
			}
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}

// rejoin asks to be let back and waits a little for the log. It is called again
// until the mark is rejoined.
func (c *Cluster) rejoin(ctx context.Context, through state.NodeID) (why string, err error) {
	b := &c.back
	if time.Since(b.asked) > askAgain {
		body, err := json.Marshal(c.record())
		if err != nil {
			return "", err
		}
		try, cancel := context.WithTimeout(ctx, 3*tryTimeout)
		result, err := c.call(try, through, pathRejoin, body)
		cancel()
		if errors.Is(err, state.ErrConflict) || errors.Is(err, state.ErrInvalid) || errors.Is(err, state.ErrDenied) {
			return "", fmt.Errorf("the mesh refuses this node: %w", err)
		}
		if err != nil {
			return "asked to be let back: " + err.Error() + " (where only two nodes voted and this is one of them, the other one must be recovered first: malla recover --help)", nil
		}
		b.asked, b.index = time.Now(), result.Index
		c.raft.gate.open.Store(gateLogs)
	}
	wait, cancel := context.WithTimeout(ctx, c.cfg.Timing.Raft)
	defer cancel()
	if c.cfg.State.WaitIndex(wait, b.index) != nil {
		return "let back, catching up", nil
	}
	if err := writeMark(c.cfg.Dir, rejoined); err != nil {
		return "", err
	}
	c.raft.mark = rejoined
	c.log.Info("this node has the log again")
	return "", c.raft.wake(&c.cfg)
}

// A comeback is how far a node is that lost its log.
type comeback struct {
	asked time.Time // when it was let back last
	index uint64    // of the entry behind that
}

// wake lets a node that has caught up take part like any other.
func (a *agreement) wake(cfg *Config) error {
	r := a.raft()
	conf := r.ReloadableConfig()
	conf.HeartbeatTimeout, conf.ElectionTimeout = cfg.Timing.Raft, cfg.Timing.Raft
	if err := r.ReloadConfig(conf); err != nil {
		return fmt.Errorf("take part in elections: %w", err)
	}
	a.gate.open.Store(gateOpen)
	return nil
}

// letBack passes the wish of a node that lost its log on to the leader.
func (c *Cluster) letBack(ctx context.Context, from state.NodeID, body []byte) (state.Result, error) {
	if _, err := recordOf(body, from); err != nil {
		return state.Result{}, err
	}
	if !c.member() {
		return state.Result{}, errNotLeading
	}
	return c.atLeader(ctx, pathReadmit, body, c.readmit)
}

// recordOf reads the record of a node.
func recordOf(body []byte, id state.NodeID) (state.RegisterNode, error) {
	var n state.RegisterNode
	if err := json.Unmarshal(body, &n); err != nil || !idPattern.MatchString(string(n.ID)) || id != "" && n.ID != id {
		return n, state.Errorf(state.Invalid, "not a record of the node that asks")
	}
	return n, nil
}

// readmit is the leader's part: it takes the node's vote away, and answers with
// the index of a later entry, which is committed without that node. Doing it
// again changes nothing.
func (c *Cluster) readmit(ctx context.Context, body []byte) (state.Result, error) {
	n, err := recordOf(body, "")
	if err != nil {
		return state.Result{}, err
	}
	if n.ID == c.cfg.ID {
		return state.Result{}, state.Errorf(state.Conflict, "node %s leads the mesh with a log of its own: two nodes have the same id", n.Name)
	}
	entry, err := state.Encode("", n)
	if err != nil {
		return state.Result{}, err
	}
	c.admits.Lock()
	defer c.admits.Unlock()
	var change func(raft.ServerID) raft.Future
	switch c.raft.roles()[n.ID] {
	case Voter:
		change = func(id raft.ServerID) raft.Future { return c.raft.raft().DemoteVoter(id, 0, tryTimeout) }
	case "":
		change = func(id raft.ServerID) raft.Future {
			return c.raft.raft().AddNonvoter(id, raft.ServerAddress(id), 0, tryTimeout)
		}
	}
	if change != nil {
		if err := await(ctx, func() raft.Future { return change(raft.ServerID(n.ID)) }); err != nil {
			return state.Result{}, fmt.Errorf("take the vote of node %s: %w", n.ID, err)
		}
		c.log.Warn("a node lost its log and comes back without a vote", "name", n.Name, "id", n.ID)
	}
	return c.apply(ctx, entry)
}
