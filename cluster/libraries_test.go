package cluster

import (
	"bytes"
	"context"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/memberlist"
	"github.com/hashicorp/raft"

	"malla/cluster/state"
)

// The tests in this file show bugs of the libraries that we go round, without
// what we do about them and with it. One that fails without it tells that the
// library is mended.

// An ignorant is a state machine that keeps nothing.
type ignorant struct{}

func (ignorant) Apply(*raft.Log) any                 { return nil }
func (ignorant) Snapshot() (raft.FSMSnapshot, error) { return nil, errors.New("none") }
func (ignorant) Restore(r io.ReadCloser) error {
	_, err := io.Copy(io.Discard, r)
	return errors.Join(err, r.Close())
}

// bareRaft starts raft as it is, which campaigns after patience.
func bareRaft(t *testing.T, id string, patience time.Duration, logs raft.LogStore, stable raft.StableStore, trans raft.Transport, bootstrap ...raft.Server) *raft.Raft {
	t.Helper()
	conf := raft.DefaultConfig()
	conf.LocalID = raft.ServerID(id)
	conf.HeartbeatTimeout, conf.ElectionTimeout, conf.LeaderLeaseTimeout = patience, patience, min(patience, 200*time.Millisecond)
	conf.Logger = newHCLog(slog.New(slog.DiscardHandler))
	snaps := raft.NewInmemSnapshotStore()
	if len(bootstrap) > 0 {
		if err := raft.BootstrapCluster(conf, logs, stable, snaps, trans, raft.Configuration{Servers: bootstrap}); err != nil {
			t.Fatal(err)
		}
	}
	r, err := raft.NewRaft(conf, ignorant{}, logs, stable, snaps, trans)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Shutdown().Error(); err != nil {
			t.Error(err)
		}
	})
	return r
}

// header is that of messages of a node.
func header(id string) raft.RPCHeader {
	return raft.RPCHeader{ProtocolVersion: raft.ProtocolVersionMax, ID: []byte(id), Addr: []byte(id)}
}

// A heldLog does not write before it is let.
type heldLog struct {
	*raft.InmemStore
	begun, let chan struct{}
}

func (l heldLog) StoreLogs(logs []*raft.Log) error {
	close(l.begun)
	<-l.let
	return l.InmemStore.StoreLogs(logs)
}

// TestHeartbeatsWaitForTheMainLoop has the main loop of a follower write an
// entry of term 1 while a heartbeat of term 2 comes. Raft answers it at once and
// changes the term under the main loop (raft issue #695).
func TestHeartbeatsWaitForTheMainLoop(t *testing.T) {
	t.Parallel()
	beside := func(patience time.Duration, wrap func(*raft.NetworkTransport) raft.Transport) bool {
		follower, err := raft.NewTCPTransport("127.0.0.1:0", nil, 1, rpcTimeout, io.Discard)
		if err != nil {
			t.Fatal(err)
		}
		defer follower.Close()
		leader, err := raft.NewTCPTransport("127.0.0.1:0", nil, 2, patience, io.Discard)
		if err != nil {
			t.Fatal(err)
		}
		defer leader.Close()
		logs, stable := heldLog{raft.NewInmemStore(), make(chan struct{}), make(chan struct{})}, raft.NewInmemStore()
		bareRaft(t, "b", noElection, logs, stable, wrap(follower))
		send := func(term uint64, entries ...*raft.Log) error {
			return leader.AppendEntries("b", follower.LocalAddr(), &raft.AppendEntriesRequest{RPCHeader: header("a"), Term: term, Entries: entries}, new(raft.AppendEntriesResponse))
		}
		var wg sync.WaitGroup
		defer wg.Wait()
		wg.Go(func() { send(1, &raft.Log{Index: 1, Term: 1}) })
		<-logs.begun
		defer close(logs.let)
		err = send(2)
		term, _ := stable.GetUint64([]byte("CurrentTerm"))
		return err == nil && term == 2
	}
	if !beside(time.Minute, func(n *raft.NetworkTransport) raft.Transport { return n }) {
		t.Error("raft handles heartbeats in its main loop by now: SetHeartbeatHandler may go")
	}
	careful := func(n *raft.NetworkTransport) raft.Transport {
		return carefulTransport{gate: newGate(n, new(atomic.Uint64)), id: "b", stalled: func() bool { return false }}
	}
	if beside(300*time.Millisecond, careful) {
		t.Error("a heartbeat was handled while the main loop was writing")
	}
}

// A slowLine carries raft's messages, or not, and may lose its time over one.
type slowLine struct {
	*raft.InmemTransport
	cut  atomic.Bool
	hold atomic.Pointer[chan struct{}] // taken by the next message with entries, which waits for it
}

func (l *slowLine) AppendEntries(id raft.ServerID, target raft.ServerAddress, req *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) error {
	if len(req.Entries) > 0 {
		if hold := l.hold.Swap(nil); hold != nil {
			<-*hold
		}
	}
	if l.cut.Load() {
		return errOutOfReach
	}
	return l.InmemTransport.AppendEntries(id, target, req, resp)
}

