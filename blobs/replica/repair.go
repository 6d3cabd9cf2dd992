package replica

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"malla/blobs"
)

const (
	maxFetchLater = 1 << 16          // refs that may wait for fetchOffered
	retryFirst    = 10 * time.Second // until a round that could not finish is repeated; doubles up to Every
	moveFor       = 30 * time.Second // how long a round moves chunks before the next one looks again
	nudgeShare    = 10               // nudged rounds take one part in so many of the time
)

// A repair compares, in rounds, what this node should hold with what it and
// the other holders have.
type repair struct {
	r      *Replica
	nudged chan struct{} // holds one value while a round is due
	asked  chan struct{} // holds one value while later is not empty

	mu      sync.Mutex             // guards the fields below
	later   map[blobs.Ref]struct{} // chunks to fetch, if this node is a holder
	looked  *looked                // the last look; nil before the first
	backlog backlog
	status  Status
	whole   bool     // the last round found nothing missing here
	counted []string // the nodes that counted in it

	// Only Run touches the fields below.
	names   names
	members members // for which the buckets were made
	buckets buckets
	full    map[string]fullNode
	orphans map[blobs.Ref]time.Time // unnamed chunk -> since when it was seen unnamed
	cut     blobs.Ref               // at which chunk the time to fetch was over last; zero: it was not
	failed  int                     // fetches that failed since one worked
	held    map[blobs.Ref]time.Time // chunk of an upload here -> since when its holders have known that it is wanted
	moved   map[blobs.Ref]bool      // unnamed chunks that were copied away from here, while this node is emptied
}

func newRepair(r *Replica) *repair {
	return &repair{
		r:      r,
		nudged: make(chan struct{}, 1),
		asked:  make(chan struct{}, 1),
		later:  map[blobs.Ref]struct{}{},
		names:  names{blobs: map[blobs.Ref]*named{}, manifest: r.Manifest},
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
		start := time.Now()
		var wait time.Duration
		switch p.round(ctx) {
		case settled:
			wait, retry = r.cfg.Every, retryFirst
		case moving:
			retry = retryFirst
		case stuck:
			wait = min(retry, r.cfg.Every)
			retry *= 2
		}
		wait = r.members().graceEnds(wait)
		if err := p.rest(ctx, wait, time.Since(start)); err != nil {
			return err
		}
	}
}

// rest waits for the next round and meanwhile fetches what is offered. Where
// rounds take long, as in a mesh in which much changes, nudges wait: a round
// for each of them would be all that the node does.
func (p *repair) rest(ctx context.Context, wait, took time.Duration) error {
	due := time.NewTimer(max(wait, p.r.cfg.Pause))
	defer due.Stop()
	pause := time.NewTicker(p.r.cfg.Pause)
	defer pause.Stop()
	listen := time.NewTimer(max(p.r.cfg.Pause, min(nudgeShare*took, p.r.cfg.Every)))
	defer listen.Stop()
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
		case <-listen.C:
			nudged = p.nudged
		case <-pause.C:
			if p.r.members().differ(before) {
				return nil
			}
			if p.awaited() {
				signal(p.asked)
			}
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

// awaited tells whether there are chunks for fetchOffered.
func (p *repair) awaited() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.later) > 0
}

// fetchOffered fetches what another node offered or what was found damaged.
// While the disk takes nothing, or where the time is over, that waits.
func (p *repair) fetchOffered(ctx context.Context) {
	release, err := p.r.cfg.Local.Reserve(blobs.ChunkSize)
	if err != nil {
		return
	}
	release()
	p.mu.Lock()
	later := p.later
	p.later = map[blobs.Ref]struct{}{}
	p.mu.Unlock()
	m := p.r.members()
	lacks, self := p.lacking(m), m.index(m.self)
	var refs []sized
	var holders []int
	for ref := range later {
		if holders = m.holders(holders[:0], ref, lacks); slices.Contains(holders, self) {
			refs = append(refs, sized{ref: ref})
		}
	}
	_, rest, _ := p.fetchAll(ctx, m, refs)
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range rest {
		p.later[s.ref] = struct{}{}
	}
}

// What a round leaves behind.
type outcome int

const (
	settled outcome = iota // nothing to do until something changes
	moving                 // more to do at once
	stuck                  // more to do, which may work later
)

