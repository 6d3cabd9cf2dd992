package node

import (
	"github.com/prometheus/client_golang/prometheus"

	"malla/blobs/replica"
)

// repairMetrics are the figures of keeping enough copies, read when they are
// asked for.
type repairMetrics struct{ replica *replica.Replica }

var repairFigures = []struct {
	desc  *prometheus.Desc
	kind  prometheus.ValueType
	value func(s replica.Status) float64
}{
	{diskDesc("malla_chunks", "Chunks on this disk."), prometheus.GaugeValue, func(s replica.Status) float64 { return float64(s.Chunks) }},
	{diskDesc("malla_chunks_bytes", "Bytes of the chunks on this disk."), prometheus.GaugeValue, func(s replica.Status) float64 { return float64(s.Bytes) }},
	{diskDesc("malla_repair_left_chunks", "Chunks still to be copied to this disk or, where it is emptied, away from it."), prometheus.GaugeValue, func(s replica.Status) float64 { return float64(s.Left) }},
	{diskDesc("malla_repair_left_bytes", "Bytes of those chunks."), prometheus.GaugeValue, func(s replica.Status) float64 { return float64(s.LeftBytes) }},
	{diskDesc("malla_repair_estimate_seconds", "Time until none is left at the rate of the moment; 0 where that cannot be told."), prometheus.GaugeValue, func(s replica.Status) float64 { return s.Estimate.Seconds() }},
	{diskDesc("malla_repair_surplus_chunks", "Chunks on this disk that belong on others."), prometheus.GaugeValue, func(s replica.Status) float64 { return float64(s.Surplus) }},
	{diskDesc("malla_repair_unread_manifests", "Manifests that no node could send in the last round; while there are some, nothing is collected."), prometheus.GaugeValue, func(s replica.Status) float64 { return float64(s.Unread) }},
	{diskDesc("malla_repair_round_timestamp_seconds", "When the last round of repair began; 0 before the first."), prometheus.GaugeValue, began},
	{diskDesc("malla_repair_round_seconds", "Time that the last round of repair took."), prometheus.GaugeValue, func(s replica.Status) float64 { return s.Took.Seconds() }},
	{diskDesc("malla_repair_copied_chunks_total", "Missing copies made on this disk."), prometheus.CounterValue, func(s replica.Status) float64 { return float64(s.Repaired) }},
	{diskDesc("malla_repair_copied_bytes_total", "Bytes of those copies."), prometheus.CounterValue, func(s replica.Status) float64 { return float64(s.RepairedBytes) }},
	{diskDesc("malla_repair_dropped_chunks_total", "Surplus copies deleted."), prometheus.CounterValue, func(s replica.Status) float64 { return float64(s.Dropped) }},
	{diskDesc("malla_chunks_unnamed", "Chunks on this disk that nothing names any more and that may soon be deleted."), prometheus.GaugeValue, func(s replica.Status) float64 { return float64(s.Unnamed) }},
	{diskDesc("malla_collected_chunks_total", "Chunks deleted that nothing named any more."), prometheus.CounterValue, func(s replica.Status) float64 { return float64(s.Collected) }},
	{diskDesc("malla_collected_bytes_total", "Bytes of those chunks."), prometheus.CounterValue, func(s replica.Status) float64 { return float64(s.CollectedBytes) }},
}

func began(s replica.Status) float64 {
	if s.LastRound.IsZero() {
		return 0
	}
	return float64(s.LastRound.UnixMilli()) / 1000
}

// Describe implements [prometheus.Collector].
func (m repairMetrics) Describe(to chan<- *prometheus.Desc) { prometheus.DescribeByCollect(m, to) }

// Collect implements [prometheus.Collector].
func (m repairMetrics) Collect(to chan<- prometheus.Metric) {
	s := m.replica.Status()
	for _, f := range repairFigures {
		to <- prometheus.MustNewConstMetric(f.desc, f.kind, f.value(s))
	}
}
