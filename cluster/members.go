package cluster

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"malla/cluster/state"
)

// A MemberState is what this node thinks of another one.
type MemberState string

const (
	Alive MemberState = "alive" // it answers
	// Suspect: it has not been given up, but its reports stopped coming. A
	// busy processor does that too: no work is taken away for it.
	Suspect MemberState = "suspect"
	Dead    MemberState = "dead" // it does not answer any more
	Left    MemberState = "left" // it said that it goes
)

// A Role is what a node does for the agreement.
type Role string

const (
	Leader   Role = "leader"
	Voter    Role = "voter"
	Nonvoter Role = "nonvoter" // has the whole state, but no vote
)

// A Member is a node as this node sees it: a hint, often a second old. What
// nodes belong to the mesh is in the state.
type Member struct {
	ID      state.NodeID
	Name    string
	Zone    string
	Version string
	HTTP    string // host:port of its API
	Peer    string // host:port of its link
	Gossip  string // host:port of its gossip
	State   MemberState
	Since   time.Time // when it came into that state, as far as this node noticed
	Role    Role      // empty: not in the agreement yet
	Load    Load      // zero until its first report comes
	LoadAt  time.Time // when the last report came
}

// A peer is what the gossip said of a node.
type peer struct {
	meta   meta
	gossip string // host:port
	state  MemberState
	since  time.Time
	seq    uint32 // of the last report, of the run that meta names
	load   Load
	loadAt time.Time
}

// forget is how long a node that went is listed, unless the state names it.
const forget = time.Hour

// A table keeps what the gossip said. It is written by memberlist's callbacks,
// which hold memberlist's locks: nothing here may call memberlist.
type table struct {
	changed signal

	mu    sync.Mutex // guards the fields below
	peers map[state.NodeID]*peer
	other string // where the link of a second process with this node's id would be; empty: none was seen
}

func newTable() *table {
	return &table{peers: map[state.NodeID]*peer{}, changed: newSignal()}
}

// alive notes that a node is there, with what it says of itself.
func (t *table) alive(id state.NodeID, m meta, gossip string) {
	t.mu.Lock()
	p := t.peers[id]
	if p == nil {
		p = &peer{}
		t.peers[id] = p
	}
	if p.state != Alive {
		p.state, p.since = Alive, time.Now()
	}
	if p.meta.epoch != m.epoch {
		p.seq = 0 // a new run counts its reports anew
		p.loadAt = time.Now()
	}
	p.meta, p.gossip = m, gossip
	t.mu.Unlock()
	t.changed.notify()
}

// claim notes that a node says to be elsewhere. Memberlist believes that only
// once it has given the old place up, but a link to the wrong place fails
// safely, so the link may go to the new one at once. Claims of earlier runs
// come from nodes that have not heard yet.
func (t *table) claim(id state.NodeID, m meta, gossip string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if p := t.peers[id]; p != nil && m.epoch > p.meta.epoch {
		p.meta, p.gossip, p.seq = m, gossip, 0
	}
}

// seeTwin notes that this node itself was seen elsewhere.
func (t *table) seeTwin(peerAddr string) {
	t.mu.Lock()
	news := t.other != peerAddr
	t.other = peerAddr
	t.mu.Unlock()
	if news {
		t.changed.notify()
	}
}

// twin returns where this node itself was seen last, beside here.
func (t *table) twin() (peerAddr string, seen bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.other, t.other != ""
}

// gone notes that a node went, or that it does not answer.
func (t *table) gone(id state.NodeID, m meta) {
	t.mu.Lock()
	if p := t.peers[id]; p != nil {
		p.state, p.since = Dead, time.Now()
		if m.leaving && m.epoch == p.meta.epoch {
			p.state = Left
		}
	}
	for other, p := range t.peers {
		if p.state != Alive && time.Since(p.since) > forget {
			delete(t.peers, other)
		}
	}
	t.mu.Unlock()
	t.changed.notify()
}

// report notes the load of a node and tells whether it was news.
func (t *table) report(r report) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	p := t.peers[r.id]
	if p == nil || p.meta.epoch != r.epoch || r.seq <= p.seq {
		return false // of a stranger, of an earlier run, or heard already: a replay too
	}
	p.seq, p.load, p.loadAt = r.seq, r.load, time.Now()
	return true
}

// get returns a copy of what is known of a node.
func (t *table) get(id state.NodeID) (peer, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	p := t.peers[id]
	if p == nil {
		return peer{}, false
	}
	return *p, true
}

// living returns the nodes that answer, by id.
func (t *table) living() []peer {
	t.mu.Lock()
	defer t.mu.Unlock()
	var all []peer
	for _, p := range t.peers {
		if p.state == Alive {
			all = append(all, *p)
		}
	}
	slices.SortFunc(all, func(a, b peer) int { return cmp.Compare(a.meta.id, b.meta.id) })
	return all
}

// count is the number of nodes that answer, this one included.
func (t *table) count() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := 0
	for _, p := range t.peers {
		if p.state == Alive {
			n++
		}
	}
	return n
}

// members returns everything known, by name. Nodes whose reports are older
// than silence are suspect.
func (t *table) members(silence time.Duration) []Member {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := make([]Member, 0, len(t.peers))
	for id, p := range t.peers {
		m := Member{
			ID: id, Name: p.meta.name, Zone: p.meta.zone, Version: p.meta.version,
			HTTP: p.httpAddr(), Peer: p.peerAddr(), Gossip: p.gossip,
			State: p.state, Since: p.since, Load: p.load, LoadAt: p.loadAt,
		}
		if p.state == Alive && time.Since(p.loadAt) > silence {
			m.State, m.Since = Suspect, p.loadAt.Add(silence)
		}
		if p.seq == 0 {
			m.Load, m.LoadAt = Load{}, time.Time{}
		}
		all = append(all, m)
	}
	slices.SortFunc(all, func(a, b Member) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID))
	})
	return all
}

// A signal wakes everybody who waits for a change, by closing a channel.
type signal struct {
	mu *sync.Mutex // guards what ch points to
	ch *chan struct{}
}

func newSignal() signal {
	ch := make(chan struct{})
	return signal{mu: new(sync.Mutex), ch: &ch}
}

// wait returns a channel that is closed at the next change. To lose none:
// take the channel, look, act, wait for it.
func (s signal) wait() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return *s.ch
}

func (s signal) notify() {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(*s.ch)
	*s.ch = make(chan struct{})
}
