package replica

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"

	"malla/blobs"
)

// Two nodes compare what both should have by digests: one for everything, and
// where that differs one for each first byte of the refs. Only the refs of a
// part that differs are listed.
//
//	POST /chunks/summary   32 bytes: SHA-256 of what the other should have -> nothing, if that is what it has; else its 256 digests
//	POST /chunks/lacking   32 bytes: SHA-256 of the answer before -> 204, if it is still that; else the refs that it should have and has not
//
// Malla-Node says who asks.
const (
	nodeHeader = "Malla-Node"

	digestSize  = 4 + 8
	summarySize = 256 * digestSize
	rootSize    = sha256.Size
	maxLacking  = 1 << 20 // refs in an answer
	maxAsking   = 8       // nodes asked at once
)

// A digest stands for a set of chunks. It is no proof against who makes chunks
// up to fool it: they could hide that a copy is missing for other nodes to see,
// never from the node that misses it.
type digest struct {
	count uint32
	sum   uint64
}

func (d *digest) add(ref blobs.Ref) {
	d.count++
	d.sum += binary.BigEndian.Uint64(ref[8:]) // the first bytes of those in a bucket are too alike
}

type summary [256]digest

func (s *summary) encode() []byte {
	out := make([]byte, 0, summarySize)
	for _, d := range s {
		out = binary.BigEndian.AppendUint32(out, d.count)
		out = binary.BigEndian.AppendUint64(out, d.sum)
	}
	return out
}

func (s *summary) root() [rootSize]byte { return sha256.Sum256(s.encode()) }

func decodeSummary(in []byte) (*summary, error) {
	if len(in) != summarySize {
		return nil, fmt.Errorf("a summary of %d bytes, want %d", len(in), summarySize)
	}
	s := new(summary)
	for i := range s {
		at := in[i*digestSize:]
		s[i] = digest{binary.BigEndian.Uint32(at), binary.BigEndian.Uint64(at[4:])}
	}
	return s, nil
}

// A looked is what this node's last look told, for the others to ask about.
type looked struct {
	nodes   []Peer
	buckets buckets
}

// with is what this node and the other one should both have, and what of it is
// here, by buckets.
func (l *looked) with(node string) (want, here *summary) {
	i := members{nodes: l.nodes}.index(node)
	want, here = new(summary), new(summary)
	for k, b := range l.buckets {
		if i >= 0 {
			want[k], here[k] = b.pairs[i].want, b.pairs[i].here
		}
	}
	return want, here
}

func (p *repair) publish(m members) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.looked = &looked{m.nodes, p.buckets}
}

// last is the last look, or [blobs.ErrUnavailable] before the first one.
func (p *repair) last() (*looked, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.looked == nil {
		return nil, fmt.Errorf("%w: this node has not looked at its disk yet", blobs.ErrUnavailable)
	}
	return p.looked, nil
}

// askedRoot reads the digest that a question brings.
func askedRoot(req *http.Request) (root [rootSize]byte, err error) {
	if _, err = io.ReadFull(req.Body, root[:]); err != nil {
		err = fmt.Errorf("%w: a digest is %d bytes: %w", blobs.ErrBadRef, rootSize, err)
	}
	return root, err
}

func (r *Replica) serveSummary(w http.ResponseWriter, req *http.Request) error {
	theirs, err := askedRoot(req)
	if err != nil {
		return err
	}
	l, err := r.repair.last()
	if err != nil {
		return err
	}
	if _, here := l.with(req.Header.Get(nodeHeader)); here.root() != theirs {
		_, err = w.Write(here.encode())
	}
	return err
}

func (r *Replica) serveLacking(w http.ResponseWriter, req *http.Request) error {
	known, err := askedRoot(req)
	if err != nil {
		return err
	}
	l, err := r.repair.last()
	if err != nil {
		return err
	}
	var refs []blobs.Ref
	for _, b := range l.buckets {
		for _, s := range b.missing {
			refs = append(refs, s.ref)
		}
	}
	list := encodeRefs(refs[:min(len(refs), maxLacking)])
	if sha256.Sum256(list) == known {
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	_, err = w.Write(list)
	return err
}

// about posts a digest to the node and returns its answer, nil for a 204.
func (r *Replica) about(ctx context.Context, node, what string, root [rootSize]byte, limit int64) ([]byte, error) {
	ctx, kick, stop := watch(ctx, r.cfg.Stall)
	defer stop()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, chunksPath+what, bytes.NewReader(root[:]))
	if err != nil {
		return nil, err
	}
	req.Header.Set(nodeHeader, r.cfg.Self)
	resp, err := r.peers.send(ctx, node, req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusNoContent {
		return nil, nil
	}
	data, err := io.ReadAll(io.LimitReader(&kicked{Reader: resp.Body, kick: kick}, limit))
	if err != nil {
		return nil, cause(ctx, err)
	}
	return append([]byte{}, data...), nil
}

// atOnce calls ask for each of the nodes, some at a time, and waits.
func atOnce(nodes []string, ask func(node string)) {
	var wg sync.WaitGroup
	slots := make(chan struct{}, maxAsking)
	for _, node := range nodes {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			ask(node)
		})
	}
	wg.Wait()
}

