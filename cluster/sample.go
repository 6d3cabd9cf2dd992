package cluster

import (
	"context"
	"time"

	"github.com/shirou/gopsutil/v3/cpu"
	"github.com/shirou/gopsutil/v3/disk"
	"github.com/shirou/gopsutil/v3/mem"
	"github.com/shirou/gopsutil/v3/net"
)

// A sampler measures how busy this machine is. What cannot be measured here
// stays zero: a missing number must not stop a node.
type sampler struct {
	dir string // whose disk is measured

	at         time.Time // of the last sample
	busy, idle float64   // seconds of processor time since the machine started
	rx, tx     uint64    // bytes since then
}

// sample returns the load since the last sample.
func (s *sampler) sample(ctx context.Context) Load {
	var l Load
	now := time.Now()
	seconds := now.Sub(s.at).Seconds()
	first := s.at.IsZero()
	if times, err := cpu.TimesWithContext(ctx, false); err == nil && len(times) > 0 {
		idle := times[0].Idle + times[0].Iowait
		busy := times[0].User + times[0].Nice + times[0].System + times[0].Irq + times[0].Softirq + times[0].Steal
		if total := busy - s.busy + idle - s.idle; !first && total > 0 {
			l.CPU = min(max((busy-s.busy)/total, 0), 1)
		}
		s.busy, s.idle = busy, idle
	}
	if m, err := mem.VirtualMemoryWithContext(ctx); err == nil {
		l.MemoryTotal, l.MemoryUsed = m.Total, m.Total-min(m.Available, m.Total)
	}
	if d, err := disk.UsageWithContext(ctx, s.dir); err == nil {
		l.DiskFree, l.DiskTotal = d.Free, d.Total
	}
	if all, err := net.IOCountersWithContext(ctx, true); err == nil {
		var rx, tx uint64
		for _, c := range all {
			if c.Name != "lo" {
				rx, tx = rx+c.BytesRecv, tx+c.BytesSent
			}
		}
		if !first && seconds > 0 && rx >= s.rx && tx >= s.tx {
			l.NetRx, l.NetTx = uint64(float64(rx-s.rx)/seconds), uint64(float64(tx-s.tx)/seconds)
		}
		s.rx, s.tx = rx, tx
	}
	s.at = now
	return l
}
