package httpapi

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"malla/cluster/state"
)

// leads is a mesh whose newest index is asked for.
type leads struct {
	*oneNode
	newest func() uint64
}

func (l leads) ReadIndex(ctx context.Context) (uint64, error) {
	index := l.newest()
	return index, l.WaitIndex(ctx, index)
}

func TestAReadIsAsNewAsItAsksFor(t *testing.T) {
	asked := make(chan struct{}, 9)
	newest := make(chan uint64, 9)
	r := newRig(t, func(c *Config) {
		c.Proposer = leads{c.Proposer.(*oneNode), func() uint64 { asked <- struct{}{}; return <-newest }}
	})
	r.token("ana")
	now := r.log.View().Index()
	ahead := []string{"X-Malla-Index", fmt.Sprint(now + 1)}

	r.do(req{method: "GET", path: "/media?consistency=stale", as: "ana", header: ahead}).want(200)
	r.do(req{method: "GET", path: "/media?consistency=session", as: "ana"}).want(200)
	if len(asked) != 0 {
		t.Fatal("the leader was asked")
	}
	done := make(chan *reply)
	go func() { done <- r.do(req{method: "GET", path: "/media?q=&consistency=strong", as: "ana"}) }()
	<-asked // it waits for the leader now
	newest <- now + 1
	r.log.must(t, state.AddMedia{ID: "other", Owner: r.user("ana").ID, Name: "other.mp3", Content: r.disk.content(t, "other"), At: r.clock.Now()})
	if p := (<-done).want(200); !strings.Contains(string(p.body), "other.mp3") || p.header.Get("X-Malla-Index") != fmt.Sprint(now+1) {
		t.Errorf("a strong read at %s: %s", p.header.Get("X-Malla-Index"), p.body)
	}
	// The leader may be behind what a follower has told already.
	newest <- now
	p := r.do(req{method: "GET", path: "/media?consistency=strong", as: "ana", header: ahead}).want(200)
	if p.header.Get("X-Malla-Index") != fmt.Sprint(now+1) {
		t.Errorf("a strong read went back to %s", p.header.Get("X-Malla-Index"))
	}
	for _, bad := range []string{"", "linearizable", "Strong"} {
		p := r.do(req{method: "GET", path: "/media?consistency=" + bad, as: "ana"}).refused(400, "consistency")
		if detail := read[Problem](p).Detail; !strings.Contains(detail, "stale, session, strong") {
			t.Errorf("%q: %s", bad, detail)
		}
	}
	r.do(req{method: "GET", path: "/media?q=consistency", as: "ana"}).want(200)
}

func TestReadsWithoutAQuorum(t *testing.T) {
	r := newRig(t)
	r.put("ana", "song.mp3", "sound")
	if h := r.do(req{method: "GET", path: "/media", as: "ana"}).header; h.Get("X-Malla-Stale") != "" {
		t.Errorf("stale: %s", h.Get("X-Malla-Stale"))
	}
	r.log.lead(false)
	r.mesh.unready(state.Errorf(state.NoLeader, "the mesh has no leader at the moment"))
	for _, path := range []string{"/media", "/media/song.mp3", "/jobs", "/media?consistency=stale"} {
		p := r.do(req{method: "GET", path: path, as: "ana", header: []string{"Origin", "https://other.example"}}).want(200)
		if p.header.Get("X-Malla-Stale") != "the mesh has no leader at the moment" || !strings.Contains(p.header.Get("Access-Control-Expose-Headers"), "X-Malla-Stale") {
			t.Errorf("%s: %v", path, p.header)
		}
	}
	for _, q := range []req{
		{method: "GET", path: "/media?consistency=strong", as: "ana"},
		{method: "POST", path: "/share/song.mp3", as: "ana"},
		{method: "DELETE", path: "/media/song.mp3", as: "ana"},
	} {
		p := r.do(q).want(503)
		if p.header.Get("Retry-After") == "" || p.header.Get("X-Malla-Stale") == "" || !strings.Contains(read[Problem](p).Detail, "no leader") {
			t.Errorf("%s: %v %s", p.what, p.header, p.body)
		}
	}
	e := r.open("/events", "ana")
	if _, data := e.next("mesh"); !strings.Contains(data, "no leader") {
		t.Errorf("told: %s", data)
	}
	r.log.lead(true)
	r.mesh.unready(nil)
	if _, data := e.next("mesh"); data != `{"stale":""}` {
		t.Errorf("told: %s", data)
	}
	r.do(req{method: "POST", path: "/share/song.mp3", as: "ana"}).want(200)
}

