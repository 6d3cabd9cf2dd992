// Package node is one process of the mesh: it wires the parts together, none of
// which knows more than it must. blobs moves bytes, cluster agrees; only node
// knows both.
//
// A node is a value: New opens everything and binds its addresses, Start begins
// the loops, Close ends them. The program, the demo and every test use the same
// wiring.
package node

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"malla/blobs"
	"malla/blobs/disk"
	"malla/blobs/replica"
	"malla/blobs/upload"
	"malla/cluster"
	"malla/cluster/state"
	"malla/cluster/transport"
	"malla/httpapi"
	"malla/node/ffmpeg"
	"malla/node/library"
	"malla/node/worker"
	"malla/web"
)

// Node is a running node, or one that is about to run.
type Node struct {
	cfg     Config
	id      state.NodeID
	name    string
	key     ed25519.PrivateKey
	secrets *transport.Keyring
	log     *slog.Logger
	life    *lifecycle

	state   *state.State
	link    *transport.Link
	cluster *cluster.Cluster
	chunks  *disk.Store
	replica *replica.Replica
	uploads *upload.Store
	peers   *peers
	ffmpeg  *ffmpeg.Runner // nil where there is none
	library *library.Library
	formats []httpapi.Format
	worker  *worker.Worker
	leader  *leader
	api     *httpapi.API
	server  *http.Server
	public  net.Listener // of the API
	metrics *prometheus.Registry

	encoders atomic.Uint64 // bits of those that this node's FFmpeg has
	stopping atomic.Bool   // it takes no work any more
	full     atomic.Bool   // whether the disk was said to be full last

	requests    context.Context // of all requests of users
	endRequests context.CancelFunc
}

// cacheSize bounds the chunks kept of those that other nodes hold, in bytes.
const cacheSize = 2 << 30

// New opens the data directory and binds the addresses. Close it also if it is
// never started. On an error nothing stays open.
func New(cfg Config) (*Node, error) {
	cfg = cfg.filled()
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	n := &Node{cfg: cfg, life: newLifecycle(), state: state.New(), metrics: newRegistry()}
	if err := n.open(); err != nil {
		return nil, errors.Join(err, n.life.close())
	}
	return n, nil
}

