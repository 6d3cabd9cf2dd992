package replica_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"malla/blobs"
	"malla/blobs/blobstest"
	"malla/blobs/disk"
	"malla/blobs/replica"
)

// A mesh is some nodes in this process that talk over real sockets.
type mesh struct {
	t     testing.TB
	nodes []*node

	mu         sync.Mutex // guards the fields below
	referenced []blobs.Ref
	held       []blobs.Ref
	unsettled  bool
}

type node struct {
	*replica.Replica
	mesh  *mesh
	id    string
	dir   string
	disk  *disk.Store
	cache *disk.Cache
	srv   *httptest.Server
	room  atomic.Int64 // free bytes of its disk

	mu   sync.Mutex // guards the fields below
	peer replica.Peer
	hook func(w http.ResponseWriter, r *http.Request, next http.Handler) // nil: next
	runs context.CancelFunc
	done chan struct{}
}

// newMesh starts n nodes; change may adjust what each is made of.
func newMesh(t testing.TB, n int, change func(cfg *replica.Config)) *mesh {
	t.Helper()
	m := &mesh{t: t}
	for i := range n {
		nd := &node{mesh: m, id: fmt.Sprintf("n%d", i), dir: t.TempDir()}
		nd.peer = replica.Peer{ID: nd.id, Weight: 1, Alive: true}
		nd.room.Store(1 << 40)
		nd.start(change)
		m.nodes = append(m.nodes, nd)
	}
	return m
}

func (nd *node) start(change func(cfg *replica.Config)) {
	t := nd.mesh.t
	t.Helper()
	free := func(string) (int64, int64, error) { return nd.room.Load(), 1 << 40, nil }
	var err error
	if nd.disk, err = disk.Open(disk.Config{Dir: filepath.Join(nd.dir, "blobs"), Free: free}); err != nil {
		t.Fatal(err)
	}
	if nd.cache, err = disk.OpenCache(disk.CacheConfig{Dir: filepath.Join(nd.dir, "cache"), Limit: 1 << 30, Free: free}); err != nil {
		t.Fatal(err)
	}
	cfg := replica.Config{
		Self: nd.id, Local: nd.disk, Cache: nd.cache, Peers: nd, Logger: testLog(t),
		Referenced: nd.mesh.eachReferenced, Held: nd.mesh.eachHeld, Settled: nd.mesh.settled,
		Grace: 50 * time.Millisecond, Every: time.Hour, Pause: time.Millisecond,
		SurplusAfter: time.Hour, CollectAfter: time.Hour, SlowAfter: 300 * time.Millisecond, Stall: 15 * time.Second,
	}
	if change != nil {
		change(&cfg)
	}
	if nd.Replica, err = replica.New(cfg); err != nil {
		t.Fatal(err)
	}
	h := nd.Handler()
	nd.srv = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		nd.mu.Lock()
		hook := nd.hook
		nd.mu.Unlock()
		if hook != nil {
			hook(w, r, h)
		} else {
			h.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(func() {
		nd.stopRunning()
		if err := nd.Close(); err != nil {
			t.Error(err)
		}
		nd.srv.CloseClientConnections()
		nd.srv.Close()
	})
}

func testLog(t testing.TB) *slog.Logger {
	if !testing.Verbose() {
		return slog.New(slog.DiscardHandler)
	}
	return slog.New(slog.NewTextHandler(t.Output(), nil))
}

func (m *mesh) eachReferenced(yield func(blobs.Ref) bool) {
	m.mu.Lock()
	refs := slices.Clone(m.referenced)
	m.mu.Unlock()
	slices.Values(refs)(yield)
}

func (m *mesh) eachHeld(yield func(blobs.Ref) bool) {
	m.mu.Lock()
	refs := slices.Clone(m.held)
	m.mu.Unlock()
	slices.Values(refs)(yield)
}

func (m *mesh) settled() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return !m.unsettled
}

// name makes the state name exactly these blobs.
func (m *mesh) name(refs ...blobs.Ref) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.referenced = refs
}

// Nodes implements replica.Peers.
func (nd *node) Nodes() []replica.Peer {
	var peers []replica.Peer
	for _, n := range nd.mesh.nodes {
		n.mu.Lock()
		peers = append(peers, n.peer)
		n.mu.Unlock()
	}
	return peers
}

var errDead = errors.New("connection refused")

// Do implements replica.Peers.
func (nd *node) Do(ctx context.Context, id string, req *http.Request) (*http.Response, error) {
	for _, n := range nd.mesh.nodes {
		if n.id != id {
			continue
		}
		n.mu.Lock()
		dead := n.hook == nil && !n.peer.Alive
		n.mu.Unlock()
		if dead {
			return nil, errDead
		}
		req = req.Clone(ctx)
		req.URL.Scheme, req.URL.Host = "http", n.srv.Listener.Addr().String()
		return n.srv.Client().Do(req)
	}
	return nil, errors.New("no such node")
}

func (nd *node) set(change func(p *replica.Peer)) {
	nd.mu.Lock()
	defer nd.mu.Unlock()
	change(&nd.peer)
}

// die makes everybody know that the node is gone, and cuts its connections.
func (nd *node) die() {
	nd.set(func(p *replica.Peer) { p.Alive, p.Gone = false, time.Now() })
	nd.srv.CloseClientConnections()
}

func (nd *node) onRequest(hook func(w http.ResponseWriter, r *http.Request, next http.Handler)) {
	nd.mu.Lock()
	defer nd.mu.Unlock()
	nd.hook = hook
}

// hang makes the node take requests and answer none, as a stopped one does.
func (nd *node) hang() {
	nd.onRequest(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		io.Copy(io.Discard, r.Body)
		<-r.Context().Done()
	})
}

