package replica

import (
	"cmp"
	"context"
	"iter"
	"slices"
	"time"

	"malla/blobs"
)

// settledAfter is how old the last change of a folder must be for a listing to
// be relied on: two changes within the grain of a file system's clock look like
// one.
const settledAfter = 2 * time.Second

// buckets are the chunks by the first byte of their refs. A bucket does not
// change: another look makes another one.
type buckets [256]*bucket

// A bucket is what one look at a part of this disk told.
type bucket struct {
	stamp   time.Time // of the disk, before it was listed
	settled bool      // whether a change since then shows in the stamp

	chunks, bytes     int64 // here
	named, namedBytes int64 // of those, by the state
	missing           []sized
	surplus           []aged // named, but other nodes should have them
	unnamed           []aged
	missingBytes      int64
	pairs             []pair // other node, an index of members.nodes -> what both should have
}

type sized struct {
	ref  blobs.Ref
	size int64
}

type aged struct {
	ref  blobs.Ref
	size int64
	used time.Time // at the latest look
}

// A pair is what this node and another one should both have.
type pair struct {
	want digest // all of it
	here digest // what of it is on this disk
}

// names are the chunks that the state names.
type names struct {
	blobs    map[blobs.Ref]*named // manifest -> what it lists
	unread   int                  // manifests that could not be read
	untried  bool                 // whether there was no time to try some of those even once
	round    uint64               // counts updates
	manifest func(ctx context.Context, ref blobs.Ref) (blobs.Manifest, error)
}

type named struct {
	size   int64 // of the blob
	chunks []blobs.Ref
	read   bool
	round  uint64 // of the last update that saw it named
	tried  uint64 // of the last one that tried to read it
}

// update reads the manifests that the state names newly, forgets those it names
// no longer, and tells whose buckets that changes. Those that cannot be read take
// half a minute of it at most; another update tries others first. An error is
// that of ctx.
func (n *names) update(ctx context.Context, each iter.Seq[blobs.Ref], failed func(blobs.Ref, error)) (changed [256]bool, err error) {
	n.round++
	n.unread, n.untried = 0, false
	var unread []blobs.Ref
	for ref := range each {
		b := n.blobs[ref]
		if b != nil && b.round == n.round {
			continue
		}
		if b == nil {
			b = &named{}
			n.blobs[ref] = b
			changed[ref[0]] = true
		}
		b.round = n.round
		if !b.read {
			unread = append(unread, ref)
		}
	}
	slices.SortStableFunc(unread, func(a, b blobs.Ref) int { return cmp.Compare(n.blobs[a].tried, n.blobs[b].tried) })
	lost := time.Duration(0) // on those that cannot be read
	for _, ref := range unread {
		b, start := n.blobs[ref], time.Now()
		if lost > moveFor {
			n.unread++
			n.untried = n.untried || b.tried == 0
			continue
		}
		b.tried = n.round
		m, err := n.manifest(ctx, ref)
		if ctx.Err() != nil {
			return changed, ctx.Err()
		}
		if err != nil {
			failed(ref, err)
			n.unread++
			lost += time.Since(start)
			continue
		}
		b.size, b.chunks, b.read = m.Size, m.Chunks, true
		mark(&changed, b.chunks)
	}
	for ref, b := range n.blobs {
		if b.round != n.round {
			changed[ref[0]] = true
			mark(&changed, b.chunks)
			delete(n.blobs, ref)
		}
	}
	return changed, nil
}

func mark(changed *[256]bool, chunks []blobs.Ref) {
	for _, c := range chunks {
		changed[c[0]] = true
	}
}

// in returns the named chunks of the buckets that are asked for, manifests too,
// each bucket sorted.
func (n *names) in(which *[256]bool) [256][]sized {
	var all [256][]sized
	add := func(ref blobs.Ref, size int64) {
		if which[ref[0]] {
			all[ref[0]] = append(all[ref[0]], sized{ref, size})
		}
	}
	for ref, list := range n.blobs {
		add(ref, manifestSize(len(list.chunks)))
		for i, c := range list.chunks {
			add(c, min(blobs.ChunkSize, list.size-int64(i)*blobs.ChunkSize))
		}
	}
	for i := range all {
		slices.SortFunc(all[i], func(a, b sized) int { return compareRefs(a.ref, b.ref) })
		all[i] = slices.CompactFunc(all[i], func(a, b sized) bool { return a.ref == b.ref })
	}
	return all
}

// manifestSize is how many bytes a manifest of so many chunks has.
func manifestSize(chunks int) int64 { return 48 + int64(chunks*refSize) }

// look brings the buckets up to date: those whose chunks on the disk or in the
// state changed are made anew, the others are as they were. A mesh in which
// nothing happens costs 256 stats.
func (p *repair) look(ctx context.Context, m members, lacks lacking, changed *[256]bool) error {
	var stale [256]bool
	var stamps [256]time.Time
	for i := range p.buckets {
		var err error
		if stamps[i], err = p.r.cfg.Local.Stamp(byte(i)); err != nil {
			return err
		}
		b := p.buckets[i]
		stale[i] = b == nil || changed[i] || !b.settled || !b.stamp.Equal(stamps[i])
	}
	if !slices.Contains(stale[:], true) {
		return nil
	}
	wanted := p.names.in(&stale)
	for i := range stale {
		if !stale[i] {
			continue
		}
		began := time.Now()
		b, err := p.fill(ctx, m, lacks, byte(i), wanted[i])
		if err != nil {
			return err
		}
		b.stamp, b.settled = stamps[i], began.Sub(stamps[i]) > settledAfter
		p.buckets[i] = b
	}
	return nil
}

// fill walks through what is wanted and what is here, both sorted.
func (p *repair) fill(ctx context.Context, m members, lacks lacking, first byte, wanted []sized) (*bucket, error) {
	b := &bucket{pairs: make([]pair, len(m.nodes))}
	self := m.index(m.self)
	full := m.full() // others stand in for what it lacks
	holders := make([]int, 0, m.copies)
	count := func(w sized, here bool) (mine bool) {
		holders = m.holders(holders[:0], w.ref, lacks)
		if mine = slices.Contains(holders, self); mine && (here || !full) {
			for _, h := range holders {
				b.pairs[h].want.add(w.ref)
				if here {
					b.pairs[h].here.add(w.ref)
				}
			}
		}
		return mine
	}
	missing := func(w sized) {
		if count(w, false) {
			b.missing = append(b.missing, w)
			b.missingBytes += w.size
		}
	}
	err := p.r.cfg.Local.In(ctx, first, func(ref blobs.Ref, size int64, used time.Time) error {
		b.chunks++
		b.bytes += size
		for len(wanted) > 0 && compareRefs(wanted[0].ref, ref) < 0 {
			missing(wanted[0])
			wanted = wanted[1:]
		}
		if len(wanted) == 0 || wanted[0].ref != ref {
			b.unnamed = append(b.unnamed, aged{ref, size, used})
			return nil
		}
		b.named++
		b.namedBytes += size
		if !count(wanted[0], true) {
			b.surplus = append(b.surplus, aged{ref, size, used})
		}
		wanted = wanted[1:]
		return nil
	})
	for _, w := range wanted {
		missing(w)
	}
	return b, err
}

// lacks tells whether the chunk is among the bucket's missing ones.
func (b *bucket) lacks(ref blobs.Ref) bool {
	_, found := slices.BinarySearchFunc(b.missing, ref, func(s sized, ref blobs.Ref) int { return compareRefs(s.ref, ref) })
	return found
}
