package httpapi

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"malla/cluster/state"
	"malla/httpapi/auth"
)

const (
	maxStreams     = 2000                  // of events, on one node
	maxOwnStreams  = 16                    // of one user, or of one network that is not signed in
	publicJobs     = 50                    // newest jobs that who is not signed in hears of
	calmTime       = 50 * time.Millisecond // at least, between two looks at the state
	eventDeadline  = 15 * time.Second      // for a reader to take what it was sent
	statsTicks     = 2                     // ticks between figures of the workers
	heartbeatTicks = 15                    // ticks between comments that keep connections open
	longestResume  = 100_000               // log entries that removals are remembered for
)

// event is one server-sent event. Without an id it does not move where a reader
// resumes.
type event struct {
	id   uint64
	name string
	data any
}

// events streams what happens: to the caller's jobs and media, to the nodes, and
// how far jobs are. With ?public=1 anybody hears of all jobs, masked. A reader
// that comes back with Last-Event-ID misses nothing.
func (c *call) events() error {
	public := c.query("public") == "1"
	if !public && !c.caller.Known() {
		return auth.ErrSignIn
	}
	key := string(c.user())
	if public {
		key = c.network()
	}
	if !c.api.streams.enter(key) {
		return state.Errorf(state.Busy, "too many streams of events are open: close some, or try again in a moment")
	}
	defer c.api.streams.leave(key)
	since, resumes, err := c.lastEvent()
	if err != nil {
		return err
	}
	h := c.w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no") // proxies must not hold events back
	s := &stream{call: c, conn: http.NewResponseController(c.w), public: public, since: since, progress: map[string]float64{}, nodes: map[string]string{}}
	defer s.conn.SetWriteDeadline(time.Time{})
	if err := s.begin(resumes); err != nil {
		return errAborted
	}
	if err := s.run(); err != nil {
		return errAborted
	}
	return nil
}

// lastEvent is where a reader goes on: behind the last event it has seen, or at
// what is agreed now.
func (c *call) lastEvent() (since uint64, resumes bool, err error) {
	text := c.r.Header.Get("Last-Event-ID")
	if text == "" {
		text = c.query("last_event_id")
	}
	if text == "" {
		return c.view.Index(), false, nil
	}
	if since, err = strconv.ParseUint(text, 10, 64); err != nil {
		return 0, false, state.InvalidField("Last-Event-ID", "must be the id of an event")
	}
	return since, true, c.api.waitFor(c.r.Context(), since)
}

// stream is one reader of events.
type stream struct {
	call     *call
	conn     *http.ResponseController
	public   bool
	since    uint64             // index up to which the reader knows the state
	progress map[string]float64 // id of a running job -> progress that was told
	nodes    map[string]string  // id of a node -> what was told of it
	stale    string             // why the state may not be the newest, as told
	places   map[string]int     // id of a pending job -> place in the queue that was told
}

// begin tells where the stream starts, so that a reader which loses the
// connection before the first change resumes there too.
func (s *stream) begin(resumes bool) error {
	name := "ready"
	if now := s.call.api.cfg.State.View().Index(); resumes && now > s.since+longestResume {
		name, s.since = "reset", now // too much was missed: the reader has to fetch everything anew
	}
	if err := s.write("retry: 1000\n\n"); err != nil {
		return err
	}
	for _, n := range s.call.api.nodes() {
		s.nodes[n.ID] = nodeText(n)
	}
	return s.send(append([]event{{s.since, name, map[string]uint64{"index": s.since}}, s.stats()}, s.staleEvents()...))
}

