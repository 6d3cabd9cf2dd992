package replica

import (
	"context"
	"encoding/binary"
	"fmt"
	"iter"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"malla/blobs"
)

// A listed is a store that only knows which chunks it has, of one megabyte each.
type listed struct {
	Local
	chunks [256][]blobs.Ref
	stamp  [256]time.Time
	lists  int
}

func (l *listed) Stamp(first byte) (time.Time, error) { return l.stamp[first], nil }

func (l *listed) In(_ context.Context, first byte, f func(blobs.Ref, int64, time.Time) error) error {
	l.lists++
	for _, ref := range l.chunks[first] {
		if err := f(ref, 1<<20, time.Now()); err != nil {
			return err
		}
	}
	return nil
}

func (l *listed) Stat(_ context.Context, ref blobs.Ref) (int64, error) {
	if _, found := slices.BinarySearchFunc(l.chunks[ref[0]], ref, compareRefs); found {
		return 1 << 20, nil
	}
	return 0, blobs.ErrNotFound
}

// A paper is a mesh on paper: real digests and handlers, no disk, no sockets.
type paper struct {
	nodes []*Replica
	disks []*listed
	wire  atomic.Int64 // bytes of questions and answers
	full  string       // the node whose disk is
}

type paperPeer struct{ *paper }

func (p paperPeer) Nodes() []Peer {
	var all []Peer
	for i := range 5 {
		id := fmt.Sprint("n", i)
		all = append(all, Peer{ID: id, Weight: 1, Alive: true, Full: id == p.full})
	}
	return all
}

func (p paperPeer) Do(_ context.Context, node string, req *http.Request) (*http.Response, error) {
	var i int
	fmt.Sscanf(node, "n%d", &i)
	w := httptest.NewRecorder()
	p.wire.Add(req.ContentLength)
	p.nodes[i].Handler().ServeHTTP(w, req)
	p.wire.Add(int64(w.Body.Len()))
	return w.Result(), nil
}

// newPaper has five nodes on which each of so many chunks has three copies.
func newPaper(tb testing.TB, chunks int) *paper {
	const each = 1000 // chunks in a blob
	p := &paper{}
	manifests := map[blobs.Ref]blobs.Manifest{}
	var names []blobs.Ref
	for i := range chunks / each {
		m := blobs.Manifest{Size: each * blobs.ChunkSize}
		for k := range each {
			m.Chunks = append(m.Chunks, blobs.RefOf(binary.BigEndian.AppendUint64(nil, uint64(i*each+k))))
		}
		ref := blobs.RefOf(binary.BigEndian.AppendUint32(nil, uint32(i)))
		manifests[ref] = m
		names = append(names, ref)
	}
	for i := range 5 {
		l := &listed{}
		r, err := New(Config{Self: fmt.Sprint("n", i), Local: l, Peers: paperPeer{p}, Settled: func() bool { return true }, Referenced: iter.Seq[blobs.Ref](slices.Values(names))})
		if err != nil {
			tb.Fatal(err)
		}
		r.repair.names.manifest = func(_ context.Context, ref blobs.Ref) (blobs.Manifest, error) { return manifests[ref], nil }
		p.nodes, p.disks = append(p.nodes, r), append(p.disks, l)
	}
	m := p.nodes[0].members()
	var holders []int
	put := func(ref blobs.Ref) {
		holders = m.holders(holders[:0], ref, nobodyLacks)
		for _, h := range holders {
			p.disks[h].chunks[ref[0]] = append(p.disks[h].chunks[ref[0]], ref)
		}
	}
	for ref, man := range manifests {
		put(ref)
		for _, c := range man.Chunks {
			put(c)
		}
	}
	for _, l := range p.disks {
		for i := range l.chunks {
			slices.SortFunc(l.chunks[i], compareRefs)
			l.stamp[i] = time.Now().Add(-time.Hour)
		}
	}
	return p
}

