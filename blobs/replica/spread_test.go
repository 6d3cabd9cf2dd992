package replica_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"malla/blobs"
	"malla/blobs/blobstest"
	"malla/blobs/replica"
)

// A meshStore is the whole mesh, seen from one node, as a store. Replicas do
// not delete: the test does, on each disk, while nothing is being spread.
type meshStore struct {
	mu sync.RWMutex
	*node
}

func (s *meshStore) Put(ctx context.Context, ref blobs.Ref, r io.Reader) error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	err := s.Replica.Put(ctx, ref, r)
	if err == nil {
		eventually(s.mesh.t, "all copies are made", func() error {
			if have := s.mesh.having(ref); len(have) < 3 {
				return fmt.Errorf("it is on %v", have)
			}
			return nil
		})
	}
	return err
}

func (s *meshStore) Open(ctx context.Context, ref blobs.Ref) (blobs.Chunk, error) {
	return s.OpenChunk(ctx, ref)
}

func (s *meshStore) Stat(ctx context.Context, ref blobs.Ref) (int64, error) {
	c, err := s.OpenChunk(ctx, ref)
	if err != nil {
		return 0, err
	}
	return c.Size(), c.Close()
}

func (s *meshStore) Delete(ctx context.Context, ref blobs.Ref) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	for _, nd := range s.mesh.nodes {
		errs = append(errs, nd.disk.Delete(ctx, ref), nd.cache.Delete(ctx, ref))
	}
	return errors.Join(errs...)
}

func TestReplicaContract(t *testing.T) {
	blobstest.Store(t, func(t *testing.T) blobs.Store {
		m := newMesh(t, 3, func(cfg *replica.Config) { cfg.Cache = nil })
		return &meshStore{node: m.nodes[0]}
	})
}

func TestSpreadReachesTheHolders(t *testing.T) {
	for _, c := range []struct{ nodes, copies, want int }{
		{1, 3, 1}, {2, 3, 2}, {3, 3, 3}, {5, 3, 3}, {5, 1, 1}, {5, 2, 2},
	} {
		t.Run(fmt.Sprintf("%d nodes, %d copies", c.nodes, c.copies), func(t *testing.T) {
			m := newMesh(t, c.nodes, func(cfg *replica.Config) { cfg.Copies, cfg.SlowAfter = c.copies, time.Hour })
			for i := range 5 {
				ref := m.nodes[0].put(blobstest.Bytes(1000, uint64(i)))
				if got := len(m.having(ref)); got < c.want/2+1 {
					t.Errorf("acknowledged with %d copies", got)
				}
				eventually(t, "all holders have it", func() error {
					have := m.having(ref)
					for _, id := range m.holders(ref, c.want) {
						if !slices.Contains(have, id) {
							return fmt.Errorf("%s has none", id)
						}
					}
					return nil
				})
				if extra := len(m.having(ref)) - c.want; extra > 1 {
					t.Errorf("%d copies more than wanted; only the node that took it may have one", extra)
				}
			}
		})
	}
}

func TestSpreadReplacesHoldersThatFail(t *testing.T) {
	for _, c := range []struct {
		name string
		harm func(nd *node)
	}{
		{"dead and known to be", func(nd *node) { nd.die() }},
		{"dead and not yet known to be", func(nd *node) {
			nd.onRequest(func(w http.ResponseWriter, r *http.Request, _ http.Handler) { panic(http.ErrAbortHandler) })
		}},
		{"dying in the middle of the chunk", func(nd *node) {
			nd.onRequest(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
				if r.Method == http.MethodPut {
					io.CopyN(io.Discard, r.Body, 1<<20)
					panic(http.ErrAbortHandler)
				}
				next.ServeHTTP(w, r)
			})
		}},
		{"full and known to be", func(nd *node) { nd.set(func(p *replica.Peer) { p.Full = true }) }},
		{"full and not yet known to be", func(nd *node) { nd.room.Store(1000) }},
		{"draining", func(nd *node) { nd.set(func(p *replica.Peer) { p.Draining = true }) }},
		{"stopped", func(nd *node) { nd.hang() }},
		{"damaging what it is sent", func(nd *node) {
			nd.onRequest(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
				if r.Method == http.MethodPut {
					r.Body = io.NopCloser(io.MultiReader(bytes.NewReader([]byte{0}), io.LimitReader(r.Body, r.ContentLength-1)))
				}
				next.ServeHTTP(w, r)
			})
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := newMesh(t, 5, nil)
			data := blobstest.Bytes(4<<20, 3)
			ref := blobs.RefOf(data)
			holders := m.holders(ref, 3)
			var taker *node // not a holder, so that all three are remote
			for _, nd := range m.nodes {
				if !slices.Contains(holders, nd.id) {
					taker = nd
				}
			}
			bad := m.byID(holders[0])
			c.harm(bad)
			taker.put(data)
			eventually(t, "three nodes have it", func() error {
				if have := m.having(ref); len(have) < 3 || slices.Contains(have, bad.id) {
					return fmt.Errorf("it is on %v", have)
				}
				return nil
			})
		})
	}
}

