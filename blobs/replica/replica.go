// Package replica keeps each chunk on several nodes, so that any of them may
// die without a byte being lost: it spreads what arrives, reads from whichever
// holder answers, makes missing copies again and collects what nobody names.
//
// Which nodes hold a chunk is computed, never stored: [blobs.Place] over the
// members. What exists is decided by the agreed state alone, which this package
// asks through [Config].Referenced.
//
// # Invariants
//
//   - Spread returns only after a majority of the copies, or all where
//     [Config].Ack says so, is durable on distinct nodes, this one counted unless
//     it is being emptied.
//   - A byte is handed out only from a chunk whose hash was right as a whole.
//   - A surplus copy goes only after every holder has verified its own; an
//     unnamed chunk only after its grace time, seen twice, and only while every
//     manifest could be read and the state is settled.
//
// # Concurrency
//
// All methods may be called at once. Run and Scrub are the only loops; Spread
// leaves work behind that Close ends and waits for.
package replica

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"malla/blobs"
)

// A Local is this node's durable store, as package disk implements it.
type Local interface {
	blobs.Store
	Ledger
	Checkable
	// Reserve sets room for n bytes aside until release is called.
	Reserve(n int64) (release func(), err error)
	// Adopt takes over a written file as the chunk, durably.
	Adopt(ctx context.Context, upload string, ref blobs.Ref, path string) (created bool, err error)
	// Link makes dst another name of the chunk's file, after verifying it.
	Link(ctx context.Context, ref blobs.Ref, dst string) error
}

// A Ledger knows why and since when chunks are on this disk.
type Ledger interface {
	// PutFor is Put on behalf of an upload, which may be "".
	PutFor(ctx context.Context, upload string, ref blobs.Ref, r io.Reader) (created bool, err error)
	// KeepFor verifies the chunk and makes it count as used now, durably.
	KeepFor(ctx context.Context, upload string, ref blobs.Ref) (int64, error)
	// Discard deletes the chunk if only that upload ever wanted it.
	Discard(ctx context.Context, upload string, ref blobs.Ref) (bool, error)
	// Remove deletes the chunk unless it was used after the given time.
	Remove(ctx context.Context, ref blobs.Ref, after time.Time) (bool, error)
	// In lists the chunks whose refs begin with that byte in their order.
	In(ctx context.Context, first byte, f func(ref blobs.Ref, size int64, used time.Time) error) error
	// Stamp is when a chunk that In would list last came or went, by the
	// clock of the file system.
	Stamp(first byte) (time.Time, error)
}

// Checkable is a store whose chunks are looked at again before anybody needs
// them.
type Checkable interface {
	// Scrub hashes the chunk's bytes on the disk again. paced is called after
	// each read with its number of bytes, and may wait. [blobs.ErrCorrupt]
	// where they are damaged, [blobs.ErrBroken] where that cannot be told.
	Scrub(ctx context.Context, ref blobs.Ref, paced func(n int) error) (size int64, err error)
	// Damage tells how many chunks were found damaged since the store was
	// opened, by whatever read them, and how many of those were put again.
	Damage() (found, healed int64)
}

// Peers are the nodes of the mesh and the link to them.
type Peers interface {
	// Nodes returns all members, this node and dead ones too, until they are
	// removed for good. The caller may change the slice.
	Nodes() []Peer
	// Do sends the request, whose URL is only a path, to that node and to no
	// other.
	Do(ctx context.Context, node string, req *http.Request) (*http.Response, error)
}

// A Peer is a node as far as keeping chunks goes.
type Peer struct {
	ID       string
	Zone     string    // copies go to distinct zones; "" is a zone of its own
	Weight   float64   // its capacity beside the others'; 0 or less keeps nothing
	Alive    bool      // can be reached, as far as is known
	Full     bool      // accepts no chunks, but keeps those it has
	Draining bool      // is being emptied: accepts and keeps no chunks
	GivenUp  bool      // its disk has not worked for so long that its copies do not count; it is no less a member
	Gone     time.Time // since when it is not alive; zero where that is not known
}

// keeps tells whether the node's copies count, while it lives.
func (p Peer) keeps() bool { return !p.Draining && !p.GivenUp }

// An Ack says how many copies of a chunk are durable on distinct nodes before
// whoever sent it is told that it is safe.
type Ack string

const (
	AckMajority Ack = "majority" // more than half of the copies; the others follow
	AckAll      Ack = "all"      // every copy; there must be as many nodes with room
)

