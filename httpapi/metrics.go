package httpapi

import (
	"errors"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are all that the API counts. The names without a prefix are those of
// the system that malla replaces: dashboards read them.
type metrics struct {
	requests, uploads, streams, logins, deletes, jobs prometheus.Counter

	took *prometheus.HistogramVec
}

func newMetrics(r prometheus.Registerer, sessions func() float64) (*metrics, error) {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	m := &metrics{
		requests: counter("api_requests_total", "Requests that this node answered."),
		uploads:  counter("api_uploads_total", "Files that were taken into a library."),
		streams:  counter("api_streams_total", "Reads of a file from its beginning, by its owner or by a link."),
		logins:   counter("api_logins_total", "Sign-ins that went well."),
		deletes:  counter("api_deletes_total", "Files that were deleted."),
		jobs:     counter("api_jobs_enqueued_total", "Conversions that were queued."),
		took: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "malla_http_request_duration_seconds", Help: "Time from a request's header to the end of its answer, by the pattern of its route.",
			Buckets: []float64{.001, .005, .025, .1, .25, 1, 5, 30, 300},
		}, []string{"route", "method", "code"}),
	}
	active := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "active_sessions", Help: "Sessions that this node answered in the last five minutes.",
	}, sessions)
	var errs []error
	for _, c := range []prometheus.Collector{m.requests, m.uploads, m.streams, m.logins, m.deletes, m.jobs, m.took, active} {
		errs = append(errs, r.Register(c))
	}
	return m, errors.Join(errs...)
}

// methods that are told apart; others are one.
var knownMethods = map[string]bool{"GET": true, "HEAD": true, "POST": true, "PUT": true, "PATCH": true, "DELETE": true, "OPTIONS": true}

func (m *metrics) request(route, method string, status int, took time.Duration) {
	if route == "" {
		route = "none"
	}
	if !knownMethods[method] {
		method = "other"
	}
	m.requests.Inc()
	m.took.WithLabelValues(route, method, strconv.Itoa(status)).Observe(took.Seconds())
}

const (
	activeFor   = 5 * time.Minute
	maxSessions = 100_000 // that are remembered
)

// activeSessions counts the sessions that were seen lately.
type activeSessions struct {
	now func() time.Time

	mu   sync.Mutex // guards last
	last map[string]time.Time
}

func newActiveSessions(now func() time.Time) *activeSessions {
	return &activeSessions{now: now, last: map[string]time.Time{}}
}

// seen notes a request of the session with that id.
func (a *activeSessions) seen(id string) {
	now := a.now()
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, known := a.last[id]; !known && len(a.last) >= maxSessions {
		a.drop(now)
	}
	if len(a.last) < maxSessions {
		a.last[id] = now
	}
}

func (a *activeSessions) count() float64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.drop(a.now())
	return float64(len(a.last))
}

// drop forgets the sessions that were not seen for long. a.mu is held.
func (a *activeSessions) drop(now time.Time) {
	for id, at := range a.last {
		if now.Sub(at) > activeFor {
			delete(a.last, id)
		}
	}
}
