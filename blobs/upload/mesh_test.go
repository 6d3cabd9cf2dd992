package upload

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"malla/blobs"
	"malla/blobs/blobstest"
)

// A mesh is some stores in this process that keep each other's records over
// real sockets. Their chunks are in one folder: what is spread, all can read.
type mesh struct {
	t     *testing.T
	dest  *folder
	nodes []*meshNode
}

type meshNode struct {
	*Store
	mesh *mesh
	id   string
	dir  string
	srv  *httptest.Server

	runs sync.RWMutex // held while requests are answered

	mu   sync.Mutex // guards the fields below
	cut  bool       // cannot be reached and reaches nobody
	gone bool       // and the others know
}

func newMesh(t *testing.T, n int) *mesh {
	t.Helper()
	m := &mesh{t: t, dest: newFolder(t)}
	for i := range n {
		nd := &meshNode{mesh: m, id: fmt.Sprintf("n%d", i), dir: t.TempDir()}
		m.nodes = append(m.nodes, nd)
	}
	for _, nd := range m.nodes {
		nd.open()
		nd.srv = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			nd.runs.RLock()
			defer nd.runs.RUnlock()
			nd.Handler().ServeHTTP(w, r)
		}))
		t.Cleanup(func() {
			nd.srv.CloseClientConnections()
			nd.srv.Close()
			nd.Store.Close()
		})
	}
	return m
}

// open starts the node's store, as after a restart.
func (nd *meshNode) open() {
	nd.mesh.t.Helper()
	nd.runs.Lock() // one store at a time has the folder
	defer nd.runs.Unlock()
	if nd.Store != nil {
		nd.Store.Close()
	}
	s, err := Open(Config{Dir: nd.dir, Dest: nd.mesh.dest, Self: nd.id, Peers: nd, Copies: 3, Patience: 5 * time.Second})
	if err != nil {
		nd.mesh.t.Fatal(err)
	}
	nd.Store = s
}

func (nd *meshNode) set(cut, gone bool) {
	nd.mu.Lock()
	defer nd.mu.Unlock()
	nd.cut, nd.gone = cut, gone
}

func (nd *meshNode) isCut() bool {
	nd.mu.Lock()
	defer nd.mu.Unlock()
	return nd.cut
}

// Nodes implements Peers.
func (nd *meshNode) Nodes() []Peer {
	var all []Peer
	for _, n := range nd.mesh.nodes {
		n.mu.Lock()
		alive := !n.gone
		n.mu.Unlock()
		all = append(all, Peer{Holder: blobs.Holder{ID: n.id, Weight: 1}, Alive: alive, Takes: alive})
	}
	return all
}

// Do implements Peers.
func (nd *meshNode) Do(ctx context.Context, node string, req *http.Request) (*http.Response, error) {
	for _, n := range nd.mesh.nodes {
		if n.id != node {
			continue
		}
		if nd.isCut() || n.isCut() {
			return nil, errors.New("connection refused")
		}
		req = req.Clone(ctx)
		req.URL.Scheme, req.URL.Host = "http", n.srv.Listener.Addr().String()
		return n.srv.Client().Do(req)
	}
	return nil, errors.New("no such node")
}

// find wants the node itself to go on with the upload.
func (nd *meshNode) find(id string) Info {
	nd.mesh.t.Helper()
	i, at, err := nd.Find(nd.mesh.t.Context(), id, "ana")
	if err != nil || at != "" {
		nd.mesh.t.Fatalf("find at %s: at %q, %v", nd.id, at, err)
	}
	return i
}

func (nd *meshNode) finish(id string, want []byte) {
	nd.mesh.t.Helper()
	blob, err := nd.Finish(nd.mesh.t.Context(), id)
	if err != nil {
		nd.mesh.t.Fatal(err)
	}
	if !bytes.Equal(nd.mesh.dest.content(nd.mesh.t, blob), want) {
		nd.mesh.t.Error("the bytes came back different")
	}
}

// wantRecords waits until exactly so many nodes have a record of the upload.
func (m *mesh) wantRecords(id string, want int) {
	m.t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for {
		n := 0
		for _, nd := range m.nodes {
			if _, err := os.Stat(nd.journal(id)); err == nil {
				n++
			}
		}
		if n == want {
			return
		}
		if time.Now().After(deadline) {
			m.t.Fatalf("%d nodes have the record, want %d", n, want)
		}
		<-time.After(5 * time.Millisecond)
	}
}