// run tells what changes until the reader or its session is gone.
func (s *stream) run() error {
	a, ctx := s.call.api, s.call.r.Context()
	tick := time.NewTicker(a.tick)
	defer tick.Stop()
	for n := 1; ; {
		looked := time.Now()
		view := a.cfg.State.View()
		if !s.public && a.sessions.Ended(view, s.call.caller.User, s.call.caller.Session) {
			return nil
		}
		if err := s.send(s.changes(view)); err != nil {
			return err
		}
		changed := view.Changed()
		if s.public {
			changed = nil // once a tick is enough
		}
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
			if !pause(ctx.Done(), calmTime-time.Since(looked)) { // what comes alone is told at once
				return nil
			}
		case <-tick.C:
			if err := s.send(s.ticked(view, n)); err != nil {
				return err
			}
			if n%heartbeatTicks == 0 {
				if err := s.write(": still here\n\n"); err != nil {
					return err
				}
			}
			n++
		}
	}
}

// pause waits that long, and returns whether nobody stopped it.
func pause(stop <-chan struct{}, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-stop:
		return false
	}
}

// changes is what was agreed since the last look, in the order of the log.
// Events of one index are told together: only the last of them carries the id.
func (s *stream) changes(view *state.View) []event {
	if view.Index() <= s.since {
		return nil
	}
	var all []event
	if s.public {
		all = s.publicChanges(view)
	} else {
		all = s.ownChanges(view)
	}
	slices.SortStableFunc(all, func(a, b event) int { return cmp.Compare(a.id, b.id) })
	for i := range all {
		if i+1 < len(all) && all[i+1].id == all[i].id {
			all[i].id = 0
		}
	}
	s.since = view.Index()
	return all
}

func (s *stream) ownChanges(view *state.View) []event {
	var all []event
	user := s.call.user()
	for r := range view.RemovalsSince(user, s.since) {
		if r.Purged {
			all = append(all, event{r.At, "trash", purged{string(r.Media), r.Name, true}})
			continue
		}
		all = append(all, event{r.At, "media", removed{string(r.Media), r.Name, true, wireTime(r.Goes)}})
	}
	for m := range view.MediaSince(user, s.since) {
		all = append(all, event{m.Modified, "media", mediaOf(m)})
	}
	var found []*state.Job
	for j := range view.JobsSince(user, s.since) {
		found = append(found, j)
	}
	return append(all, s.jobEvents(view, found)...)
}

// removed tells that an item has left the library.
type removed struct {
	ID      string    `json:"id"`
	Name    string    `json:"name"`
	Deleted bool      `json:"deleted"`
	GoesAt  time.Time `json:"goes_at,omitzero"` // it is in the trash until then
}

// purged tells that an item has left the trash for good.
type purged struct {
	ID     string `json:"id"`
	Name   string `json:"name"`
	Purged bool   `json:"purged"`
}

func (s *stream) publicChanges(view *state.View) []event {
	var found []*state.Job
	n := 0
	for j := range view.Jobs() {
		if j.Modified > s.since {
			found = append(found, j)
		}
		if n++; n == publicJobs {
			break
		}
	}
	return s.jobEvents(view, found)
}

func (s *stream) jobEvents(view *state.View, found []*state.Job) []event {
	look := s.call.api.look(s.call.r.Context(), view, found)
	var all []event
	for _, j := range found {
		all = append(all, event{j.Modified, "job", s.job(look, j)})
	}
	return all
}

// job is a job as this reader may see it, remembered as told. Its tasks are not
// told: a film may have hundreds.
func (s *stream) job(look jobLook, j *state.Job) Job {
	wire := look.job(j)
	if wire.Ended() {
		delete(s.progress, wire.ID)
	} else {
		s.progress[wire.ID] = wire.Progress
	}
	if s.public {
		return masked(wire)
	}
	return wire
}

// ticked is what is told at the n-th tick: what is in no log.
func (s *stream) ticked(view *state.View, n int) []event {
	all := append(s.moved(view), s.nodeEvents()...)
	all = append(all, s.staleEvents()...)
	if n%statsTicks == 0 {
		all = append(all, s.stats())
		all = append(all, s.queueEvents(view)...)
	}
	return all
}

// queuePlaces tells where pending jobs stand in the queue: that changes when
// other jobs do.
type queuePlaces struct {
	Positions map[string]int `json:"positions"` // id of a job -> from 1
}