// open makes the parts, each from those before it.
func (n *Node) open() error {
	for _, step := range []func() error{n.openData, n.bind, n.openMesh, n.openBlobs, n.openWork, n.openAPI} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// openData finds who this node is in its data directory.
func (n *Node) openData() error {
	if err := os.MkdirAll(n.cfg.Data, 0o700); err != nil {
		return fmt.Errorf("--data %s: %w", n.cfg.Data, err)
	}
	dir, err := filepath.Abs(n.cfg.Data)
	if err != nil {
		return fmt.Errorf("--data %s: %w", n.cfg.Data, err)
	}
	n.cfg.Data = dir
	outdated := false
	if n.secrets, outdated, err = n.cfg.secrets(); err != nil {
		return err
	}
	if n.key, err = transport.LoadOrCreateKey(filepath.Join(dir, "node-key")); err != nil {
		return fmt.Errorf("--data %s: %w", dir, err)
	}
	if n.id, err = cluster.LoadOrCreateID(dir); err != nil {
		return fmt.Errorf("--data %s: %w", dir, err)
	}
	n.name = n.cfg.nodeName(n.id)
	n.log = n.cfg.Logger.With("node", n.name)
	if outdated {
		n.log.Warn("the secret that this node was given is not the mesh's any more: the one in its data directory is used; give new nodes that one", "file", filepath.Join(dir, transport.SecretFile))
	}
	return nil
}

// bind takes the address of the API, whose port the other nodes are told.
func (n *Node) bind() error {
	listener, err := net.Listen("tcp", n.cfg.HTTP)
	if err != nil {
		return fmt.Errorf("--http %s: %w", n.cfg.HTTP, err)
	}
	n.public = listener
	n.life.opened("listener", func() error { return unlessClosed(n.public.Close()) })
	return nil
}

// clusterDir is where in a data directory the agreement keeps its files.
func clusterDir(data string) string { return filepath.Join(data, "raft") }

// openMesh opens the link and the agreement over it.
func (n *Node) openMesh() error {
	var err error
	n.link, err = transport.Listen(transport.Config{
		Secret: n.secrets.Current(), Accept: n.secrets.Accepted()[1:], NodeID: string(n.id), Key: n.key, Listen: n.cfg.Peer, Logger: n.log,
	})
	if err != nil {
		return fmt.Errorf("--peer %s: %w", n.cfg.Peer, err)
	}
	n.life.opened("link", n.link.Close)
	n.cluster, err = cluster.New(cluster.Config{
		ID: n.id, Name: n.name, Zone: n.cfg.Zone, Capacity: n.capacity(), Version: n.cfg.Version, Dir: clusterDir(n.cfg.Data), Reserve: n.cfg.Reserve,
		Secrets: n.secrets, Gossip: n.cfg.Gossip, Advertise: n.cfg.Advertise, HTTP: n.public.Addr().String(),
		Join: n.cfg.Join, BootstrapExpect: n.cfg.BootstrapExpect, Voters: n.cfg.Voters, Rejoin: n.cfg.Rejoin, CheckLog: n.cfg.CheckLog,
		Link: n.link, State: n.state, Work: n.work, Logger: n.log, Metrics: n.metrics,
		Timing: cluster.Timing{
			Raft: n.cfg.Timing.Raft, Network: n.cfg.Timing.Network, Probe: n.cfg.Timing.Probe, Overlap: n.cfg.Timing.Overlap,
			Vote: n.cfg.Timing.Vote, Stable: n.cfg.Timing.VoteStable, Lost: n.cfg.Timing.VoteLost,
		},
	})
	if err != nil {
		return err
	}
	n.life.opened("cluster", n.cluster.Close)
	return nil
}

// openBlobs opens the chunks of this disk, what shares them with the other
// nodes, and the uploads that become chunks.
func (n *Node) openBlobs() error {
	dir := n.cfg.Data
	var err error
	if n.chunks, err = disk.Open(disk.Config{Dir: filepath.Join(dir, "blobs"), Reserve: int64(n.cfg.Reserve), Logger: n.log}); err != nil {
		return err
	}
	cache, err := disk.OpenCache(disk.CacheConfig{Dir: filepath.Join(dir, "cache"), Limit: cacheSize, Reserve: int64(n.cfg.Reserve)})
	if err != nil {
		return err
	}
	n.peers = &peers{state: n.state, cluster: n.cluster, link: n.link, self: n.id}
	n.replica, err = replica.New(replica.Config{
		Self: string(n.id), Copies: n.cfg.Copies, Ack: n.cfg.Ack, Local: n.chunks, Cache: cache, Peers: n.peers, Logger: n.log,
		Referenced: func(yield func(blobs.Ref) bool) { n.state.View().Blobs()(yield) },
		Held:       func(yield func(blobs.Ref) bool) { n.uploads.Held(yield) },
		Settled:    func() bool { return n.cluster.Ready() == nil },
		Grace:      n.cfg.Timing.RepairWait, Every: n.cfg.Timing.RepairEvery, Pause: n.cfg.Timing.RepairEvery, CollectAfter: n.cfg.Timing.CollectAfter,
		ScrubEvery: n.cfg.ScrubEvery, ScrubFile: filepath.Join(dir, "blobs", disk.ScrubFile),
	})
	if err != nil {
		return err
	}
	n.life.opened("blobs", n.replica.Close)
	n.metrics.MustRegister(diskMetrics{n.chunks, n.replica, n.load}, repairMetrics{n.replica})
	n.link.Handle("/chunks/", n.replica.Handler())
	n.link.Handle("GET "+sparesPath, http.HandlerFunc(n.serveSpares))
	n.uploads, err = upload.Open(upload.Config{
		Dir: filepath.Join(dir, "uploads"), Dest: n.replica, Logger: n.log,
		Self: string(n.id), Peers: recordKeepers{n.peers}, Copies: n.cfg.Copies,
	})
	if err != nil {
		return err
	}
	n.life.opened("uploads", n.uploads.Close)
	n.link.Handle("/uploads/", n.uploads.Handler())
	return nil
}

// openWork opens what probes and converts. A node without FFmpeg stores and
// serves, and leaves the rest to the others.
func (n *Node) openWork() error {
	scratch := filepath.Join(n.cfg.Data, "scratch")
	lib := library.Config{State: n.state, Proposer: n.cluster, Blobs: n.replica, Intake: n.uploads, Encoders: n.peers.encoders, Scratch: filepath.Join(scratch, "probes"), Logger: n.log}
	runner, err := ffmpeg.New(n.life.ctx, ffmpeg.Config{Logger: n.log})
	switch {
	case errors.Is(err, ffmpeg.ErrMissing):
		n.log.Warn("no FFmpeg here: this node does not convert and cannot check uploads", "err", err)
		n.cfg.Slots = -1
	case err != nil:
		return err
	default:
		lib.FFmpeg = runner
		n.ffmpeg = runner
		n.encoders.Store(ffmpeg.EncoderBits(runner.Encoders()))
	}
	n.formats = formats(ffmpeg.Formats()) // of the mesh: any node that can may convert
	if n.library, err = library.New(lib); err != nil {
		return err
	}
	work := worker.Config{
		Node: n.id, State: n.state, Proposer: n.cluster, Blobs: n.replica, Intake: n.uploads,
		Describe: library.Describe, Recall: library.Recall, Slots: n.cfg.Slots, Scratch: filepath.Join(scratch, "tasks"), Threads: max(1, runtime.NumCPU()),
		Metrics: newWorkerMetrics(n.metrics, n.Busy, n.load), Logger: n.log,
	}
	if runner != nil {
		work.FFmpeg = runner
	}
	n.worker = worker.New(work)
	n.peers.worker = n.worker
	n.link.Handle("GET "+progressPath, http.HandlerFunc(n.peers.serveProgress))
	n.leader = &leader{
		state: n.state, cluster: n.cluster, peers: n.peers, copies: n.cfg.Copies,
		grace: n.cfg.Timing.DeadGrace, stallAfter: n.cfg.Timing.StallAfter, sweepEvery: n.cfg.Timing.Sweep, jobsKeep: n.cfg.JobsKeep, log: n.log,
	}
	return nil
}

// openAPI makes the server of the API and the pages.
func (n *Node) openAPI() error {
	api, err := httpapi.New(httpapi.Config{
		State: n.state, Proposer: n.cluster, Library: n.library, Blobs: n.replica, Uploads: n.uploads, Mesh: n, Peers: n.peers, Progress: n.peers,
		Formats: n.formats, Purposes: purposes(), Health: n.health, Backup: n.backup, Imports: n.library.Imports, TokenKeys: n.secrets.TokenKeys, MeshID: n.secrets.MeshID(), SetupToken: n.setupToken,
		SignupOpen: n.cfg.Signup == SignupOpen, PublicURL: n.cfg.PublicURL, MetricsToken: n.cfg.MetricsToken, TrashKeep: max(0, n.cfg.TrashKeep), Version: n.cfg.Version,
		Pages: web.Handler(), PagesCSP: n.pagesCSP, Registerer: n.metrics, Gatherer: n.metrics, Logger: n.log,
	})
	if err != nil {
		return err
	}
	n.link.Handle("/files/", api.PeerHandler())
	n.api = api
	n.server = &http.Server{
		Handler: api.Handler(), ReadHeaderTimeout: 5 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10,
		BaseContext: func(net.Listener) context.Context { return n.requests },
		ErrorLog:    slog.NewLogLogger(n.log.Handler(), slog.LevelDebug),
	}
	n.requests, n.endRequests = context.WithCancel(context.Background())
	n.life.opened("loops", n.life.stopLoops)
	n.life.opened("server", n.stopServer)
	return nil
}

// Start begins the loops: the link first, so that the others reach this node,
// then the agreement, the work, and last the API for users.
func (n *Node) Start() error {
	n.life.serve("link", func() error { return n.link.Serve(context.Background()) })
	if err := n.cluster.Start(); err != nil {
		return err
	}
	n.life.run("cluster", n.watchCluster)
	n.life.run("leader", func(ctx context.Context) error { n.cluster.Leading(ctx, n.leader.lead); return ctx.Err() })
	n.life.run("replica", n.replica.Run)
	n.life.run("names", n.watchNames)
	n.life.run("scrub", n.scrub)
	n.life.run("disk", n.chunks.Watch)
	n.life.run("uploads", n.uploads.Run)
	n.life.run("imports", n.api.Run)
	n.life.run("worker", n.runWorker)
	n.life.run("encoders", n.probeHardware)
	n.life.serve("server", func() error {
		if err := n.server.Serve(n.public); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	})
	n.log.Info("node started", "id", n.id, "version", n.cfg.Version, "http", n.public.Addr(), "gossip", n.cluster.GossipAddr(), "data", n.cfg.Data)
	return nil
}

// watchCluster ends the node when its part in the mesh cannot go on.
func (n *Node) watchCluster(ctx context.Context) error {
	select {
	case err := <-n.cluster.Fatal():
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// runWorker lets the worker act once this node's state has been as new as the
// mesh's: the log that is read at the start gives it tasks that others have
// had since.
func (n *Node) runWorker(ctx context.Context) error {
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for n.Ready() != nil {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return n.worker.Run(ctx)
}

// probeHardware finds out which hardware encoders of this machine really work;
// that takes a moment, and nothing waits for it.
func (n *Node) probeHardware(ctx context.Context) error {
	if n.ffmpeg == nil {
		return nil
	}
	if found := n.ffmpeg.ProbeHardware(ctx); len(found) > 0 {
		n.log.Info("hardware encoders work here", "encoders", found)
	}
	n.encoders.Store(ffmpeg.EncoderBits(n.ffmpeg.Encoders()))
	return nil
}

// stopServer lets short requests come to their end, then ends the long ones,
// such as streams of events, and then cuts what is left.
func (n *Node) stopServer() error {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	long := time.AfterFunc(time.Second, n.endRequests)
	defer long.Stop()
	defer n.endRequests()
	if err := n.server.Shutdown(ctx); err != nil {
		return n.server.Close()
	}
	return nil
}

// ErrRestart is what Failed gives once the disk of a node works again whose log
// could not be written: close it, and start a new one in its place.
var ErrRestart = cluster.ErrRestart

// Failed gives the error with which the node cannot go on; close it then. With
// [ErrRestart] a new one can.
func (n *Node) Failed() <-chan error { return n.life.fatal }

// Close stops the node in bounded time. It stays a member of the mesh, which
// expects it back. It may be called more than once, and without Start.
func (n *Node) Close() error {
	n.stopping.Store(true)
	return n.life.close()
}

// Kill ends the node as a crash would, without a word to the others. What it
// acknowledged is on disks.
func (n *Node) Kill() {
	n.endRequests()
	n.server.Close()
	n.cluster.Kill()
	n.link.Close()
	n.life.close() // what is left says nothing to anybody
}

// work is what this node tells the gossip about itself.
func (n *Node) work() cluster.Work {
	w := cluster.Work{Tasks: n.worker.Busy(), Slots: n.slots(), Encoders: n.encoders.Load()}
	if n.cluster.Halted() != nil {
		w.Slots = 0 // it would not hear of a task, nor could it say that it is done
	}
	n.describeDisk(&w)
	return w
}

// slots is how many tasks this node runs at once.
func (n *Node) slots() int {
	if n.stopping.Load() {
		return 0
	}
	return max(0, n.cfg.Slots)
}

// Greet prints where the pages are once the node is ready, and the link that
// makes the first administrator while there is none.
func (n *Node) Greet(ctx context.Context, w io.Writer) {
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	for waited := 0; n.Ready() != nil; waited++ {
		if waited == 50 {
			fmt.Fprintf(w, "\nWaiting for the mesh: %v\n", n.Ready())
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
	fmt.Fprintf(w, "\nmalla is ready:      %s\n", n.PageURL())
	if url, wanted := n.SetupURL(); wanted {
		fmt.Fprintf(w, "First administrator: %s   (this link works once)\n", url)
	}
	fmt.Fprintln(w)
}

// SetupURL is the link that makes the first administrator, and whether the mesh
// still lacks one.
func (n *Node) SetupURL() (url string, wanted bool) {
	return n.PageURL() + "/#setup=" + n.setupToken(), !n.state.View().HasAdmin()
}

// setupToken is the same on every node, so that any of them can make the first
// administrator.
func (n *Node) setupToken() string {
	return base64.RawURLEncoding.EncodeToString(n.secrets.Current().Derive("setup", 24))
}

// PageURL is where a person opens the pages.
func (n *Node) PageURL() string { return pageURL(n.cfg.PublicURL, n.public.Addr()) }

// URL is where the API of exactly this node is.
func (n *Node) URL() string { return pageURL("", n.public.Addr()) }

// Name is the node's name in the mesh.
func (n *Node) Name() string { return n.name }

// GossipAddr is the address under which other nodes can join.
func (n *Node) GossipAddr() string { return n.cluster.GossipAddr() }

// Ready returns nil when the node can serve, and else why not.
func (n *Node) Ready() error { return n.cluster.Ready() }

// health returns why this node cannot serve at all: it stops, or its disk does
// not take writes.
func (n *Node) health() error {
	if err := n.life.ctx.Err(); err != nil {
		return errors.New("the node is stopping")
	}
	if since, cause := n.chunks.Broken(); cause != nil {
		return fmt.Errorf("the disk has not worked since %s: %w", since.Format(time.DateTime), cause)
	}
	if err := n.cluster.Halted(); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Join(n.cfg.Data, "scratch"), "health-")
	if err != nil {
		return fmt.Errorf("the disk takes no writes: %w", err)
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

// Leads tells whether this node is the leader.
func (n *Node) Leads() bool { return n.cluster.IsLeader() }

// Busy is the number of tasks under way here.
func (n *Node) Busy() int { return n.worker.Busy() }

// unlessClosed takes a second Close of a listener for what it is.
func unlessClosed(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// NewSecret returns a secret for a new mesh.
func NewSecret() transport.Secret { return transport.Generate() }