func TestSpreadSaysWhyItCannot(t *testing.T) {
	full := func(nd *node) { nd.set(func(p *replica.Peer) { p.Full = true }) }
	noRoom := func(nd *node) { nd.room.Store(1000) }
	die := func(nd *node) { nd.die() }
	refuse := func(nd *node) {
		nd.onRequest(func(http.ResponseWriter, *http.Request, http.Handler) { panic(http.ErrAbortHandler) })
	}
	broken := func(nd *node) { nd.set(func(p *replica.Peer) { p.Full, p.GivenUp = true, true }) }
	fine := func(nd *node) {}
	for _, c := range []struct {
		name string
		harm []func(nd *node) // of the nodes but the one that takes it
		want error
	}{
		{"one of three dead", []func(*node){die, fine}, nil},
		{"both others dead", []func(*node){die, die}, blobs.ErrUnavailable},
		{"both others refusing", []func(*node){refuse, refuse}, blobs.ErrUnavailable},
		{"both others full", []func(*node){full, full}, blobs.ErrFull},
		{"both others without room", []func(*node){noRoom, noRoom}, blobs.ErrFull},
		{"one dead, one full", []func(*node){die, full}, blobs.ErrFull},
		{"one full, one fine", []func(*node){full, fine}, nil},
		{"one disk given up", []func(*node){broken, fine}, nil},
		{"both others' disks given up", []func(*node){broken, broken}, blobs.ErrUnavailable},
		{"three of four others dead", []func(*node){die, die, die, fine}, nil},
		{"all four others dead", []func(*node){die, die, die, die}, blobs.ErrUnavailable},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := newMesh(t, 1+len(c.harm), nil)
			for i, harm := range c.harm {
				harm(m.nodes[1+i])
			}
			ref, err := m.nodes[0].tryPut("u", blobstest.Bytes(1000, 1))
			if !errors.Is(err, c.want) {
				t.Fatalf("spread = %v, want %v", err, c.want)
			}
			for _, other := range []error{blobs.ErrFull, blobs.ErrUnavailable} {
				if other != c.want && errors.Is(err, other) {
					t.Errorf("%v is also %v", err, other)
				}
			}
			if err == nil && len(m.having(ref)) < 2 {
				t.Errorf("acknowledged with %v", m.having(ref))
			}
		})
	}
	t.Run("this disk has no room", func(t *testing.T) {
		m := newMesh(t, 3, nil)
		m.nodes[0].room.Store(1000)
		if _, err := m.nodes[0].Reserve(blobs.ChunkSize); !errors.Is(err, blobs.ErrFull) {
			t.Errorf("reserve = %v, want ErrFull", err)
		}
	})
}

func TestAckAllWaitsForEveryCopy(t *testing.T) {
	m := newMesh(t, 5, func(cfg *replica.Config) { cfg.Ack = replica.AckAll })
	for i := range 5 {
		ref := m.nodes[0].put(blobstest.Bytes(1000, uint64(i)))
		if have := m.having(ref); len(have) < 3 {
			t.Errorf("acknowledged with %v", have)
		}
	}
	for _, nd := range m.nodes[3:] {
		nd.die()
	}
	m.nodes[0].put(blobstest.Bytes(1000, 11)) // three are left
	m.nodes[2].die()
	if _, err := m.nodes[0].tryPut("u", blobstest.Bytes(1000, 12)); !errors.Is(err, blobs.ErrUnavailable) {
		t.Errorf("with two nodes of five: %v, want ErrUnavailable", err)
	}
}