// queueEvents tells where the user's newest pending jobs are by now, if that
// changed.
func (s *stream) queueEvents(view *state.View) []event {
	if s.public {
		return nil
	}
	now := map[string]int{}
	var found []*state.Job
	n := 0
	for j := range view.JobsOf(s.call.user()) {
		if j.State == state.Queued {
			found = append(found, j)
		}
		if n++; n == maxJobs {
			break // no list shows more
		}
	}
	places := s.call.api.queue.of(view, found)
	for _, j := range found {
		now[string(j.ID)] = places[j.ID]
	}
	if maps.Equal(now, s.places) {
		return nil
	}
	s.places = now
	return []event{{0, "queue", queuePlaces{now}}}
}

// moved tells of running jobs whose progress changed.
func (s *stream) moved(view *state.View) []event {
	var running []*state.Job
	for j := range view.JobsIn(state.Running) {
		if s.public || j.Owner == s.call.user() {
			running = append(running, j)
		}
		if len(running) == maxJobs {
			break
		}
	}
	look := s.call.api.look(s.call.r.Context(), view, running)
	var all []event
	for _, j := range running {
		before, told := s.progress[string(j.ID)]
		if wire := s.job(look, j); !told || wire.Progress != before {
			all = append(all, event{0, "job", wire})
		}
	}
	return all
}

// nodeEvents tells of nodes that came, went, or changed their role.
func (s *stream) nodeEvents() []event {
	if s.public {
		return nil // the figures of the workers say enough
	}
	var all []event
	for _, n := range s.call.api.nodes() {
		if text := nodeText(n); s.nodes[n.ID] != text {
			s.nodes[n.ID] = text
			all = append(all, event{0, "node", plainNode(n)})
		}
	}
	return all
}

// staleEvents tells when the mesh stops to agree and when it goes on, as far as
// this node can tell. Answers have it in X-Malla-Stale.
func (s *stream) staleEvents() []event {
	now := ""
	if err := s.call.api.cfg.Mesh.Ready(); err != nil {
		now = err.Error()
	}
	if now == s.stale {
		return nil
	}
	s.stale = now
	return []event{{0, "mesh", map[string]string{"stale": now}}}
}

func nodeText(n NodeStatus) string { return fmt.Sprint(plainNode(n)) }

func (s *stream) stats() event {
	return event{0, "stats", s.call.api.workers(s.call.api.cfg.State.View())}
}

// send writes events and pushes them out.
func (s *stream) send(all []event) error {
	if len(all) == 0 {
		return nil
	}
	var text []byte
	for _, e := range all {
		data, err := json.Marshal(e.data)
		if err != nil {
			s.call.api.cfg.Logger.Error("event cannot be written", "req", s.call.w.id, "event", e.name, "err", err)
			continue
		}
		if e.id != 0 {
			text = fmt.Appendf(text, "id: %d\n", e.id)
		}
		text = fmt.Appendf(text, "event: %s\ndata: %s\n\n", e.name, data)
	}
	return s.write(string(text))
}

func (s *stream) write(text string) error {
	s.conn.SetWriteDeadline(time.Now().Add(eventDeadline)) // not on every kind of connection
	if _, err := s.call.w.Write([]byte(text)); err != nil {
		return err
	}
	return s.conn.Flush()
}

// streamLimit bounds how many streams of events are open.
type streamLimit struct {
	mu   sync.Mutex // guards the fields below
	all  int
	each map[string]int // user or network -> open streams
}

func newStreamLimit() *streamLimit { return &streamLimit{each: map[string]int{}} }

// enter returns whether one more stream may be open for the key; who entered
// leaves.
func (l *streamLimit) enter(key string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.all >= maxStreams || l.each[key] >= maxOwnStreams {
		return false
	}
	l.all++
	l.each[key]++
	return true
}

func (l *streamLimit) leave(key string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all--
	if l.each[key]--; l.each[key] == 0 {
		delete(l.each, key)
	}
}
