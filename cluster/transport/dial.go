package transport

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"time"
)

const (
	dialTimeout = 5 * time.Second
	idleTimeout = time.Minute
)

// ErrUnknownNode tells that nobody knows an address of the node.
var ErrUnknownNode = errors.New("no address known of that node")

// SetResolver tells the link how to find the address of a node by its id.
// Before it is called no node can be asked anything.
func (l *Link) SetResolver(resolve func(nodeID string) (addr string, ok bool)) {
	l.dialer.resolve.Store(&resolve)
}

// Do sends a request to exactly that node, over a connection that is kept for
// the next one. Of req.URL only path and query count. A body whose Read waits
// for ever keeps Do waiting too, unless ctx ends. The caller closes the
// response's body; ctx bounds the whole exchange, reading the body included.
// ErrUnknownNode: no address; ErrNotPeer: another one answered there.
func (l *Link) Do(ctx context.Context, nodeID string, req *http.Request) (*http.Response, error) {
	if !ValidID(nodeID) {
		return nil, fmt.Errorf("call node %q: %w", nodeID, ErrUnknownNode)
	}
	if l.closing() {
		return nil, fmt.Errorf("call node %s: %w", nodeID, net.ErrClosed)
	}
	req = req.WithContext(ctx)
	u := *req.URL
	u.Scheme, u.Host = "https", nodeID+nodeDomain
	req.URL, req.Host = &u, ""
	resp, err := l.client.Load().RoundTrip(req)
	if err != nil {
		return nil, fmt.Errorf("call node %s: %w", nodeID, err)
	}
	return resp, nil
}

// Estranged tells whether the last node that was called has a certificate of
// another secret than this one accepts.
func (l *Link) Estranged() bool { return l.dialer.strange.Load() }

// A dialer makes the connections of a link to other nodes.
type dialer struct {
	id      *identity
	dial    DialFunc
	conns   *connSet
	resolve atomic.Pointer[func(nodeID string) (string, bool)]
	strange atomic.Bool // the last node called has a certificate of another secret
}

// httpTransport pools connections by node id, not by address.
func (d *dialer) httpTransport() *http.Transport {
	return &http.Transport{
		DialTLSContext: func(ctx context.Context, _, host string) (net.Conn, error) {
			nodeID, _, _ := strings.Cut(host, nodeDomain)
			conn, err := d.node(ctx, nodeID, protocolPeer)
			if err != nil {
				return nil, err
			}
			return conn, nil
		},
		DisableCompression:    true, // media does not shrink, and bytes are checked as they are
		MaxIdleConnsPerHost:   8,
		MaxConnsPerHost:       128,
		IdleConnTimeout:       idleTimeout,
		ExpectContinueTimeout: time.Second,
		WriteBufferSize:       64 << 10,
		ReadBufferSize:        64 << 10,
	}
}

// node connects to the node with that id, which has to prove it.
func (d *dialer) node(ctx context.Context, nodeID, protocol string) (*peerConn, error) {
	resolve := d.resolve.Load()
	if resolve == nil || !ValidID(nodeID) {
		return nil, ErrUnknownNode
	}
	addr, ok := (*resolve)(nodeID)
	if !ok {
		return nil, ErrUnknownNode
	}
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	raw, err := d.dial(ctx, addr)
	if err != nil {
		return nil, err
	}
	tracked, ok := d.conns.add(raw)
	if !ok {
		return nil, net.ErrClosed
	}
	conn := tls.Client(tracked, d.id.client(nodeID, protocol))
	if err := conn.HandshakeContext(ctx); err != nil {
		tracked.Close()
		var certificate *tls.CertificateVerificationError
		var unknown x509.UnknownAuthorityError
		if errors.As(err, &unknown) {
			d.strange.Store(true)
		}
		if errors.As(err, &certificate) {
			err = fmt.Errorf("%w: %w", ErrNotPeer, clockHint(err))
		}
		return nil, fmt.Errorf("greet the node at %s: %w", addr, err)
	}
	d.strange.Store(false)
	return d.id.peer(conn), nil
}

// dialTCP dials so that a peer whose machine vanished is noticed within half
// a minute, whether bytes are waiting to be sent or to be received.
func dialTCP(ctx context.Context, addr string) (net.Conn, error) {
	d := net.Dialer{
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 10 * time.Second, Interval: 5 * time.Second, Count: 3},
		Control:         limitUnacknowledged,
	}
	return d.DialContext(ctx, "tcp", addr)
}
