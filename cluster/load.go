package cluster

import (
	"encoding/binary"
	"encoding/hex"
	"math"

	"malla/cluster/state"
)

// Work is what a node is doing, as its owner tells the cluster each second.
type Work struct {
	Tasks int  // running
	Slots int  // how many it runs at once; 0: it runs none
	Full  bool // its disk takes no more chunks

	Broken  bool   // its disk fails or is read-only: it is Full, too
	GivenUp bool   // it has been broken for so long that its chunks do not count any more
	Damaged uint64 // chunks on its disk that were found damaged since it started

	Encoders uint64 // bits of those that work here, as its owner numbers them; 0 also of a node that does not tell

	Stored    uint64 // bytes of the chunks on its disk
	Left      uint64 // chunks that are still to be copied to it, or away from it
	LeftBytes uint64 // bytes of those
	Rate      uint64 // at which it copies them, bytes a second; 0: it does not
	Emptied   bool   // it is being drained, and has nothing left that others need
}

// A Load is how busy a node is. It travels in the gossip, rounded to what fits:
// a hint for scheduling and for people to look at.
type Load struct {
	CPU         float64 // 0 to 1, of all processors
	MemoryUsed  uint64  // bytes
	MemoryTotal uint64
	DiskFree    uint64 // bytes, where the node keeps its data
	DiskTotal   uint64
	NetRx       uint64 // bytes a second, without loopback
	NetTx       uint64
	ClockOff    bool // its clock is far from the leader's
	LogLow      bool // little room is left where its log is: it should not vote
	LogHalted   bool // its log cannot be written: it takes no part in the agreement
	Work
}

// A report is a load on its way through the gossip. Epoch and seq keep
// replays and late arrivals out.
type report struct {
	id    state.NodeID
	epoch uint64 // of the run of the node
	seq   uint32 // counts from 1 in each run
	load  Load
}

const reportVersion = 1

// flagClockOff is the highest bit of the flags; those of the work begin at the
// lowest.
const flagClockOff = 1 << 7

const (
	mebi = 1 << 20
	kibi = 1 << 10
)

// encode writes: version 1, id 16, epoch 8, seq 4, CPU in 1/255 1, flags 1,
// then varints: memory and disk in MiB, network in KiB/s, tasks, slots, encoders,
// damaged, stored and left bytes in MiB, left chunks, rate in MiB/s.
// That is about 55 bytes.
func (r report) encode() []byte {
	id := rawID(r.id)
	out := append(make([]byte, 0, 64), reportVersion)
	out = append(out, id[:]...)
	out = binary.BigEndian.AppendUint64(out, r.epoch)
	out = binary.BigEndian.AppendUint32(out, r.seq)
	out = append(out, byte(math.Round(min(max(r.load.CPU, 0), 1)*255)))
	var flags byte
	for bit, set := range []bool{r.load.Full, r.load.Broken, r.load.GivenUp, r.load.Emptied, r.load.LogLow, r.load.LogHalted} {
		if set {
			flags |= 1 << bit
		}
	}
	if r.load.ClockOff {
		flags |= flagClockOff
	}
	out = append(out, flags)
	work := r.load.Work.sent()
	for _, n := range []uint64{
		r.load.MemoryUsed / mebi, r.load.MemoryTotal / mebi, r.load.DiskFree / mebi, r.load.DiskTotal / mebi,
		r.load.NetRx / kibi, r.load.NetTx / kibi, uint64(max(r.load.Tasks, 0)), uint64(max(r.load.Slots, 0)), r.load.Encoders, r.load.Damaged,
		work.Stored, work.LeftBytes, work.Left, work.Rate,
	} {
		out = binary.AppendUvarint(out, n)
	}
	return out
}

// decodeReport reads what encode wrote; what a newer version added behind it
// is passed over.
func decodeReport(in []byte) (report, bool) {
	const fixed = 1 + 16 + 8 + 4 + 1 + 1
	if len(in) < fixed || in[0] < reportVersion {
		return report{}, false
	}
	r := report{
		id:    state.NodeID(hex.EncodeToString(in[1:17])),
		epoch: binary.BigEndian.Uint64(in[17:]),
		seq:   binary.BigEndian.Uint32(in[25:]),
	}
	r.load.CPU = float64(in[29]) / 255
	r.load.Full, r.load.Broken, r.load.GivenUp, r.load.Emptied = in[30]&1 != 0, in[30]&2 != 0, in[30]&4 != 0, in[30]&8 != 0
	r.load.ClockOff = in[30]&flagClockOff != 0
	r.load.LogLow, r.load.LogHalted = in[30]&16 != 0, in[30]&32 != 0
	var tasks, slots uint64
	in = in[fixed:]
	for _, f := range []struct {
		to   *uint64
		unit uint64
	}{
		{&r.load.MemoryUsed, mebi}, {&r.load.MemoryTotal, mebi}, {&r.load.DiskFree, mebi}, {&r.load.DiskTotal, mebi},
		{&r.load.NetRx, kibi}, {&r.load.NetTx, kibi}, {&tasks, 1}, {&slots, 1},
	} {
		n, size := binary.Uvarint(in)
		if size <= 0 || n > math.MaxInt64/mebi {
			return report{}, false
		}
		*f.to, in = n*f.unit, in[size:]
	}
	if tasks > math.MaxInt32 || slots > math.MaxInt32 {
		return report{}, false
	}
	r.load.Tasks, r.load.Slots = int(tasks), int(slots)
	for _, f := range []struct {
		to   *uint64
		unit uint64
	}{
		{&r.load.Encoders, 1}, {&r.load.Damaged, 1},
		{&r.load.Stored, mebi}, {&r.load.LeftBytes, mebi}, {&r.load.Left, 1}, {&r.load.Rate, mebi},
	} {
		if len(in) == 0 {
			break // it comes from a version that did not know them
		}
		n, size := binary.Uvarint(in)
		if size <= 0 || n > math.MaxUint64/f.unit {
			return report{}, false
		}
		*f.to, in = n*f.unit, in[size:]
	}
	return r, true
}

// sent is w with its bytes in the units in which they travel.
func (w Work) sent() Work {
	w.Stored, w.LeftBytes, w.Rate = w.Stored/mebi, upTo(w.LeftBytes, mebi), upTo(w.Rate, mebi)
	return w
}

// upTo is n in that unit, rounded up: a little that is left is not nothing.
func upTo(n, unit uint64) uint64 { return n/unit + min(1, n%unit) }

// differs tells whether others should hear of b when they know a.
func differs(a, b Load) bool {
	share := func(x, y, of uint64) float64 {
		return math.Abs(float64(x)-float64(y)) / float64(max(of, 1))
	}
	return a.Work.sent() != b.Work.sent() || a.ClockOff != b.ClockOff || a.LogLow != b.LogLow || a.LogHalted != b.LogHalted ||
		math.Abs(a.CPU-b.CPU) > 0.05 ||
		share(a.MemoryUsed, b.MemoryUsed, b.MemoryTotal) > 0.02 ||
		share(a.DiskFree, b.DiskFree, b.DiskTotal) > 0.01 ||
		share(a.NetRx, b.NetRx, max(a.NetRx, b.NetRx, mebi)) > 0.2 ||
		share(a.NetTx, b.NetTx, max(a.NetTx, b.NetTx, mebi)) > 0.2
}
