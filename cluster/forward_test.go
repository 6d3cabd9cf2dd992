package cluster

import (
	"context"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"malla/cluster/state"
	"malla/cluster/transport"
)

// TestALeaderThatDiesWithTheAnswer has read an entry from a connection that was
// kept, and is gone: nobody knows what became of it.
func TestALeaderThatDiesWithTheAnswer(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	n := m.up(1)[0]
	const leader = state.NodeID("00000000000000000000000000000abc")
	link, err := transport.Listen(transport.Config{Secret: m.secret, NodeID: string(leader), Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	carriedOut := make(chan bool, 3)
	link.HandleAny("POST /warm", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "{}") }))
	link.HandleAny("POST "+pathPropose, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		io.ReadAll(r.Body)
		carriedOut <- true
		go link.Close() // waits for this request
		for {
			conn, err := net.Dial("tcp", link.Addr().String())
			if err != nil {
				panic(http.ErrAbortHandler)
			}
			conn.Close()
		}
	}))
	go link.Serve(t.Context())
	n.link.SetResolver(func(string) (string, bool) { return link.Addr().String(), true })
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if _, err := n.c.ask(ctx, leader, "/warm", nil); err != nil {
		t.Fatal(err)
	}
	_, err = n.c.ask(ctx, leader, pathPropose, []byte("an entry"))
	if err == nil || len(carriedOut) != 1 || !unsure(err) {
		t.Errorf("carried out %d times, and taken for %v", len(carriedOut), err)
	}
}
