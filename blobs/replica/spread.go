package replica

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"
	"time"

	"malla/blobs"
)

// Spread takes over the file at path as the chunk named ref and returns when as
// many of its copies as [Config].Ack asks for are durable on distinct nodes, of
// which this one is the first; the other copies are made behind. The caller has hashed the bytes as
// it wrote them. On an error the chunk may be on some nodes: Discard it.
//
// [blobs.ErrFull] tells that this disk, or too many others, have no room;
// [blobs.ErrUnavailable] that too few nodes can be reached.
func (r *Replica) Spread(ctx context.Context, upload string, ref blobs.Ref, path string) error {
	if _, err := r.cfg.Local.Adopt(ctx, upload, ref, path); err != nil {
		return err
	}
	return r.spread(ctx, upload, ref)
}

// Put reads the chunk named ref from r and spreads it as Spread does.
func (r *Replica) Put(ctx context.Context, ref blobs.Ref, from io.Reader) error {
	if _, err := r.cfg.Local.PutFor(ctx, "", ref, from); err != nil {
		return err
	}
	return r.spread(ctx, "", ref)
}

// spread copies the chunk, which is on this disk, to its other holders.
func (r *Replica) spread(ctx context.Context, upload string, ref blobs.Ref) error {
	sp := r.newSpreading(ctx, upload, ref)
	if sp.want == 0 {
		return nil
	}
	if !r.begin(sp) {
		return fmt.Errorf("%w: this node is closing", blobs.ErrUnavailable)
	}
	select {
	case err := <-sp.acked:
		if err != nil {
			<-sp.done
			return err
		}
	case <-ctx.Done():
		r.windDown(sp)
		return context.Cause(ctx)
	}
	// Back-pressure: where too many spreads go on behind, this one is waited for.
	select {
	case r.behind <- struct{}{}:
		sp.leave()
	case <-sp.done:
	case <-ctx.Done():
	}
	return nil
}

// windDown ends the spreads, after letting what is nearly there arrive: a copy
// that is stopped between its last byte and its answer would come to be after
// it was discarded.
func (r *Replica) windDown(all ...*spreading) {
	late := time.NewTimer(r.cfg.SlowAfter)
	defer late.Stop()
	for _, sp := range all {
		select {
		case <-sp.done:
		case <-late.C:
			late.Reset(0) // for the others too
		}
		sp.cancel()
		<-sp.done
	}
}

// begin starts sp unless the Replica is closed. Close and Discard find it.
func (r *Replica) begin(sp *spreading) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		sp.cancel()
		return false
	}
	if r.spreads[sp.upload] == nil {
		r.spreads[sp.upload] = map[*spreading]struct{}{}
	}
	r.spreads[sp.upload][sp] = struct{}{}
	r.wg.Go(func() {
		sp.run()
		r.mu.Lock()
		delete(r.spreads[sp.upload], sp)
		if len(r.spreads[sp.upload]) == 0 {
			delete(r.spreads, sp.upload)
		}
		r.mu.Unlock()
		close(sp.done)
		sp.release(r.behind)
	})
	return true
}

// A spreading is one chunk on its way to its other holders.
type spreading struct {
	r       *Replica
	upload  string
	ref     blobs.Ref
	targets []string // other nodes, best first
	want    int      // copies to make on them
	need    int      // of those, before the answer
	here    int      // copies on this node: one, or none where those do not count
	full    int      // live nodes that were passed by because they are full

	ctx    context.Context
	cancel context.CancelFunc
	acked  chan error    // gets one value: nil as soon as need is met
	done   chan struct{} // closed when nothing goes on any more

	mu   sync.Mutex // guards the field below
	left bool       // whether it holds a token of behind
}

func (r *Replica) newSpreading(ctx context.Context, upload string, ref blobs.Ref) *spreading {
	m := r.members()
	sp := &spreading{
		r: r, upload: upload, ref: ref,
		here:  1,
		full:  len(m.others(func(p Peer) bool { return p.Full && p.keeps() })),
		acked: make(chan error, 1),
		done:  make(chan struct{}),
	}
	if m.draining() {
		sp.here = 0
	}
	sp.need = m.acks(r.cfg.Ack) - sp.here
	for i, id := range m.writers(ref) {
		if id == m.self {
			continue
		}
		sp.targets = append(sp.targets, id)
		if i < m.copies {
			sp.want++
		}
	}
	// Full and dead holders are stood in for; the copy here counts.
	sp.want = max(sp.want, sp.need)
	// It outlives the request that began it, not its Replica.
	sp.ctx, sp.cancel = context.WithCancel(context.WithoutCancel(ctx))
	return sp
}

