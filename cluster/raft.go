package cluster

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	"go.etcd.io/bbolt"
	bbolterrors "go.etcd.io/bbolt/errors"

	"malla/cluster/state"
	"malla/cluster/transport"
)

const (
	lockTimeout  = 2 * time.Second
	diskTimeout  = 10 * time.Second // for one write into the log
	rpcTimeout   = 5 * time.Second
	cachedLogs   = 512
	keptPictures = 2
)

// An agreement is raft on this node, with the files below it.
type agreement struct {
	id      state.NodeID
	link    *transport.Link
	bolt    *raftboltdb.BoltStore
	logs    raft.LogStore
	eager   *eagerLog // below logs
	stable  raft.StableStore
	snaps   raft.SnapshotStore
	machine *machine
	tell    *announcer // nil before start
	acks    *acks
	gate    *gate
	mark    mark // at start
	before  bool // this node took part in an agreement before it was started
	current atomic.Pointer[raft.Raft]

	generation atomic.Uint64 // of the mesh; 0 before it was recovered for the first time
}

// raft is nil before start; requests of other nodes may come earlier.
func (a *agreement) raft() *raft.Raft { return a.current.Load() }

// LogFile is where a node whose [Config].Dir is dir keeps its log. While the
// node runs it has an exclusive lock on that file (flock).
func LogFile(dir string) string { return filepath.Join(dir, "raft", "raft.db") }

func mkdir(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make the directory of the log: %w", err)
	}
	return nil
}

// openAgreement opens the files.
func openAgreement(cfg *Config, fail func(error)) (*agreement, error) {
	dir := filepath.Dir(LogFile(cfg.Dir))
	if err := mkdir(dir); err != nil {
		return nil, err
	}
	aside, err := cfg.CheckLog(cfg.Dir)
	if err != nil {
		return nil, err
	}
	for _, path := range aside {
		cfg.Logger.Warn("a snapshot is damaged and not needed: put it aside", "path", path)
	}
	bolt, err := raftboltdb.New(raftboltdb.Options{
		Path: LogFile(cfg.Dir),
		// A list of free pages that is not written at each commit is computed
		// at start instead.
		BoltOptions: &bbolt.Options{Timeout: lockTimeout, NoFreelistSync: true, FreelistType: bbolt.FreelistMapType},
	})
	if errors.Is(err, bbolterrors.ErrTimeout) {
		return nil, inUse(cfg.Dir)
	}
	if err != nil {
		return nil, fmt.Errorf("open the log in %s: %w", dir, err)
	}
	a := &agreement{
		id: cfg.ID, link: cfg.Link, bolt: bolt,
		stable:  &voteStore{StableStore: bolt},
		machine: &machine{state: cfg.State, fail: fail, committed: func(index, term uint64) {}, configured: func() {}},
		acks:    newAcks(),
	}
	if err := a.read(cfg, dir, fail); err != nil {
		return nil, errors.Join(err, bolt.Close())
	}
	return a, nil
}

func (a *agreement) read(cfg *Config, dir string, fail func(error)) (err error) {
	timed := &timedLog{LogStore: &sealedLog{steppedLog{a.bolt}, fail}, patience: diskTimeout, fail: fail}
	a.eager = newEagerLog(timed, a.followed)
	if a.logs, err = raft.NewLogCache(cachedLogs, a.eager); err != nil {
		return fmt.Errorf("open the log in %s: %w", dir, err)
	}
	if a.snaps, err = raft.NewFileSnapshotStoreWithLogger(dir, keptPictures, newHCLog(cfg.Logger)); err != nil {
		return fmt.Errorf("open the snapshots in %s: %w", dir, err)
	}
	if a.before, err = raft.HasExistingState(a.logs, a.stable, a.snaps); err != nil {
		return fmt.Errorf("read the log in %s: %w", dir, err)
	}
	if a.mark, err = readMark(cfg.Dir); err != nil {
		return err
	}
	if a.mark == left {
		return fmt.Errorf("this node left its mesh for good: to let it in as a new node start it with an empty data directory")
	}
	if (a.mark == joined || a.mark == rejoined) && !a.before {
		// With an empty log it could vote for a leader that lacks what it
		// has confirmed itself.
		return fmt.Errorf("this node was in a mesh, but its log in %s is gone: %s", dir, cure)
	}
	generation, err := readGeneration(cfg.Dir)
	a.generation.Store(generation)
	return err
}