func TestAckAllCountsBrokenDisks(t *testing.T) {
	m := newMesh(t, 3, func(cfg *replica.Config) { cfg.Ack = replica.AckAll })
	for _, nd := range m.nodes[1:] {
		nd.set(func(p *replica.Peer) { p.Full, p.GivenUp = true, true })
	}
	if ref, err := m.nodes[0].tryPut("u", blobstest.Bytes(1000, 1)); !errors.Is(err, blobs.ErrUnavailable) {
		t.Errorf("with one disk that works: %v, want ErrUnavailable; it is on %v", err, m.having(ref))
	}
}

func TestACopyOnANodeThatIsEmptiedIsNone(t *testing.T) {
	m := newMesh(t, 3, nil)
	leaving := m.nodes[0]
	leaving.set(func(p *replica.Peer) { p.Draining = true })
	m.nodes[1].die()
	if _, err := leaving.tryPut("u", blobstest.Bytes(1000, 1)); !errors.Is(err, blobs.ErrUnavailable) {
		t.Errorf("with one node that stays: %v, want ErrUnavailable", err)
	}
	m.nodes[1].set(func(p *replica.Peer) { p.Alive = true })
	ref := leaving.put(blobstest.Bytes(1000, 2))
	if have := m.having(ref); len(have) != 3 {
		t.Errorf("acknowledged with %v, want both others to have it", have)
	}
}

