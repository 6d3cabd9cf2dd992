package httpapi

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"malla/cluster/state"
)

// What a node is, as a worker.
const (
	Available = "available"
	Busy      = "busy"
	Offline   = "offline"
)

func (c *call) workerStats() error {
	return c.send(c.api.workers(c.view))
}

// workers is what the nodes convert, as it goes over the wire.
func (a *API) workers(view *state.View) WorkerStats {
	nodes := a.nodes()
	stats := WorkerStats{Workers: []Worker{}, Strength: a.cfg.Mesh.Strength()}
	sum := &stats.Summary
	cpu := 0.0
	for _, n := range nodes {
		w := Worker{
			ID: n.Name, Status: Available, CPULoad: round2(n.CPU), MemoryMB: round2(float64(n.MemoryUsed) / 1e6), JobsInProgress: n.Tasks,
			LoadScore: n.LoadScore, Success: n.Converted, Failed: n.Failed, UpdatedAt: wireTime(n.UpdatedAt),
			Role: n.Role, Slots: n.Slots, MemoryTotal: round2(float64(n.MemoryTotal) / 1e6), DiskFree: n.DiskFree, DiskTotal: n.DiskTotal,
			Disk: n.Disk, Log: n.Log, Damaged: n.Damaged, Draining: n.Draining, Repair: n.Repair,
			AsideUntil: wireTime(n.AsideUntil),
		}
		switch {
		case n.State == "dead" || n.State == "left":
			w.Status, w.CPULoad, w.MemoryMB, w.JobsInProgress, w.LoadScore = Offline, 0, 0, 0, 0
		case n.Tasks > 0:
			w.Status = Busy
		}
		if w.Status != Offline {
			sum.Active++
			cpu += n.CPU
		}
		sum.Total++
		sum.Processing += w.JobsInProgress
		sum.Success += n.Converted
		sum.Failed += n.Failed
		stats.Workers = append(stats.Workers, w)
	}
	sum.Queued = view.CountJobs("", state.Queued)
	sum.CPULoad = round2(cpu / float64(max(1, sum.Active)))
	slices.SortFunc(stats.Workers, func(a, b Worker) int { return cmp.Compare(a.ID, b.ID) })
	return stats
}

// listNodes tells administrators everything about the nodes, and users who they
// are and how they are reached.
func (c *call) listNodes() error {
	list := struct {
		Nodes    []NodeStatus `json:"nodes"`
		Strength Strength     `json:"strength"`
	}{[]NodeStatus{}, c.api.cfg.Mesh.Strength()}
	self := c.api.cfg.Mesh.Self().ID
	for _, n := range c.api.nodes() {
		if c.caller.User.Role != state.Admin {
			n = plainNode(n)
		}
		n.Self = n.ID == self
		list.Nodes = append(list.Nodes, n)
	}
	slices.SortFunc(list.Nodes, func(a, b NodeStatus) int { return cmp.Compare(a.Name, b.Name) })
	return c.send(list)
}

// plainNode is what users may know of a node.
func plainNode(n NodeStatus) NodeStatus {
	return NodeStatus{ID: n.ID, Name: n.Name, Role: n.Role, State: n.State, URL: n.URL, Draining: n.Draining, AsideUntil: n.AsideUntil, ClockOff: n.ClockOff}
}

// drainNode makes a node be emptied. It goes on after a restart, until it is
// taken back; GET /nodes tells how far it is.
func (c *call) drainNode() error {
	n, err := c.findNode()
	if err != nil {
		return err
	}
	if n.Draining == "" {
		if err := c.api.cfg.Mesh.CanDrain(n.ID); err != nil {
			return err
		}
	}
	if _, err := c.propose(state.DrainNode{ID: state.NodeID(n.ID), At: c.api.cfg.Now().UTC()}); err != nil {
		return err
	}
	return c.send(done{true})
}

// undrainNode makes a node keep chunks and run tasks again.
func (c *call) undrainNode() error {
	n, err := c.findNode()
	if err != nil {
		return err
	}
	if _, err := c.propose(state.UndrainNode{ID: state.NodeID(n.ID)}); err != nil {
		return err
	}
	return c.send(done{true})
}

// forgetNode takes a node out of the mesh for good: one that is gone, when the
// others have copied what it kept, or one that is empty. With force it goes at
// once, and what only it has is lost.
func (c *call) forgetNode() error {
	n, err := c.findNode()
	if err != nil {
		return err
	}
	force := false
	switch v := c.query("force"); v {
	case "", "false":
	case "true":
		force = true
	default:
		return state.InvalidField("force", "%q: want true or false", v)
	}
	if !force {
		if err := c.api.cfg.Mesh.CanForget(c.r.Context(), n.ID); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(c.r.Context(), proposeTime)
	defer cancel()
	if err := c.api.cfg.Mesh.Forget(ctx, n.ID); err != nil {
		return err
	}
	c.api.cfg.Logger.Warn("a node was removed from the mesh", "removed", n.Name, "id", n.ID, "state", n.State, "force", force, "user", c.caller.User.Name)
	c.agreed(0)
	return c.send(done{true})
}

// findNode is the node that the path names, by its id or its name.
func (c *call) findNode() (NodeStatus, error) {
	named := c.params.ByName("id")
	for _, n := range c.api.nodes() {
		if n.ID == named || n.Name == named {
			return n, nil
		}
	}
	return NodeStatus{}, state.Errorf(state.NotFound, "there is no node %q", named)
}

// nodes is the mesh as this node sees it. A time up to which a node was set
// aside is left out once it is past.
func (a *API) nodes() []NodeStatus {
	all := slices.Clone(a.cfg.Mesh.Nodes())
	for i := range all {
		if !all[i].AsideUntil.After(a.cfg.Now()) {
			all[i].AsideUntil = time.Time{}
		}
	}
	return all
}

// health tells whether this node can serve at all; ready, whether it can take
// part in what the mesh agrees on.
func (c *call) health() error {
	if c.api.cfg.Health != nil {
		if err := c.api.cfg.Health(); err != nil {
			c.api.cfg.Logger.Warn("node is not healthy", "req", c.w.id, "err", err)
			return unavailable.refusal("this node cannot serve: its log says why")
		}
	}
	return c.send(done{true})
}

func (c *call) ready() error {
	if err := c.api.cfg.Mesh.Ready(); err != nil {
		return outcomes[state.NoLeader].refusal("this node is not ready: " + err.Error())
	}
	return c.send(done{true})
}

func (c *call) version() error {
	return c.send(VersionInfo{Version: c.api.cfg.Version, Node: c.api.cfg.Mesh.Self().Name, SignupOpen: c.api.cfg.SignupOpen, SetupNeed: c.api.setupOpen(c.view)})
}

// formatList is the answer of GET /formats.
type formatList struct {
	Formats  []Format  `json:"formats"`
	Purposes []Purpose `json:"purposes"`
}

func (c *call) formats() error {
	formats := []Format{}
	for _, f := range c.api.cfg.Formats {
		if f.Options == nil {
			f.Options = []FormatOption{}
		}
		formats = append(formats, f)
	}
	return c.send(formatList{formats, append([]Purpose{}, c.api.cfg.Purposes...)})
}

// scrape answers Prometheus.
func (c *call) scrape() error {
	promhttp.HandlerFor(c.api.cfg.Gatherer, promhttp.HandlerOpts{}).ServeHTTP(c.w, c.r)
	return nil
}
