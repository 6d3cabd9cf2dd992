package cluster

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
)

// A faultyDisk stands between the guard and a node's log: writes wait while it
// stalls, and fail while it has a fault.
type faultyDisk struct {
	mu    sync.Mutex // guards the fields below
	free  chan struct{}
	fault error
	calls int
}

func (d *faultyDisk) stall() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.free = make(chan struct{})
}

func (d *faultyDisk) resume() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.free != nil {
		close(d.free)
		d.free = nil
	}
}

func (d *faultyDisk) fail(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fault = err
}

func (d *faultyDisk) write(do func() error) error {
	d.mu.Lock()
	d.calls++
	free, fault := d.free, d.fault
	d.mu.Unlock()
	if free != nil {
		<-free
	}
	if fault != nil {
		return fault
	}
	return do()
}

type faultyLog struct {
	raft.LogStore
	disk *faultyDisk
}

func (l faultyLog) StoreLogs(logs []*raft.Log) error {
	return l.disk.write(func() error { return l.LogStore.StoreLogs(logs) })
}

type faultyStable struct {
	raft.StableStore
	disk *faultyDisk
}

func (s faultyStable) SetUint64(key []byte, n uint64) error {
	return s.disk.write(func() error { return s.StableStore.SetUint64(key, n) })
}

// onDisk puts a node's log on that disk before the node starts.
func onDisk(disk *faultyDisk) func(*agreement) {
	return func(a *agreement) {
		a.eager = newEagerLog(guardedLog{faultyLog{a.bolt, disk}, a.guard}, a.followed)
		a.logs = a.eager
		a.stable = &voteStore{StableStore: guardedStable{faultyStable{a.bolt, disk}, a.guard}}
	}
}

// onFaultyDisks gives each node that is started from now on such a disk, whose
// guard is set by set.
func (m *mesh) onFaultyDisks(set func(*guard)) map[*node]*faultyDisk {
	disks := map[*node]*faultyDisk{}
	m.prepare = func(n *node) {
		disks[n] = &faultyDisk{}
		onDisk(disks[n])(n.c.raft)
		set(n.c.raft.guard)
	}
	return disks
}

func TestAStuckDiskIsGivenUp(t *testing.T) {
	var reported atomic.Int32
	disk := &faultyDisk{}
	disk.stall()
	defer disk.resume()
	g := &guard{slow: time.Millisecond, patience: 50 * time.Millisecond, fail: func(error) { reported.Add(1) }}
	log := guardedLog{faultyLog{raft.NewInmemStore(), disk}, g}
	for range 2 {
		if err := log.StoreLog(&raft.Log{Index: 1}); err == nil || !strings.Contains(err.Error(), "did not answer") {
			t.Errorf("stored: %v", err)
		}
	}
	disk.mu.Lock()
	calls := disk.calls
	disk.mu.Unlock()
	if reported.Load() != 1 || calls != 1 || !g.stalled() || g.idle() {
		t.Errorf("reported %d times after %d calls; stalled: %v, idle: %v", reported.Load(), calls, g.stalled(), g.idle())
	}
	disk.resume()
	eventually(t, "the write has ended", func() error {
		if !g.idle() {
			return errors.New("it has not")
		}
		return nil
	})
}

// TestTheBallastKeepsRoomForTheLog fills a small file system. The same log
// without a ballast shows that the disk was full.
func TestTheBallastKeepsRoomForTheLog(t *testing.T) {
	dir := t.TempDir()
	mountSmall(t, dir, "16m")
	stored := func(keep bool) (entries int, last error) {
		bolt, err := raftboltdb.NewBoltStore(filepath.Join(dir, "db"))
		if err != nil {
			t.Fatal(err)
		}
		defer os.Remove(filepath.Join(dir, "db"))
		defer bolt.Close()
		b := &ballast{path: filepath.Join(dir, "ballast"), size: 4 << 20}
		g := &guard{slow: time.Second, patience: time.Minute, fail: func(error) {}}
		if keep {
			g.ballast = b
		}
		if err := b.take(); err != nil {
			t.Fatal(err)
		}
		defer b.release()
		fill := filepath.Join(dir, "fill")
		defer os.Remove(fill)
		if err := fillDisk(fill, 0); !noSpace(err) {
			t.Fatalf("filled the disk: %v", err)
		}
		log := guardedLog{bolt, g}
		for i := uint64(1); i < 100; i++ {
			if last = log.StoreLog(&raft.Log{Index: i, Data: make([]byte, 10_000)}); last != nil {
				return entries, last
			}
			entries++
		}
		if keep == b.held() {
			t.Errorf("the ballast is there: %v", b.held())
		}
		return entries, nil
	}
	if n, err := stored(true); err != nil {
		t.Errorf("after %d entries, with a ballast: %v", n, err)
	}
	if n, err := stored(false); !noSpace(err) {
		t.Errorf("without a ballast %d entries were stored: %v", n, err)
	}
}

