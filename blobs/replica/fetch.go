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
	return r.openChunk(ctx, ref, r.memory.wait)
}

// openChunk is OpenChunk with how a place in memory is got where no disk has
// room.
func (r *Replica) openChunk(ctx context.Context, ref blobs.Ref, place placer) (blobs.Chunk, error) {
	for {
		c, err := r.openHere(ctx, ref)
		if err == nil {
			return c, nil
		}
		if ctx.Err() != nil {
			return nil, err
		}
		if r.cfg.Cache == nil {
			return r.fetch(ctx, ref, place)
		}
		turn, wait := r.fetches.begin(ref)
		if turn {
			defer r.fetches.end(ref)
			return r.fetch(ctx, ref, place)
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

// A want is a chunk that is fetched from other nodes.
type want struct {
	ref     blobs.Ref
	keepers []blobs.Store // it goes to the first of them that takes it
	place   placer        // for a place in memory where none does
	way     way
	refused error // why the last keeper did not take it
}

// errKeeper tells that a store of this node failed, not the node that sent.
var errKeeper = errors.New("not kept")

// fetch gets the chunk from another node. Where this node is one of its holders
// that makes the missing copy at once, else the copy goes to the cache.
func (r *Replica) fetch(ctx context.Context, ref blobs.Ref, place placer) (blobs.Chunk, error) {
	m := r.members()
	w := want{ref: ref, place: place, way: quick}
	if m.holds(ref) {
		w.keepers = append(w.keepers, r.cfg.Local)
	}
	if r.cfg.Cache != nil {
		w.keepers = append(w.keepers, r.cfg.Cache)
	}
	r.hedges.earn()
	return r.fetchInto(ctx, m, w)
}

// fetchInto reads the chunk from whichever nodes have it. Where the bytes are
// wrong, those that sent them are not asked again.
func (r *Replica) fetchInto(ctx context.Context, m members, w want) (blobs.Chunk, error) {
	readers := m.readers(w.ref)
	for {
		l := r.newRelay(ctx, m, w.ref, readers, w.way)
		c, err := r.receive(ctx, &w, l)
		l.stop()
		switch {
		case err == nil:
			for _, node := range l.sources {
				r.slow.note(node, false)
			}
			return c, nil
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case errors.Is(err, errNoReader):
			return nil, l.failure(len(m.nodes))
		case errors.Is(err, errKeeper): // the next one has fewer
		case len(l.sources) == 0:
			return nil, err
		case len(l.sources) > 1:
			w.way = alone // one of them sent wrong bytes
		default:
			node := l.sources[0]
			r.slow.note(node, true)
			r.cfg.Logger.Warn("holder passed by", "node", node, "ref", w.ref.String(), "err", err)
			readers = slices.DeleteFunc(readers, func(id string) bool { return id == node })
			if len(readers) == 0 {
				return nil, fmt.Errorf("%w: chunk %s: %w", blobs.ErrUnavailable, w.ref.Short(), err)
			}
		}
	}
}

// failure is why no node sent the chunk.
func (l *relay) failure(nodes int) error {
	if len(l.unsure) == 0 {
		return fmt.Errorf("%w: %s on %d nodes", blobs.ErrNotFound, l.ref.Short(), nodes)
	}
	return fmt.Errorf("%w: chunk %s: %v", blobs.ErrUnavailable, l.ref.Short(), errors.Join(l.errs...))
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

// receive keeps the arriving bytes in the first store that takes them, and
// opens them. A store that took some and failed is not tried again.
func (r *Replica) receive(ctx context.Context, w *want, body *relay) (blobs.Chunk, error) {
	for len(w.keepers) > 0 {
		s := w.keepers[0]
		err := s.Put(ctx, w.ref, body)
		if err == nil {
			c, err := s.Open(ctx, w.ref)
			if err == nil {
				return c, nil
			}
			// A small cache may have dropped it already: memory does not.
			w.keepers, w.refused = w.keepers[1:], err
			return nil, fmt.Errorf("%w: %w", errKeeper, err)
		}
		if body.over != nil && body.over != io.EOF || errors.Is(err, blobs.ErrCorrupt) || errors.Is(err, blobs.ErrTooLarge) {
			return nil, err // it is not the store that failed
		}
		w.keepers, w.refused = w.keepers[1:], err
		if body.n > 0 {
			return nil, fmt.Errorf("%w: %w", errKeeper, err)
		}
	}
	return w.receiveInMemory(ctx, body)
}

func (w *want) receiveInMemory(ctx context.Context, body *relay) (blobs.Chunk, error) {
	free, err := w.place(ctx)
	if err != nil {
		return nil, errors.Join(err, w.refused)
	}
	data, err := io.ReadAll(io.LimitReader(body, blobs.ChunkSize+1))
	if err == nil && blobs.RefOf(data) != w.ref {
		err = fmt.Errorf("%w: %s", blobs.ErrCorrupt, w.ref.Short())
	}
	if err != nil {
		free()
		return nil, err
	}
	return memoryChunk{bytes.NewReader(data), free}, nil
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

// places has one token for each chunk that may be held in memory.
type places chan struct{}

// A placer gets a place, which free gives back.
type placer func(context.Context) (free func(), err error)

// errNoPlace tells that a chunk is not kept in memory.
var errNoPlace = errors.New("no place in memory")

// wait is a placer for who needs the chunk next and holds no other place.
func (p places) wait(ctx context.Context) (free func(), err error) {
	select {
	case p <- struct{}{}:
		return sync.OnceFunc(func() { <-p }), nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// nowhere is a placer for who wants the chunk on a disk or not at all.
func nowhere(context.Context) (free func(), err error) { return nil, errNoPlace }

// try is a placer for who may need the chunk later. It never waits: all places
// could go to chunks that nobody gets to reading.
func (p places) try(context.Context) (free func(), err error) {
	select {
	case p <- struct{}{}:
		return sync.OnceFunc(func() { <-p }), nil
	default:
		return nil, errNoPlace
	}
}

// fileOf returns the chunk's file where it has one, which the kernel can send
// without a copy, else the chunk.
func fileOf(c blobs.Chunk) io.Reader {
	if f, ok := c.(interface{ File() *os.File }); ok {
		return f.File()
	}
	return c
}