// lose takes a chunk that node 0 has too from node 1, which has looked since.
func (p *paper) lose(ctx context.Context) blobs.Ref {
	disk, loser := p.disks[1], p.nodes[1].repair
	for i, refs := range disk.chunks {
		for k, ref := range refs {
			if _, err := p.disks[0].Stat(ctx, ref); err != nil {
				continue
			}
			disk.chunks[i] = slices.Delete(slices.Clone(refs), k, k+1)
			disk.stamp[i] = disk.stamp[i].Add(time.Second)
			loser.look(ctx, loser.members, nobodyLacks, new([256]bool))
			loser.publish(loser.members)
			return ref
		}
	}
	return blobs.Ref{}
}

func TestAQuietMeshCostsNextToNothing(t *testing.T) {
	p := newPaper(t, 20_000)
	for _, r := range p.nodes {
		r.repair.round(t.Context())
	}
	lists := p.disks[0].lists
	p.wire.Store(0)
	if out := p.nodes[0].repair.round(t.Context()); out != settled {
		t.Errorf("a round of a quiet mesh is %d, want settled", out)
	}
	if n := p.disks[0].lists - lists; n > 0 {
		t.Errorf("it listed %d parts of its disk again", n)
	}
	if n := p.wire.Load(); n > 4*rootSize {
		t.Errorf("it took %d bytes to compare with four nodes, want %d", n, 4*rootSize)
	}

	lost := p.lose(t.Context())
	p.wire.Store(0)
	p.nodes[0].repair.round(t.Context())
	if n := int(p.wire.Load()); n > 4*rootSize+summarySize+20_000/256*refSize {
		t.Errorf("one chunk that is missing took %d bytes", n)
	}
	if _, offered := p.nodes[1].repair.later[lost]; !offered {
		t.Error("the chunk that one node lost was not offered to it")
	}
}

func TestADiskThatFillsUpMakesNobodyListEverything(t *testing.T) {
	p := newPaper(t, 20_000)
	for _, r := range p.nodes {
		r.repair.round(t.Context())
	}
	p.lose(t.Context())
	for _, full := range []string{"n1", "", "n0", ""} {
		p.full = full
		for i := range 2 { // the one that lost a chunk, and one that has it
			r, disk := p.nodes[i].repair, p.disks[i]
			lists := disk.lists
			if _, err := r.survey(t.Context(), p.nodes[i].members()); err != nil {
				t.Fatal(err)
			}
			if n := disk.lists - lists; n > 1 {
				t.Errorf("with %q full, n%d listed %d parts of its disk again", full, i, n)
			}
			was := r.buckets
			r.buckets = buckets{}
			if err := r.look(t.Context(), r.members, r.lacking(r.members), new([256]bool)); err != nil {
				t.Fatal(err)
			}
			for k := range was {
				if !reflect.DeepEqual(was[k].pairs, r.buckets[k].pairs) || !slices.Equal(was[k].missing, r.buckets[k].missing) {
					t.Errorf("with %q full, n%d has another view of part %d after a new look", full, i, k)
				}
			}
		}
	}
}

// BenchmarkRound is one node's round in a mesh of five with a million chunks of
// which each has three copies: the first, one in which nothing changed, and one
// after another node lost a chunk.
func BenchmarkRound(b *testing.B) {
	p := newPaper(b, 1_000_000)
	for _, r := range p.nodes {
		r.repair.round(b.Context())
	}
	b.Run("first", func(b *testing.B) {
		p.wire.Store(0)
		for b.Loop() {
			p.nodes[0].repair.buckets = buckets{}
			p.nodes[0].repair.round(b.Context())
		}
		b.ReportMetric(float64(p.wire.Load())/float64(b.N), "wire-B/op")
	})
	b.Run("quiet", func(b *testing.B) {
		p.wire.Store(0)
		b.ReportAllocs()
		for b.Loop() {
			p.nodes[0].repair.round(b.Context())
		}
		b.ReportMetric(float64(p.wire.Load())/float64(b.N), "wire-B/op")
	})
	b.Run("one lost", func(b *testing.B) {
		p.lose(b.Context())
		p.wire.Store(0)
		for b.Loop() {
			p.nodes[0].repair.round(b.Context())
		}
		b.ReportMetric(float64(p.wire.Load())/float64(b.N), "wire-B/op")
	})
}
