package transport

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Names in certificates. The URI says who a node is; the DNS name lets the
// standard check of a server's name do its work, so that no check of
// crypto/tls has to be switched off.
const (
	uriScheme  = "malla"
	nodeDomain = ".node.malla"
)

const (
	leafLife = 7 * 24 * time.Hour
	// clockSkew is how far the clocks of two nodes may be apart.
	clockSkew = time.Hour
)

// ErrNotPeer tells that the other side did not prove to be the node that was
// asked for, or a node of this mesh at all.
var ErrNotPeer = errors.New("not that node of this mesh")

// ValidID tells whether id can name a node: 1 to 63 of a-z, 0-9 and, inside,
// the hyphen, which is what a certificate's name can carry.
func ValidID(id string) bool {
	if len(id) == 0 || len(id) > 63 || id[0] == '-' || id[len(id)-1] == '-' {
		return false
	}
	for _, c := range []byte(id) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return true
}

// An authority is the certificate authority of a mesh. It is computed from
// the secret, so every node has the same one and none has to be asked.
type authority struct {
	mesh string
	key  ed25519.PrivateKey
	cert *x509.Certificate
}

// newAuthority uses Ed25519 because its key is a function of the seed;
// ecdsa.GenerateKey gives another key each time even from a fixed source.
func newAuthority(secret Secret) (*authority, error) {
	key := ed25519.NewKeyFromSeed(secret.Derive("ca", ed25519.SeedSize))
	mesh := secret.MeshID()
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "malla " + mesh},
		NotBefore:             time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC),
		NotAfter:              time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC),
		KeyUsage:              x509.KeyUsageCertSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLenZero:        true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("make the mesh authority: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("make the mesh authority: %w", err)
	}
	return &authority{mesh: mesh, key: key, cert: cert}, nil
}

// issue returns a certificate for a node and its key, valid from a little
// before now.
func (a *authority) issue(nodeID string, key ed25519.PrivateKey, now time.Time) (*tls.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, fmt.Errorf("make the certificate of node %s: %w", nodeID, err)
	}
	template := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: nodeID},
		NotBefore:    now.Add(-clockSkew),
		NotAfter:     now.Add(leafLife),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		DNSNames:     []string{nodeID + nodeDomain},
		URIs:         []*url.URL{{Scheme: uriScheme, Host: a.mesh, Path: "/node/" + nodeID}},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		return nil, fmt.Errorf("make the certificate of node %s: %w", nodeID, err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}

// An identity is who this node is on the link, and whom it believes.
type identity struct {
	nodeID    string
	key       ed25519.PrivateKey
	admission atomic.Pointer[Admission] // nil: every node of the mesh is welcome

	mu    sync.Mutex // guards the fields below
	trust *trust
	leaf  *tls.Certificate
	renew time.Time // when the leaf is half used up
}

// trust is whose certificates are believed. It never changes once made.
type trust struct {
	issuer   *authority   // of this node's own certificates
	accepted []*authority // of the others'; the issuer is among them
	roots    *x509.CertPool
}

func newTrust(secret Secret, accept []Secret) (*trust, error) {
	t := &trust{roots: x509.NewCertPool()}
	for _, s := range append([]Secret{secret}, accept...) {
		a, err := newAuthority(s)
		if err != nil {
			return nil, err
		}
		t.accepted = append(t.accepted, a)
		t.roots.AddCert(a.cert)
	}
	t.issuer = t.accepted[0]
	return t, nil
}

// authority returns the one that is that root, or nil.
func (t *trust) authority(root *x509.Certificate) *authority {
	for _, a := range t.accepted {
		if a.cert.Equal(root) {
			return a
		}
	}
	return nil
}

// newIdentity makes the identity of a node; without a key it draws one. Nodes
// that show a certificate of one of the also-accepted secrets are believed too:
// that is how a secret is replaced while the mesh runs.
func newIdentity(nodeID string, key ed25519.PrivateKey, secret Secret, accept []Secret) (*identity, error) {
	if !ValidID(nodeID) {
		return nil, fmt.Errorf("node id %q: want 1 to 63 of a-z, 0-9 and -", nodeID)
	}
	if key == nil {
		var err error
		if _, key, err = ed25519.GenerateKey(nil); err != nil {
			return nil, fmt.Errorf("make the key of node %s: %w", nodeID, err)
		}
	}
	id := &identity{nodeID: nodeID, key: key}
	return id, id.believe(secret, accept)
}

// believe replaces the secrets of this node's own certificates and of the
// others'.
func (id *identity) believe(secret Secret, accept []Secret) error {
	t, err := newTrust(secret, accept)
	if err != nil {
		return err
	}
	id.mu.Lock()
	id.trust, id.leaf = t, nil
	id.mu.Unlock()
	_, err = id.current(time.Now())
	return err
}