// round does everything once, for some time at most.
func (p *repair) round(ctx context.Context) outcome {
	start := time.Now()
	m := p.r.members()
	lacks, err := p.survey(ctx, m)
	if err != nil {
		if ctx.Err() == nil {
			p.r.cfg.Logger.Error("repair cannot list the chunks of this disk", "err", err)
		}
		return stuck
	}
	p.publish(m)
	p.tell(m, start)
	p.tellWhole(m)
	failed := p.compare(ctx, m, lacks)
	out := p.move(ctx, m, lacks)
	p.keepHeld(ctx)
	complete := p.names.unread == 0
	p.collect(ctx, complete)
	if (failed > 0 || !complete) && out == settled {
		out = stuck
	}
	if p.names.untried {
		out = moving
	}
	p.note(func(s *Status) {
		s.Took = time.Since(start)
		s.Emptied = m.emptying() && out == settled && p.r.cfg.Settled() && p.buckets.sum().named == 0
	})
	return out
}

// survey brings what is known of the names, the full nodes and this disk up to
// date.
func (p *repair) survey(ctx context.Context, m members) (lacking, error) {
	changed, err := p.names.update(ctx, p.r.cfg.Referenced, func(ref blobs.Ref, err error) {
		p.r.cfg.Logger.Warn("manifest cannot be read", "ref", ref.String(), "err", err)
	})
	if err != nil {
		p.buckets = buckets{} // what changed is not known any more
		return nil, err
	}
	if p.members.moved(m) {
		p.buckets = buckets{}
	} else if p.members.full() != m.full() {
		for i, b := range p.buckets { // what is missing here is others' while this disk is full
			changed[i] = changed[i] || b == nil || len(b.missing) > 0
		}
	}
	p.members = m
	lacks := p.askFull(ctx, m, &changed)
	if err := p.look(ctx, m, lacks, &changed); err != nil {
		p.buckets = buckets{}
		return nil, err
	}
	return lacks, nil
}

// move copies to this disk what is missing on it, and drops from it what others
// should have instead.
func (p *repair) move(ctx context.Context, m members, lacks lacking) outcome {
	before := p.done()
	left, late := p.fetchMissing(ctx, m)
	if !p.r.cfg.Settled() || !p.dropSurplus(ctx, m, lacks) {
		left = true
	}
	if m.draining() {
		stay, more := p.moveUnnamed(ctx, m)
		left, late = left || stay, late || more
	}
	switch {
	case late || p.done() > before:
		return moving // and look again at what that changed
	case left:
		return stuck
	}
	return settled
}

// fetchMissing fetches what is missing on this disk, and tells whether some is
// left, and whether only the time was too short for that.
func (p *repair) fetchMissing(ctx context.Context, m members) (left, late bool) {
	var missing []sized
	for _, b := range p.buckets {
		missing = append(missing, b.missing...)
	}
	// Where there was no time for all, the others are first.
	at, _ := slices.BinarySearchFunc(missing, p.cut, func(s sized, ref blobs.Ref) int { return compareRefs(s.ref, ref) })
	missing = slices.Concat(missing[at:], missing[:at])
	before := p.done()
	failed, rest, err := p.fetchAll(ctx, m, missing)
	if p.failed += failed; p.done() > before {
		p.failed = 0
	}
	if p.cut = (blobs.Ref{}); err == nil && len(rest) > 0 {
		p.cut, late = rest[0].ref, p.failed < len(missing)
	}
	return failed > 0 || len(rest) > 0, late
}

// fetchAll makes the missing copies on this disk, at a bounded rate, and
// returns how many it could not make, and those that it did not try: it ends
// with an error where the disk takes no more, and without one when nodes come or
// go, since other chunks may be missing then, and after some time, so that the
// rest of a round has its turn.
func (p *repair) fetchAll(ctx context.Context, m members, refs []sized) (failed int, rest []sized, err error) {
	looked := time.Now()
	end := looked.Add(moveFor)
	for i, s := range refs {
		start := time.Now()
		if start.Sub(looked) > p.r.cfg.Pause {
			if looked = start; start.After(end) || p.r.members().moved(m) {
				return failed, refs[i:], nil
			}
		}
		if _, err := p.r.cfg.Local.Stat(ctx, s.ref); err == nil {
			continue // it came meanwhile
		}
		size, err := p.fetchOne(ctx, m, s.ref)
		if blobs.TakesNone(err) || ctx.Err() != nil {
			return failed, refs[i:], errors.Join(err, ctx.Err())
		}
		if err != nil {
			p.r.cfg.Logger.Warn("missing copy not made", "ref", s.ref.String(), "err", err)
			failed++
			continue
		}
		p.note(func(s *Status) { s.Repaired++; s.RepairedBytes += size; p.backlog.move(size, time.Now()) })
		p.pace(ctx, size, start)
	}
	return failed, nil, nil
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
	c, err := p.r.fetchInto(ctx, m, want{ref: ref, keepers: []blobs.Store{p.r.cfg.Local}, place: nowhere, way: steady})
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