func (l *slowLine) AppendEntriesPipeline(raft.ServerID, raft.ServerAddress) (raft.AppendPipeline, error) {
	return nil, raft.ErrPipelineReplicationNotSupported
}

// TestATransferCanEndALeadersWork: one that was given up leaves its request with
// a follower's goroutine that waits for an answer; the next waits behind it, and
// for ever once the leadership was lost. Led by this node again, the mesh takes
// no writes (raft issue #696).
func TestATransferCanEndALeadersWork(t *testing.T) {
	t.Parallel()
	_, near := raft.NewInmemTransport("a")
	_, far := raft.NewInmemTransport("b")
	near.Connect("b", far)
	far.Connect("a", near)
	line := &slowLine{InmemTransport: near}
	both := []raft.Server{{ID: "a", Address: "a"}, {ID: "b", Address: "b"}}
	bareRaft(t, "b", noElection, raft.NewInmemStore(), raft.NewInmemStore(), far, both...)
	store := raft.NewInmemStore()
	a := bareRaft(t, "a", 200*time.Millisecond, store, store, line, both...)
	leads := func() error {
		return a.Barrier(time.Minute).Error()
	}
	eventually(t, "a leader refuses writes for ever", func() error {
		eventually(t, "it leads", leads)
		hold := make(chan struct{})
		line.hold.Store(&hold)
		a.Apply([]byte("held"), time.Minute)
		for range 3 { // the first may find that goroutine not waiting yet
			a.LeadershipTransferToServer("b", "b").Error()
		}
		line.cut.Store(true)
		eventually(t, "it lost its leadership", func() error {
			if a.State() == raft.Leader {
				return errors.New("it leads")
			}
			return nil
		})
		line.cut.Store(false)
		eventually(t, "it is elected again", func() error {
			if a.State() != raft.Leader {
				return errors.New("it does not lead")
			}
			return nil
		})
		close(hold) // the answer comes, too late
		if err := a.Apply([]byte("again"), time.Minute).Error(); !errors.Is(err, raft.ErrLeadershipTransferInProgress) {
			return errors.New("it takes them") // it lost its leadership too soon, on a busy machine
		}
		return nil
	})
}

// TestLeadershipIsTransferredAtTheEndOnly keeps it so: one place asks raft for
// it, which is called by Close alone.
func TestLeadershipIsTransferredAtTheEndOnly(t *testing.T) {
	entries, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), ".go") || strings.HasSuffix(e.Name(), "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), e.Name(), nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, decl := range file.Decls {
			f, ok := decl.(*ast.FuncDecl)
			if !ok {
				continue
			}
			ast.Inspect(f, func(n ast.Node) bool {
				if s, ok := n.(*ast.SelectorExpr); ok && (s.Sel.Name == "handOver" || strings.HasPrefix(s.Sel.Name, "LeadershipTransfer")) {
					found = append(found, f.Name.Name+" calls "+s.Sel.Name)
				}
				if kv, ok := n.(*ast.CompositeLit); ok {
					if s, ok := kv.Type.(*ast.SelectorExpr); ok && s.Sel.Name == "RaftChanges" && len(kv.Elts) > 0 {
						found = append(found, f.Name.Name+" may name autopilot a leader")
					}
				}
				return true
			})
		}
	}
	slices.Sort(found)
	if want := []string{"Close calls handOver", "handOver calls LeadershipTransfer"}; !slices.Equal(found, want) {
		t.Errorf("%q, want %q", found, want)
	}
}

// TestASnapshotIntoAConflictIsNoUse: a follower whose own entries, which were
// never agreed on, reach beyond a snapshot keeps the one where it ends, and takes
// nothing behind it: the leader sends the snapshot again, for ever (raft issue
// #697). So a leader must not need snapshots for nodes with such entries. It
// needs one only for what is more than Trailing behind its own; and a deposed
// leader has at most one batch of each node, and what it began itself.
func TestASnapshotIntoAConflictIsNoUse(t *testing.T) {
	t.Parallel()
	_, leader := raft.NewInmemTransport("a")
	_, follower := raft.NewInmemTransport("b")
	leader.Connect("b", follower)
	store := raft.NewInmemStore()
	if err := store.SetUint64([]byte("CurrentTerm"), 1); err != nil {
		t.Fatal(err)
	}
	for i := range uint64(20) {
		if err := store.StoreLog(&raft.Log{Index: i + 1, Term: 1}); err != nil {
			t.Fatal(err)
		}
	}
	bareRaft(t, "b", noElection, store, store, follower)
	data := []byte("the state")
	var installed raft.InstallSnapshotResponse
	err := leader.InstallSnapshot("b", "b", &raft.InstallSnapshotRequest{
		RPCHeader: header("a"), SnapshotVersion: 1, Term: 2, Leader: []byte("a"), LastLogIndex: 10, LastLogTerm: 2,
		Configuration: raft.EncodeConfiguration(raft.Configuration{Servers: []raft.Server{{ID: "a", Address: "a"}}}), ConfigurationIndex: 1, Size: int64(len(data)),
	}, &installed, bytes.NewReader(data))
	if err != nil || !installed.Success {
		t.Fatalf("the snapshot was not taken: %v", err)
	}
	var next raft.AppendEntriesResponse
	err = leader.AppendEntries("b", "b", &raft.AppendEntriesRequest{
		RPCHeader: header("a"), Term: 2, PrevLogEntry: 10, PrevLogTerm: 2, Entries: []*raft.Log{{Index: 11, Term: 2}},
	}, &next)
	if err != nil {
		t.Fatal(err)
	}
	if next.Success {
		t.Error("raft goes on behind such a snapshot by now: Limits.Trailing may be smaller")
	}
	var cfg Config
	if cfg.fill(); cfg.Limits.Trailing < 10240 {
		t.Errorf("a leader keeps only %d entries behind a snapshot", cfg.Limits.Trailing)
	}
}