func (id *identity) trusting() *trust {
	id.mu.Lock()
	defer id.mu.Unlock()
	return id.trust
}

// current returns this node's certificate, a new one when the last is half
// used up: a node that runs for months never shows an expired one.
func (id *identity) current(now time.Time) (*tls.Certificate, error) {
	id.mu.Lock()
	defer id.mu.Unlock()
	if id.leaf != nil && now.Before(id.renew) {
		return id.leaf, nil
	}
	leaf, err := id.trust.issuer.issue(id.nodeID, id.key, now)
	if err != nil {
		return nil, err
	}
	id.leaf, id.renew = leaf, now.Add(leafLife/2)
	return leaf, nil
}

// server is the configuration of the listening side.
func (id *identity) server(protocols ...string) *tls.Config {
	t := id.trusting()
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		NextProtos: protocols,
		ClientAuth: tls.RequireAndVerifyClientCert,
		ClientCAs:  t.roots,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			return id.current(time.Now())
		},
		VerifyConnection:       func(cs tls.ConnectionState) error { return id.verify(t, cs, "") },
		SessionTicketsDisabled: true, // every connection proves itself anew
	}
}

// client is the configuration for calling a node.
func (id *identity) client(nodeID, protocol string) *tls.Config {
	t := id.trusting()
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		NextProtos: []string{protocol},
		ServerName: nodeID + nodeDomain,
		RootCAs:    t.roots,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return id.current(time.Now())
		},
		VerifyConnection: func(cs tls.ConnectionState) error { return id.verify(t, cs, nodeID) },
	}
}

// verify runs after the standard checks (chain, dates, server name) and adds
// that the certificate says who the peer is, in the mesh whose authority
// signed it, where a node was called that it is that one, and that the key is
// the one that the mesh knows that node by.
func (id *identity) verify(t *trust, cs tls.ConnectionState, nodeID string) error {
	if cs.NegotiatedProtocol == "" {
		return fmt.Errorf("%w: no protocol agreed on", ErrNotPeer)
	}
	if len(cs.VerifiedChains) == 0 {
		return fmt.Errorf("%w: no certificate", ErrNotPeer)
	}
	leaf, root := ends(cs)
	mesh, peer, ok := nodeOf(leaf)
	if !ok {
		return fmt.Errorf("%w: its certificate names no node", ErrNotPeer)
	}
	a := t.authority(root)
	switch {
	case a == nil:
		return fmt.Errorf("%w: unknown authority", ErrNotPeer)
	case a.mesh != mesh:
		return fmt.Errorf("%w: its certificate names mesh %s", ErrNotPeer, mesh)
	case nodeID != "" && nodeID != peer:
		return fmt.Errorf("%w: it is node %s", ErrNotPeer, peer)
	}
	if adm := id.admission.Load(); adm != nil {
		if known := adm.Key(peer); known != nil && !known.Equal(leaf.PublicKey) {
			return fmt.Errorf("%w: it says that it is node %s, but has another key", ErrNotPeer, peer)
		}
	}
	return nil
}

// peer is a connection whose handshake is over, and verified.
func (id *identity) peer(conn *tls.Conn) *peerConn {
	leaf, root := ends(conn.ConnectionState())
	_, nodeID, _ := nodeOf(leaf)
	key, _ := leaf.PublicKey.(ed25519.PublicKey)
	return &peerConn{Conn: conn, id: id, nodeID: nodeID, key: key, root: root}
}

// ends are both ends of the chain of a verified peer.
func ends(cs tls.ConnectionState) (leaf, root *x509.Certificate) {
	chain := cs.VerifiedChains[0]
	return chain[0], chain[len(chain)-1]
}

// nodeOf reads mesh and node id from a certificate's URI.
func nodeOf(cert *x509.Certificate) (mesh, nodeID string, ok bool) {
	if len(cert.URIs) != 1 || cert.URIs[0].Scheme != uriScheme {
		return "", "", false
	}
	nodeID, ok = strings.CutPrefix(cert.URIs[0].Path, "/node/")
	return cert.URIs[0].Host, nodeID, ok && ValidID(nodeID)
}

// clockHint says what it means that a certificate is not valid now: nodes renew
// theirs long before it ends.
func clockHint(err error) error {
	var invalid x509.CertificateInvalidError
	if errors.As(err, &invalid) && invalid.Reason == x509.Expired {
		return fmt.Errorf("the clocks of the two machines are far apart, set both, best by NTP: %w", err)
	}
	return err
}