func TestEveryAnswerTellsItsIndex(t *testing.T) {
	r := newRig(t, func(c *Config) {
		c.Pages = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/old" {
				http.Redirect(w, r, "/", http.StatusMovedPermanently)
				return
			}
			http.NotFound(w, r)
		})
	})
	r.put("ana", "song.mp3", "sound")
	etag := r.do(req{method: "HEAD", path: "/media/song.mp3", as: "ana"}).want(200).header.Get("ETag")
	for status, q := range map[int]req{
		200: {method: "HEAD", path: "/media/song.mp3", as: "ana"},
		204: {method: "OPTIONS", path: "/media", header: []string{"Origin", "https://other.example", "Access-Control-Request-Method", "GET"}},
		206: {method: "GET", path: "/media/song.mp3", as: "ana", header: []string{"Range", "bytes=0-0"}},
		301: {method: "GET", path: "/old"},
		304: {method: "GET", path: "/media/song.mp3", as: "ana", header: []string{"If-None-Match", etag}},
		400: {method: "GET", path: "/media?consistency=x", as: "ana"},
		401: {method: "GET", path: "/media"},
		404: {method: "GET", path: "/nothing"},
		405: {method: "PUT", path: "/media", as: "ana"},
		409: {method: "POST", path: "/auth/signup", body: credentials{"ana", password}},
		416: {method: "GET", path: "/media/song.mp3", as: "ana", header: []string{"Range", "bytes=99-"}},
	} {
		if p := r.do(q).want(status); p.header.Get("X-Malla-Index") != fmt.Sprint(r.log.View().Index()) {
			t.Errorf("%s: status %d, index %q of %d", p.what, status, p.header.Get("X-Malla-Index"), r.log.View().Index())
		}
	}
	res, err := http.Get(r.url + "/events?public=1")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.Header.Get("X-Malla-Index") == "" {
		t.Error("a stream of events does not tell its index")
	}
}

// TestUncertainChangesAreNotRepeated: a node that says that it has done nothing
// is followed by the next one; one that does not know ends the call.
func TestUncertainChangesAreNotRepeated(t *testing.T) {
	for _, row := range []struct {
		err  *state.Error
		want []string
	}{
		{&state.Error{Kind: state.NoLeader, Msg: "no leader"}, []string{"first", "second"}},
		{&state.Error{Kind: state.NoLeader, Msg: "no leader", Unsure: true}, []string{"first"}},
	} {
		var calls []string
		node := func(name string, err error) string {
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				calls = append(calls, name)
				if err != nil {
					problemOf(err).write(w, "urn:x")
					return
				}
				fmt.Fprint(w, "{}")
			}))
			t.Cleanup(s.Close)
			return s.URL
		}
		c := &Client{Base: node("first", row.err), Others: []string{node("second", nil)}, Consistency: Strong}
		_, err := c.Share(t.Context(), "song.mp3", 5)
		if !slices.Equal(calls, row.want) || (err == nil) != (len(row.want) == 2) {
			t.Errorf("%+v: asked %v: %v", row.err, calls, err)
		}
		if row.err.Unsure && !strings.Contains(err.Error(), "look before you ask again") {
			t.Errorf("told: %v", err)
		}
		calls = nil
		if _, err := c.Shares(t.Context()); err != nil || len(calls) == 0 {
			t.Errorf("a read: %v, asked %v", err, calls)
		}
	}
}

func TestTheClientSaysHowNew(t *testing.T) {
	var got []string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = append(got, r.URL.RequestURI())
		fmt.Fprint(w, "{}")
	}))
	defer s.Close()
	for level, want := range map[Consistency]string{"": "/jobs?limit=3", Stale: "/jobs?limit=3&consistency=stale"} {
		got = nil
		c := (&Client{Base: "http://127.0.0.1:1", Consistency: level}).At(s.URL)
		if _, err := c.Jobs(t.Context(), "", 3); err != nil || len(got) != 1 || got[0] != want {
			t.Errorf("%q: %v, %v", level, got, err)
		}
	}
}
