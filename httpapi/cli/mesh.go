package cli

import (
	"context"
	"fmt"
	"net"
	"os"
	"time"

	"malla/httpapi"
)

// NodesCmd is about the nodes.
type NodesCmd struct {
	List   NodesListCmd `cmd:"" default:"withargs" help:"List the nodes of the mesh."`
	Drain  DrainCmd     `cmd:"" help:"Empty a node, so that it can be stopped for good."`
	Leave  LeaveCmd     `cmd:"" help:"Empty a node that runs, and take it out of the mesh for good."`
	Forget ForgetCmd    `cmd:"" help:"Take a node that is dead out of the mesh for good."`
}

// NodesListCmd lists the nodes.
type NodesListCmd struct {
	Remote
}

// Help is shown by --help.
func (NodesListCmd) Help() string {
	return `Every node of the mesh, dead ones too, and how many of them may be lost without the
mesh standing still. Administrators also see load and room. A
node on which conversions failed one after another is set aside for a while: it
gets none.

    malla nodes
    malla nodes --json | jq -r '.[] | select(.state != "alive") | .name'`
}

// Run prints the list.
func (c NodesListCmd) Run(env *Env) error {
	s, err := c.signedIn(env)
	if err != nil {
		return err
	}
	nodes, strength, err := s.Mesh(env.ctx)
	if err != nil {
		return err
	}
	if c.JSON {
		return env.printJSON(nodes)
	}
	detailed := false
	for _, n := range nodes {
		detailed = detailed || n.MemoryTotal > 0
	}
	rows := [][]string{{"NAME", "ROLE", "STATE", "ADDRESS"}}
	if detailed {
		rows[0] = append(rows[0], "ZONE", "CPU", "MEMORY", "DISK FREE", "TASKS", "VERSION")
	}
	for _, n := range nodes {
		how := n.State
		if !n.AsideUntil.IsZero() {
			how += ", set aside until " + n.AsideUntil.Local().Format("15:04:05")
		}
		if n.Disk != "" {
			how += ", disk " + n.Disk
		}
		if n.ClockOff {
			how += ", clock is off"
		}
		if n.Log != "" {
			how += ", log " + n.Log
		}
		switch {
		case n.Draining == httpapi.IsEmpty:
			how += ", empty: may be stopped now"
		case n.Draining != "":
			how += ", draining"
		}
		if n.Repair != nil {
			how += ", " + left(n.Repair)
		}
		row := []string{n.Name, n.Role, how, n.URL}
		if detailed {
			row = append(row, n.Zone, fmt.Sprintf("%.0f%%", 100*n.CPU), size(int64(n.MemoryUsed)),
				size(int64(n.DiskFree)), fmt.Sprintf("%d of %d", n.Tasks, n.Slots), n.Version)
		}
		rows = append(rows, row)
	}
	if err := table(env.Stdout, rows); err != nil || strength.Text == "" {
		return err
	}
	_, err = fmt.Fprintf(env.Stdout, "\n%s\n", plain(strength.Text))
	return err
}

// StatusCmd shows how things are.
type StatusCmd struct {
	Remote
}

// Help is shown by --help.
func (StatusCmd) Help() string {
	return `Which node answers, whether it can take changes, how many nodes there are, and
where your jobs are. Works without a login, and then tells less.`
}

// status is what the command prints.
type status struct {
	Server  string              `json:"server"`
	Node    string              `json:"node"`
	Version string              `json:"version"`
	Ready   bool                `json:"ready"`
	Reason  string              `json:"reason,omitempty"` // why it is not
	User    string              `json:"user,omitempty"`
	Workers httpapi.WorkerStats `json:"workers"`
	Queue   *httpapi.QueueStats `json:"queue,omitempty"`
}

// Run asks the server and prints what it says.
func (c StatusCmd) Run(env *Env) error {
	s, err := c.open(env)
	if err != nil {
		return err
	}
	st, err := s.status(env.ctx)
	if err != nil {
		return err
	}
	if c.JSON {
		return env.printJSON(st)
	}
	ready := "yes"
	if !st.Ready {
		ready = "no: " + st.Reason
	}
	sum := st.Workers.Summary
	rows := [][]string{
		{"Server", st.Server},
		{"Node", st.Node + ", version " + st.Version},
		{"Takes changes", ready},
		{"Nodes", fmt.Sprintf("%d of %d convert, %.0f%% busy", sum.Active, sum.Total, 100*sum.CPULoad)},
		{"Mesh", st.Workers.Strength.Text},
		{"Conversions", fmt.Sprintf("%d running, %d done, %d failed", sum.Processing, sum.Success, sum.Failed)},
		{"Logged in as", st.User},
	}
	if q := st.Queue; q != nil {
		rows = append(rows, []string{"Your jobs", fmt.Sprintf("%d waiting, %d running, %d done, %d failed",
			q.Stats.Pending, q.Stats.Processing, q.Stats.Completed, q.Stats.Failed)})
	}
	return table(env.Stdout, rows)
}

func (s *session) status(ctx context.Context) (status, error) {
	st := status{Server: s.server}
	version, err := s.Version(ctx)
	if err != nil {
		return st, err
	}
	st.Node, st.Version = version.Node, version.Version
	if err := s.Ready(ctx); err != nil {
		_, st.Reason = explain(err)
	} else {
		st.Ready = true
	}
	if st.Workers, err = s.WorkerStats(ctx); err != nil {
		return st, err
	}
	if s.account.Token == "" {
		return st, nil
	}
	me, err := s.Me(ctx)
	if err != nil {
		return st, err
	}
	st.User = me.Username
	queue, err := s.QueueStats(ctx)
	if err != nil {
		return st, err
	}
	st.Queue = &queue
	return st, nil
}

// HealthCmd asks a node whether it can serve.
type HealthCmd struct {
	Address string `arg:"" optional:"" placeholder:"URL" help:"The node; the one that MALLA_HTTP makes listen here unless given."`
	Ready   bool   `help:"Ask whether it can take changes too: it has a leader and has caught up."`
}

// Help is shown by --help.
func (HealthCmd) Help() string {
	return `For health checks of containers and supervisors: says nothing and ends with 0 when
the node can serve, and says why not and ends with another code when it cannot.

    malla health
    malla health http://10.0.0.7:8000 --ready`
}

// Run asks once, with three seconds of patience.
func (c HealthCmd) Run(env *Env) error {
	address := c.Address
	if address == "" {
		address = ownAddress(os.Getenv("MALLA_HTTP"))
	}
	server, err := checkServer(address)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(env.ctx, 3*time.Second)
	defer cancel()
	node := &httpapi.Client{Base: server}
	if c.Ready {
		return node.Ready(ctx)
	}
	return node.Health(ctx)
}

// ownAddress is where a node of this machine that listens on the given address
// is reached: on all interfaces means on this one too.
func ownAddress(listen string) string {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return "http://127.0.0.1:8000"
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return "http://" + net.JoinHostPort(host, port)
}