func TestAnotherNodeGoesOn(t *testing.T) {
	const size = 4*blobs.ChunkSize + 4321
	data := blobstest.Bytes(size, 1)
	m := newMesh(t, 3)
	a, b, c := m.nodes[0], m.nodes[1], m.nodes[2]
	id := create(t, a.Store, size)
	const sent = 2*blobs.ChunkSize + 100_000
	appendAll(t, a.Store, id, 0, data[:sent])
	if _, at, err := b.Find(t.Context(), id, "ana"); err != nil || at != a.id {
		t.Fatalf("while its node lives, b sends to %q, %v", at, err)
	}
	if _, _, err := b.Find(t.Context(), id, "bob"); !errors.Is(err, ErrNotFound) {
		t.Errorf("somebody else's find = %v", err)
	}

	a.set(true, false) // dies, and nobody knows yet
	i := b.find(id)
	if i.Offset < sent-blobs.ChunkSize || i.Offset%blobs.ChunkSize != 0 || i.Owner != "ana" || i.Size != size || i.Meta["filename"] != "a.mp4" {
		t.Fatalf("b goes on at %+v", i)
	}
	appendAll(t, b.Store, id, i.Offset, data[i.Offset:3*blobs.ChunkSize+5])

	// The first one comes back, as if it had only been cut off.
	a.set(false, false)
	if _, err := a.Append(t.Context(), id, sent, bytes.NewReader(data[sent:])); !errors.Is(err, ErrMoved) {
		t.Errorf("append at a = %v, want ErrMoved", err)
	}
	if _, at, err := a.Find(t.Context(), id, "ana"); err != nil || at != b.id {
		t.Errorf("a sends to %q, %v", at, err)
	}
	// And then as after a restart.
	a.open()
	if _, err := a.Append(t.Context(), id, sent, bytes.NewReader(data[sent:])); !errors.Is(err, ErrMoved) {
		t.Errorf("append at a after its restart = %v, want ErrMoved", err)
	}
	if _, at, err := a.Find(t.Context(), id, "ana"); err != nil || at != b.id {
		t.Errorf("a sends to %q, %v", at, err)
	}
	at := offset(t, b.Store, id)
	appendAll(t, b.Store, id, at, data[at:])
	b.finish(id, data)

	// Who finishes at a third node gets the same blob, and does nothing twice.
	b.set(true, false)
	c.find(id)
	c.finish(id, data)
	if err := c.SetNamed(t.Context(), id, Named{"m1", "a.mp4"}); err != nil {
		t.Fatal(err)
	}
	if i := a.named(id); i.Named.Media != "m1" {
		t.Errorf("a says %+v", i)
	}
	for range c.Held {
		t.Error("chunks that the library names are held")
	}
}

func (nd *meshNode) named(id string) Info {
	nd.mesh.t.Helper()
	i, _, err := nd.Find(nd.mesh.t.Context(), id, "ana")
	if err != nil {
		nd.mesh.t.Fatal(err)
	}
	return i
}

func TestARestartedNodeKeepsItsPart(t *testing.T) {
	const size = 2 * blobs.ChunkSize
	data := blobstest.Bytes(size, 1)
	m := newMesh(t, 3)
	a := m.nodes[0]
	id := create(t, a.Store, size)
	const sent = blobs.ChunkSize + 500_000
	appendAll(t, a.Store, id, 0, data[:sent])
	a.open()
	if i := a.find(id); i.Offset != sent {
		t.Fatalf("offset = %d, want %d", i.Offset, sent)
	}
	appendAll(t, a.Store, id, sent, data[sent:])
	a.finish(id, data)
}

func TestAStepCountsOnlyWhereEnoughKnowIt(t *testing.T) {
	const size = 3 * blobs.ChunkSize
	data := blobstest.Bytes(size, 1)
	m := newMesh(t, 3)
	a := m.nodes[0]
	m.nodes[1].set(true, false)
	m.nodes[2].set(true, false)
	if _, err := a.Create(t.Context(), New{Owner: "ana", Size: size}); !errors.Is(err, blobs.ErrUnavailable) {
		t.Fatalf("create = %v, want ErrUnavailable", err)
	}
	wantEmpty(t, a.dir)
	m.nodes[1].set(false, false)
	id := create(t, a.Store, size)
	appendAll(t, a.Store, id, 0, data[:blobs.ChunkSize+1])
	m.nodes[1].set(true, false)
	_, err := a.Append(t.Context(), id, blobs.ChunkSize+1, bytes.NewReader(data[blobs.ChunkSize+1:]))
	if !errors.Is(err, blobs.ErrUnavailable) {
		t.Fatalf("append = %v, want ErrUnavailable", err)
	}
	if _, _, err := a.Find(t.Context(), id, "ana"); !errors.Is(err, blobs.ErrUnavailable) {
		t.Errorf("find = %v: an offset was told that nobody else knows", err)
	}
	m.nodes[2].set(false, false) // has none of it yet
	i := a.find(id)
	appendAll(t, a.Store, id, i.Offset, data[i.Offset:])
	a.set(true, true)
	m.nodes[1].set(false, false)
	if i := m.nodes[2].find(id); i.Offset < size-blobs.ChunkSize {
		t.Errorf("the node that missed the first steps goes on at %d", i.Offset)
	}
}

