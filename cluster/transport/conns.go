package transport

import (
	"maps"
	"net"
	"slices"
	"sync"
	"time"
)

// A connSet knows the open connections, so that all can be ended at once.
// The zero value is ready.
type connSet struct {
	mu     sync.Mutex // guards the fields below
	open   map[*trackedConn]struct{}
	closed bool
}

// A trackedConn leaves its set when it is closed.
type trackedConn struct {
	net.Conn
	set *connSet
}

// add returns c as one of the set, or closes it when the set is closed.
func (s *connSet) add(c net.Conn) (*trackedConn, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		c.Close()
		return nil, false
	}
	if s.open == nil {
		s.open = make(map[*trackedConn]struct{})
	}
	t := &trackedConn{Conn: c, set: s}
	s.open[t] = struct{}{}
	return t, true
}

func (t *trackedConn) Close() error {
	t.set.mu.Lock()
	delete(t.set.open, t)
	t.set.mu.Unlock()
	return t.Conn.Close()
}

// all are the connections that are open now.
func (s *connSet) all() []*trackedConn {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Keys(s.open))
}

// close ends all connections and those that are added later.
func (s *connSet) close() {
	s.mu.Lock()
	open := s.open
	s.open, s.closed = nil, true
	s.mu.Unlock()
	for t := range open {
		t.Conn.Close()
	}
}

// A queue is a net.Listener whose connections come from elsewhere.
type queue struct {
	addr  net.Addr
	conns chan net.Conn
	once  sync.Once
	done  chan struct{}
}

// newQueue holds a few connections for an accepter that is busy. One that
// does not come at all must not make them pile up.
func newQueue(addr net.Addr) *queue {
	return &queue{addr: addr, conns: make(chan net.Conn, 64), done: make(chan struct{})}
}

// deliver never waits; false means that the connection was not taken.
func (q *queue) deliver(c net.Conn) bool {
	select {
	case <-q.done:
		return false
	default:
	}
	select {
	case q.conns <- c:
		return true
	default:
		return false
	}
}

func (q *queue) Accept() (net.Conn, error) {
	select {
	case c := <-q.conns:
		return c, nil
	case <-q.done:
		return nil, net.ErrClosed
	}
}

func (q *queue) Addr() net.Addr { return q.addr }

func (q *queue) Close() error {
	q.once.Do(func() { close(q.done) })
	return nil
}

// A gate counts who is inside and lets nobody in once it is closed. The zero
// value is open.
type gate struct {
	mu     sync.Mutex // guards the fields below
	inside int
	shut   bool
	empty  chan struct{} // made by close; closed when nobody is inside
}

func (g *gate) enter() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.shut {
		return false
	}
	g.inside++
	return true
}

func (g *gate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.inside--
	if g.shut && g.inside == 0 {
		close(g.empty)
	}
}

// close shuts the gate and waits until everybody left, but not for ever. It
// is called once.
func (g *gate) close(patience time.Duration) {
	g.mu.Lock()
	g.shut, g.empty = true, make(chan struct{})
	if g.inside == 0 {
		close(g.empty)
	}
	g.mu.Unlock()
	g.wait(patience)
}

// wait waits until everybody left a closed gate, but not for ever.
func (g *gate) wait(patience time.Duration) {
	select {
	case <-g.empty:
	case <-time.After(patience):
	}
}
