package replica

import (
	"context"
	"slices"
	"sync"
	"time"

	"malla/blobs"
)

const (
	maxFetchLater = 1 << 16          // refs that may wait for fetchOffered
	retryFirst    = 10 * time.Second // until a round that could not finish is repeated; doubles up to Every
)

// A repair compares, in rounds, what this node should hold with what it and
// the other holders have.
type repair struct {
	r      *Replica
	nudged chan struct{} // holds one value while a round is due
	asked  chan struct{} // holds one value while later is not empty

	mu     sync.Mutex             // guards the fields below
	later  map[blobs.Ref]struct{} // chunks to fetch, if this node is a holder
	status Status

	// Only Run touches the fields below.
	manifests map[blobs.Ref][]blobs.Ref // manifest -> its chunks
	orphans   map[blobs.Ref]time.Time   // unnamed chunk -> since when it was seen unnamed
}

func newRepair(r *Replica) *repair {
	return &repair{
		r:      r,
		nudged: make(chan struct{}, 1),
		asked:  make(chan struct{}, 1),
		later:  map[blobs.Ref]struct{}{},
	}
}

// Nudge asks for a round of repair soon, where the state names new blobs or no
// longer names old ones. That nodes come and go, Run sees itself. It never
// blocks.
func (r *Replica) Nudge() { signal(r.repair.nudged) }

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Run repairs and collects until ctx ends: a round at the start, on each
// Nudge, when the members change, when the grace time of a vanished one is over,
// and every so often.
// Its error is that of ctx.
func (r *Replica) Run(ctx context.Context) error {
	p := r.repair
	retry := retryFirst
	for {
		whole := p.round(ctx)
		wait := r.cfg.Every
		if whole {
			retry = retryFirst
		} else {
			wait = min(retry, wait)
			retry *= 2
		}
		wait = r.members().graceEnds(wait)
		if err := p.rest(ctx, wait); err != nil {
			return err
		}
	}
}

// rest waits for the next round and meanwhile fetches what is offered.
func (p *repair) rest(ctx context.Context, wait time.Duration) error {
	due := time.NewTimer(max(wait, p.r.cfg.Pause))
	defer due.Stop()
	pause := time.NewTicker(p.r.cfg.Pause)
	defer pause.Stop()
	var nudged chan struct{} // nil until the pause is over
	before := p.r.members()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-due.C:
			return nil
		case <-nudged:
			return nil
		case <-pause.C:
			if p.r.members().differ(before) {
				return nil
			}
			nudged = p.nudged
		case <-p.asked:
			p.fetchOffered(ctx)
		}
	}
}

// fetchLater notes that this node may lack the chunk. It never blocks: what
// does not fit, the next round finds.
func (p *repair) fetchLater(ref blobs.Ref) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.later) < maxFetchLater {
		p.later[ref] = struct{}{}
		signal(p.asked)
	}
}

// fetchOffered fetches what another node offered or what was found damaged.
func (p *repair) fetchOffered(ctx context.Context) {
	p.mu.Lock()
	later := p.later
	p.later = map[blobs.Ref]struct{}{}
	p.mu.Unlock()
	m := p.r.members()
	var refs []blobs.Ref
	for ref := range later {
		if slices.Contains(m.holders(ref, nobodyLacks), m.self) {
			refs = append(refs, ref)
		}
	}
	p.fetchAll(ctx, m, refs)
}

func nobodyLacks(string, blobs.Ref) bool { return false }

// round does everything once and tells whether nothing is left to do.
func (p *repair) round(ctx context.Context) bool {
	start := time.Now()
	m := p.r.members()
	wanted, complete := p.wanted(ctx)
	lacks := p.askFull(ctx, m, wanted)
	plan, err := p.compare(ctx, m, wanted, lacks)
	if err != nil {
		if ctx.Err() == nil {
			p.r.cfg.Logger.Error("repair cannot list the chunks of this disk", "err", err)
		}
		return false
	}
	left := p.fetchAll(ctx, m, plan.missing)
	if p.r.cfg.Settled() {
		p.dropSurplus(ctx, plan.surplus)
	}
	p.collect(ctx, plan.unnamed, complete)
	p.note(func(s *Status) {
		s.Chunks, s.Bytes = plan.chunks, plan.bytes
		s.Missing, s.Surplus, s.Unnamed = left, len(plan.surplus), len(plan.unnamed)
		s.Incomplete = !complete
		s.LastRound, s.Took = start, time.Since(start)
	})
	return complete && left == 0
}

// wanted returns all chunks that the state names, manifests included, sorted,
// and whether every manifest could be read.
func (p *repair) wanted(ctx context.Context) (refs []blobs.Ref, complete bool) {
	known := make(map[blobs.Ref][]blobs.Ref, len(p.manifests))
	complete = true
	for ref := range p.r.cfg.Referenced {
		if _, twice := known[ref]; twice {
			continue
		}
		refs = append(refs, ref)
		chunks, read := p.manifests[ref]
		if !read {
			m, err := p.r.Manifest(ctx, ref)
			if err != nil {
				complete = false
				if ctx.Err() != nil {
					return nil, false
				}
				p.r.cfg.Logger.Warn("manifest cannot be read", "ref", ref.String(), "err", err)
				continue
			}
			chunks = m.Chunks
		}
		known[ref] = chunks
		refs = append(refs, chunks...)
	}
	p.manifests = known
	slices.SortFunc(refs, compareRefs)
	return slices.Compact(refs), complete
}

