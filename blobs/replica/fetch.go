package replica

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"time"

	"malla/blobs"
)

// OpenChunk returns the chunk, verified, from this node or else from whichever
// holder has it. [blobs.ErrNotFound] where every node said that it has none,
// [blobs.ErrUnavailable] where some could not be asked.
func (r *Replica) OpenChunk(ctx context.Context, ref blobs.Ref) (blobs.Chunk, error) {
	for {
		c, err := r.openHere(ctx, ref)
		if err == nil {
			return c, nil
		}
		if ctx.Err() != nil {
			return nil, err
		}
		if r.cfg.Cache == nil {
			return r.fetch(ctx, ref)
		}
		turn, wait := r.fetches.begin(ref)
		if turn {
			defer r.fetches.end(ref)
			return r.fetch(ctx, ref)
		}
		select {
		case <-wait:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// openHere opens the chunk if this disk has it. A damaged copy is none, and is
// made again behind.
func (r *Replica) openHere(ctx context.Context, ref blobs.Ref) (blobs.Chunk, error) {
	c, err := r.cfg.Local.Open(ctx, ref)
	if err == nil || r.cfg.Cache == nil {
		r.noteDamage(ref, err)
		return c, err
	}
	r.noteDamage(ref, err)
	return r.cfg.Cache.Open(ctx, ref)
}

func (r *Replica) noteDamage(ref blobs.Ref, err error) {
	if errors.Is(err, blobs.ErrCorrupt) {
		r.repair.fetchLater(ref)
	}
}

// fetches lets one caller at a time fetch a chunk, for all who want it.
type fetches struct {
	mu      sync.Mutex                  // guards the field below
	running map[blobs.Ref]chan struct{} // chunk -> closed when that fetch is over
}

// begin gives the caller the turn, or the channel to wait on.
func (f *fetches) begin(ref blobs.Ref) (turn bool, wait <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if done, running := f.running[ref]; running {
		return false, done
	}
	f.running[ref] = make(chan struct{})
	return true, nil
}

func (f *fetches) end(ref blobs.Ref) {
	f.mu.Lock()
	defer f.mu.Unlock()
	close(f.running[ref])
	delete(f.running, ref)
}

// fetch gets the chunk from another node. Where this node is one of its holders
// that makes the missing copy at once, else the copy goes to the cache.
func (r *Replica) fetch(ctx context.Context, ref blobs.Ref) (blobs.Chunk, error) {
	m := r.members()
	keepers := []blobs.Store{r.cfg.Cache}
	if m.holds(ref) {
		keepers = []blobs.Store{r.cfg.Local, r.cfg.Cache}
	}
	return r.fetchInto(ctx, m, ref, keepers)
}

// fetchInto asks one reader after the other and keeps the chunk in the first
// of the stores that has room, or in memory. Readers that are only slow are
// asked again, with more patience, after all others.
func (r *Replica) fetchInto(ctx context.Context, m members, ref blobs.Ref, keepers []blobs.Store) (blobs.Chunk, error) {
	var errs []error
	unsure := map[string]bool{} // nodes that may have it for all they said
	for _, p := range m.nodes {
		if !p.Alive {
			unsure[p.ID] = true
		}
	}
	readers := r.slow.last(m.readers(ref))
	for _, patience := range []time.Duration{r.cfg.SlowAfter, r.cfg.Stall} {
		var stalled []string
		for _, node := range readers {
			c, err := r.fetchFrom(ctx, patience, node, ref, keepers)
			if err == nil {
				r.slow.note(node, false)
				return c, nil
			}
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			if errors.Is(err, blobs.ErrNotFound) {
				delete(unsure, node)
			} else {
				unsure[node] = true
				r.slow.note(node, true)
				r.cfg.Logger.Warn("holder passed by", "node", node, "ref", ref.String(), "err", err)
			}
			if errors.Is(err, errStalled) {
				stalled = append(stalled, node)
			}
			errs = append(errs, err)
		}
		readers = stalled
	}
	if len(unsure) == 0 {
		return nil, fmt.Errorf("%w: %s on %d nodes", blobs.ErrNotFound, ref.Short(), len(m.nodes))
	}
	return nil, fmt.Errorf("%w: chunk %s: %v", blobs.ErrUnavailable, ref.Short(), errors.Join(errs...))
}

func (r *Replica) fetchFrom(ctx context.Context, patience time.Duration, node string, ref blobs.Ref, keepers []blobs.Store) (c blobs.Chunk, err error) {
	err = r.peers.get(ctx, patience, node, ref, func(body *kicked) (err error) {
		c, err = r.receive(ctx, ref, body, keepers)
		return err
	})
	return c, err
}

// slowFor is how long a node that failed a read is asked after the others.
const slowFor = 30 * time.Second

// slow remembers which nodes failed a short while ago: a reader that waits for
// a dead one before each chunk would stutter until everybody knows.
type slow struct {
	mu    sync.Mutex           // guards the field below
	since map[string]time.Time // node -> when it failed last
}

func (s *slow) note(node string, failed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if failed {
		s.since[node] = time.Now()
	} else {
		delete(s.since, node)
	}
}

// last moves the nodes that failed lately behind the others.
func (s *slow) last(nodes []string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	failed := func(node string) int {
		if time.Since(s.since[node]) < slowFor {
			return 1
		}
		return 0
	}
	slices.SortStableFunc(nodes, func(a, b string) int { return failed(a) - failed(b) })
	return nodes
}

// receive keeps the arriving bytes in the first store with room and opens them.
func (r *Replica) receive(ctx context.Context, ref blobs.Ref, body *kicked, keepers []blobs.Store) (blobs.Chunk, error) {
	for _, s := range keepers {
		if s == nil {
			continue
		}
		err := s.Put(ctx, ref, body)
		if err == nil {
			return s.Open(ctx, ref)
		}
		if !blobs.TakesNone(err) || body.n > 0 {
			return nil, err
		}
	}
	return r.receiveInMemory(ctx, ref, body)
}

// A memoryChunk is a chunk that no disk of this node had room for.
type memoryChunk struct {
	*bytes.Reader
	free func()
}

func (c memoryChunk) Close() error {
	c.free()
	return nil
}

func (r *Replica) receiveInMemory(ctx context.Context, ref blobs.Ref, body *kicked) (blobs.Chunk, error) {
	select {
	case r.memory <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	free := sync.OnceFunc(func() { <-r.memory })
	data, err := io.ReadAll(io.LimitReader(body, blobs.ChunkSize+1))
	if err == nil && blobs.RefOf(data) != ref {
		err = fmt.Errorf("%w: %s", blobs.ErrCorrupt, ref.Short())
	}
	if err != nil {
		free()
		return nil, err
	}
	return memoryChunk{bytes.NewReader(data), free}, nil
}

// fileOf returns the chunk's file where it has one, which the kernel can send
// without a copy, else the chunk.
func fileOf(c blobs.Chunk) io.Reader {
	if f, ok := c.(interface{ File() *os.File }); ok {
		return f.File()
	}
	return c
}