// A Config is what a Replica is made of. Zero times and limits mean their
// defaults.
type Config struct {
	Self   string // id of this node
	Copies int    // how many nodes should keep each chunk; default 3
	Ack    Ack    // how many copies are durable when Spread returns; default AckMajority
	Local  Local
	Cache  blobs.Store // for copies of chunks that are held elsewhere; nil keeps them in memory while they are read
	Peers  Peers
	Logger *slog.Logger // nil discards

	// Referenced yields the manifest of every blob that the agreed state
	// names, from one view of it. Nil names nothing.
	Referenced iter.Seq[blobs.Ref]
	// Held yields chunks that nobody names yet and that must not be
	// collected: those of unfinished uploads. Nil holds none.
	Held iter.Seq[blobs.Ref]
	// Settled tells whether this node's state is caught up. While it is not,
	// nothing is deleted. Nil is never.
	Settled func() bool

	Grace        time.Duration // how long a vanished node still counts as a holder; default 1 minute
	Every        time.Duration // time between rounds of repair that nobody asked for; default 10 minutes
	Pause        time.Duration // least time between two rounds; default 5 seconds
	SurplusAfter time.Duration // age at which a surplus copy may go; default 10 minutes
	CollectAfter time.Duration // age at which an unnamed chunk may go; default 48 hours
	HedgeAfter   time.Duration // when a reader's chunk is asked of a second holder too, because the first sent less than 128 KiB in it; default 250 milliseconds
	SlowAfter    time.Duration // when a holder that has not answered is joined or replaced by the next; default 3 seconds
	Stall        time.Duration // when a transfer on which nothing moves is given up; default 10 seconds
	RepairRate   int64         // bytes a second that repair copies at most; default 64 MiB

	ScrubEvery time.Duration // within which each chunk is read and hashed again; default 30 days, negative never
	ScrubRate  int64         // bytes a second that scrubbing reads at most; default 32 MiB
	ScrubFile  string        // where it is written down how far that is; "" begins anew with each process
}

func (c *Config) setDefaults() {
	c.Copies = orDefault(c.Copies, 3)
	c.Ack = orDefault(c.Ack, AckMajority)
	c.Grace = orDefault(c.Grace, time.Minute)
	c.Every = orDefault(c.Every, 10*time.Minute)
	c.Pause = orDefault(c.Pause, 5*time.Second)
	c.SurplusAfter = orDefault(c.SurplusAfter, 10*time.Minute)
	c.CollectAfter = orDefault(c.CollectAfter, 48*time.Hour)
	c.HedgeAfter = orDefault(c.HedgeAfter, 250*time.Millisecond)
	c.SlowAfter = orDefault(c.SlowAfter, 3*time.Second)
	c.Stall = orDefault(c.Stall, 10*time.Second)
	c.RepairRate = orDefault(c.RepairRate, 64<<20)
	c.ScrubEvery = orDefault(c.ScrubEvery, 30*24*time.Hour)
	c.ScrubRate = orDefault(c.ScrubRate, 32<<20)
	nothing := func(func(blobs.Ref) bool) {}
	if c.Referenced == nil {
		c.Referenced = nothing
	}
	if c.Held == nil {
		c.Held = nothing
	}
	if c.Settled == nil {
		c.Settled = func() bool { return false }
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
}

func orDefault[T comparable](v, def T) T {
	var zero T
	if v == zero {
		return def
	}
	return v
}

// A Replica is this node's part in keeping all chunks.
type Replica struct {
	cfg     Config
	started time.Time
	peers   remote
	fetches fetches
	slow    slow
	hedges  *hedges
	memory  places
	behind  chan struct{} // one token for each spread that may go on after its answer
	repair  *repair
	scrub   *scrub
	hold    hold

	mu      sync.Mutex                         // guards the fields below
	closed  bool                               // no spread begins any more
	spreads map[string]map[*spreading]struct{} // upload -> its spreads that are not done
	wg      sync.WaitGroup                     // of the spreads
}

const (
	maxInMemory = 4
	maxBehind   = 16
)

// New returns a Replica. It starts nothing: the node mounts Handler on the
// link and calls Run.
func New(cfg Config) (*Replica, error) {
	if cfg.Self == "" || cfg.Local == nil || cfg.Peers == nil {
		return nil, errors.New("replica: Self, Local and Peers are needed")
	}
	if cfg.Copies < 0 {
		return nil, fmt.Errorf("replica: copies is %d, want at least 1", cfg.Copies)
	}
	if cfg.Ack != "" && cfg.Ack != AckMajority && cfg.Ack != AckAll {
		return nil, fmt.Errorf("replica: ack is %q, want %s or %s", cfg.Ack, AckMajority, AckAll)
	}
	cfg.setDefaults()
	r := &Replica{
		cfg:     cfg,
		started: time.Now(),
		peers:   remote{do: cfg.Peers.Do, stall: cfg.Stall},
		fetches: fetches{running: map[blobs.Ref]chan struct{}{}},
		slow:    slow{since: map[string]time.Time{}},
		hedges:  newHedges(),
		memory:  make(places, maxInMemory),
		behind:  make(chan struct{}, maxBehind),
		spreads: map[string]map[*spreading]struct{}{},
	}
	r.repair = newRepair(r)
	r.scrub = newScrub(r)
	return r, nil
}

// Close ends the work that spreads left behind and waits for it. What it did
// not get to, repair makes up for. It may be called twice.
func (r *Replica) Close() error {
	r.mu.Lock()
	r.closed = true
	for _, of := range r.spreads {
		for sp := range of {
			sp.cancel()
		}
	}
	r.mu.Unlock()
	r.wg.Wait()
	return nil
}

// Reserve sets room for n bytes aside on this node's disk until release is
// called, or returns [blobs.ErrFull].
func (r *Replica) Reserve(n int64) (release func(), err error) { return r.cfg.Local.Reserve(n) }

// broken tells whether this node's disk does not work.
func (r *Replica) broken() bool {
	release, err := r.cfg.Local.Reserve(0)
	if err == nil {
		release()
	}
	return errors.Is(err, blobs.ErrBroken)
}
