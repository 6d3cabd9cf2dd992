package node

import (
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"malla/blobs/replica"
	"malla/cluster"
	"malla/cluster/state"
	"malla/cluster/transport"
)

// Config is what a node is started with. The zero value of a field means its
// default, as [Defaults] gives it; Validate names what is wrong and the cure.
type Config struct {
	HTTP      string // address of the API and the pages, host:port
	Gossip    string // address of the gossip, host:port, TCP and UDP
	Peer      string // address of the link between nodes, host:port
	Advertise string // host under which the others reach this node; found by itself when empty
	Data      string // directory of everything that the node keeps

	Join            []string // gossip addresses of nodes of the mesh
	BootstrapExpect int      // so many nodes form the mesh together; 0 and 1: this one alone
	Voters          int      // so many nodes vote where there are as many: 1, 3, 5 or 7
	Rejoin          bool     // put the log aside and get it from the other nodes again, once

	Secret     string // 64 hex digits, after a rotation with the name of the mesh before them
	SecretFile string // a file with it, readable by its owner alone

	Name         string // unique in the mesh; the host's when empty
	Zone         string // where the node stands: copies go to different zones
	Copies       int    // of every chunk, on different nodes
	Slots        int    // tasks run at once; negative: this node does not convert
	PublicURL    string // under which people reach the mesh; links begin with it
	Signup       Signup
	Reserve      uint64        // bytes of the disk that stay free
	Capacity     uint64        // bytes that chunks may take, beside which the other nodes' share is; 0: the size of the disk less the reserve
	Ack          Ack           // how many copies are durable before bytes are acknowledged
	ScrubEvery   time.Duration // within which every chunk of the disk is read and hashed again; negative: never
	JobsKeep     time.Duration // how long jobs that ended are listed; the leader's counts
	TrashKeep    time.Duration // how long what is deleted stays restorable; negative: not at all
	MetricsToken string        // bearer token that /metrics asks for; open when empty

	Version string
	Logger  *slog.Logger

	CheckLog func(dir string) (aside []string, err error) // looks at the log at the start, as CheckLogIn makes it; nil: in this process

	Timing Timing
}

// Ack says when bytes that arrive are acknowledged.
type Ack = replica.Ack

// Signup says who may make an account.
type Signup string

const (
	SignupOpen   Signup = "open"   // anyone
	SignupClosed Signup = "closed" // nobody; the first administrator comes by the one-time link
)

// Network is the kind of net between the nodes: lan, wan or local.
type Network = cluster.Network

// Timing are the waits that tests shorten.
type Timing struct {
	Raft       time.Duration // heartbeat and election time-out of the agreement; 0: as the network has it
	DeadGrace  time.Duration // between a node's death and its tasks starting elsewhere
	RepairWait time.Duration // between a node's death and its chunks being copied elsewhere
	Network    Network       // how patient the agreement and the gossip are
	Probe      time.Duration // between gossip probes; 0: as the network has it
	StallAfter time.Duration // without progress before a task starts elsewhere
	Sweep      time.Duration // between looks at what has run out
	Overlap    time.Duration // how long the old secret is accepted once all nodes use a new one; 0: the default of package cluster

	Vote       time.Duration // between looks at who should vote; 0, as for the next two: the defaults of package cluster
	VoteStable time.Duration // how long a node must be well before it votes
	VoteLost   time.Duration // how long a voter must be unwell before another takes its vote

	RepairEvery  time.Duration // between rounds of repair, called for or not; 0: the defaults of package replica
	CollectAfter time.Duration // age at which a chunk that nobody names may go; 0: the default of package replica
}

// Defaults returns the configuration of a node that is started without any flag.
func Defaults() Config {
	return Config{
		HTTP: ":8000", Gossip: ":7946", Peer: ":7947", Data: "data",
		Voters: 5, Copies: 3, Ack: replica.AckMajority, Slots: runtime.NumCPU(), Signup: SignupOpen, Reserve: 5_000_000_000, TrashKeep: 7 * 24 * time.Hour, JobsKeep: state.KeepEnded, ScrubEvery: 30 * 24 * time.Hour, Version: "dev",
		Timing: Timing{Network: cluster.LAN, DeadGrace: 2 * time.Second, RepairWait: time.Minute, StallAfter: 3 * time.Minute, Sweep: 10 * time.Minute},
	}
}

// filled returns c with the defaults in the place of zero values.
func (c Config) filled() Config {
	d := Defaults()
	def(&c.HTTP, d.HTTP)
	def(&c.Gossip, d.Gossip)
	def(&c.Peer, d.Peer)
	def(&c.Data, d.Data)
	def(&c.Voters, d.Voters)
	def(&c.Copies, d.Copies)
	def(&c.Ack, d.Ack)
	def(&c.Slots, d.Slots)
	def(&c.Signup, d.Signup)
	def(&c.ScrubEvery, d.ScrubEvery)
	def(&c.TrashKeep, d.TrashKeep)
	def(&c.JobsKeep, d.JobsKeep)
	def(&c.Version, d.Version)
	def(&c.Timing.Network, d.Timing.Network)
	def(&c.Timing.DeadGrace, d.Timing.DeadGrace)
	def(&c.Timing.RepairWait, d.Timing.RepairWait)
	def(&c.Timing.StallAfter, d.Timing.StallAfter)
	def(&c.Timing.Sweep, d.Timing.Sweep)
	def(&c.Logger, slog.Default())
	return c
}

