package transport

import (
	"crypto/ed25519"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// TestOnlyMembersAreAnswered: the secret alone opens nothing but the way in.
func TestOnlyMembersAreAnswered(t *testing.T) {
	m := newMesh(t)
	a, b := m.listen("a", nil), m.listen("b", nil)
	var removed atomic.Bool
	a.Admit(Admission{
		Key: func(string) ed25519.PublicKey { return nil },
		Member: func(id string) error {
			if id == "b" && removed.Load() {
				return errors.New("it was removed")
			}
			return nil
		},
	})
	a.Handle("/chunks", http.HandlerFunc(whoami))
	a.HandleAny("/join", http.HandlerFunc(whoami))
	serve(t, a)
	serve(t, b)
	if got, err := get(b, "a", "/chunks"); err != nil || got != "b" {
		t.Fatalf("a member: %q, %v", got, err)
	}
	stream, err := b.Raft().Dial("a", 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	taken, err := a.Raft().Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	removed.Store(true)
	if got, err := get(b, "a", "/chunks"); err != nil || !strings.Contains(got, "it was removed") {
		t.Errorf("a node that was removed got %q, %v", got, err)
	}
	if got, err := get(b, "a", "/join"); err != nil || got != "b" {
		t.Errorf("a node that was removed may ask to be let in, but got %q, %v", got, err)
	}
	if _, err := stream.Write([]byte("vote for me")); err != nil {
		t.Fatal(err)
	}
	if _, err := taken.Read(make([]byte, 16)); !errors.Is(err, ErrNotMember) {
		t.Errorf("raft heard a node that was removed: %v", err)
	}
}

// TestAnotherKeyIsAnotherNode: whoever has the secret can make a certificate
// with any id, but has not the key of that node.
func TestAnotherKeyIsAnotherNode(t *testing.T) {
	m := newMesh(t)
	a, b := m.listen("a", nil), m.listen("b", nil)
	keys := map[string]ed25519.PublicKey{"a": a.PublicKey(), "b": b.PublicKey()}
	known := Admission{Key: func(id string) ed25519.PublicKey { return keys[id] }, Member: func(string) error { return nil }}
	for _, l := range []*Link{a, b} {
		l.Admit(known)
		l.Handle("/whoami", http.HandlerFunc(whoami))
		serve(t, l)
	}
	if got, err := get(b, "a", "/whoami"); err != nil || got != "b" {
		t.Fatalf("the real one: %q, %v", got, err)
	}
	imposter := m.listen("b", nil)
	serve(t, imposter)
	if got, err := get(imposter, "a", "/whoami"); err == nil {
		t.Errorf("an imposter was answered %q", got)
	}
	if _, err := a.Raft().Dial("b", 5*time.Second); !errors.Is(err, ErrNotPeer) {
		t.Errorf("an imposter was called: %v", err)
	}
}

// TestTheSecretIsReplacedUnderRequests: what is under way comes to its end, and
// only then is the old secret worth nothing.
func TestTheSecretIsReplacedUnderRequests(t *testing.T) {
	m := newMesh(t)
	next := m.secret.Successor()
	a, b := m.listen("a", nil), m.listen("b", nil)
	slow, begun := make(chan struct{}), make(chan struct{})
	a.Handle("/slow", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		close(begun)
		<-slow
		io.WriteString(w, "done")
	}))
	for _, l := range []*Link{a, b} {
		l.Handle("/whoami", http.HandlerFunc(whoami))
		serve(t, l)
	}
	answered := make(chan error, 1)
	go func() {
		got, err := get(b, "a", "/slow")
		if err == nil && got != "done" {
			err = errors.New(got)
		}
		answered <- err
	}()
	<-begun
	stream, err := b.Raft().Dial("a", 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	works := func(when string) {
		t.Helper()
		for _, way := range [][2]*Link{{a, b}, {b, a}} {
			if _, err := get(way[0], way[1].id.nodeID, "/whoami"); err != nil {
				t.Errorf("%s: %v", when, err)
			}
		}
	}
	trust := func(l *Link, secret Secret, accept ...Secret) {
		t.Helper()
		if err := l.Trust(secret, accept...); err != nil {
			t.Fatal(err)
		}
	}
	works("before")
	trust(a, m.secret, next)
	works("one is prepared")
	trust(b, m.secret, next)
	trust(b, next, m.secret)
	works("one has switched")
	trust(a, next, m.secret)
	a.Renew()
	b.Renew()
	works("both have switched")
	trust(a, next)
	works("one has dropped the old secret")
	trust(b, next)
	works("both have dropped it")
	if _, err := io.ReadAll(stream); err == nil {
		t.Error("a stream of raft outlived the secret that vouched for it, without an error")
	}
	close(slow)
	if err := <-answered; err != nil {
		t.Errorf("the request that was under way: %v", err)
	}
	late := m.listen("late", nil)
	serve(t, late)
	if _, err := get(late, "a", "/whoami"); err == nil {
		t.Error("a node with the old secret is answered")
	}
	if _, err := get(a, "late", "/"); !errors.Is(err, ErrNotPeer) {
		t.Errorf("a node with the old secret is called: %v", err)
	}
}
