package replica

import (
	"context"
	"errors"
	"io"
	"slices"
	"sync"
	"time"

	"malla/blobs"
)

// A relay reads one chunk from the nodes that have it, as if they were one. It
// goes on at the next node where one breaks off, at the byte that is missing,
// and asks a second one beside the first when that is slow. What it returns is
// not verified. It is for one goroutine; who made it calls stop.
type relay struct {
	r   *Replica
	ctx context.Context
	ref blobs.Ref
	way way

	readers  []string      // nodes to ask next, best first
	stalled  []string      // those that were only slow: asked again, with more patience
	patience time.Duration // without a byte, until a node is stalled
	patient  bool          // the stalled ones have their second turn: there is no third
	unsure   map[string]bool
	errs     []error // what became of each node

	n       int64    // bytes read
	size    int64    // of the chunk as the first answer says; -1 before
	sources []string // nodes of which bytes were read
	block   []byte   // what is left of the last block
	over    error    // why there is no more

	racing []*lane // one, or two where the first is slow
	lanes  []*lane // all that were ever started
}

// A way is how much a relay may do to be fast.
type way int

const (
	quick  way = iota // for somebody who waits: a second node beside a slow one
	steady            // for repair: one node after the other
	alone             // no byte from a second node: for telling who sends wrong ones
)

// newRelay begins with the nodes that did not fail lately.
func (r *Replica) newRelay(ctx context.Context, m members, ref blobs.Ref, readers []string, way way) *relay {
	l := &relay{r: r, ctx: ctx, ref: ref, way: way, size: -1, patience: r.cfg.SlowAfter, unsure: map[string]bool{}}
	l.readers = r.slow.last(slices.Clone(readers))
	for _, p := range m.nodes {
		if !p.Alive {
			l.unsure[p.ID] = true
		}
	}
	return l
}

func (l *relay) Read(p []byte) (int, error) {
	for len(l.block) == 0 {
		if l.over == nil && l.n == l.size {
			l.over = io.EOF
		}
		if l.over == nil {
			l.over = l.next()
		}
		if len(l.block) == 0 && l.over != nil {
			return 0, l.over
		}
	}
	n := copy(p, l.block)
	l.block = l.block[n:]
	return n, nil
}

// next waits for the next block of whichever node sends it first.
func (l *relay) next() error {
	late := time.NewTimer(l.r.cfg.HedgeAfter)
	defer late.Stop()
	for {
		if len(l.racing) == 0 && !l.begin() {
			return errNoReader
		}
		var first, second <-chan block
		first = l.racing[0].blocks
		if len(l.racing) > 1 {
			second = l.racing[1].blocks
		}
		var b block
		select {
		case b = <-first:
		case b = <-second:
		case <-late.C:
			l.hedge()
			continue
		case <-l.ctx.Done():
			return l.ctx.Err()
		}
		if b.err == nil || b.err == io.EOF {
			l.take(b)
			return b.err
		}
		if err := l.drop(b); err != nil {
			return err
		}
		late.Reset(l.r.cfg.HedgeAfter)
	}
}

// errNoReader tells that no node is left to ask; the relay's errs say why.
var errNoReader = errors.New("no node is left that could have it")

// begin asks the next node for what is missing.
func (l *relay) begin() bool {
	if len(l.readers) == 0 && len(l.stalled) > 0 {
		l.readers, l.stalled = l.stalled, nil
		l.patience, l.patient = l.r.cfg.Stall, true
	}
	if len(l.readers) == 0 {
		return false
	}
	node := l.readers[0]
	l.readers = l.readers[1:]
	a := l.r.startLane(l.ctx, node, l.ref, l.n, l.patience)
	l.racing, l.lanes = append(l.racing, a), append(l.lanes, a)
	return true
}

// hedge asks one more node for what the first has not sent for long, unless
// that was done for too many chunks of late.
func (l *relay) hedge() {
	if l.way == quick && len(l.racing) == 1 && len(l.readers) > 0 && l.r.hedges.spend() {
		l.r.cfg.Logger.Debug("second holder asked", "node", l.readers[0], "beside", l.racing[0].node, "ref", l.ref.String())
		l.begin()
	}
}

// take makes b the block that is read, and ends the race for it.
func (l *relay) take(b block) {
	for _, a := range l.racing {
		if a != b.lane {
			a.cancel()
			l.unsure[a.node] = true
			l.r.slow.note(a.node, true)
			l.stalled = append(l.stalled, a.node) // good enough where all others fail; each time bytes were read
		}
	}
	l.racing = append(l.racing[:0], b.lane)
	l.block, l.size = b.data, b.size
	l.n += int64(len(b.data))
	if !slices.Contains(l.sources, b.lane.node) {
		l.sources = append(l.sources, b.lane.node)
	}
}

