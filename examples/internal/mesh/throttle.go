package mesh

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// A throttle keeps a node, with all its children, below a share of a core.
type throttle interface {
	// add has the process obey, and what it starts from then on.
	add(pid int) error
	// release lets it use all it wants again.
	release()
	// close gives back what the throttle holds. The process has ended.
	close() error
}

// newThrottle returns the best that this machine can do: a quota of the
// scheduler's where we may set one, else signals.
func newThrottle(name string, cores float64) throttle {
	if q, err := newQuota(name, cores); err == nil {
		return q
	}
	return &dutyCycle{cores: cores}
}

// quotaPeriod is short, so that a node that has used up its share waits no
// longer than a heartbeat bears.
const quotaPeriod = 20 * time.Millisecond

// quota is a cgroup with a processor quota.
type quota struct{ dir string }

// newQuota makes one, of the first version of cgroups or the second. It weighs
// much, so that a node has its share on a machine that does other things too.
func newQuota(name string, cores float64) (*quota, error) {
	period := quotaPeriod.Microseconds()
	share := int64(cores * float64(period))
	for root, files := range map[string]map[string]string{
		"/sys/fs/cgroup/cpu": {"cpu.cfs_period_us": fmt.Sprint(period), "cpu.cfs_quota_us": fmt.Sprint(share), "cpu.shares": "20480"},
		"/sys/fs/cgroup":     {"cpu.max": fmt.Sprintf("%d %d", share, period), "cpu.weight": "2000"},
	} {
		q := &quota{dir: filepath.Join(root, name)}
		if os.Mkdir(q.dir, 0o755) != nil {
			continue
		}
		if q.set(files) == nil {
			return q, nil
		}
		os.Remove(q.dir) // the next kind may do
	}
	return nil, errors.New("no cgroup takes a processor quota")
}

// set writes files that are there already: one that is not would be made by
// WriteFile on a plain file system, and limit nothing.
func (q *quota) set(files map[string]string) error {
	for file, value := range files {
		f, err := os.OpenFile(filepath.Join(q.dir, file), os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		_, err = f.WriteString(value)
		if err := errors.Join(err, f.Close()); err != nil {
			return err
		}
	}
	return nil
}

func (q *quota) add(pid int) error { return q.set(map[string]string{"cgroup.procs": fmt.Sprint(pid)}) }

func (q *quota) release() {
	for _, files := range []map[string]string{{"cpu.cfs_quota_us": "-1"}, {"cpu.max": "max"}} {
		q.set(files) // of the two one is there
	}
}

// close waits for the node's children, which the kernel is ending.
func (q *quota) close() error {
	var err error
	for range 200 {
		if err = os.Remove(q.dir); err == nil || os.IsNotExist(err) {
			return nil
		}
		time.Sleep(10 * time.Millisecond)
	}
	return err
}

// dutyCycle halts the node and its children whenever they have used more than
// their share, and lets them go on when that is made up for. It is for machines
// on which we may set no quota, and coarser.
type dutyCycle struct {
	cores float64

	mu   sync.Mutex // guards end
	end  context.CancelFunc
	done sync.WaitGroup
}

const dutyPeriod = 10 * time.Millisecond

func (d *dutyCycle) add(pid int) error {
	if len(family(pid)) == 0 {
		return errors.New("limit a node's processor time: there is no /proc")
	}
	d.release()
	ctx, cancel := context.WithCancel(context.Background())
	d.mu.Lock()
	defer d.mu.Unlock()
	d.end = cancel
	d.done.Go(func() { d.watch(ctx, pid) })
	return nil
}

func (d *dutyCycle) watch(ctx context.Context, pid int) {
	defer resume(pid)
	tick := time.NewTicker(dutyPeriod)
	defer tick.Stop()
	began, used := time.Now(), spent(family(pid))
	halted := false
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			all := family(pid)
			if len(all) == 0 {
				return // it ended
			}
			over := overdrawn(d.cores, now.Sub(began), spent(all)-used)
			switch {
			case over && !halted:
				stop(pid)
			case !over && halted:
				resume(pid)
			}
			halted = over
			if !over && now.Sub(began) > time.Second {
				began, used = now, spent(all) // what was not used is not saved up
			}
		}
	}
}

// overdrawn tells whether more processor time was used than the share of the
// time that passed.
func overdrawn(cores float64, passed, used time.Duration) bool {
	return used.Seconds() > cores*passed.Seconds()
}

// spent is the processor time of a family, of those who ended too.
func spent(all []member) time.Duration {
	var sum time.Duration
	for _, m := range all {
		sum += m.used + m.reaped
	}
	return sum
}

func (d *dutyCycle) release() {
	d.mu.Lock()
	if d.end != nil {
		d.end()
	}
	d.mu.Unlock()
	d.done.Wait()
}

func (d *dutyCycle) close() error {
	d.release()
	return nil
}

// ThrottleKind names what holds nodes to [Config.Cores] here, for a report.
func ThrottleKind() string {
	q, err := newQuota("malla-try-"+fmt.Sprint(os.Getpid()), 1)
	if err != nil {
		return "signals"
	}
	q.close()
	return "cgroup quota"
}