// run starts the node's repair loop.
func (nd *node) run() {
	ctx, cancel := context.WithCancel(context.Background())
	nd.runs, nd.done = cancel, make(chan struct{})
	go func() {
		defer close(nd.done)
		nd.Run(ctx)
	}()
}

func (nd *node) stopRunning() {
	if nd.runs != nil {
		nd.runs()
		<-nd.done
		nd.runs = nil
	}
}

func (m *mesh) runAll() {
	for _, nd := range m.nodes {
		nd.run()
	}
}

func (m *mesh) runAllBut(running *node) {
	for _, nd := range m.nodes {
		if nd != running {
			nd.run()
		}
	}
}

func (m *mesh) nudgeAll() {
	for _, nd := range m.nodes {
		nd.Nudge()
	}
}

// having returns the ids of the nodes that have the chunk on their disk.
func (m *mesh) having(ref blobs.Ref) []string {
	var ids []string
	for _, nd := range m.nodes {
		if _, err := nd.disk.Stat(context.Background(), ref); err == nil {
			ids = append(ids, nd.id)
		}
	}
	return ids
}

// holders returns the ids of the nodes that should have the chunk, sorted.
func (m *mesh) holders(ref blobs.Ref, copies int) []string {
	var all []blobs.Holder
	for _, nd := range m.nodes {
		nd.mu.Lock()
		if p := nd.peer; p.Alive && !p.Draining {
			all = append(all, blobs.Holder{ID: p.ID, Weight: p.Weight, Zone: p.Zone})
		}
		nd.mu.Unlock()
	}
	var ids []string
	for _, h := range blobs.Place(ref, all, copies)[:copies] {
		ids = append(ids, h.ID)
	}
	slices.Sort(ids)
	return ids
}

func (m *mesh) byID(id string) *node {
	for _, nd := range m.nodes {
		if nd.id == id {
			return nd
		}
	}
	m.t.Fatalf("no node %s", id)
	return nil
}

// wantHeld waits until exactly the right nodes have each chunk.
func (m *mesh) wantHeld(copies int, refs []blobs.Ref) {
	m.t.Helper()
	eventually(m.t, fmt.Sprintf("%d copies of each chunk are where they belong", copies), func() error {
		m.nudgeAll()
		for _, ref := range refs {
			if got, want := m.having(ref), m.holders(ref, copies); !slices.Equal(got, want) {
				return fmt.Errorf("%s is on %v, want %v", ref.Short(), got, want)
			}
		}
		return nil
	})
}

// eventually waits until f succeeds and tells its last reason if it never does.
func eventually(t testing.TB, what string, f func() error) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	late := time.After(time.Minute) // the machine may be busy
	for {
		err := f()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("%s: %v", what, err)
		}
	}
}

// store uploads data as a blob at the node, chunk by chunk, and returns its
// manifest's ref and all refs.
func (nd *node) store(data []byte) (blobs.Ref, []blobs.Ref) {
	t := nd.mesh.t
	t.Helper()
	man := blobs.Manifest{Size: int64(len(data)), SHA256: blobs.RefOf(data)}
	for rest := data; len(rest) > 0; {
		chunk := rest[:min(len(rest), blobs.ChunkSize)]
		rest = rest[len(chunk):]
		man.Chunks = append(man.Chunks, nd.put(chunk))
	}
	ref := nd.put(man.Encode())
	return ref, append(man.Chunks, ref)
}

func (nd *node) put(data []byte) blobs.Ref {
	nd.mesh.t.Helper()
	ref, err := nd.tryPut("", data)
	if err != nil {
		nd.mesh.t.Fatal(err)
	}
	return ref
}

// tryPut spreads data as an upload does.
func (nd *node) tryPut(upload string, data []byte) (blobs.Ref, error) {
	t := nd.mesh.t
	t.Helper()
	path := filepath.Join(nd.dir, "part")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	ref := blobs.RefOf(data)
	return ref, nd.Spread(context.Background(), upload, ref, path)
}

func (nd *node) read(ref blobs.Ref) ([]byte, error) {
	b, err := nd.Open(context.Background(), ref)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(b)
	return data, errors.Join(err, b.Close())
}

func (nd *node) wantRead(ref blobs.Ref, want []byte) {
	nd.mesh.t.Helper()
	got, err := nd.read(ref)
	if err != nil || !bytes.Equal(got, want) {
		nd.mesh.t.Errorf("%s reads %d bytes, %v, want %d", nd.id, len(got), err, len(want))
	}
}

// file is where the node keeps the chunk.
func (nd *node) file(ref blobs.Ref) string {
	return filepath.Join(nd.dir, "blobs", "chunks", ref.String()[:2], ref.String()[2:])
}

func (nd *node) cacheFile(ref blobs.Ref) string {
	return filepath.Join(nd.dir, "cache", "chunks", ref.String()[:2], ref.String()[2:])
}

// setAge makes the node's copy look as if it was used that long ago.
func (nd *node) setAge(ref blobs.Ref, age time.Duration) {
	nd.mesh.t.Helper()
	then := time.Now().Add(-age)
	if err := os.Chtimes(nd.file(ref), then, then); err != nil {
		nd.mesh.t.Fatal(err)
	}
}

// damage flips a bit of the node's copy, and makes it look written just then.
func (nd *node) damage(ref blobs.Ref) {
	t := nd.mesh.t
	t.Helper()
	data, err := os.ReadFile(nd.file(ref))
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)/2] ^= 1
	if err := os.Remove(nd.file(ref)); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(nd.file(ref), data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// testData is so many chunks, of which the last is short.
func testData(chunks int, seed uint64) []byte {
	return blobstest.Bytes((chunks-1)*blobs.ChunkSize+50_000, seed)
}