func TestADeadKeeperIsReplaced(t *testing.T) {
	m := newMesh(t, 5)
	a := m.nodes[0]
	data := blobstest.Bytes(2*blobs.ChunkSize, 1)
	id := create(t, a.Store, int64(len(data)))
	appendAll(t, a.Store, id, 0, data[:blobs.ChunkSize+1])
	u, err := a.get(id)
	if err != nil {
		t.Fatal(err)
	}
	first := a.claim(u).Taken
	for _, nd := range m.nodes {
		if slices.Contains(first.Keepers[1:], nd.id) {
			nd.set(true, true)
		}
	}
	a.find(id)
	now := a.claim(u).Taken
	if now.compare(first.token) <= 0 || len(now.Keepers) != 3 || slices.Contains(now.Keepers, first.Keepers[1]) || slices.Contains(now.Keepers, first.Keepers[2]) {
		t.Errorf("kept by %+v, after %+v", now, first)
	}
	a.set(true, true)
	for _, nd := range m.nodes {
		if nd.id == now.Keepers[1] {
			if i := nd.find(id); i.Offset != blobs.ChunkSize {
				t.Errorf("goes on at %d", i.Offset)
			}
		}
	}
}

func TestTerminatedUploadsLeaveNoRecord(t *testing.T) {
	m := newMesh(t, 3)
	a, b := m.nodes[0], m.nodes[1]
	for _, end := range []func(id string) error{
		func(id string) error { return a.Terminate(t.Context(), id) },
		func(id string) error { return a.Discard(t.Context(), id) },
		func(id string) error { return a.Forget(id) },
	} {
		id := create(t, a.Store, 2*blobs.ChunkSize)
		appendAll(t, a.Store, id, 0, blobstest.Bytes(blobs.ChunkSize+10, 1))
		m.wantRecords(id, 3)
		b.wantHeld(1)
		if err := end(id); err != nil {
			t.Fatal(err)
		}
		m.wantRecords(id, 0)
		if _, _, err := b.Find(t.Context(), id, "ana"); !errors.Is(err, ErrNotFound) {
			t.Errorf("find = %v", err)
		}
	}
}

func TestRecordsExpire(t *testing.T) {
	m := newMesh(t, 3)
	a, b := m.nodes[0], m.nodes[1]
	id := create(t, a.Store, 2*blobs.ChunkSize)
	appendAll(t, a.Store, id, 0, blobstest.Bytes(blobs.ChunkSize+10, 1))
	m.wantRecords(id, 3)
	b.wantHeld(1)
	a.set(true, true)
	if n := b.Expire(t.Context(), time.Now().Add(25*time.Hour)); n != 1 {
		t.Errorf("%d records expired, want 1", n)
	}
	wantEmpty(t, b.dir)
	b.wantHeld(0)
	if len(m.dest.discarded[id]) != 0 {
		t.Error("a node that only keeps the record removed chunks")
	}
}

func TestTwoNodesTakeAtOnce(t *testing.T) {
	m := newMesh(t, 5)
	a := m.nodes[0]
	data := blobstest.Bytes(3*blobs.ChunkSize, 1)
	id := create(t, a.Store, int64(len(data)))
	appendAll(t, a.Store, id, 0, data[:blobs.ChunkSize+1])
	a.set(true, true)
	var all sync.WaitGroup
	for _, nd := range m.nodes[1:] {
		all.Go(func() { nd.Find(t.Context(), id, "ana") }) // some are refused
	}
	all.Wait()
	// Whoever is asked now, they agree.
	var owner string
	for _, nd := range m.nodes[1:] {
		_, at, err := nd.Find(t.Context(), id, "ana")
		if err != nil {
			t.Fatalf("%s: %v", nd.id, err)
		}
		if at == "" {
			at = nd.id
		}
		if owner == "" {
			owner = at
		}
		if at != owner {
			t.Errorf("%s sends to %s, others to %s", nd.id, at, owner)
		}
	}
}