func def[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// Validate returns the first setting that cannot work: its name, its value and
// what to write instead.
func (c Config) Validate() error {
	for _, a := range []struct{ flag, addr string }{{"--http", c.HTTP}, {"--gossip", c.Gossip}, {"--peer", c.Peer}} {
		if _, _, err := net.SplitHostPort(a.addr); err != nil {
			return fmt.Errorf("%s %q: want HOST:PORT or :PORT", a.flag, a.addr)
		}
	}
	for _, seed := range c.Join {
		if _, _, err := net.SplitHostPort(seed); err != nil {
			return fmt.Errorf("--join %q: want HOST:PORT, the gossip address of a node of the mesh", seed)
		}
	}
	if _, _, err := net.SplitHostPort(c.Advertise); err == nil {
		return fmt.Errorf("--advertise %q: want a host without a port", c.Advertise)
	}
	if !c.Timing.Network.Known() {
		return fmt.Errorf("--raft-timing %q: want lan, wan or local", c.Timing.Network)
	}
	if c.Name != "" {
		if err := state.CheckNodeName(c.Name); err != nil {
			return fmt.Errorf("--%w", err)
		}
	}
	if c.BootstrapExpect > 1 && len(c.Join) == 0 {
		return fmt.Errorf("--bootstrap-expect %d: give the addresses of the others with --join", c.BootstrapExpect)
	}
	if c.BootstrapExpect < 0 {
		return fmt.Errorf("--bootstrap-expect %d: want how many nodes form the mesh together", c.BootstrapExpect)
	}
	if err := cluster.CheckVoters(c.Voters); err != nil {
		return fmt.Errorf("--voters %w", err)
	}
	if c.Copies < 1 || c.Copies > 9 {
		return fmt.Errorf("--copies %d: want 1 to 9", c.Copies)
	}
	if c.Ack != replica.AckMajority && c.Ack != replica.AckAll {
		return fmt.Errorf("--ack %q: want majority or all", c.Ack)
	}
	if c.Signup != SignupOpen && c.Signup != SignupClosed {
		return fmt.Errorf("--signup %q: want open or closed", c.Signup)
	}
	if c.TrashKeep > state.MaxTrashKeep {
		return fmt.Errorf("--trash-keep %s: want at most ten years (3650d)", c.TrashKeep)
	}
	if c.JobsKeep < 0 || c.JobsKeep > state.MaxKeepEnded {
		return fmt.Errorf("--jobs-keep %s: want a time such as 30d, at most ten years (3650d)", c.JobsKeep)
	}
	if u := c.PublicURL; u != "" && !strings.HasPrefix(u, "http://") && !strings.HasPrefix(u, "https://") {
		return fmt.Errorf("--public-url %q: want http://… or https://…", u)
	}
	return nil
}

// secrets opens the secrets of the mesh, and tells whether the one that the node
// was given is an older one.
func (c Config) secrets() (ring *transport.Keyring, outdated bool, err error) {
	given, err := c.secret()
	if err != nil {
		return nil, false, err
	}
	return transport.OpenKeyring(c.Data, given)
}

// secret finds the mesh's secret: given, in the file, or in the data directory,
// where a node that starts a new mesh makes one.
func (c Config) secret() (transport.Secret, error) {
	kept := filepath.Join(c.Data, transport.SecretFile)
	switch {
	case c.Secret != "":
		s, err := transport.ParseSecret(c.Secret)
		if err != nil {
			return s, fmt.Errorf("MALLA_SECRET: %w", err)
		}
		return s, nil
	case c.SecretFile != "":
		s, err := transport.LoadSecretFile(c.SecretFile)
		if err != nil {
			return s, fmt.Errorf("--secret-file: %w", err)
		}
		return s, nil
	}
	if _, err := os.Stat(kept); err != nil && len(c.Join) > 0 {
		return transport.Secret{}, fmt.Errorf("joining a mesh needs its secret: copy the file data/secret of a node that is in it and name it with --secret-file, or set MALLA_SECRET")
	}
	s, err := transport.LoadOrCreateSecret(kept)
	if err != nil {
		return s, fmt.Errorf("secret of the mesh: %w", err)
	}
	return s, nil
}

// nodeName is the name given, else the host's.
func (c Config) nodeName(id state.NodeID) string {
	if c.Name != "" {
		return c.Name
	}
	host, _ := os.Hostname()
	host, _, _ = strings.Cut(host, ".")
	if state.CheckNodeName(host) != nil {
		return "node-" + string(id)[:4]
	}
	return host
}