// drop notes that a node failed. Its error ends the relay where nothing of
// another node may follow.
func (l *relay) drop(b block) error {
	l.racing = slices.DeleteFunc(l.racing, func(a *lane) bool { return a == b.lane })
	if l.ctx.Err() != nil {
		return l.ctx.Err()
	}
	l.blame(b.lane.node, b.err)
	if l.way == alone && l.n > 0 {
		return b.err
	}
	return nil
}

// blame notes why a node did not send the chunk.
func (l *relay) blame(node string, err error) {
	l.errs = append(l.errs, err)
	if errors.Is(err, blobs.ErrNotFound) {
		delete(l.unsure, node)
		return
	}
	l.unsure[node] = true
	l.r.slow.note(node, true)
	l.r.cfg.Logger.Warn("holder passed by", "node", node, "ref", l.ref.String(), "err", err)
	if errors.Is(err, errStalled) && !l.patient {
		l.stalled = append(l.stalled, node)
	}
}

// stop ends what is on its way and waits for it. Blocks are not read any more.
func (l *relay) stop() {
	for _, a := range l.lanes {
		a.cancel()
	}
	for _, a := range l.lanes {
		<-a.done
		for _, buf := range a.bufs {
			laneBuffers.Put(buf)
		}
	}
	l.lanes, l.racing, l.block = nil, nil, nil
}

// A lane is one node sending one chunk, block by block.
type lane struct {
	node   string
	blocks chan block // in order; the last one has an error
	cancel context.CancelFunc
	done   chan struct{}        // closed when nothing goes on any more
	bufs   [2]*[laneBuffer]byte // one is filled while the other is read
}

// A block is the next bytes of a lane, which stay until the one after the next
// is asked for.
type block struct {
	lane *lane
	data []byte
	size int64 // of the whole chunk, as the node says
	err  error // io.EOF behind the last byte
}

// laneBuffer is how many bytes make a block: what a node has to send within
// HedgeAfter for not being slow.
const laneBuffer = 128 << 10

var laneBuffers = sync.Pool{New: func() any { return new([laneBuffer]byte) }}

// startLane asks the node for the chunk from that byte on.
func (r *Replica) startLane(ctx context.Context, node string, ref blobs.Ref, from int64, patience time.Duration) *lane {
	ctx, cancel := context.WithCancel(ctx)
	a := &lane{node: node, blocks: make(chan block), cancel: cancel, done: make(chan struct{})}
	for i := range a.bufs {
		a.bufs[i] = laneBuffers.Get().(*[laneBuffer]byte)
	}
	go func() {
		defer close(a.done)
		defer cancel()
		err := r.peers.get(ctx, patience, node, ref, from, func(body *kicked, size int64) error {
			return a.pump(ctx, body, size)
		})
		if err != nil {
			a.send(ctx, block{lane: a, err: err})
		}
	}()
	return a
}

// pump hands on the body until its end, or its error.
func (a *lane) pump(ctx context.Context, body io.Reader, size int64) error {
	for i := 0; ; i = 1 - i {
		n, err := fill(body, a.bufs[i][:])
		if err != nil && err != io.EOF {
			if n > 0 && !a.send(ctx, block{lane: a, data: a.bufs[i][:n], size: size}) {
				return ctx.Err()
			}
			return err
		}
		if !a.send(ctx, block{lane: a, data: a.bufs[i][:n], size: size, err: err}) {
			return ctx.Err()
		}
		if err == io.EOF {
			return nil
		}
	}
}

// fill is io.ReadFull with the reader's own error at its end.
func fill(r io.Reader, p []byte) (n int, err error) {
	for n < len(p) && err == nil {
		var more int
		more, err = r.Read(p[n:])
		n += more
	}
	return n, err
}

// send waits until the block is taken; false where nobody will.
func (a *lane) send(ctx context.Context, b block) bool {
	select {
	case a.blocks <- b:
		return true
	case <-ctx.Done():
		return false
	}
}

// hedges bounds how many chunks are asked of two nodes at once: a mesh that is
// slow because it has too much to do must not get twice as much.
type hedges struct {
	mu   sync.Mutex // guards the field below
	left float64    // how many there may be now
}

const (
	hedgeShare = 0.05 // of the chunks that are fetched
	maxHedges  = 8    // in a row, where there were none before
)

func newHedges() *hedges { return &hedges{left: maxHedges} }

// earn counts one more chunk that is fetched.
func (h *hedges) earn() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.left = min(maxHedges, h.left+hedgeShare)
}

// spend tells whether one more may be asked of two nodes.
func (h *hedges) spend() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.left < 1 {
		return false
	}
	h.left--
	return true
}