// A fullNode is what is known of a full node.
type fullNode struct {
	root  [rootSize]byte // of its last answer
	lacks map[blobs.Ref]bool
}

// askFull asks the full nodes which of the chunks that would be theirs they
// lack: others stand in for those. It notes whose buckets that changes.
func (p *repair) askFull(ctx context.Context, m members, changed *[256]bool) lacking {
	full := m.others(func(peer Peer) bool { return peer.Full && m.counts(peer) })
	before := p.full
	p.full = map[string]fullNode{}
	var mu sync.Mutex // guards p.full and changed
	atOnce(full, func(node string) {
		f := before[node]
		list, err := p.r.about(ctx, node, "lacking", f.root, maxLacking*int64(refSize))
		if err != nil && ctx.Err() == nil {
			p.r.cfg.Logger.Warn("full node not asked", "node", node, "err", err)
		}
		mu.Lock()
		defer mu.Unlock()
		if refs, bad := decodeRefs(bytes.NewReader(list), maxLacking); list != nil && err == nil && bad == nil {
			now := fullNode{sha256.Sum256(list), make(map[blobs.Ref]bool, len(refs))}
			for _, ref := range refs {
				now.lacks[ref] = true
				changed[ref[0]] = changed[ref[0]] || !f.lacks[ref]
			}
			for ref := range f.lacks {
				changed[ref[0]] = changed[ref[0]] || !now.lacks[ref]
			}
			f = now
		}
		p.full[node] = f
	})
	for node, f := range before {
		if _, still := p.full[node]; !still {
			for ref := range f.lacks {
				changed[ref[0]] = true
			}
		}
	}
	return p.lacking(m)
}

// lacking tells what the full nodes lacked when they were asked last.
func (p *repair) lacking(m members) lacking {
	return func(node int, ref blobs.Ref) bool { return p.full[m.nodes[node].ID].lacks[ref] }
}

// compare compares with every other node what both should have, and offers it
// what it seems to lack. It returns how many could not be asked.
func (p *repair) compare(ctx context.Context, m members, lacks lacking) (failed int) {
	l := &looked{m.nodes, p.buckets}
	others := m.others(func(peer Peer) bool { return m.counts(peer) })
	differ := make(map[string]*[256]bool, len(others))
	var any [256]bool
	var mu sync.Mutex // guards failed, differ and any
	atOnce(others, func(node string) {
		want, _ := l.with(node)
		theirs, err := p.summaryOf(ctx, node, want)
		mu.Lock()
		defer mu.Unlock()
		switch {
		case err != nil:
			if failed++; ctx.Err() == nil {
				p.r.cfg.Logger.Info("not compared with a node", "node", node, "err", err)
			}
		case theirs != nil:
			differ[node] = new([256]bool)
			for i := range want {
				differ[node][i] = want[i] != theirs[i]
				any[i] = any[i] || differ[node][i]
			}
		}
	})
	if len(differ) > 0 && !p.offerParts(ctx, m, lacks, differ, p.names.in(&any)) {
		failed++
	}
	return failed
}

// summaryOf returns what the node has of what both should have, or nil where
// that is all of it.
func (p *repair) summaryOf(ctx context.Context, node string, want *summary) (*summary, error) {
	answer, err := p.r.about(ctx, node, "summary", want.root(), summarySize+1)
	if err != nil || len(answer) == 0 {
		return nil, err
	}
	return decodeSummary(answer)
}

// offerParts offers each node what is here of the buckets in which it differs,
// and tells whether all of them listened.
func (p *repair) offerParts(ctx context.Context, m members, lacks lacking, differ map[string]*[256]bool, wanted [256][]sized) bool {
	offers := map[string][]blobs.Ref{}
	self := m.index(m.self)
	var holders []int
	for i, part := range wanted {
		for _, w := range part {
			holders = m.holders(holders[:0], w.ref, lacks)
			if !slices.Contains(holders, self) || p.buckets[i].lacks(w.ref) {
				continue
			}
			for _, h := range holders {
				if d := differ[m.nodes[h].ID]; d != nil && d[i] {
					offers[m.nodes[h].ID] = append(offers[m.nodes[h].ID], w.ref)
				}
			}
		}
	}
	return p.ask(ctx, offer, offers, func(blobs.Ref, bool) {})
}

// ask asks every node about its refs, calls each, one at a time, with the
// answers, and tells whether all of them answered.
func (p *repair) ask(ctx context.Context, q question, asks map[string][]blobs.Ref, each func(ref blobs.Ref, yes bool)) bool {
	nodes := make([]string, 0, len(asks))
	for node := range asks {
		nodes = append(nodes, node)
	}
	all := true
	var mu sync.Mutex // guards all, and each
	atOnce(nodes, func(node string) {
		err := p.r.peers.ask(ctx, node, q, "", asks[node], func(ref blobs.Ref, yes bool) {
			mu.Lock()
			defer mu.Unlock()
			each(ref, yes)
		})
		if err == nil {
			return
		}
		if ctx.Err() == nil {
			p.r.cfg.Logger.Warn("node not asked about chunks", "node", node, "question", q, "err", err)
		}
		mu.Lock()
		defer mu.Unlock()
		all = false
	})
	return all
}
