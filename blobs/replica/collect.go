package replica

import (
	"context"
	"math/rand/v2"
	"slices"
	"time"

	"malla/blobs"
)

// orphanFor is how long, at most, a chunk must be seen unnamed before it is
// collected, by a clock that nobody sets: one round that saw a wrong state, or
// a system clock that jumped, deletes nothing.
const orphanFor = time.Hour

// maxDropping is how many surplus copies one round asks about.
const maxDropping = 4096

// dropSurplus deletes copies that this node need not hold, each after every
// holder has verified its own and will keep it for its grace time. Holders that
// lack theirs are offered it. It tells whether none is left that could go.
func (p *repair) dropSurplus(ctx context.Context, m members, lacks lacking) bool {
	var all []aged
	for _, b := range p.buckets {
		all = append(all, b.surplus...)
	}
	if len(all) == 0 {
		return true
	}
	whole := len(all) <= maxDropping
	all = turned(all)[:min(len(all), maxDropping)]
	there := p.confirmed(ctx, m, lacks, offer, all)
	if p.r.broken() {
		return false // nothing can be deleted: no holder need hash its copies for that
	}
	old := time.Now().Add(-p.r.cfg.SurplusAfter)
	var ripe []aged
	for _, s := range all {
		if there[s.ref] >= m.copies && !s.used.After(old) {
			ripe = append(ripe, s)
		}
	}
	dropped, start := 0, time.Now()
	for len(ripe) > 0 && ctx.Err() == nil && time.Since(start) < moveFor {
		some := ripe[:min(len(ripe), 4*keep.batch())]
		ripe = ripe[len(some):]
		sound := p.confirmed(ctx, m, lacks, keep, some)
		for _, s := range some {
			if sound[s.ref] < m.copies {
				continue
			}
			gone, err := p.drop(ctx, s)
			if blobs.TakesNone(err) {
				return false // the disk is read-only: all others stay, too
			}
			if gone {
				dropped++
			}
		}
	}
	return whole && dropped == len(all)
}

// confirmed asks the holders of each chunk and returns how many said yes.
func (p *repair) confirmed(ctx context.Context, m members, lacks lacking, q question, all []aged) map[blobs.Ref]int {
	yes := make(map[blobs.Ref]int, len(all))
	asks := map[string][]blobs.Ref{}
	var holders []int
	for _, s := range all {
		holders = m.holders(holders[:0], s.ref, lacks)
		for _, h := range holders {
			if m.nodes[h].Alive {
				asks[m.nodes[h].ID] = append(asks[m.nodes[h].ID], s.ref)
			}
		}
	}
	p.ask(ctx, q, asks, func(ref blobs.Ref, is bool) {
		if is {
			yes[ref]++
		}
	})
	return yes
}

func (p *repair) drop(ctx context.Context, s aged) (bool, error) {
	gone, err := p.r.cfg.Local.Remove(ctx, s.ref, time.Now().Add(-p.r.cfg.SurplusAfter))
	if err != nil {
		p.r.cfg.Logger.Warn("surplus copy stays", "ref", s.ref.String(), "err", err)
	}
	if gone {
		p.note(func(st *Status) { st.Dropped++; p.backlog.move(s.size, time.Now()) })
	}
	return gone, err
}

// turned begins the list anywhere: what cannot be done must not hold up, round
// after round, what can.
func turned(all []aged) []aged {
	if len(all) == 0 {
		return nil
	}
	at := rand.IntN(len(all))
	return slices.Concat(all[at:], all[:at])
}

// moveUnnamed copies what no record names yet, but one may soon, such as the
// chunks of an upload under way elsewhere, to the nodes that should have it when
// this one is emptied. Once is enough: there it counts as new. It keeps to the
// rate and the time of fetching, and tells whether some are left, and whether
// only the time was too short for those.
func (p *repair) moveUnnamed(ctx context.Context, m members) (left, late bool) {
	var all []aged
	now := map[blobs.Ref]bool{}
	for _, b := range p.buckets {
		for _, u := range b.unnamed {
			switch {
			case time.Since(u.used) > p.r.cfg.CollectAfter:
			case p.moved[u.ref]:
				now[u.ref] = true
			default:
				all = append(all, u)
			}
		}
	}
	p.moved = now
	end, moved := time.Now().Add(moveFor), 0
	for _, u := range turned(all) {
		start := time.Now()
		if start.After(end) {
			return true, moved > 0
		}
		if err := p.r.spread(ctx, "", u.ref); err != nil {
			if ctx.Err() != nil {
				return true, false
			}
			p.r.cfg.Logger.Warn("chunk of an upload not copied away", "ref", u.ref.String(), "err", err)
			left = true
			continue
		}
		now[u.ref] = true
		moved++
		p.pace(ctx, u.size*int64(m.copies), start)
	}
	return left, false
}

// keepHeld makes the chunks of long uploads here count as used on their holders
// again: those do not know of the upload, and would collect what was spread days
// before its end.
func (p *repair) keepHeld(ctx context.Context) {
	start := time.Now()
	held := map[blobs.Ref]time.Time{}
	for ref := range p.r.cfg.Held {
		since, known := p.held[ref]
		if !known {
			since = start
		}
		if start.Sub(since) > p.r.cfg.CollectAfter/2 && time.Since(start) < moveFor && ctx.Err() == nil {
			if err := p.r.confirm(ctx, "", ref); err != nil {
				p.r.cfg.Logger.Warn("chunk of an upload under way not kept", "ref", ref.String(), "err", err)
			} else {
				since = start
			}
		}
		held[ref] = since
	}
	p.held = held
}

// collect deletes the unnamed chunks that were seen unnamed for long enough.
// Where a manifest could not be read, chunks that look unnamed may be its own.
func (p *repair) collect(ctx context.Context, complete bool) {
	if !complete || !p.r.cfg.Settled() || p.r.hold.inForce() {
		p.orphans = nil
		return
	}
	now := time.Now()
	unnamed := p.unnamed(now)
	if len(unnamed) > 0 && p.r.broken() {
		return
	}
	held := map[blobs.Ref]bool{}
	for ref := range p.r.cfg.Held {
		held[ref] = true
	}
	seen := map[blobs.Ref]time.Time{}
	for _, u := range unnamed {
		ref := u.ref
		if held[ref] {
			continue
		}
		since, again := p.orphans[ref]
		if !again {
			since = now
		}
		seen[ref] = since
		if !again || now.Sub(since) < min(orphanFor, p.r.cfg.CollectAfter) || p.r.hold.inForce() {
			continue
		}
		gone, err := p.r.cfg.Local.Remove(ctx, ref, now.Add(-p.r.cfg.CollectAfter))
		if err != nil {
			p.r.cfg.Logger.Warn("unnamed chunk stays", "ref", ref.String(), "err", err)
		}
		if blobs.TakesNone(err) {
			return
		}
		if gone {
			delete(seen, ref)
			p.note(func(s *Status) { s.Collected++; s.CollectedBytes += u.size })
		}
	}
	p.orphans = seen
}

// unnamed are the chunks that no record names and that looked older than the
// grace time when they were listed.
func (p *repair) unnamed(now time.Time) []aged {
	var all []aged
	for _, b := range p.buckets {
		for _, u := range b.unnamed {
			if now.Sub(u.used) > p.r.cfg.CollectAfter {
				all = append(all, u)
			}
		}
	}
	return all
}
