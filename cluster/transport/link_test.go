package transport

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// mesh is a phone book that the links of one test share.
type mesh struct {
	t      *testing.T
	secret Secret
	mu     sync.Mutex // guards addrs
	addrs  map[string]string
}

func newMesh(t *testing.T) *mesh {
	return &mesh{t: t, secret: Generate(), addrs: map[string]string{}}
}

func (m *mesh) resolve(id string) (string, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	addr, ok := m.addrs[id]
	return addr, ok
}

func (m *mesh) set(id, addr string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.addrs[id] = addr
}

// listen makes a link that is entered in the phone book.
func (m *mesh) listen(id string, change func(*Config)) *Link {
	m.t.Helper()
	cfg := Config{Secret: m.secret, NodeID: id, Listen: "127.0.0.1:0"}
	if change != nil {
		change(&cfg)
	}
	l, err := Listen(cfg)
	if err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(func() { l.Close() })
	l.SetResolver(m.resolve)
	m.set(id, l.Addr().String())
	return l
}

func serve(t *testing.T, l *Link) {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- l.Serve(context.Background()) }()
	t.Cleanup(func() {
		l.Close()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("serve: %v", err)
			}
		case <-time.After(10 * time.Second):
			t.Error("serve did not end after close")
		}
	})
}

func whoami(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, PeerID(r)) }

