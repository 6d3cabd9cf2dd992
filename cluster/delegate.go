package cluster

import (
	"errors"
	"net"
	"time"

	"github.com/hashicorp/memberlist"

	"malla/cluster/state"
)

// A delegate is what memberlist calls, often with its locks held: nothing
// here waits, and nothing here calls memberlist.
type delegate struct{ g *gossip }

// NotifyJoin implements memberlist.EventDelegate.
func (d delegate) NotifyJoin(n *memberlist.Node) {
	if m, err := decodeMeta(n.Name, n.Meta); err == nil {
		d.g.table.alive(m.id, m, n.Address())
	}
}

// NotifyUpdate implements memberlist.EventDelegate.
func (d delegate) NotifyUpdate(n *memberlist.Node) { d.NotifyJoin(n) }

// NotifyLeave implements memberlist.EventDelegate.
func (d delegate) NotifyLeave(n *memberlist.Node) {
	if m, err := decodeMeta(n.Name, n.Meta); err == nil {
		d.g.table.gone(m.id, m)
	}
}

// NotifyConflict implements memberlist.ConflictDelegate.
func (d delegate) NotifyConflict(_, other *memberlist.Node) {
	m, err := decodeMeta(other.Name, other.Meta)
	switch {
	case err != nil:
	case m.id == d.g.id:
		d.g.table.seeTwin((&peer{meta: m, gossip: other.Address()}).peerAddr())
	default:
		d.g.table.claim(m.id, m, other.Address())
	}
}

// NodeMeta implements memberlist.Delegate.
func (d delegate) NodeMeta(limit int) []byte {
	if data := d.g.saying().encode(); len(data) <= limit {
		return data
	}
	return nil // cannot be: check bounds the texts
}

// NotifyMsg implements memberlist.Delegate. A load that is news is passed on:
// its sender reaches only a few nodes itself.
func (d delegate) NotifyMsg(data []byte) {
	r, ok := decodeReport(data)
	if ok && r.id != d.g.id && d.g.table.report(r) {
		d.g.loads.QueueBroadcast(broadcast{id: r.id, data: r.encode()})
	}
}

// GetBroadcasts implements memberlist.Delegate.
func (d delegate) GetBroadcasts(overhead, limit int) [][]byte {
	return d.g.loads.GetBroadcasts(overhead, limit)
}

// LocalState implements memberlist.Delegate: a node that has just come is
// given all loads at once, each after its length in a byte.
func (d delegate) LocalState(bool) []byte {
	var out []byte
	for _, p := range d.g.table.living() {
		if p.seq > 0 {
			data := report{id: p.meta.id, epoch: p.meta.epoch, seq: p.seq, load: p.load}.encode()
			out = append(append(out, byte(len(data))), data...)
		}
	}
	return out
}

// MergeRemoteState implements memberlist.Delegate.
func (d delegate) MergeRemoteState(in []byte, _ bool) {
	for len(in) > 0 && len(in) >= 1+int(in[0]) {
		if r, ok := decodeReport(in[1 : 1+in[0]]); ok && r.id != d.g.id {
			d.g.table.report(r)
		}
		in = in[1+in[0]:]
	}
}

// A broadcast is the newest load of one node.
type broadcast struct {
	id   state.NodeID
	data []byte
}

// Invalidates implements memberlist.Broadcast.
func (b broadcast) Invalidates(other memberlist.Broadcast) bool {
	o, ok := other.(broadcast)
	return ok && o.id == b.id
}

// Name implements memberlist.NamedBroadcast.
func (b broadcast) Name() string { return string(b.id) }

// Message implements memberlist.Broadcast.
func (b broadcast) Message() []byte { return b.data }

// Finished implements memberlist.Broadcast.
func (b broadcast) Finished() {}

// filtered sends nothing to addresses that are out of reach: how tests cut
// nodes apart.
type filtered struct {
	*memberlist.NetTransport
	reach func(addr string) bool // nil: all
}

var errOutOfReach = errors.New("out of reach")

func (f filtered) allows(addr string) bool { return f.reach == nil || f.reach(addr) }

// WriteToAddress implements memberlist.NodeAwareTransport. As on a network
// that is cut, the sender learns nothing.
func (f filtered) WriteToAddress(b []byte, a memberlist.Address) (time.Time, error) {
	if !f.allows(a.Addr) {
		return time.Now(), nil
	}
	return f.NetTransport.WriteToAddress(b, a)
}

// WriteTo implements memberlist.Transport.
func (f filtered) WriteTo(b []byte, addr string) (time.Time, error) {
	return f.WriteToAddress(b, memberlist.Address{Addr: addr})
}

// DialAddressTimeout implements memberlist.NodeAwareTransport.
func (f filtered) DialAddressTimeout(a memberlist.Address, timeout time.Duration) (net.Conn, error) {
	if !f.allows(a.Addr) {
		return nil, errOutOfReach
	}
	return f.NetTransport.DialAddressTimeout(a, timeout)
}

// DialTimeout implements memberlist.Transport.
func (f filtered) DialTimeout(addr string, timeout time.Duration) (net.Conn, error) {
	return f.DialAddressTimeout(memberlist.Address{Addr: addr}, timeout)
}