// TestUploadsGoOnWhateverHappens breaks and heals nodes at random while a
// client sends to any of them, as clients do: ask for the offset, send from it.
func TestUploadsGoOnWhateverHappens(t *testing.T) {
	for seed := range uint64(3) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		m := newMesh(t, 4)
		const size = 6*blobs.ChunkSize + 99
		data := blobstest.Bytes(size, seed)
		id := create(t, m.nodes[0].Store, size)
		safe, down := int64(0), -1 // acknowledged in whole chunks; one node at most is down
		done := false
		for turn := 0; !done; turn++ {
			if turn > 400 {
				t.Fatalf("seed %d: no end, at %d", seed, safe)
			}
			switch k := rnd.IntN(len(m.nodes)); rnd.IntN(4) {
			case 0:
				if down < 0 {
					m.nodes[k].set(true, rnd.IntN(2) == 0)
					down = k
				}
			case 1:
				if down >= 0 {
					m.nodes[down].set(false, false)
					down = -1
				}
			case 2:
				m.nodes[k].open()
			}
			nd := m.nodes[rnd.IntN(len(m.nodes))]
			if nd.isCut() {
				continue
			}
			i, at, err := nd.Find(t.Context(), id, "ana")
			if err != nil {
				if !errors.Is(err, blobs.ErrUnavailable) && !errors.Is(err, ErrMoved) {
					t.Fatalf("seed %d: find = %v", seed, err)
				}
				continue
			}
			if at != "" {
				for _, n := range m.nodes {
					if n.id == at {
						nd = n
					}
				}
				i, err = nd.Get(id)
				if nd.isCut() || err != nil {
					continue
				}
			}
			if i.Offset < safe {
				t.Fatalf("seed %d, turn %d: goes on at %d, but %d was safe", seed, turn, i.Offset, safe)
			}
			end := min(size, i.Offset+rnd.Int64N(2*blobs.ChunkSize))
			if _, err = nd.Append(t.Context(), id, i.Offset, bytes.NewReader(data[i.Offset:end])); err == nil {
				safe = max(safe, end/blobs.ChunkSize*blobs.ChunkSize-blobs.ChunkSize) // the last one may be in flight
			}
			if err == nil && end == size {
				if blob, err := nd.Finish(t.Context(), id); err == nil {
					done = true
					if !bytes.Equal(m.dest.content(t, blob), data) {
						t.Errorf("seed %d: the bytes came back different", seed)
					}
				}
			}
		}
	}
}

func TestOthersRecordsAreNotBelieved(t *testing.T) {
	m := newMesh(t, 2)
	a, b := m.nodes[0], m.nodes[1]
	id := create(t, a.Store, 100)
	journal, err := os.ReadFile(a.journal(id))
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		name   string
		id     string
		token  token
		from   string
		body   []byte
		status int
	}{
		{"a smaller token", id, token{0, "zz"}, "0", journal, 409},
		{"lines of another place", id, token{1, a.id}, "7", journal, 412},
		{"the same lines again", id, token{1, a.id}, "0", journal, 412},
		{"a record that does not say who goes on", id, token{9, "n9"}, "0", journal, 400},
		{"no record", "other", token{9, "n9"}, "0", []byte("what is this\n"), 400},
		{"half a line", "other", token{1, a.id}, "0", journal[:len(journal)-3], 400},
		{"nothing", "other", token{1, a.id}, "0", nil, 400},
		{"an id that is a path", "..%2fx", token{1, a.id}, "0", journal, 400},
		{"lines from before the first", id, token{1, a.id}, "-1", journal, 400},
	} {
		req, err := http.NewRequest("PUT", b.srv.URL+"/uploads/"+row.id, bytes.NewReader(row.body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set(genHeader, fmt.Sprint(row.token.Gen))
		req.Header.Set(nodeHeader, row.token.Node)
		req.Header.Set(fromHeader, row.from)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != row.status {
			t.Errorf("%s: %d, want %d", row.name, resp.StatusCode, row.status)
		}
	}
	if i, at, err := b.Find(t.Context(), id, "ana"); err != nil || at != a.id || i.Size != 100 {
		t.Errorf("afterwards %+v at %q, %v", i, at, err)
	}
	if _, err := b.get("other"); err == nil {
		t.Error("a refused record is known")
	}
}