// start begins to take part.
func (a *agreement) start(cfg *Config) error {
	log := newHCLog(cfg.Logger)
	conf := raft.DefaultConfig()
	conf.LocalID = raft.ServerID(a.id)
	conf.HeartbeatTimeout, conf.ElectionTimeout = cfg.Timing.Raft, cfg.Timing.Raft
	conf.LeaderLeaseTimeout = cfg.Timing.Raft / 2
	conf.CommitTimeout = cfg.Timing.Commit
	conf.SnapshotThreshold, conf.TrailingLogs = cfg.Limits.Snapshot, cfg.Limits.Trailing
	conf.SnapshotInterval = cfg.Limits.Interval
	conf.NoLegacyTelemetry = true
	conf.ShutdownOnRemove = false // a leader that gives its vote away goes on as a follower
	conf.Logger = log
	trans := raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{
		Stream:          streams{a.link.Raft()},
		MaxPool:         3,
		MaxRPCsInFlight: 1, // followers wedge after a disk stall with pipelining, which gains nothing (raft #503, #541)
		Timeout:         rpcTimeout,
		Logger:          log,
	})
	a.gate = newGate(trans, &a.generation)
	if a.mark == rejoining {
		a.gate.open.Store(gateClosed)
		conf.HeartbeatTimeout, conf.ElectionTimeout = noElection, noElection
	}
	a.tell = newAnnouncer(trans.AppendEntries)
	a.machine.committed = a.tell.commit
	a.machine.pictured = func() {
		if err := a.spaceSnapshots(cfg.Limits); err != nil {
			cfg.Logger.Warn("snapshots are not spaced by the size of the state", "err", err)
		}
	}
	r, err := raft.NewRaft(conf, a.machine, a.logs, a.stable, a.snaps, carefulTransport{a.gate, a.id, a.eager, a.tell, a.acks})
	if err != nil {
		return errors.Join(fmt.Errorf("start to agree: %w", cmp.Or(a.machine.tooOld, err)), a.gate.Close())
	}
	a.current.Store(r)
	a.machine.pictured()
	return nil
}

// bootstrap makes a mesh of this node alone.
func (a *agreement) bootstrap() error {
	return a.raft().BootstrapCluster(a.alone()).Error()
}

// roles are the nodes of the configuration: node -> Voter or Nonvoter.
func (a *agreement) roles() map[state.NodeID]Role {
	all := map[state.NodeID]Role{}
	r := a.raft()
	if r == nil {
		return all
	}
	for _, s := range r.GetConfiguration().Configuration().Servers {
		role := Nonvoter
		if s.Suffrage == raft.Voter {
			role = Voter
		}
		all[state.NodeID(s.ID)] = role
	}
	return all
}

// followed tells whether this node leads and needs another one to commit.
func (a *agreement) followed() bool {
	r := a.raft()
	if r == nil || r.State() != raft.Leader {
		return false
	}
	voters := 0
	for _, s := range r.GetConfiguration().Configuration().Servers {
		if s.Suffrage == raft.Voter {
			voters++
		}
	}
	return voters > 1
}

// handOver lets another voter lead, if this node does. Raft may be left
// believing that the transfer goes on for ever (raft #696), so it is asked for
// only when this node stops.
func (a *agreement) handOver(log *slog.Logger) {
	r := a.raft()
	if r == nil || r.State() != raft.Leader {
		return
	}
	voters := 0
	for _, role := range a.roles() {
		if role == Voter {
			voters++
		}
	}
	if voters < 2 {
		return
	}
	err := within(2*time.Second, func() error { return r.LeadershipTransfer().Error() })
	if err != nil {
		log.Info("leadership was not handed over", "err", err)
	}
}

// close ends raft and closes the files.
func (a *agreement) close() error {
	if r := a.raft(); r != nil {
		ended := r.Shutdown()
		a.link.Raft().Close() // else raft waits for the answers of nodes that do not answer
		if err := within(10*time.Second, ended.Error); err != nil {
			return fmt.Errorf("stop to agree: %w", err) // the files stay open: something still writes
		}
		a.tell.close()
		a.eager.awaitWritten(math.MaxUint64)
	}
	return within(10*time.Second, a.bolt.Close)
}

// await waits for an answer of raft, but no longer than ctx: raft's own
// time-outs bound only the way into its queue.
func await(ctx context.Context, ask func() raft.Future) error {
	done := make(chan error, 1)
	go func() { done <- ask().Error() }() // ends when raft answers, at its shutdown at the latest
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// A carefulTransport is raft's own, but: heartbeats are handled by raft's main
// loop like everything else and not beside it, where they race with it until
// logs differ (raft issue #695); and nodes are named by their ids alone, which
// also binds a vote to a node rather than to an address. It tells the announcer
// what the followers took, and writes down who takes this node for the leader,
// for reads.
type carefulTransport struct {
	*gate
	id   state.NodeID
	logs *eagerLog
	tell *announcer
	acks *acks
}

// AppendEntries implements raft.Transport.
func (t carefulTransport) AppendEntries(id raft.ServerID, target raft.ServerAddress, req *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) error {
	sent := t.acks.sending()
	err := t.NetworkTransport.AppendEntries(id, target, req, resp)
	if err == nil && resp.Success {
		t.acks.taken(state.NodeID(id), req.Term, sent)
	}
	if n := len(req.Entries); err == nil && n > 0 {
		err = t.logs.awaitWritten(req.Entries[n-1].Index)
	}
	if err == nil && resp.Success {
		t.tell.sent(id, target, req)
	}
	return err
}

// SetHeartbeatHandler implements raft.Transport by not setting it.
func (carefulTransport) SetHeartbeatHandler(func(raft.RPC)) {}

// LocalAddr implements raft.Transport.
func (t carefulTransport) LocalAddr() raft.ServerAddress { return raft.ServerAddress(t.id) }

// streams are the link's, in raft's words: an address is a node's id, and the
// link finds where that node is.
type streams struct{ *transport.RaftLayer }

// Dial implements raft.StreamLayer.
func (s streams) Dial(id raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	return s.RaftLayer.Dial(string(id), timeout)
}
