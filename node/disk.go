package node

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"malla/blobs"
	"malla/blobs/disk"
	"malla/blobs/replica"
	"malla/cluster"
)

// almostFull is what is left beside the reserve of a disk that placement passes
// by: a few chunks, so that what is on its way still finds room. roomAgain is
// what must be left until it is used again: in between it stays as it was, since
// with each change the nodes look again at where everything belongs.
const (
	almostFull = 4 * blobs.ChunkSize
	roomAgain  = 16 * blobs.ChunkSize
)

// takesNone tells whether a disk with so much left counts as full; was is
// whether it did before.
func takesNone(was bool, left int64) bool {
	return left < almostFull || was && left < roomAgain
}

// describeDisk says what this node's disk takes. A broken one takes nothing at
// once; after the grace time, as for a node that vanished, the others make
// copies of what it has.
func (n *Node) describeDisk(w *cluster.Work) {
	free, _, err := n.chunks.Free()
	since, cause := n.chunks.Broken()
	found, _ := n.chunks.Damage()
	w.Broken = cause != nil
	w.GivenUp = w.Broken && time.Since(since) > n.cfg.Timing.RepairWait
	full := err != nil || takesNone(n.full.Load(), free)
	n.full.Store(full)
	w.Full = w.Broken || full
	w.Damaged = uint64(found)
	s := n.replica.Status()
	w.Stored, w.Left, w.LeftBytes, w.Rate = uint64(s.Bytes), uint64(s.Left), uint64(s.LeftBytes), uint64(s.Rate)
	w.Emptied = s.Emptied && w.Tasks == 0 && !w.Broken // what such a disk lacks may come back with it
}

// diskBroken is what diskState says of a disk that does not work.
const diskBroken = "broken"

// diskState is a disk's state in a word, for people and programs.
func diskState(l cluster.Load) string {
	switch {
	case l.Broken:
		return diskBroken
	case l.Full:
		return "full"
	}
	return ""
}

// logState says how the agreement's log on a node's disk fares, for people and
// programs.
func logState(l cluster.Load) string {
	switch {
	case l.LogHalted:
		return "halted"
	case l.LogLow:
		return "low"
	}
	return ""
}

// scrub reads this disk again and again, after everything else that wants it.
func (n *Node) scrub(ctx context.Context) error {
	disk.Background()
	return n.replica.Scrub(ctx)
}

// diskMetrics are the figures of this node's disk, read when they are asked for.
type diskMetrics struct {
	chunks  *disk.Store
	replica *replica.Replica
	load    func() cluster.Load
}

var (
	descBroken   = diskDesc("malla_disk_broken", "1 while this node's disk fails or is read-only, else 0.")
	descLogLow   = diskDesc("malla_log_low", "1 while little room is left for the agreement's log and this node should not vote, else 0.")
	descHalted   = diskDesc("malla_log_halted", "1 once the agreement's log could not be written and this node takes no part any more, else 0.")
	descDamaged  = diskDesc("malla_chunks_damaged_total", "Chunks on this disk that were found damaged.")
	descHealed   = diskDesc("malla_chunks_healed_total", "Damaged chunks that were made again from another node.")
	descScrubbed = diskDesc("malla_scrub_chunks_total", "Chunks that scrubbing read and hashed again.")
	descBytes    = diskDesc("malla_scrub_bytes_total", "Bytes of those chunks.")
	descPass     = diskDesc("malla_scrub_pass_ratio", "How much of the pass under way is done, 0 to 1.")
	descFinished = diskDesc("malla_scrub_finished_timestamp_seconds", "When scrubbing had read everything last; 0 before the first time.")
	descLate     = diskDesc("malla_scrub_late", "1 while scrubbing cannot keep to its time at the rate it is allowed, else 0.")
)

func diskDesc(name, help string) *prometheus.Desc { return prometheus.NewDesc(name, help, nil, nil) }

// Describe implements [prometheus.Collector].
func (m diskMetrics) Describe(to chan<- *prometheus.Desc) { prometheus.DescribeByCollect(m, to) }

// Collect implements [prometheus.Collector].
func (m diskMetrics) Collect(to chan<- prometheus.Metric) {
	tell := func(desc *prometheus.Desc, kind prometheus.ValueType, value float64) {
		to <- prometheus.MustNewConstMetric(desc, kind, value)
	}
	flag := map[bool]float64{true: 1}
	s := m.replica.Status()
	_, cause := m.chunks.Broken()
	finished := 0.0
	if !s.Scrub.Finished.IsZero() {
		finished = float64(s.Scrub.Finished.Unix())
	}
	tell(descBroken, prometheus.GaugeValue, flag[cause != nil])
	load := m.load()
	tell(descLogLow, prometheus.GaugeValue, flag[load.LogLow])
	tell(descHalted, prometheus.GaugeValue, flag[load.LogHalted])
	tell(descDamaged, prometheus.CounterValue, float64(s.Damaged))
	tell(descHealed, prometheus.CounterValue, float64(s.Healed))
	tell(descScrubbed, prometheus.CounterValue, float64(s.Scrub.Chunks))
	tell(descBytes, prometheus.CounterValue, float64(s.Scrub.Bytes))
	tell(descPass, prometheus.GaugeValue, s.Scrub.Done)
	tell(descFinished, prometheus.GaugeValue, finished)
	tell(descLate, prometheus.GaugeValue, flag[s.Scrub.Late])
}
