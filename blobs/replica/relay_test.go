package replica_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"malla/blobs"
	"malla/blobs/blobstest"
	"malla/blobs/replica"
)

// readers is four nodes of which three have all of the data, and the fourth
// only reads. It waits for all copies.
func readers(t *testing.T, data []byte, change func(cfg *replica.Config)) (m *mesh, outside *node, ref blobs.Ref, refs []blobs.Ref) {
	t.Helper()
	m = newMesh(t, 4, change)
	outside = m.nodes[3]
	outside.set(func(p *replica.Peer) { p.Weight = 0 })
	ref, refs = m.nodes[0].store(data)
	eventually(t, "all copies are made", func() error {
		for _, r := range refs {
			if len(m.having(r)) < 3 {
				return fmt.Errorf("%s is on %v", r.Short(), m.having(r))
			}
		}
		return nil
	})
	return m, outside, ref, refs
}

// gets watches what a mesh's nodes are asked for.
type gets struct {
	mu   sync.Mutex // guards the field below
	from []int64    // where each GET of a chunk begins
}

// watch calls serve, with the number of the request, for each GET of a chunk.
func (g *gets) watch(m *mesh, serve func(n int, w http.ResponseWriter, r *http.Request, next http.Handler)) {
	for _, nd := range m.nodes[:3] {
		nd.onRequest(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			if r.Method != http.MethodGet {
				next.ServeHTTP(w, r)
				return
			}
			from, _ := strconv.ParseInt(strings.Trim(strings.TrimPrefix(r.Header.Get("Range"), "bytes="), "-"), 10, 64)
			g.mu.Lock()
			g.from = append(g.from, from)
			n := len(g.from)
			g.mu.Unlock()
			serve(n, w, r, next)
		})
	}
}

func (g *gets) all() []int64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return append([]int64(nil), g.from...)
}

func TestAChunkGoesOnAtTheNextHolder(t *testing.T) {
	data := blobstest.Bytes(blobs.ChunkSize, 1)
	m, outside, _, refs := readers(t, data, nil)
	const cut = 3 << 20
	var g gets
	g.watch(m, func(n int, w http.ResponseWriter, r *http.Request, next http.Handler) {
		if n == 1 {
			w = &cutting{ResponseWriter: w, left: cut}
		}
		next.ServeHTTP(w, r)
	})
	c, err := outside.OpenChunk(t.Context(), refs[0])
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if got, err := io.ReadAll(c); err != nil || !bytes.Equal(got, data) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	// What was cut off may have lost some on its way, but not all.
	if from := g.all(); len(from) != 2 || from[0] != 0 || from[1] == 0 || from[1] > cut {
		t.Errorf("asked from %v, want the second time from where the first ended", from)
	}
}

