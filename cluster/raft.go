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
	"sync"
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
	guard   *guard // of bolt
	machine *machine
	tell    *announcer // nil before start
	acks    *acks
	gate    *gate
	mark    mark // at start
	before  bool // this node took part in an agreement before it was started
	current atomic.Pointer[raft.Raft]
	ending  sync.Once
	ended   error // why raft did not end

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

// openAgreement opens the files. Damage is told to fail, which must not wait.
func openAgreement(cfg *Config, disk *logDisk, fail func(error)) (*agreement, error) {
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
	if noSpace(err) {
		return nil, fmt.Errorf("open the log in %s: %w: make room on that disk, then start again", dir, err)
	}
	if err != nil {
		return nil, fmt.Errorf("open the log in %s: %w", dir, err)
	}
	guard := &guard{slow: 2 * cfg.Timing.Raft, patience: cfg.Timing.Disk, ballast: disk.ballast, fail: disk.halt}
	a := &agreement{
		id: cfg.ID, link: cfg.Link, bolt: bolt, guard: guard,
		stable:  &voteStore{StableStore: guardedStable{bolt, guard}},
		machine: &machine{state: cfg.State, fail: fail, committed: func(index, term uint64) {}, configured: func() {}},
		acks:    newAcks(),
	}
	if err := a.read(cfg, dir, fail); err != nil {
		return nil, errors.Join(err, bolt.Close())
	}
	return a, nil
}

func (a *agreement) read(cfg *Config, dir string, fail func(error)) (err error) {
	a.eager = newEagerLog(steppedLog{guardedLog{&sealedLog{a.bolt, fail}, a.guard}}, a.followed)
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
	r, err := raft.NewRaft(conf, a.machine, a.logs, a.stable, a.snaps, carefulTransport{a.gate, a.id, a.eager, a.tell, a.acks, a.guard.stalled})
	if err != nil {
		return errors.Join(fmt.Errorf("start to agree: %w", cmp.Or(a.machine.tooOld, err)), a.gate.Close())
	}
	a.current.Store(r)
	a.machine.pictured()
	return nil
}

// bootstrap makes a mesh of this node alone.
func (a *agreement) bootstrap(ctx context.Context) error {
	return await(ctx, func() raft.Future { return a.raft().BootstrapCluster(a.alone()) })
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
// only when this node stops; a leader that goes on gives its vote away instead.
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

// end ends raft: from then on this node takes no part and writes nothing.
func (a *agreement) end() error {
	a.ending.Do(func() {
		r := a.raft()
		if r == nil {
			return
		}
		ended := r.Shutdown()
		a.link.Raft().Close() // else raft waits for the answers of nodes that do not answer
		if err := within(10*time.Second, ended.Error); err != nil {
			a.ended = fmt.Errorf("stop to agree: %w", err)
			return
		}
		a.tell.close()
		a.eager.awaitWritten(math.MaxUint64)
	})
	return a.ended
}

// close ends raft and closes the files.
func (a *agreement) close() error {
	if err := a.end(); err != nil {
		return err // the files stay open: something still writes
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
// logs differ (raft issue #695); nodes are named by their ids alone, which also
// binds a vote to a node rather than to an address; and a leader whose disk
// stalls falls silent, so that the others choose another: raft's heartbeats
// would go on while nothing is written (raft issue #503). It tells the announcer
// what the followers took, and writes down who takes this node for the leader,
// for reads.
type carefulTransport struct {
	*gate
	id      state.NodeID
	logs    *eagerLog
	tell    *announcer
	acks    *acks
	stalled func() bool
}

var errStalled = errors.New("the disk of this node's log does not answer")

// AppendEntries implements raft.Transport. It also carries the heartbeats.
func (t carefulTransport) AppendEntries(id raft.ServerID, target raft.ServerAddress, req *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) error {
	if t.stalled() {
		return errStalled
	}
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
