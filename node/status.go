package node

import (
	"encoding/json"
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"malla/cluster"
	"malla/httpapi"
	"malla/node/ffmpeg"
	"malla/node/worker"
	"malla/web"
)

// Self implements [httpapi.Mesh].
func (n *Node) Self() httpapi.NodeStatus {
	for _, s := range n.Nodes() {
		if s.Self {
			return s
		}
	}
	return httpapi.NodeStatus{ID: string(n.id), Name: n.name, State: string(cluster.Alive), Self: true, UpdatedAt: time.Now().UTC()}
}

// Nodes implements [httpapi.Mesh]: all nodes that were agreed on, with what the
// gossip says of each.
func (n *Node) Nodes() []httpapi.NodeStatus {
	members := byID(n.cluster.Members())
	roles := n.cluster.Roles()
	var all []httpapi.NodeStatus
	for _, rec := range n.state.View().Nodes() {
		m, known := members[rec.ID]
		s := httpapi.NodeStatus{
			ID: string(rec.ID), Name: rec.Name, Role: string(roles[rec.ID]), State: string(cluster.Dead),
			URL: apiURL(rec.HTTP), Self: rec.ID == n.id, Zone: rec.Zone, Version: rec.Version,
			Capacity: rec.Capacity, Draining: draining(rec, m.Load), Converted: rec.Converted, Failed: rec.Failed, AsideUntil: rec.AsideUntil,
			ClockOff: known && m.State == cluster.Alive && m.Load.ClockOff,
		}
		if known {
			s.State = string(m.State)
			describeLoad(&s, m)
		}
		all = append(all, s)
	}
	return all
}

// apiURL is where people reach a node's API.
func apiURL(hostPort string) string {
	return (&url.URL{Scheme: "http", Host: hostPort}).String()
}

// pagesCSP lets the pages call the API of every node of the mesh, and no other.
func (n *Node) pagesCSP() string {
	var apis []string
	for _, rec := range n.state.View().Nodes() {
		apis = append(apis, apiURL(rec.HTTP))
	}
	return web.CSP(apis...)
}

func describeLoad(s *httpapi.NodeStatus, m cluster.Member) {
	l := m.Load
	s.CPU, s.MemoryUsed, s.MemoryTotal = l.CPU, l.MemoryUsed, l.MemoryTotal
	s.DiskFree, s.DiskTotal, s.NetRx, s.NetTx = l.DiskFree, l.DiskTotal, l.NetRx, l.NetTx
	s.Tasks, s.Slots, s.UpdatedAt = l.Tasks, l.Slots, m.LoadAt
	s.LoadScore = loadScore(l)
	s.Damaged, s.Stored = l.Damaged, l.Stored
	if m.State == cluster.Dead || m.State == cluster.Left {
		return // it copies nothing, and nobody knows its disk, whatever its last report says
	}
	s.Disk, s.Log = diskState(l), logState(l)
	if l.Left > 0 {
		s.Repair = &httpapi.Repair{Chunks: l.Left, Bytes: l.LeftBytes, Rate: l.Rate}
		if l.Rate > 0 {
			s.Repair.Seconds = l.LeftBytes / l.Rate
		}
	}
}

// loadScore is 0 for an idle node and 100 for a full one: half its processors,
// half its slots.
func loadScore(l cluster.Load) int {
	score := 50 * l.CPU
	if l.Slots > 0 {
		score += 50 * float64(l.Tasks) / float64(l.Slots)
	}
	return int(min(100, max(0, score)))
}

// formats is what this node's FFmpeg makes, as the API shows it.
func formats(list []ffmpeg.Format) []httpapi.Format {
	var all []httpapi.Format
	for _, f := range list {
		out := httpapi.Format{Name: f.Name, Kind: string(f.Kind)}
		for _, o := range f.Options {
			out.Options = append(out.Options, httpapi.FormatOption{Name: o.Name, Type: o.Type, Default: o.Default, Min: o.Min, Max: o.Max, Values: o.Values})
		}
		all = append(all, out)
	}
	return all
}

// purposes are those of the package ffmpeg, as the API shows them.
func purposes() []httpapi.Purpose {
	var all []httpapi.Purpose
	for _, p := range ffmpeg.Purposes() {
		options, err := json.Marshal(p.Options)
		if err != nil {
			continue // numbers and names alone: it does not fail
		}
		all = append(all, httpapi.Purpose{Name: p.Name, Kind: string(p.Kind), Format: p.Format, Options: options, Text: p.Text})
	}
	return all
}

// load is what this node last told of itself.
func (n *Node) load() cluster.Load {
	return byID(n.cluster.Members())[n.id].Load
}

// newRegistry has the figures of the process and of Go.
func newRegistry() *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return r
}

// workerMetrics are the figures that dashboards of the replaced system read.
type workerMetrics struct {
	done      *prometheus.CounterVec
	redone    prometheus.Counter
	duration  prometheus.Histogram
	reduction prometheus.Histogram
}

var _ worker.Metrics = (*workerMetrics)(nil)

func newWorkerMetrics(reg prometheus.Registerer, busy func() int, load func() cluster.Load) *workerMetrics {
	m := &workerMetrics{
		done: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "worker_conversions_done_total", Help: "Conversions that ended on this node, by status (success or failed)."}, []string{"status"}),
		redone: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "malla_jobs_redone_total", Help: "Jobs whose parts did not make the whole, so that all was done again in one piece."}),
		duration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "worker_conversion_duration_seconds", Help: "Time a conversion took on this node.",
			Buckets: []float64{0.1, 0.5, 1, 2, 5, 10, 30, 60, 300, 1800, 7200}}),
		reduction: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "worker_file_size_reduction_percent", Help: "How much smaller the output was than the input; negative where it was larger.",
			Buckets: []float64{-100, -50, 0, 10, 25, 50, 75, 90, 95}}),
	}
	gauge := func(name, help string, value func() float64) prometheus.GaugeFunc {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, value)
	}
	m.done.WithLabelValues("success")
	m.done.WithLabelValues("failed")
	reg.MustRegister(m.done, m.redone, m.duration, m.reduction,
		gauge("worker_cpu_load", "Busy share of this node's processors, 0 to 1.", func() float64 { return load().CPU }),
		gauge("worker_memory_usage_mb", "Memory in use on this node's machine, in megabytes.", func() float64 { return float64(load().MemoryUsed) / 1e6 }),
		gauge("worker_jobs_in_progress", "Tasks under way on this node.", func() float64 { return float64(busy()) }),
	)
	return m
}

// Ended implements [worker.Metrics].
func (m *workerMetrics) Ended(ok bool, took time.Duration, in, out int64) {
	if !ok {
		m.done.WithLabelValues("failed").Inc()
		return
	}
	m.done.WithLabelValues("success").Inc()
	m.duration.Observe(took.Seconds())
	if in > 0 {
		m.reduction.Observe(100 * (1 - float64(out)/float64(in)))
	}
}

// Redone implements [worker.Metrics].
func (m *workerMetrics) Redone() { m.redone.Inc() }

// pageURL is where a person on this machine opens the pages.
func pageURL(publicURL string, bound net.Addr) string {
	if publicURL != "" {
		return strings.TrimRight(publicURL, "/")
	}
	host, port, err := net.SplitHostPort(bound.String())
	if err != nil {
		return "http://" + bound.String()
	}
	if ip := net.ParseIP(host); ip == nil || ip.IsUnspecified() {
		host = "localhost"
	}
	return "http://" + net.JoinHostPort(host, port)
}
