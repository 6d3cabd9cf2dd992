// Package transport is the one secured link between the nodes of a mesh. A
// node has one listener for everything that only nodes may say to each other:
// the streams of raft and requests between peers. Every connection is TLS 1.3
// with certificates on both sides, made from the one secret of the mesh; who
// lacks it gets no further than the handshake.
//
// # Invariants
//
// A connection is handed to raft or to a handler only after the other side
// proved its node id. A request sent to a node reaches that node or fails:
// an address that now belongs to another node is refused.
//
// # Concurrency
//
// All methods of Link and RaftLayer may be called at the same time, but
// Handle only before Serve. Close ends every connection, also those in use.
package transport

import (
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
)

// ALPN names: the split between the two things that share the listener.
const (
	protocolRaft = "malla-raft"
	protocolPeer = "malla-peer"
)

const (
	handshakeTimeout = 5 * time.Second
	maxHandshakes    = 128 // at once; whoever comes beyond is hung up on
	drainTimeout     = 2 * time.Second
)

// A DialFunc opens a plain connection to an address.
type DialFunc func(ctx context.Context, addr string) (net.Conn, error)

// Config is what a Link is made of.
type Config struct {
	Secret Secret
	// Accept are secrets whose nodes are believed too, while one secret is
	// being replaced by another.
	Accept []Secret
	NodeID string
	// Key tells this node from the others of the mesh; nil: one for this run.
	Key ed25519.PrivateKey
	// Listen is the address to bind, such as ":7947"; port 0 takes a free one.
	Listen string
	Logger *slog.Logger
	// Dial replaces the ordinary TCP dialer, for tests that cut nodes apart.
	Dial DialFunc
}

// A Link is this node's end of the mesh: it takes connections of other nodes
// and makes them. Who called Listen closes it.
type Link struct {
	id       *identity
	log      *slog.Logger
	listener net.Listener
	mux      *http.ServeMux
	server   *http.Server
	peers    *queue // connections on their way to the server
	raft     *RaftLayer
	dialer   dialer
	client   atomic.Pointer[http.Transport]
	refusals rate.Sometimes // keeps a flood of refused strangers out of the log

	conns     connSet // every open connection, in and out
	handlers  gate    // requests being answered
	closeOnce sync.Once
	done      chan struct{} // closed when Close begins
	closeErr  error
}

// Listen binds the listener. Nothing is accepted before Serve.
func Listen(cfg Config) (*Link, error) {
	id, err := newIdentity(cfg.NodeID, cfg.Key, cfg.Secret, cfg.Accept)
	if err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", cfg.Listen)
	if err != nil {
		return nil, fmt.Errorf("listen for other nodes: %w", err)
	}
	log := cfg.Logger
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	l := &Link{
		id:       id,
		log:      log,
		listener: listener,
		mux:      http.NewServeMux(),
		peers:    newQueue(listener.Addr()),
		refusals: rate.Sometimes{Interval: 10 * time.Second},
		done:     make(chan struct{}),
	}
	l.dialer = dialer{id: id, dial: cfg.Dial, conns: &l.conns}
	if cfg.Dial == nil {
		l.dialer.dial = dialTCP
	}
	l.client.Store(l.dialer.httpTransport())
	l.raft = &RaftLayer{queue: newQueue(listener.Addr()), dialer: &l.dialer}
	l.server = &http.Server{
		Handler:           http.HandlerFunc(l.serveHTTP),
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * idleTimeout, // the caller gives a connection up first
		MaxHeaderBytes:    64 << 10,
		ConnContext:       withPeer,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	return l, nil
}

// Addr is the address that is listened on.
func (l *Link) Addr() net.Addr { return l.listener.Addr() }

// Handle registers a handler for requests of members of the mesh, with a
// pattern of http.ServeMux. PeerID tells a handler who asks.
func (l *Link) Handle(pattern string, h http.Handler) { l.mux.Handle(pattern, members(h)) }

// HandleAny is Handle, but for every node that has the secret: how one becomes
// a member.
func (l *Link) HandleAny(pattern string, h http.Handler) { l.mux.Handle(pattern, current(h)) }

// Raft returns the streams between the nodes' rafts.
func (l *Link) Raft() *RaftLayer { return l.raft }

func withPeer(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, peerKey{}, c)
}

// Serve accepts connections until ctx ends or Close is called, and closes
// the link then. It is called once.
func (l *Link) Serve(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()
	var wg sync.WaitGroup
	wg.Go(func() { l.server.Serve(l.peers) }) // ends with the queue, always with an error that says so
	err := l.accept(&wg)
	if err != nil {
		err = errors.Join(fmt.Errorf("accept other nodes: %w", err), l.Close())
	}
	wg.Wait()
	return err
}

func (l *Link) accept(wg *sync.WaitGroup) error {
	slots := make(chan struct{}, maxHandshakes)
	for failures := 0; ; {
		conn, err := l.listener.Accept()
		if err != nil {
			if l.closing() {
				return nil
			}
			if failures++; failures > 100 {
				return err
			}
			l.log.Warn("accepting a node's connection", "err", err)
			select { // most likely out of file descriptors: some will come free
			case <-time.After(100 * time.Millisecond):
			case <-l.done:
			}
			continue
		}
		failures = 0
		select {
		case slots <- struct{}{}:
			wg.Go(func() {
				l.welcome(conn)
				<-slots
			})
		default:
			conn.Close()
		}
	}
}

// welcome lets the other side prove who it is and hands the connection on.
func (l *Link) welcome(raw net.Conn) {
	tracked, ok := l.conns.add(raw)
	if !ok {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), handshakeTimeout)
	defer cancel()
	conn := tls.Server(tracked, l.id.server(protocolRaft, protocolPeer))
	if err := conn.HandshakeContext(ctx); err != nil {
		l.refusals.Do(func() {
			l.log.Warn("refused a connection to the mesh port: no certificate of this mesh", "from", raw.RemoteAddr().String(), "err", clockHint(err))
		})
		tracked.Close()
		return
	}
	peer := l.id.peer(conn)
	taken := false
	if conn.ConnectionState().NegotiatedProtocol == protocolRaft {
		taken = l.raft.queue.deliver(raftConn{peer})
	} else {
		taken = l.peers.deliver(peer)
	}
	if !taken {
		tracked.Close()
	}
}

func (l *Link) serveHTTP(w http.ResponseWriter, r *http.Request) {
	if !l.handlers.enter() {
		http.Error(w, "this node is stopping", http.StatusServiceUnavailable)
		return
	}
	defer l.handlers.leave()
	l.mux.ServeHTTP(w, r)
}

func (l *Link) closing() bool {
	select {
	case <-l.done:
		return true
	default:
		return false
	}
}

// Close stops listening, gives requests that are being answered two seconds,
// and ends all connections. It may be called again and without Serve.
func (l *Link) Close() error {
	l.closeOnce.Do(func() {
		close(l.done)
		l.closeErr = l.listener.Close()
		l.peers.Close()
		l.handlers.close(drainTimeout)
		l.raft.Close()
		l.server.Close()
		l.conns.close()
		l.client.Load().CloseIdleConnections()
		l.handlers.wait(drainTimeout) // with their connections gone they end at once
	})
	return l.closeErr
}
