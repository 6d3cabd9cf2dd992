package cluster

import (
	"bytes"
	"crypto/rand"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/hashicorp/go-hclog"

	"malla/cluster/state"
)

func TestNodeIDIsKept(t *testing.T) {
	dir := t.TempDir()
	first, err := LoadOrCreateID(dir)
	if err != nil || !idPattern.MatchString(string(first)) {
		t.Fatalf("%q, %v", first, err)
	}
	if again, err := LoadOrCreateID(dir); err != nil || again != first {
		t.Errorf("%q became %q, %v", first, again, err)
	}
	if other, _ := LoadOrCreateID(t.TempDir()); other == first {
		t.Error("two nodes have one id")
	}
	if err := os.WriteFile(filepath.Join(dir, "node-id"), []byte("me"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadOrCreateID(dir); err == nil {
		t.Error("took a damaged id")
	}
	if _, err := LoadOrCreateID(filepath.Join(dir, "missing")); err == nil {
		t.Error("made an id in a directory that is not there")
	}
}

func TestTheMarkIsReadCarefully(t *testing.T) {
	dir := t.TempDir()
	if m, err := readMark(dir); m != unmarked || err != nil {
		t.Errorf("%q, %v", m, err)
	}
	for _, want := range []mark{joining, joined} {
		if err := writeMark(dir, want); err != nil {
			t.Fatal(err)
		}
		if m, err := readMark(dir); m != want || err != nil {
			t.Errorf("%q came back as %q, %v", want, m, err)
		}
	}
	if err := os.WriteFile(markPath(dir), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if m, err := readMark(dir); m != joined || err != nil {
		t.Errorf("a damaged mark reads %q, %v", m, err)
	}
}

func TestKnownPeersSurviveARestart(t *testing.T) {
	dir := t.TempDir()
	k, err := loadKnownPeers(dir)
	if err != nil {
		t.Fatal(err)
	}
	k.see(knownPeer{ID: "a", Gossip: "1", Peer: "2"})
	k.see(knownPeer{ID: "b", Gossip: "3", Peer: "4"})
	k.see(knownPeer{ID: "b", Gossip: "5", Peer: "6"})
	k.keep(func(id state.NodeID) bool { return id == "b" })
	if err := k.save(); err != nil {
		t.Fatal(err)
	}
	again, err := loadKnownPeers(dir)
	if err != nil {
		t.Fatal(err)
	}
	if p, ok := again.get("b"); len(again.all()) != 1 || !ok || p.Peer != "6" {
		t.Errorf("came back as %v", again.all())
	}
	if err := os.WriteFile(again.path, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if k, err := loadKnownPeers(dir); err != nil || len(k.all()) != 0 {
		t.Errorf("a damaged file must not stop a node: %v", err)
	}
}

func TestAdvertisedAddress(t *testing.T) {
	for _, tc := range []struct{ host, bind, ip, name string }{
		{"", "127.0.0.1:0", "127.0.0.1", ""},
		{"", "localhost:7946", "127.0.0.1", ""},
		{"10.1.2.3", ":7946", "10.1.2.3", ""},
		{"::ffff:10.1.2.3", ":7946", "10.1.2.3", ""},
		{"2001:db8::7", ":7946", "2001:db8::7", ""},
		{"localhost", ":7946", "127.0.0.1", "localhost"},
	} {
		ip, name, err := advertised(tc.host, tc.bind)
		if err != nil || ip.String() != tc.ip || name != tc.name {
			t.Errorf("--advertise %q, bound to %q: %v %q, %v", tc.host, tc.bind, ip, name, err)
		}
	}
	if ip, _, err := advertised("", ":7946"); err != nil || !ip.IsValid() || ip.IsUnspecified() {
		t.Errorf("bound to everything: %v, %v", ip, err)
	}
	if _, _, err := advertised("no.such.host.invalid", ":7946"); err == nil {
		t.Error("advertises a host that is not there")
	}
}

// TestGarbageOnTheGossipPort: whoever can send packets but has no key changes
// nothing, and does not fill the log.
func TestGarbageOnTheGossipPort(t *testing.T) {
	m := newMesh(t)
	var log countingWriter
	n := m.add("n0")
	n.change = func(c *Config) { c.Logger = slog.New(slog.NewTextHandler(&log, nil)) }
	m.start(n)
	other := m.add("n1")
	n.ready()
	other.join(n)
	m.start(other)
	m.agree(n, other)
	udp, err := net.Dial("udp", n.c.GossipAddr())
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	before := log.lines.Load()
	packet := make([]byte, 1200)
	for i := range 2000 {
		rand.Read(packet)
		if i%2 == 0 {
			copy(packet, "\xf4\x16malla/"+m.secret.MeshID()) // memberlist's header for our label
		}
		udp.Write(packet[:1+i%len(packet)])
	}
	tcp, err := net.Dial("tcp", n.c.GossipAddr())
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	tcp.Write(packet)
	if _, err := other.addUser("ana"); err != nil {
		t.Error(err)
	}
	if got := len(n.c.Members()); got != 2 {
		t.Errorf("%d members", got)
	}
	if got := log.lines.Load() - before; got > 60 {
		t.Errorf("%d lines of log for garbage", got)
	}
}

func TestLibraryLogsAreLowered(t *testing.T) {
	var out bytes.Buffer
	log := slog.New(slog.NewTextHandler(&out, nil))
	std := newStdLog(log)
	std.Print("[ERR] memberlist: a")
	std.Print("[WARN] memberlist: b")
	std.Print("[INFO] memberlist: c")
	h := newHCLog(log)
	h.Error("d", "error", "e")
	h.Warn("f", "servers", hclog.Fmt("%+v", []int{1}))
	h.Info("g")
	text := out.String()
	for _, want := range []string{`level=WARN msg="memberlist: a"`, `level=INFO msg="memberlist: b"`, `level=WARN msg="raft: d" error=e`, `level=INFO msg="raft: f"`} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s in\n%s", want, text)
		}
	}
	if strings.Count(text, "\n") != 4 {
		t.Errorf("want four lines:\n%s", text)
	}
	out.Reset()
	for range 1000 {
		std.Print("[ERR] memberlist: flood")
	}
	if n := strings.Count(out.String(), "\n"); n > 25 {
		t.Errorf("%d lines of a flood", n)
	}
}

type countingWriter struct{ lines atomic.Int64 }

func (w *countingWriter) Write(p []byte) (int, error) {
	w.lines.Add(1)
	return len(p), nil
}