func get(l *Link, node, path string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	req, _ := http.NewRequest(http.MethodGet, path, nil)
	resp, err := l.Do(ctx, node, req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return string(body), err
}

func TestPeersKnowEachOther(t *testing.T) {
	m := newMesh(t)
	a, b := m.listen("a", nil), m.listen("b", nil)
	for _, l := range []*Link{a, b} {
		l.Handle("GET /whoami", http.HandlerFunc(whoami))
		serve(t, l)
	}
	for _, tc := range []struct {
		from *Link
		to   string
		want string
	}{{a, "b", "a"}, {b, "a", "b"}, {a, "a", "a"}} {
		got, err := get(tc.from, tc.to, "/whoami")
		if err != nil || got != tc.want {
			t.Errorf("node %s saw caller %q, want %q: %v", tc.to, got, tc.want, err)
		}
	}
}

func TestWrongNodeIsRefused(t *testing.T) {
	m := newMesh(t)
	a, b := m.listen("a", nil), m.listen("b", nil)
	b.Handle("/", http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the request reached another node") }))
	serve(t, a)
	serve(t, b)
	m.set("c", b.Addr().String()) // c's old address, which b has now
	if _, err := get(a, "c", "/"); !errors.Is(err, ErrNotPeer) {
		t.Errorf("want ErrNotPeer, got %v", err)
	}
	if _, err := get(a, "d", "/"); !errors.Is(err, ErrUnknownNode) {
		t.Errorf("want ErrUnknownNode, got %v", err)
	}
	if _, err := get(a, "../b", "/"); !errors.Is(err, ErrUnknownNode) {
		t.Errorf("want ErrUnknownNode, got %v", err)
	}
}

func TestRaftStreams(t *testing.T) {
	m := newMesh(t)
	a, b := m.listen("a", nil), m.listen("b", nil)
	serve(t, a)
	serve(t, b)
	go func() {
		for {
			conn, err := b.Raft().Accept()
			if err != nil {
				return
			}
			go func() { io.Copy(conn, conn); conn.Close() }()
		}
	}()
	conn, err := a.Raft().Dial("b", 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(conn, "ping")
	buf := make([]byte, 4)
	if _, err := io.ReadFull(conn, buf); err != nil || string(buf) != "ping" {
		t.Errorf("echo: %q, %v", buf, err)
	}
	conn.Close()
	m.set("c", b.Addr().String())
	if _, err := a.Raft().Dial("c", 5*time.Second); !errors.Is(err, ErrNotPeer) {
		t.Errorf("dialled b as c: want ErrNotPeer, got %v", err)
	}
	open, err := a.Raft().Dial("b", 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	b.Raft().Close()
	open.SetReadDeadline(time.Now().Add(5 * time.Second))
	if _, err := open.Read(make([]byte, 1)); err == nil || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a stream outlived the raft layer: %v", err)
	}
	b.mux.HandleFunc("/whoami", whoami)
	if got, err := get(a, "b", "/whoami"); err != nil || got != "a" {
		t.Errorf("peer requests ended with the raft layer: %q %v", got, err)
	}
}

// TestStrangersAreRefused knocks at a node's port with everything that is not
// a node of the mesh, for both protocols.
func TestStrangersAreRefused(t *testing.T) {
	m := newMesh(t)
	a := m.listen("a", nil)
	a.Handle("/", http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { t.Errorf("%s %s was served", r.Method, r.URL) }))
	serve(t, a)
	go func() {
		for {
			conn, err := a.Raft().Accept()
			if err != nil {
				return
			}
			t.Error("raft was given a stranger's stream")
			conn.Close()
		}
	}()

	ours, err := newAuthority(m.secret)
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := newAuthority(Generate())
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	_, key, _ := ed25519.GenerateKey(nil)
	imposter := *theirs // claims our mesh in the certificate's URI
	imposter.mesh = ours.mesh
	lost := *ours // our authority, another mesh's URI
	lost.mesh = theirs.mesh
	for name, issue := range map[string]func() (*tls.Certificate, error){
		"no certificate":              func() (*tls.Certificate, error) { return &tls.Certificate{}, nil },
		"self-signed":                 func() (*tls.Certificate, error) { return selfSigned(ours) },
		"another mesh":                func() (*tls.Certificate, error) { return theirs.issue("b", key, now) },
		"another mesh claiming ours":  func() (*tls.Certificate, error) { return imposter.issue("b", key, now) },
		"ours claiming another mesh":  func() (*tls.Certificate, error) { return lost.issue("b", key, now) },
		"expired":                     func() (*tls.Certificate, error) { return ours.issue("b", key, now.Add(-leafLife-time.Minute)) },
		"not yet valid":               func() (*tls.Certificate, error) { return ours.issue("b", key, now.Add(clockSkew+time.Minute)) },
		"no node in it":               func() (*tls.Certificate, error) { return ours.issue("", key, now) },
		"a node id that is no id":     func() (*tls.Certificate, error) { return ours.issue("../b", key, now) },
		"the authority's certificate": func() (*tls.Certificate, error) { return authorityAsLeaf(ours), nil },
	} {
		cert, err := issue()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for _, proto := range []string{protocolPeer, protocolRaft} {
			if err := knock(a.Addr().String(), proto, cert); err == nil {
				t.Errorf("%s over %s: let in", name, proto)
			}
		}
	}
	good, err := ours.issue("b", key, now)
	if err != nil {
		t.Fatal(err)
	}
	for _, proto := range []string{"http/1.1", "h2", ""} {
		if err := knock(a.Addr().String(), proto, good); err == nil {
			t.Errorf("a node that speaks %q: let in", proto)
		}
	}
}

// selfSigned is a certificate that looks like ours in everything but the key
// that signed it.
func selfSigned(a *authority) (*tls.Certificate, error) {
	forged, err := newAuthority(Generate())
	if err != nil {
		return nil, err
	}
	forged.mesh = a.mesh
	forged.cert.Subject, forged.cert.RawSubject = a.cert.Subject, a.cert.RawSubject
	forged.cert.SubjectKeyId = a.cert.SubjectKeyId
	return forged.issue("b", a.key, time.Now())
}

func authorityAsLeaf(a *authority) *tls.Certificate {
	return &tls.Certificate{Certificate: [][]byte{a.cert.Raw}, PrivateKey: a.key}
}

// knock connects without checking the other side, and tries to be answered.
func knock(addr, proto string, cert *tls.Certificate) error {
	cfg := &tls.Config{
		InsecureSkipVerify:   true, // a stranger does not care whom it attacks
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return cert, nil },
	}
	if proto != "" {
		cfg.NextProtos = []string{proto}
	}
	conn, err := tls.DialWithDialer(&net.Dialer{Timeout: 5 * time.Second}, "tcp", addr, cfg)
	if err != nil {
		return err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(5 * time.Second))
	fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	_, err = conn.Read(make([]byte, 1))
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		return nil // kept waiting, but not hung up on
	}
	return err
}