// fillDisk writes a file until the disk is full, or has only so much left.
func fillDisk(path string, leave uint64) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	for block := make([]byte, 64<<10); len(block) > 0; {
		if free, _, err := space(filepath.Dir(path)); err != nil || leave > 0 && free <= leave {
			return err
		}
		_, err := f.Write(block)
		if noSpace(err) && len(block) > 1 {
			block = block[:len(block)/2]
			continue
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// mountSmall mounts a small file system in memory. Where that is not allowed
// the test is skipped.
func mountSmall(t *testing.T, dir, size string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("malla-test", dir, "tmpfs", 0, "size="+size); err != nil {
		t.Skip("needs to mount a file system: ", err)
	}
	t.Cleanup(func() { syscall.Unmount(dir, syscall.MNT_DETACH) })
}

func TestMarksOfADisk(t *testing.T) {
	const mega, giga = 1 << 20, 1 << 30
	for _, c := range []struct {
		total, reserve, low, ballast uint64
	}{
		{1000 * giga, 5 * giga, giga, 64 * mega},
		{1000 * giga, 0, giga, 64 * mega},
		{1000 * giga, 100 * mega, 50 * mega, 12.5 * mega}, // chunks may fill it up to 100 MB
		{4 * giga, 5 * giga, 4 * giga / 20, 4 * giga / 80},
	} {
		if got := marksOf(c.total, c.reserve); got.low != c.low || got.ballast != c.ballast {
			t.Errorf("%d with a reserve of %d: %+v", c.total, c.reserve, got)
		}
	}
	d := &logDisk{marks: marksOf(100*giga, 0)}
	for i, c := range []struct {
		free uint64
		low  bool
	}{{3 * giga, false}, {1500 * mega, false}, {900 * mega, true}, {1500 * mega, true}, {2 * giga, false}} {
		if d.see(c.free); d.low.Load() != c.low {
			t.Errorf("step %d: low is %v", i, d.low.Load())
		}
	}
}

// TestAStalledDiskEndsLeadership: the mesh goes on under another leader while
// the old one's disk does not answer, and the old one follows when it does.
// That node is told of writes like any other later: it was not restarted.
func TestAStalledDiskEndsLeadership(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	disks := m.onFaultyDisks(func(g *guard) { g.patience = time.Hour }) // the disk comes back before it is given up
	nodes := m.up(3)
	old := m.leader(nodes...)
	others := except(nodes, old)
	disks[old].stall()
	stuck := make(chan error, 1)
	go func() { _, err := old.addUser("stuck"); stuck <- err }()
	began := time.Now()
	eventually(t, "the others have a leader that takes writes", func() error {
		_, err := others[0].addUser(fmt.Sprint("meanwhile-", time.Now().UnixNano()))
		return err
	})
	t.Logf("the next write succeeded %v after the disk of the leader stalled", time.Since(began).Round(time.Millisecond))
	if next := m.leader(others...); next == old {
		t.Error("the old leader leads on")
	}
	disks[old].resume()
	m.leader(nodes...)
	if _, err := old.addUser("after"); err != nil {
		t.Error("once its disk answers: ", err)
	}
	<-stuck
	if err := old.c.Halted(); err != nil {
		t.Error("a stall is no reason to stop: ", err)
	}
}

// TestWithoutSilenceAStalledLeaderLeadsOn shows what raft does by itself (raft
// issue #503).
func TestWithoutSilenceAStalledLeaderLeadsOn(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	disks := m.onFaultyDisks(func(g *guard) { g.slow, g.patience = time.Hour, time.Hour })
	nodes := m.up(3)
	old := m.leader(nodes...)
	others := except(nodes, old)
	disks[old].stall()
	defer disks[old].resume()
	go old.addUser("stuck")
	never(t, 3*time.Second, "another leader", func() bool {
		id, _ := others[0].c.Leader()
		return id != old.id()
	})
}

// TestANodeWhoseLogFailsServesOn: it stops agreeing, says so, keeps its state,
// and asks to be started again when its disk works. The mesh goes on.
func TestANodeWhoseLogFailsServesOn(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	disks := m.onFaultyDisks(func(*guard) {})
	nodes := m.up(3)
	if _, err := nodes[0].addUser("before"); err != nil {
		t.Fatal(err)
	}
	m.agree(nodes...)
	sick := m.leader(nodes...)
	other := except(nodes, sick)[0]
	disks[sick].fail(syscall.EIO)
	eventually(t, "the mesh goes on", func() error {
		_, err := other.addUser(fmt.Sprint("during-", time.Now().UnixNano()))
		return err
	})
	eventually(t, "the others know", func() error {
		if p, _ := other.c.gossip.table.get(sick.id()); !p.load.LogHalted {
			return errors.New("they do not")
		}
		return nil
	})
	if err := sick.c.Halted(); err == nil || !strings.Contains(err.Error(), syscall.EIO.Error()) {
		t.Errorf("it says %v", err)
	}
	if err := sick.c.Ready(); err == nil {
		t.Error("it says that it is ready")
	}
	if !sick.has("before") {
		t.Error("it has lost its state")
	}
	if _, err := sick.addUser("there"); err == nil {
		t.Error("it took a write")
	}
	select {
	case err := <-sick.c.Fatal():
		if !errors.Is(err, ErrRestart) { // files can be written where the log is: only its own writes failed
			t.Errorf("it ends: %v", err)
		}
	case <-time.After(time.Minute):
		t.Error("it does not notice that its disk works")
	}
	sick.stop()
	m.start(sick)
	m.agree(nodes...)
	m.settled(nodes...)
	if _, err := sick.addUser("after"); err != nil {
		t.Error(err)
	}
}