// run pushes to want nodes at once and replaces each that fails or is slow by
// the next.
func (sp *spreading) run() {
	defer sp.cancel()
	type outcome struct {
		node string
		err  error
	}
	results := make(chan outcome, len(sp.targets))
	slow := time.NewTicker(sp.r.cfg.SlowAfter)
	defer slow.Stop()
	var errs []error
	made, running, extra, next := 0, 0, 0, 0
	if sp.need == 0 {
		sp.answer(nil)
	}
	for {
		for ; made+running < sp.want+extra && next < len(sp.targets) && sp.ctx.Err() == nil; next++ {
			node := sp.targets[next]
			running++
			go func() { results <- outcome{node, sp.push(node)} }()
		}
		if running == 0 {
			break
		}
		select {
		case out := <-results:
			running--
			if out.err == nil {
				made++
			} else if sp.ctx.Err() == nil {
				errs = append(errs, out.err)
				sp.r.cfg.Logger.Warn("holder passed by", "node", out.node, "ref", sp.ref.String(), "err", out.err)
			}
		case <-slow.C:
			extra++
		}
		if made == sp.need {
			sp.answer(nil)
		}
		if made >= sp.want {
			sp.cancel() // those that were only slow are not needed any more
		}
	}
	if made < sp.need {
		sp.answer(sp.shortage(made, errs))
	}
}

// answer settles what Spread returns; only the first one counts.
func (sp *spreading) answer(err error) {
	select {
	case sp.acked <- err:
	default:
	}
}

func (sp *spreading) push(node string) error {
	there := false
	note := func(_ blobs.Ref, yes bool) { there = yes }
	if err := sp.r.peers.ask(sp.ctx, node, keep, sp.upload, []blobs.Ref{sp.ref}, note); err != nil || there {
		return err
	}
	c, err := sp.r.cfg.Local.Open(sp.ctx, sp.ref)
	if err != nil {
		return err
	}
	defer c.Close()
	return sp.r.peers.put(sp.ctx, node, sp.upload, sp.ref, c)
}

// shortage says why too few copies could be made: the disks are to blame if
// there would have been enough with room on all of them.
func (sp *spreading) shortage(made int, errs []error) error {
	kind := blobs.ErrUnavailable
	full := sp.full
	for _, err := range errs {
		if errors.Is(err, blobs.ErrFull) {
			full++
		}
	}
	if full > 0 && made+full >= sp.need {
		kind = blobs.ErrFull
	}
	// The causes as text: a peer's ErrFull must not make this one look full.
	return fmt.Errorf("%w: chunk %s has %d of %d copies: %v", kind, sp.ref.Short(), made+sp.here, sp.need+sp.here, errors.Join(errs...))
}

// leave notes that sp took a token of behind, which its end gives back.
func (sp *spreading) leave() {
	sp.mu.Lock()
	defer sp.mu.Unlock()
	select {
	case <-sp.done:
		<-sp.r.behind
	default:
		sp.left = true
	}
}

func (sp *spreading) release(behind chan struct{}) {
	sp.mu.Lock()
	defer sp.mu.Unlock()
	if sp.left {
		<-behind
	}
}

// Discard removes what only the named upload put anywhere: copies on their way
// are stopped where they do not arrive soon, and each node deletes those of the chunks that the upload
// created there and nobody has put or kept since. What is not certain stays
// for the collector. The caller must know that no record names the blob.
func (r *Replica) Discard(ctx context.Context, upload string, refs []blobs.Ref) error {
	// A second look, for a caller whose proposal was agreed on unheard.
	for named := range r.cfg.Referenced {
		if slices.Contains(refs, named) {
			return fmt.Errorf("discard upload %s: a record names %s", upload, named.Short())
		}
	}
	r.mu.Lock()
	behind := slices.Collect(maps.Keys(r.spreads[upload]))
	r.mu.Unlock()
	r.windDown(behind...)
	var errs []error
	for _, ref := range refs {
		if _, err := r.cfg.Local.Discard(ctx, upload, ref); err != nil {
			errs = append(errs, err)
		}
	}
	for _, node := range r.members().others(func(Peer) bool { return true }) {
		errs = append(errs, r.peers.ask(ctx, node, discard, upload, refs, func(blobs.Ref, bool) {}))
	}
	return errors.Join(errs...)
}

// Confirm makes sure that a majority of the copies of each chunk is durable and
// sound on distinct nodes now, and that no collector takes them within its
// grace time. It is for chunks of a blob that a record is about to name without
// having been uploaded just before.
func (r *Replica) Confirm(ctx context.Context, upload string, refs []blobs.Ref) error {
	for _, ref := range refs {
		if err := r.confirm(ctx, upload, ref); err != nil {
			return fmt.Errorf("confirm %s: %w", ref.Short(), err)
		}
	}
	return nil
}

func (r *Replica) confirm(ctx context.Context, upload string, ref blobs.Ref) error {
	if _, err := r.cfg.Local.KeepFor(ctx, upload, ref); err != nil {
		c, err := r.OpenChunk(ctx, ref)
		if err != nil {
			return err
		}
		defer c.Close()
		if _, err := r.cfg.Local.PutFor(ctx, upload, ref, c); err != nil {
			return err
		}
	}
	return r.spread(ctx, upload, ref)
}
