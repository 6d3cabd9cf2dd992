package cluster

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"malla/cluster/state"
)

// ErrRestart is what Fatal gives on a node whose log could not be written, once
// its disk takes writes again. Raft must not go on after a write that failed:
// what is on the disk is known only to who reads it anew, so the owner closes
// everything and starts again.
var ErrRestart = errors.New("the disk takes writes again: this node starts anew")

// marks are bytes free where the log is.
type marks struct {
	low     uint64 // below it the node should not vote, until twice as much is free
	ballast uint64 // size of the file that is thrown off when the disk is full
}

// marksOf gives the marks of a file system of that size, on which chunks leave
// reserve free (0: they are elsewhere): a disk that chunks have filled as far as
// they may must not look low.
func marksOf(total, reserve uint64) marks {
	low := min(total/20, 1<<30)
	if reserve > 0 {
		low = min(low, reserve/2)
	}
	return marks{low: low, ballast: min(low/4, 64<<20)}
}

// A logDisk is the file system of the log.
type logDisk struct {
	dir     string
	marks   marks
	ballast *ballast
	low     atomic.Bool
	halted  atomic.Pointer[error] // why nothing is written any more
	halts   chan struct{}         // has a token once halted is set
}

// openLogDisk looks at the disk, and throws the ballast off where the log could
// not even be opened otherwise.
func openLogDisk(cfg *Config) (*logDisk, error) {
	dir := cfg.Dir // not that of the log itself, which may be put aside
	d := &logDisk{dir: dir, halts: make(chan struct{}, 1)}
	free, total, err := space(dir)
	if err != nil {
		return nil, fmt.Errorf("look how full the disk of %s is: %w", dir, err)
	}
	d.marks = marksOf(total, cfg.Reserve)
	d.ballast = &ballast{path: filepath.Join(dir, "ballast"), size: int64(d.marks.ballast)}
	d.see(free)
	return d, nil
}

// space returns the bytes of dir's file system that this process may still
// write, and all.
func space(dir string) (free, total uint64, err error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, 0, err
	}
	return st.Bavail * uint64(st.Bsize), st.Blocks * uint64(st.Bsize), nil
}

// see acts on how much is free. Between the marks all stays as it was.
func (d *logDisk) see(free uint64) {
	enough := 2 * d.marks.low
	switch {
	case free < d.marks.low:
		d.low.Store(true)
	case free >= enough:
		d.low.Store(false)
	}
	if free < d.marks.low/4 {
		d.ballast.release()
	}
}

// halt notes that a write failed, for watchDisk.
func (d *logDisk) halt(err error) {
	d.halted.Store(&err)
	d.halts <- struct{}{} // there is one failure only
}

// why returns why the log is not written any more, or nil.
func (d *logDisk) why() error {
	if err := d.halted.Load(); err != nil {
		return *err
	}
	return nil
}

// works tries to write.
func (d *logDisk) works() error {
	free, _, err := space(d.dir)
	if err != nil {
		return err
	}
	if free < d.marks.low {
		return fmt.Errorf("%d bytes are free, wanted are %d", free, d.marks.low)
	}
	return writeFile(filepath.Join(d.dir, "probe"), []byte("written to see whether this disk takes writes\n"))
}

// watchDisk keeps an eye on the disk of the log: on how full it is, and, once a
// write failed, on when it works again.
func (c *Cluster) watchDisk(ctx context.Context) {
	tick := time.NewTicker(c.cfg.Timing.Report)
	defer tick.Stop()
	wasLow, noBallast := false, false
	for {
		select {
		case <-c.disk.halts:
			c.stopAgreeing()
			c.untilDiskWorks(ctx, tick.C)
			return
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		free, _, err := space(c.disk.dir)
		if err != nil {
			continue // a write will tell what this means
		}
		c.disk.see(free)
		if free >= 2*c.disk.marks.low+c.disk.marks.ballast && !c.disk.ballast.held() && !noBallast {
			if err := c.disk.ballast.take(); err != nil {
				noBallast = true // a file system that cannot: it is not asked again
				c.log.Info("no room is kept for the log", "err", err)
			}
		}
		if low := c.disk.low.Load(); low != wasLow {
			wasLow = low
			if low {
				c.log.Warn("little room is left where the log is: this node gives up its vote where another node can take it", "dir", c.disk.dir, "free", free)
			} else {
				c.log.Info("there is room for the log again", "free", free)
			}
		}
	}
}

// stopAgreeing ends this node's part in the agreement after a write that
// failed. It goes on serving what it has.
func (c *Cluster) stopAgreeing() {
	c.log.Error("the log cannot be written: this node agrees on nothing any more and serves what it has, until its disk works again",
		"dir", c.disk.dir, "err", c.disk.why())
	c.lead.halt()
	if err := c.raft.end(); err != nil {
		c.log.Warn("the agreement does not end", "err", err)
	}
	c.gossip.table.changed.notify()
}

// untilDiskWorks reports ErrRestart once the disk takes writes.
func (c *Cluster) untilDiskWorks(ctx context.Context, tick <-chan time.Time) {
	for {
		select {
		case <-tick:
		case <-ctx.Done():
			return
		}
		if !c.raft.guard.idle() {
			continue // the write that was given up is still under way
		}
		// What fails here fails for the reason that was logged already.
		if c.disk.works() == nil {
			c.fail(ErrRestart)
			return
		}
	}
}

// Halted returns why this node takes no part in the agreement any more, or nil:
// its log could not be written. It has its state of that moment, and what it
// proposes is refused. When the disk works again Fatal gives [ErrRestart].
func (c *Cluster) Halted() error {
	if err := c.disk.why(); err != nil {
		return state.Errorf(state.NoLeader, "the disk of this node's log takes no writes: %v", err)
	}
	return nil
}
