package transport

import (
	"context"
	"fmt"
	"net"
	"time"
)

// A RaftLayer carries the streams between the nodes' rafts. It is a
// net.Listener that also dials. Closing it ends its streams and leaves the
// link's other connections alone.
type RaftLayer struct {
	queue  *queue
	dialer *dialer
	conns  connSet // streams in use, both ways
}

// Accept waits for the stream of another node.
func (r *RaftLayer) Accept() (net.Conn, error) {
	conn, err := r.queue.Accept()
	if err != nil {
		return nil, err
	}
	tracked, ok := r.conns.add(conn)
	if !ok {
		return nil, net.ErrClosed
	}
	return tracked, nil
}

// Dial opens a stream to exactly that node, wherever it is now.
func (r *RaftLayer) Dial(nodeID string, timeout time.Duration) (net.Conn, error) {
	ctx := context.Background()
	if timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, timeout)
		defer cancel()
	}
	conn, err := r.dialer.node(ctx, nodeID, protocolRaft)
	if err != nil {
		return nil, fmt.Errorf("call node %s: %w", nodeID, err)
	}
	tracked, ok := r.conns.add(raftConn{conn})
	if !ok {
		return nil, net.ErrClosed
	}
	return tracked, nil
}

// review ends the streams whose other side may not go on.
func (r *RaftLayer) review() {
	for _, c := range r.conns.all() {
		if stream, ok := c.Conn.(raftConn); ok && stream.welcome() != nil {
			c.Close()
		}
	}
}

// Addr is the address of the link's listener.
func (r *RaftLayer) Addr() net.Addr { return r.queue.Addr() }

// Close ends all streams and makes Accept and Dial fail.
func (r *RaftLayer) Close() error {
	r.queue.Close()
	r.conns.close()
	return nil
}
