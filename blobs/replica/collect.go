package replica

import (
	"context"
	"time"

	"malla/blobs"
)

// orphanFor is how long, at most, a chunk must be seen unnamed before it is
// collected, by a clock that nobody sets: one round that saw a wrong state, or
// a system clock that jumped, deletes nothing.
const orphanFor = time.Hour

// dropSurplus deletes copies that this node need not hold, each after every
// holder has verified its own and will keep it for its grace time.
func (p *repair) dropSurplus(ctx context.Context, all []surplus) {
	m := p.r.members()
	confirmed := map[blobs.Ref]int{}
	asks := map[string][]blobs.Ref{}
	for _, s := range all {
		for _, node := range s.holders {
			asks[node] = append(asks[node], s.ref)
		}
	}
	for node, refs := range asks {
		if !m.alive(node) {
			continue
		}
		err := p.r.peers.ask(ctx, node, keep, "", refs, func(ref blobs.Ref, yes bool) {
			if yes {
				confirmed[ref]++
			}
		})
		if err != nil && ctx.Err() == nil {
			p.r.cfg.Logger.Warn("surplus copies not confirmed", "node", node, "err", err)
		}
	}
	for _, s := range all {
		if confirmed[s.ref] < m.copies || ctx.Err() != nil {
			continue
		}
		gone, err := p.r.cfg.Local.Remove(ctx, s.ref, time.Now().Add(-p.r.cfg.SurplusAfter))
		if err != nil {
			p.r.cfg.Logger.Warn("surplus copy stays", "ref", s.ref.String(), "err", err)
		}
		if blobs.TakesNone(err) {
			return // the disk is read-only: all others stay, too
		}
		if gone {
			p.note(func(st *Status) { st.Dropped++ })
		}
	}
}

// collect deletes the unnamed chunks that were seen unnamed for long enough.
// Where a manifest could not be read, chunks that look unnamed may be its own.
func (p *repair) collect(ctx context.Context, unnamed []blobs.Ref, complete bool) {
	if !complete || !p.r.cfg.Settled() {
		p.orphans = nil
		return
	}
	held := map[blobs.Ref]bool{}
	for ref := range p.r.cfg.Held {
		held[ref] = true
	}
	now := time.Now()
	seen := make(map[blobs.Ref]time.Time, len(unnamed))
	for _, ref := range unnamed {
		if held[ref] {
			continue
		}
		since, again := p.orphans[ref]
		if !again {
			since = now
		}
		seen[ref] = since
		if !again || now.Sub(since) < min(orphanFor, p.r.cfg.CollectAfter) {
			continue
		}
		size, _ := p.r.cfg.Local.Stat(ctx, ref)
		gone, err := p.r.cfg.Local.Remove(ctx, ref, now.Add(-p.r.cfg.CollectAfter))
		if err != nil {
			p.r.cfg.Logger.Warn("unnamed chunk stays", "ref", ref.String(), "err", err)
		}
		if blobs.TakesNone(err) {
			return
		}
		if gone {
			delete(seen, ref)
			p.note(func(s *Status) { s.Collected++; s.CollectedBytes += size })
		}
	}
	p.orphans = seen
}