func TestPlainTCPIsRefused(t *testing.T) {
	m := newMesh(t)
	var log syncBuffer
	a := m.listen("a", func(c *Config) { c.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
	serve(t, a)
	for _, hello := range []string{"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "\x00\x01\x02", strings.Repeat("A", 70_000)} {
		conn, err := net.Dial("tcp", a.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		conn.SetDeadline(time.Now().Add(8 * time.Second))
		io.WriteString(conn, hello)
		conn.(*net.TCPConn).CloseWrite()
		answer, _ := io.ReadAll(conn) // a TLS alert at most
		conn.Close()
		if bytes.Contains(answer, []byte("200")) || len(answer) > 100 {
			t.Errorf("answered %d bytes: %q", len(answer), answer)
		}
	}
	if n := strings.Count(log.String(), "refused"); n != 1 {
		t.Errorf("want one warning about strangers, got %d:\n%s", n, log.String())
	}
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func TestCallerRefusesStrangers(t *testing.T) {
	m, other := newMesh(t), newMesh(t)
	a, stranger := m.listen("a", nil), other.listen("b", nil)
	serve(t, stranger)
	m.set("b", stranger.Addr().String())
	if _, err := get(a, "b", "/"); !errors.Is(err, ErrNotPeer) {
		t.Errorf("want ErrNotPeer, got %v", err)
	}
	if _, err := a.Raft().Dial("b", 5*time.Second); !errors.Is(err, ErrNotPeer) {
		t.Errorf("want ErrNotPeer, got %v", err)
	}
}

func TestTwoSecretsWhileOneIsReplaced(t *testing.T) {
	m := newMesh(t)
	next := Generate()
	old := m.listen("old", func(c *Config) { c.Accept = []Secret{next} })
	ahead := m.listen("ahead", func(c *Config) { c.Secret, c.Accept = next, []Secret{m.secret} })
	done := m.listen("done", func(c *Config) { c.Secret = next })
	for _, l := range []*Link{old, ahead, done} {
		l.Handle("/whoami", http.HandlerFunc(whoami))
		serve(t, l)
	}
	for _, tc := range []struct {
		from *Link
		to   string
		ok   bool
	}{{old, "ahead", true}, {ahead, "old", true}, {ahead, "done", true}, {done, "ahead", true}, {done, "old", false}, {old, "done", false}} {
		if _, err := get(tc.from, tc.to, "/whoami"); (err == nil) != tc.ok {
			t.Errorf("%s to %s: %v", tc.from.id.nodeID, tc.to, err)
		}
	}
}

func TestCertificateIsRenewedAtHalfLife(t *testing.T) {
	id, err := newIdentity("a", nil, Generate(), nil)
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	first, _ := id.current(start)
	if same, _ := id.current(start.Add(leafLife/2 - time.Minute)); same != first {
		t.Error("renewed too early")
	}
	second, err := id.current(start.Add(leafLife/2 + time.Minute))
	if err != nil || second == first {
		t.Errorf("not renewed after half its life: %v", err)
	}
}

func TestBodiesStreamBothWays(t *testing.T) {
	m := newMesh(t)
	a, b := m.listen("a", nil), m.listen("b", nil)
	b.Handle("POST /echo", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.NewResponseController(w).EnableFullDuplex()
		io.Copy(w, r.Body)
	}))
	serve(t, b)
	const size = 16 << 20
	sent, got := sha256.New(), sha256.New()
	body := io.TeeReader(io.LimitReader(rand.Reader, size), sent)
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	req, _ := http.NewRequest(http.MethodPost, "/echo", body)
	resp, err := a.Do(ctx, "b", req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	n, err := io.Copy(got, resp.Body)
	if err != nil || n != size || !bytes.Equal(got.Sum(nil), sent.Sum(nil)) {
		t.Errorf("%d of %d bytes came back: %v", n, size, err)
	}
}

func TestCancelEndsTheHandlersContext(t *testing.T) {
	m := newMesh(t)
	a, b := m.listen("a", nil), m.listen("b", nil)
	entered, left, gone := make(chan struct{}), make(chan struct{}), make(chan struct{})
	b.Handle("/wait", http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(entered)
		<-r.Context().Done()
		close(left)
		<-gone // an answer could be faster than the caller's own look at its context
	}))
	serve(t, b)
	ctx, cancel := context.WithCancel(context.Background())
	go func() { <-entered; cancel() }()
	req, _ := http.NewRequest(http.MethodGet, "/wait", nil)
	_, err := a.Do(ctx, "b", req)
	close(gone)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("want context.Canceled, got %v", err)
	}
	select {
	case <-left:
	case <-time.After(5 * time.Second):
		t.Error("the handler did not learn that its caller is gone")
	}
}

func TestConnectionsAreKept(t *testing.T) {
	m := newMesh(t)
	dials := 0
	a := m.listen("a", func(c *Config) {
		c.Dial = func(ctx context.Context, addr string) (net.Conn, error) {
			dials++
			return dialTCP(ctx, addr)
		}
	})
	b := m.listen("b", nil)
	b.Handle("/whoami", http.HandlerFunc(whoami))
	serve(t, b)
	for range 20 {
		if _, err := get(a, "b", "/whoami"); err != nil {
			t.Fatal(err)
		}
	}
	if dials != 1 {
		t.Errorf("%d connections for 20 requests in a row", dials)
	}
}