func TestSpreadEndsWithItsCaller(t *testing.T) {
	m := newMesh(t, 3, func(cfg *replica.Config) { cfg.SlowAfter, cfg.Stall = 10*time.Millisecond, time.Hour })
	m.nodes[1].hang()
	m.nodes[2].hang()
	data := blobstest.Bytes(1000, 1)
	if _, err := m.nodes[0].disk.PutFor(t.Context(), "", blobs.RefOf(data), bytes.NewReader(data)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := m.nodes[0].Put(ctx, blobs.RefOf(data), bytes.NewReader(data)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("put = %v, want DeadlineExceeded", err)
	}
}

func TestDiscardRemovesOnlyWhatNobodyElseWants(t *testing.T) {
	m := newMesh(t, 3, func(cfg *replica.Config) { cfg.Ack = replica.AckAll })
	a := m.nodes[0]
	own, shared, before := blobstest.Bytes(1000, 1), blobstest.Bytes(1000, 2), blobstest.Bytes(1000, 3)
	a.put(before)
	var refs []blobs.Ref
	for _, data := range [][]byte{own, shared, before} {
		ref, err := a.tryPut("first", data)
		if err != nil {
			t.Fatal(err)
		}
		refs = append(refs, ref)
	}
	// Somebody else uploads the same bytes at another node.
	if _, err := m.nodes[1].tryPut("second", shared); err != nil {
		t.Fatal(err)
	}
	eventually(t, "all copies are made", func() error {
		for _, ref := range refs {
			if len(m.having(ref)) < 3 {
				return fmt.Errorf("%s is on %v", ref.Short(), m.having(ref))
			}
		}
		return nil
	})
	if err := a.Discard(t.Context(), "first", refs); err != nil {
		t.Fatal(err)
	}
	if have := m.having(refs[0]); len(have) != 0 {
		t.Errorf("its own chunk is still on %v", have)
	}
	for _, ref := range refs[1:] {
		if have := m.having(ref); len(have) != 3 {
			t.Errorf("a chunk that others want is only on %v", have)
		}
	}
}

func TestDiscardStopsCopiesOnTheirWay(t *testing.T) {
	m := newMesh(t, 3, func(cfg *replica.Config) { cfg.Stall = time.Hour })
	m.nodes[2].hang()
	ref, err := m.nodes[0].tryPut("u", blobstest.Bytes(1000, 1))
	if err != nil {
		t.Fatal(err)
	}
	m.nodes[2].onRequest(nil)
	if err := m.nodes[0].Discard(t.Context(), "u", []blobs.Ref{ref}); err != nil {
		t.Fatal(err)
	}
	if have := m.having(ref); len(have) != 0 {
		t.Errorf("still on %v", have)
	}
}

func TestConfirmMakesCopiesAgain(t *testing.T) {
	m := newMesh(t, 3, nil)
	data := testData(2, 1)
	ref, refs := m.nodes[0].store(data)
	eventually(t, "all copies are made", func() error {
		for _, r := range refs {
			if len(m.having(r)) < 3 {
				return fmt.Errorf("%s is on %v", r.Short(), m.having(r))
			}
		}
		return nil
	})
	for i, r := range refs {
		m.nodes[i%3].damage(r)
		m.nodes[(i+1)%3].disk.Delete(t.Context(), r)
	}
	if err := m.nodes[0].Confirm(t.Context(), "", append(refs, ref)); err != nil {
		t.Fatal(err)
	}
	for _, r := range refs {
		sound := 0
		for _, nd := range m.nodes {
			if _, err := nd.disk.KeepFor(t.Context(), "", r); err == nil {
				sound++
			}
		}
		if sound < 2 {
			t.Errorf("%s has %d sound copies", r.Short(), sound)
		}
	}
}

func TestHandlerRefusals(t *testing.T) {
	m := newMesh(t, 1, nil)
	nd := m.nodes[0]
	data := blobstest.Bytes(1000, 1)
	ref := blobs.RefOf(data).String()
	type endless struct{ io.Reader } // of unknown length
	for _, c := range []struct {
		name   string
		method string
		path   string
		body   io.Reader
		want   int
	}{
		{"a chunk that is not here", "GET", "/chunks/" + ref, nil, 404},
		{"a head of it", "HEAD", "/chunks/" + ref, nil, 404},
		{"a path that climbs", "GET", "/chunks/..%2f..%2fetc%2fpasswd", nil, 400},
		{"upper case", "GET", "/chunks/" + strings.ToUpper(ref), nil, 400},
		{"a short name", "PUT", "/chunks/abc", strings.NewReader("x"), 400},
		{"other bytes", "PUT", "/chunks/" + ref, bytes.NewReader(data[1:]), 422},
		{"too many bytes", "PUT", "/chunks/" + ref, bytes.NewReader(make([]byte, blobs.ChunkSize+1)), 413},
		{"no length", "PUT", "/chunks/" + ref, endless{bytes.NewReader(data)}, 413},
		{"half a ref", "POST", "/chunks/offer", strings.NewReader("half"), 400},
		{"too many refs", "POST", "/chunks/keep", bytes.NewReader(make([]byte, 17*32)), 400},
		{"an unknown question", "POST", "/chunks/everything", nil, 405},
		{"a deletion", "DELETE", "/chunks/" + ref, nil, 405},
		{"the chunk", "PUT", "/chunks/" + ref, bytes.NewReader(data), 201},
		{"the chunk again", "PUT", "/chunks/" + ref, bytes.NewReader(data), 200},
		{"a head of what is here", "HEAD", "/chunks/" + ref, nil, 200},
	} {
		req, err := http.NewRequestWithContext(t.Context(), c.method, nd.srv.URL+c.path, c.body)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := nd.srv.Client().Do(req)
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		resp.Body.Close()
		if resp.StatusCode != c.want {
			t.Errorf("%s: %d, want %d", c.name, resp.StatusCode, c.want)
		}
	}
	nd.room.Store(1000)
	other := blobstest.Bytes(1000, 2)
	req, _ := http.NewRequestWithContext(t.Context(), "PUT", nd.srv.URL+"/chunks/"+blobs.RefOf(other).String(), bytes.NewReader(other))
	resp, err := nd.srv.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusInsufficientStorage {
		t.Errorf("a full disk: %d, want 507", resp.StatusCode)
	}
}

func BenchmarkSpread(b *testing.B) {
	m := newMesh(b, 3, nil)
	data := blobstest.Bytes(blobs.ChunkSize, 1)
	b.SetBytes(int64(len(data)))
	for i := 0; b.Loop(); i++ {
		data[0], data[1], data[2] = byte(i), byte(i>>8), byte(i>>16)
		m.nodes[0].put(data)
	}
}