func TestWrongBytesInAMixedChunk(t *testing.T) {
	data := blobstest.Bytes(blobs.ChunkSize, 1)
	m, outside, _, refs := readers(t, data, nil)
	var liar atomic.Pointer[string]
	var g gets
	g.watch(m, func(n int, w http.ResponseWriter, r *http.Request, next http.Handler) {
		switch host := r.Host; {
		case n == 1:
			w = &cutting{ResponseWriter: w, left: 1 << 20}
		case n == 2:
			liar.Store(&host)
			fallthrough
		case liar.Load() != nil && *liar.Load() == host:
			w = &lying{w}
		}
		next.ServeHTTP(w, r)
	})
	c, err := outside.OpenChunk(t.Context(), refs[0])
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if got, err := io.ReadAll(c); err != nil || !bytes.Equal(got, data) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

// lying changes what it is written.
type lying struct{ http.ResponseWriter }

func (l *lying) Write(p []byte) (int, error) {
	p = bytes.Clone(p)
	p[0] ^= 1
	return l.ResponseWriter.Write(p)
}

func TestASecondHolderIsAskedBesideASlowOne(t *testing.T) {
	for _, c := range []struct {
		name  string
		after int // bytes
	}{{"before the first byte", 0}, {"in the middle", 2 << 20}} {
		t.Run(c.name, func(t *testing.T) {
			data := blobstest.Bytes(blobs.ChunkSize, 1)
			// A stall would take a minute to be noticed: only asking beside it helps.
			m, outside, _, refs := readers(t, data, func(cfg *replica.Config) {
				cfg.SlowAfter, cfg.Stall, cfg.HedgeAfter = time.Minute, time.Minute, 20*time.Millisecond
			})
			ended := make(chan struct{})
			var g gets
			g.watch(m, func(n int, w http.ResponseWriter, r *http.Request, next http.Handler) {
				if n == 1 {
					w = &stalling{ResponseWriter: w, left: c.after, until: r.Context().Done()}
					defer close(ended)
				}
				next.ServeHTTP(w, r)
			})
			chunk, err := outside.OpenChunk(t.Context(), refs[0])
			if err != nil {
				t.Fatal(err)
			}
			defer chunk.Close()
			if got, err := io.ReadAll(chunk); err != nil || !bytes.Equal(got, data) {
				t.Errorf("%d bytes, %v", len(got), err)
			}
			<-ended // the slow one was told to stop
		})
	}
}

func TestHoldersThatAllHangAreGivenUp(t *testing.T) {
	m, outside, _, refs := readers(t, blobstest.Bytes(5000, 1), func(cfg *replica.Config) {
		cfg.SlowAfter, cfg.Stall = 20*time.Millisecond, 100*time.Millisecond
	})
	var g gets
	g.watch(m, func(_ int, _ http.ResponseWriter, r *http.Request, _ http.Handler) { <-r.Context().Done() })
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	c, err := outside.OpenChunk(ctx, refs[0])
	if err == nil {
		c.Close()
	}
	if !errors.Is(err, blobs.ErrUnavailable) || ctx.Err() != nil {
		t.Errorf("open = %v, %v; want ErrUnavailable", err, ctx.Err())
	}
	if n := len(g.all()); n > 6 { // once in haste, once with patience
		t.Errorf("three holders were asked %d times", n)
	}
}

// stalling sends so many bytes and then nothing until it is told to stop.
type stalling struct {
	http.ResponseWriter
	left  int
	until <-chan struct{}
}

func (s *stalling) Write(p []byte) (int, error) {
	if len(p) > s.left {
		s.ResponseWriter.(http.Flusher).Flush()
		<-s.until
		panic(http.ErrAbortHandler)
	}
	s.left -= len(p)
	return s.ResponseWriter.Write(p)
}

func TestASlowMeshIsNotAskedTwice(t *testing.T) {
	const small = 30
	m := newMesh(t, 4, func(cfg *replica.Config) {
		cfg.HedgeAfter, cfg.SlowAfter = time.Millisecond, time.Minute
	})
	outside := m.nodes[3]
	outside.set(func(p *replica.Peer) { p.Weight = 0 })
	var refs []blobs.Ref
	for i := range small {
		_, stored := m.nodes[0].store(blobstest.Bytes(1000, uint64(i)))
		refs = append(refs, stored[0])
	}
	eventually(t, "all copies are made", func() error {
		for _, r := range refs {
			if len(m.having(r)) < 3 {
				return fmt.Errorf("%s is on %v", r.Short(), m.having(r))
			}
		}
		return nil
	})
	var g gets
	g.watch(m, func(n int, w http.ResponseWriter, r *http.Request, next http.Handler) {
		slow := time.NewTimer(20 * time.Millisecond)
		defer slow.Stop()
		select {
		case <-slow.C:
			next.ServeHTTP(w, r)
		case <-r.Context().Done():
		}
	})
	for _, ref := range refs {
		c, err := outside.OpenChunk(t.Context(), ref)
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
	}
	// Eight in a row where there were none before, then one in twenty.
	if asked := len(g.all()); asked <= small || asked > small+8+small/20+1 {
		t.Errorf("%d chunks were asked for %d times", small, asked)
	}
}

// A cache that is full of damage and much too small must not stop a reader.
func TestReadingThroughATinyCache(t *testing.T) {
	m := newMesh(t, 2, func(cfg *replica.Config) { cfg.Copies = 1 })
	m.nodes[1].set(func(p *replica.Peer) { p.Weight = 0 })
	data := testData(6, 1)
	ref, refs := m.nodes[0].store(data)
	for range 2 {
		m.nodes[1].wantRead(ref, data)
		for _, r := range refs {
			path := m.nodes[1].cacheFile(r)
			if err := os.Chmod(path, 0o600); err == nil {
				if err := os.WriteFile(path, []byte("damage"), 0o600); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
}

func TestManyReadersWithoutRoom(t *testing.T) {
	m := newMesh(t, 2, func(cfg *replica.Config) {
		cfg.Copies = 1
		if cfg.Self == "n1" {
			cfg.Cache = nil
		}
	})
	m.nodes[1].set(func(p *replica.Peer) { p.Weight = 0 })
	m.nodes[1].room.Store(1000) // every chunk goes to memory, of which there is little
	data := testData(3, 1)
	ref, _ := m.nodes[0].store(data)
	var wg sync.WaitGroup
	for range 5 {
		wg.Go(func() { m.nodes[1].wantRead(ref, data) })
	}
	wg.Wait()
}