// TestCloseIsBounded closes links in the middle of everything.
func TestCloseIsBounded(t *testing.T) {
	m := newMesh(t)
	a, b := m.listen("a", nil), m.listen("b", nil)
	entered := make(chan struct{})
	b.Handle("/hang", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		close(entered)
		<-r.Context().Done() // until its connection is cut
	}))
	served := make(chan error, 2)
	for _, l := range []*Link{a, b} {
		go func() { served <- l.Serve(context.Background()) }()
	}
	called := make(chan error, 1)
	go func() {
		req, _ := http.NewRequest(http.MethodGet, "/hang", nil)
		_, err := a.Do(context.Background(), "b", req)
		called <- err
	}()
	<-entered
	silent, err := net.Dial("tcp", b.Addr().String()) // in the handshake for ever
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	stream, err := a.Raft().Dial("b", time.Second) // nobody accepts it
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()

	start := time.Now()
	b.Close()
	b.Close()
	if err := <-called; err == nil {
		t.Error("the request ended without an error")
	}
	a.Close()
	for range 2 {
		if err := <-served; err != nil {
			t.Errorf("serve: %v", err)
		}
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("closing took %v", took)
	}
	if _, err := get(a, "b", "/"); err == nil {
		t.Error("a closed link still calls")
	}
	noGoroutineLeft(t)
}

func TestServeEndsWithItsContext(t *testing.T) {
	m := newMesh(t)
	a := m.listen("a", nil)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := a.Serve(ctx); err != nil {
		t.Errorf("serve: %v", err)
	}
	unused := m.listen("b", nil)
	if err := unused.Close(); err != nil {
		t.Errorf("close without serve: %v", err)
	}
}

// noGoroutineLeft fails when code of this package or of net/http still runs.
func noGoroutineLeft(t *testing.T) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	timeout := time.After(5 * time.Second)
	for {
		buf := make([]byte, 1<<20)
		buf = buf[:runtime.Stack(buf, true)]
		var left []string
		for _, g := range strings.Split(string(buf), "\n\n") {
			if (strings.Contains(g, "transport.(*") || strings.Contains(g, "net/http.")) && !strings.Contains(g, "noGoroutineLeft") {
				left = append(left, g)
			}
		}
		if len(left) == 0 {
			return
		}
		select {
		case <-tick.C:
		case <-timeout:
			t.Fatalf("still running:\n%s", strings.Join(left, "\n\n"))
		}
	}
}

func TestListenRefuses(t *testing.T) {
	for _, id := range []string{"", "A", "a b", "-a", "a.b", strings.Repeat("a", 64)} {
		if l, err := Listen(Config{Secret: Generate(), NodeID: id, Listen: "127.0.0.1:0"}); err == nil {
			l.Close()
			t.Errorf("took %q as a node id", id)
		}
	}
	if _, err := Listen(Config{Secret: Generate(), NodeID: "a", Listen: "127.0.0.1:99999"}); err == nil {
		t.Error("listens on port 99999")
	}
}

func BenchmarkRequest(b *testing.B) {
	for name, size := range map[string]int64{"1KiB": 1 << 10, "8MiB": 8 << 20} {
		b.Run(name, func(b *testing.B) {
			secret := Generate()
			server, err := Listen(Config{Secret: secret, NodeID: "b", Listen: "127.0.0.1:0"})
			if err != nil {
				b.Fatal(err)
			}
			defer server.Close()
			server.Handle("/", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				io.CopyN(w, zeros{}, size)
			}))
			go server.Serve(context.Background())
			client, err := Listen(Config{Secret: secret, NodeID: "a", Listen: "127.0.0.1:0"})
			if err != nil {
				b.Fatal(err)
			}
			defer client.Close()
			client.SetResolver(func(string) (string, bool) { return server.Addr().String(), true })
			b.SetBytes(size)
			for b.Loop() {
				req, _ := http.NewRequest(http.MethodGet, "/", nil)
				resp, err := client.Do(b.Context(), "b", req)
				if err != nil {
					b.Fatal(err)
				}
				io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
			}
		})
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

// TestClocksThatAreFarApart: the certificates are not valid to each other, and
// the errors say what is wrong with that.
func TestClocksThatAreFarApart(t *testing.T) {
	m := newMesh(t)
	a, b := m.listen("a", nil), m.listen("b", nil)
	serve(t, a)
	serve(t, b)
	for _, off := range []time.Duration{2 * clockSkew, -leafLife - time.Minute} {
		late, err := b.id.trust.issuer.issue("b", b.id.key, time.Now().Add(off))
		if err != nil {
			t.Fatal(err)
		}
		b.id.mu.Lock()
		b.id.leaf, b.id.renew = late, time.Now().Add(time.Hour)
		b.id.mu.Unlock()
		req, err := http.NewRequest(http.MethodGet, "/", nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := a.Do(t.Context(), "b", req); !errors.Is(err, ErrNotPeer) || !strings.Contains(err.Error(), "clocks of the two machines") {
			t.Errorf("%v off: %v", off, err)
		}
	}
}
