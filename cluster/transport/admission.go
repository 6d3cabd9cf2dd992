package transport

import (
	"crypto/ed25519"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
)

// An Admission is what a mesh knows of its nodes. The secret, which a node
// keeps when it is removed, proves no more than that it was given to somebody.
type Admission struct {
	// Key returns the public key that the mesh knows a node by, nil where it
	// knows none: any certificate of the mesh will do then.
	Key func(nodeID string) ed25519.PublicKey
	// Member returns why a node may not talk to this one, or nil.
	Member func(nodeID string) error
}

// ErrNotMember tells that the node asked takes this one for no member of the
// mesh.
var ErrNotMember = errors.New("not a member of the mesh")

// Admit makes the link ask about every connection and request from now on.
// Until it is called every node with a certificate of the mesh is welcome.
func (l *Link) Admit(a Admission) { l.id.admission.Store(&a) }

// PublicKey is the key by which others know this node.
func (l *Link) PublicKey() ed25519.PublicKey { return l.id.key.Public().(ed25519.PublicKey) }

// Trust replaces the secrets: of this node's own certificates, and of those
// that are accepted from others beside it. Connections that stand live on, but
// those of a secret that is not accepted any more take no further request, and
// raft's streams among them end.
func (l *Link) Trust(secret Secret, accept ...Secret) error {
	if err := l.id.believe(secret, accept); err != nil {
		return err
	}
	l.raft.review()
	return nil
}

// Renew makes every further request go over a new connection, with the newest
// certificates. Requests under way come to their end on the old ones.
func (l *Link) Renew() {
	l.client.Swap(l.dialer.httpTransport()).CloseIdleConnections()
}

// A peerConn is a connection to a node that proved its id. It also hides the
// *tls.Conn from http.Server, which hangs up on protocols it does not know.
type peerConn struct {
	net.Conn
	id     *identity
	nodeID string
	key    ed25519.PublicKey
	root   *x509.Certificate // of the secret that vouched for it
}

// vouched returns an error where the secret that vouched for the other side is
// not accepted any more.
func (c *peerConn) vouched() error {
	if c.id.trusting().authority(c.root) == nil {
		return fmt.Errorf("%w: the mesh has replaced the secret of this connection", ErrNotPeer)
	}
	return nil
}

// welcome returns why the other side may not go on, or nil.
func (c *peerConn) welcome() error {
	if err := c.vouched(); err != nil {
		return err
	}
	if adm := c.id.admission.Load(); adm != nil {
		if err := adm.Member(c.nodeID); err != nil {
			return fmt.Errorf("%w: %w", ErrNotMember, err)
		}
	}
	return nil
}

// A raftConn is a stream between rafts. It is looked at whenever something
// arrives: a node may be removed while it has a stream.
type raftConn struct{ *peerConn }

// Read implements [net.Conn].
func (c raftConn) Read(p []byte) (int, error) {
	n, err := c.peerConn.Read(p)
	if err != nil {
		return n, err
	}
	if err := c.welcome(); err != nil {
		c.Close()
		return 0, err
	}
	return n, nil
}

// members lets only members of the mesh ask.
func members(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := callerOf(r).welcome(); err != nil {
			w.Header().Set("Connection", "close")
			http.Error(w, err.Error(), http.StatusForbidden)
			return
		}
		h.ServeHTTP(w, r)
	})
}

// current lets everybody ask whose secret is accepted.
func current(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := callerOf(r).vouched(); err != nil {
			w.Header().Set("Connection", "close")
			http.Error(w, err.Error(), http.StatusForbidden)
			return
		}
		h.ServeHTTP(w, r)
	})
}

type peerKey struct{}

func callerOf(r *http.Request) *peerConn {
	c, _ := r.Context().Value(peerKey{}).(*peerConn)
	return c
}

// PeerID returns the verified id of the node that sent a request, or "" for
// a request that did not come over a link.
func PeerID(r *http.Request) string {
	if c := callerOf(r); c != nil {
		return c.nodeID
	}
	return ""
}

// PeerPublicKey returns the key that the node which sent a request has, or nil
// for a request that did not come over a link.
func PeerPublicKey(r *http.Request) ed25519.PublicKey {
	if c := callerOf(r); c != nil {
		return c.key
	}
	return nil
}