// A cutLine is memberlist's network in memory, which can be cut.
type cutLine struct {
	memberlist.NodeAwareTransport
	cut *atomic.Bool
}

func (l cutLine) WriteToAddress(b []byte, a memberlist.Address) (time.Time, error) {
	if l.cut.Load() {
		return time.Now(), nil
	}
	b = bytes.Clone(b)
	go l.NodeAwareTransport.WriteToAddress(b, a) // a packet waits for its receiver here, and two nodes would for each other
	return time.Now(), nil
}

func (l cutLine) WriteTo(b []byte, addr string) (time.Time, error) {
	return l.WriteToAddress(b, memberlist.Address{Addr: addr})
}

func (l cutLine) DialAddressTimeout(a memberlist.Address, timeout time.Duration) (net.Conn, error) {
	if l.cut.Load() {
		return nil, errOutOfReach
	}
	return l.NodeAwareTransport.DialAddressTimeout(a, timeout)
}

func (l cutLine) DialTimeout(addr string, timeout time.Duration) (net.Conn, error) {
	return l.DialAddressTimeout(memberlist.Address{Addr: addr}, timeout)
}

// TestTheDeadAreMetAgain cuts two nodes apart for longer than memberlist asks a
// dead one: it forgets it and never asks again, but gossip.meet does.
func TestTheDeadAreMetAgain(t *testing.T) {
	met := func(meet time.Duration) (again bool) {
		synctest.Test(t, func(t *testing.T) {
			var network memberlist.MockNetwork
			var cut atomic.Bool
			var both []*gossip
			for i, id := range []state.NodeID{"0123456789abcdef0123456789abcdef", "123456789abcdef0123456789abcdef0"} {
				known, err := loadKnownPeers(t.TempDir())
				if err != nil {
					t.Fatal(err)
				}
				g := &gossip{
					id: id, log: slog.New(slog.DiscardHandler), timing: Timing{Meet: meet}, label: "malla/test", table: newTable(), known: known,
					wire: cutLine{network.NewTransport(string(id)), &cut}, ip: netip.AddrFrom4([4]byte{127, 0, 0, 1}), port: i + 1,
					self: meta{id: id, name: string(id[:4]), httpPort: 1, peerPort: 1}, stale: make(chan struct{}, 1),
				}
				g.loads = &memberlist.TransmitLimitedQueue{NumNodes: g.table.count, RetransmitMult: 3}
				if err := g.start(); err != nil {
					t.Fatal(err)
				}
				both = append(both, g)
			}
			a, b := both[0], both[1]
			sees := func() bool {
				p, _ := a.table.get(b.id)
				return p.state == Alive
			}
			a.join([]string{b.addr()})
			time.Sleep(time.Minute) // of the bubble's clock
			if !sees() {
				t.Fatal("they do not meet at first")
			}
			a.remember(nil)
			b.remember(nil)
			cut.Store(true)
			time.Sleep(3 * a.timing.gossipConfig().GossipToTheDeadTime)
			if sees() {
				t.Fatal("cut apart they still see each other")
			}
			cut.Store(false)
			ctx, stop := context.WithCancel(t.Context())
			var loops sync.WaitGroup
			if meet > 0 {
				loops.Go(func() { a.meet(ctx) })
			}
			time.Sleep(5 * time.Minute)
			again = sees()
			stop()
			loops.Wait()
			cut.Store(true) // nobody hears what is sent to a node that has ended
			time.Sleep(time.Minute)
			for _, g := range both {
				if err := g.list.Shutdown(); err != nil {
					t.Error(err)
				}
			}
		})
		return again
	}
	if met(0) {
		t.Error("memberlist meets the dead again by itself: gossip.meet may go")
	}
	if !met(3 * time.Second) {
		t.Error("a node that was cut off for long is not met again")
	}
}
