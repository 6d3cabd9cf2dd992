package httpapi

import (
	"bufio"
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"
)

// reader is one open stream of events.
type reader struct {
	t      testing.TB
	lines  chan string
	status int
	last   string // id of the last event
}

func (r *rig) open(path, as string, header ...string) *reader {
	r.t.Helper()
	ctx, cancel := context.WithCancel(r.t.Context())
	r.t.Cleanup(cancel)
	request, err := http.NewRequestWithContext(ctx, "GET", r.url+path, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	if as != "" {
		request.Header.Set("Authorization", "Bearer "+r.token(as))
	}
	for i := 0; i+1 < len(header); i += 2 {
		request.Header.Set(header[i], header[i+1])
	}
	res, err := http.DefaultClient.Do(request)
	if err != nil {
		r.t.Fatal(err)
	}
	e := &reader{t: r.t, lines: make(chan string), status: res.StatusCode}
	go func() {
		defer res.Body.Close()
		defer close(e.lines)
		scan := bufio.NewScanner(res.Body)
		for scan.Scan() {
			select {
			case e.lines <- scan.Text():
			case <-ctx.Done():
				return
			}
		}
	}()
	return e
}

// next returns the next event of one of those names. It fails the test where the
// stream ends or nothing comes.
func (e *reader) next(names ...string) (name, data string) {
	e.t.Helper()
	id := ""
	timeout := time.After(10 * time.Second)
	for {
		select {
		case line, open := <-e.lines:
			if !open {
				e.t.Fatal("the stream ended")
			}
			switch field, value, _ := strings.Cut(line, ": "); field {
			case "id":
				id = value
			case "event":
				name = value
			case "data":
				data = value
			case "":
				if id != "" {
					e.last = id
				}
				for _, n := range names {
					if n == name {
						return name, data
					}
				}
				id, name, data = "", "", ""
			}
		case <-timeout:
			e.t.Fatalf("no event of %v came", names)
		}
	}
}

// ends waits for the end of the stream.
func (e *reader) ends() {
	e.t.Helper()
	timeout := time.After(10 * time.Second)
	for {
		select {
		case _, open := <-e.lines:
			if !open {
				return
			}
		case <-timeout:
			e.t.Fatal("the stream does not end")
		}
	}
}

func want(t *testing.T, text string, parts ...string) {
	t.Helper()
	for _, p := range parts {
		if !strings.Contains(text, p) {
			t.Errorf("no %s in %s", p, text)
		}
	}
}

func TestEventsOfAUser(t *testing.T) {
	r := newRig(t)
	r.token("bob")
	e := r.open("/events", "ana")
	if e.status != 200 {
		t.Fatal(e.status)
	}
	e.next("ready")
	_, stats := e.next("stats")
	want(t, stats, `"active_workers":1`, `"worker_id":"worker_a"`)
	r.put("bob", "secret.mp3", "bob's")
	item := r.put("ana", "song.mp3", "sound")
	_, added := e.next("media")
	want(t, added, item.ID, `"name":"song.mp3"`, `"size":5`)

	job := r.queue("ana", "song.mp3")
	if _, data := e.next("media", "job"); strings.Contains(data, `"job_id"`) {
		want(t, data, job, `"status":"pending"`)
	}
	r.assign(job)
	for {
		if _, data := e.next("job"); strings.Contains(data, `"status":"processing"`) {
			break
		}
	}
	before := e.last
	r.progress.set(0.25)
	r.clock.pass(2 * time.Second)
	for {
		if _, data := e.next("job"); strings.Contains(data, `"progress":25`) {
			break
		}
	}
	if e.last != before {
		t.Error("progress moved the place to resume at")
	}
	r.finish(job, "out")
	seen := e.last
	for seen == e.last {
		e.next("job", "media")
	}
	r.do(req{method: "DELETE", path: "/media/song.mp3", as: "ana"}).want(200)
	for {
		if _, data := e.next("media"); strings.Contains(data, `"deleted":true`) {
			want(t, data, item.ID, `"name":"song.mp3"`)
			break
		}
	}
	nodes := r.mesh.Nodes()
	nodes[0].State = "suspect"
	r.mesh.set(nodes...)
	_, node := e.next("node")
	want(t, node, `"name":"worker_a"`, `"state":"suspect"`)
	if strings.Contains(node, "cpu") {
		t.Errorf("users are told %s", node)
	}
	r.do(req{method: "POST", path: "/auth/logout", as: "ana"}).want(200)
	e.ends()
}

// Whoever comes back with the id of any event hears of everything after it.
func TestEventsResume(t *testing.T) {
	r := newRig(t)
	r.put("ana", "zero.mp3", "0")
	e := r.open("/events", "ana")
	e.next("ready")
	start := e.last
	job := r.queue("ana", "one.mp3")
	r.assign(job)
	r.finish(job, "out")
	r.put("bob", "bobs.mp3", "b")
	r.do(req{method: "DELETE", path: "/media/one.mp3", as: "ana"}).want(200)

	var ids, told []string
	again := r.open("/events", "ana", "Last-Event-ID", start)
	for {
		name, data := again.next("job", "media")
		told = append(told, name+" "+data)
		ids = append(ids, again.last)
		if strings.Contains(data, `"deleted":true`) {
			break
		}
	}
	if len(told) != 3 { // the output, the job that made it in one step with it, and what was deleted
		t.Fatalf("told %q", told)
	}
	want(t, told[0]+told[1], `one_converted.mp3`, `"status":"completed"`)
	if ids[0] != start || ids[1] == start {
		t.Errorf("ids %v after %s: what was agreed in one step must be told before its id", ids, start)
	}
	last := r.open("/events?last_event_id="+ids[1], "ana")
	if _, data := last.next("job", "media"); !strings.Contains(data, `"deleted":true`) {
		t.Errorf("after %s: %s", ids[1], data)
	}
	r.do(req{method: "GET", path: "/events", as: "ana", header: []string{"Last-Event-ID", "x"}}).refused(400, "Last-Event-ID")
}

func TestEventsThatWereMissedForLong(t *testing.T) {
	r := newRig(t)
	r.token("ana")
	r.log.mu.Lock()
	r.log.index = 200_000
	r.log.mu.Unlock()
	r.put("ana", "song.mp3", "sound")
	e := r.open("/events", "ana", "Last-Event-ID", "5")
	e.next("reset")
	if e.last < "200000" {
		t.Errorf("goes on at %s", e.last)
	}
}

func TestPublicEvents(t *testing.T) {
	r := newRig(t)
	r.do(req{method: "GET", path: "/events"}).want(401)
	e := r.open("/events?public=1", "")
	e.next("ready")
	e.next("stats")
	job := r.queue("ana", "private.mp3")
	_, data := e.next("job")
	want(t, data, job, `"input_file":"•••.mp3"`, `"status":"pending"`)
	r.assign(job)
	r.progress.set(0.5)
	for {
		if _, data = e.next("job", "media", "node"); strings.Contains(data, `"progress":50`) {
			break
		}
	}
	if strings.Contains(data, "ana") || strings.Contains(data, "private") {
		t.Errorf("anybody hears %s", data)
	}
}

func TestStreamsOfOneUserAreBounded(t *testing.T) {
	l := newStreamLimit()
	for range maxOwnStreams {
		if !l.enter("ana") {
			t.Fatal("refused too early")
		}
	}
	if l.enter("ana") || !l.enter("bob") {
		t.Error("one user's streams are not bounded, or another's are")
	}
	l.leave("ana")
	if !l.enter("ana") {
		t.Error("a stream that ended still counts")
	}
}

func TestClientFollowsEvents(t *testing.T) {
	r := newRig(t)
	c := &Client{Base: r.url, Token: r.token("ana")}
	stop := errors.New("enough")
	added := false
	err := c.Events(t.Context(), "", func(e Event) error {
		switch e.Name {
		case "ready":
			r.put("ana", "song.mp3", "sound")
		case "media":
			if added {
				return nil // what the job is made of
			}
			m, deleted, err := e.Media()
			if err != nil || m.Name != "song.mp3" || deleted || e.ID == "" {
				t.Errorf("%+v %v %v", m, deleted, err)
			}
			added = true
			r.queue("ana", "song.mp3")
		case "job":
			if j, err := e.Job(); err != nil || j.Status != Pending {
				t.Errorf("%+v %v", j, err)
			}
			return stop
		}
		return nil
	})
	if !errors.Is(err, stop) || !added {
		t.Error(err)
	}
}

func TestNoStreamIsLeftBehind(t *testing.T) {
	r := newRig(t)
	ctx, cancel := context.WithCancel(t.Context())
	c := &Client{Base: r.url, Token: r.token("ana")}
	err := c.Events(ctx, "", func(e Event) error {
		cancel()
		return nil
	})
	if !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	eventually(t, "the stream is closed", func() bool { return r.api.streams.open() == 0 })
}

// eventually waits until it is so.
func eventually(t *testing.T, what string, so func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	timeout := time.After(10 * time.Second)
	for !so() {
		select {
		case <-tick.C:
		case <-timeout:
			t.Fatalf("not in time: %s", what)
		}
	}
}

func (l *streamLimit) open() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all
}