// askFull asks the full nodes which of the chunks that would be theirs they
// lack: others stand in for those.
func (p *repair) askFull(ctx context.Context, m members, wanted []blobs.Ref) func(node string, ref blobs.Ref) bool {
	lacking := map[string]map[blobs.Ref]bool{}
	for _, node := range m.others(func(peer Peer) bool { return peer.Full && m.counts(peer) }) {
		var theirs []blobs.Ref
		for _, ref := range wanted {
			if slices.Contains(m.holders(ref, nobodyLacks), node) {
				theirs = append(theirs, ref)
			}
		}
		lacking[node] = map[blobs.Ref]bool{}
		err := p.r.peers.ask(ctx, node, have, "", theirs, func(ref blobs.Ref, yes bool) {
			if !yes {
				lacking[node][ref] = true
			}
		})
		if err != nil && ctx.Err() == nil {
			p.r.cfg.Logger.Warn("full node not asked", "node", node, "err", err)
		}
	}
	return func(node string, ref blobs.Ref) bool { return lacking[node][ref] }
}

// A plan is what one look at this disk says there is to do.
type plan struct {
	chunks  int64
	bytes   int64
	missing []blobs.Ref
	surplus []surplus
	unnamed []blobs.Ref // not named by the state, and older than the grace time
}

type surplus struct {
	ref     blobs.Ref
	holders []string
}

// compare walks through what is wanted and what is here, both sorted, and
// offers to other holders what they lack.
func (p *repair) compare(ctx context.Context, m members, wanted []blobs.Ref, lacks func(string, blobs.Ref) bool) (*plan, error) {
	plan := &plan{}
	offers := map[string][]blobs.Ref{} // holder -> chunks that are here
	now := time.Now()
	skip := func(ref blobs.Ref) {
		if slices.Contains(m.holders(ref, lacks), m.self) {
			plan.missing = append(plan.missing, ref)
		}
	}
	rest := wanted
	err := p.r.cfg.Local.Each(ctx, func(ref blobs.Ref, size int64, used time.Time) error {
		plan.chunks++
		plan.bytes += size
		for len(rest) > 0 && compareRefs(rest[0], ref) < 0 {
			skip(rest[0])
			rest = rest[1:]
		}
		if len(rest) == 0 || rest[0] != ref {
			if now.Sub(used) > p.r.cfg.CollectAfter {
				plan.unnamed = append(plan.unnamed, ref)
			}
			return nil
		}
		rest = rest[1:]
		holders := m.holders(ref, lacks)
		if !slices.Contains(holders, m.self) && now.Sub(used) > p.r.cfg.SurplusAfter {
			plan.surplus = append(plan.surplus, surplus{ref, holders})
		}
		for _, node := range holders {
			if node != m.self && m.alive(node) {
				offers[node] = append(offers[node], ref)
			}
		}
		return nil
	})
	for _, ref := range rest {
		skip(ref)
	}
	for node, refs := range offers {
		if err := p.r.peers.ask(ctx, node, offer, "", refs, func(blobs.Ref, bool) {}); err != nil && ctx.Err() == nil {
			p.r.cfg.Logger.Warn("chunks not offered", "node", node, "err", err)
		}
	}
	return plan, err
}

// fetchAll makes the missing copies on this disk, at a bounded rate, and
// returns how many are still missing.
func (p *repair) fetchAll(ctx context.Context, m members, refs []blobs.Ref) (left int) {
	for i, ref := range refs {
		if _, err := p.r.cfg.Local.Stat(ctx, ref); err == nil {
			continue // it came meanwhile
		}
		start := time.Now()
		size, err := p.fetchOne(ctx, m, ref)
		if blobs.TakesNone(err) || ctx.Err() != nil {
			return left + len(refs) - i
		}
		if err != nil {
			p.r.cfg.Logger.Warn("missing copy not made", "ref", ref.String(), "err", err)
			left++
			continue
		}
		p.note(func(s *Status) { s.Repaired++; s.RepairedBytes += size })
		p.pace(ctx, size, start)
	}
	return left
}

func (p *repair) fetchOne(ctx context.Context, m members, ref blobs.Ref) (int64, error) {
	// Asked first, so that nothing is fetched that has no place.
	release, err := p.r.cfg.Local.Reserve(blobs.ChunkSize)
	if err != nil {
		return 0, err
	}
	release()
	// The cache may have it: then no other node is bothered.
	if c, err := p.r.openHere(ctx, ref); err == nil {
		defer c.Close()
		return c.Size(), p.r.cfg.Local.Put(ctx, ref, c)
	}
	c, err := p.r.fetchInto(ctx, m, ref, []blobs.Store{p.r.cfg.Local})
	if err != nil {
		return 0, err
	}
	defer c.Close()
	return c.Size(), nil
}

// pace waits as long as the rate asks after size bytes since start.
func (p *repair) pace(ctx context.Context, size int64, start time.Time) {
	due := time.Duration(float64(size) / float64(p.r.cfg.RepairRate) * float64(time.Second))
	select {
	case <-time.After(due - time.Since(start)):
	case <-ctx.Done():
	}
}

func compareRefs(a, b blobs.Ref) int { return slices.Compare(a[:], b[:]) }
