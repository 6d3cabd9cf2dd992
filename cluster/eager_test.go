package cluster

import (
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/hashicorp/raft"
)

// A slowDisk writes what it is let through, or fails.
type slowDisk struct {
	*raft.InmemStore
	let chan error
}

func (d slowDisk) StoreLogs(logs []*raft.Log) error {
	if err := <-d.let; err != nil {
		return err
	}
	return d.InmemStore.StoreLogs(logs)
}

func commands(from, to uint64) []*raft.Log {
	var logs []*raft.Log
	for i := from; i <= to; i++ {
		logs = append(logs, &raft.Log{Index: i, Data: []byte{byte(i)}})
	}
	return logs
}

// later runs f and tells afterwards whether it returned, and what.
func later(f func() error) func() string {
	done := make(chan error, 1)
	go func() { done <- f() }()
	return func() string {
		synctest.Wait()
		select {
		case err := <-done:
			done <- err
			return fmt.Sprint(err)
		default:
			return "waits"
		}
	}
}

func TestALeaderDoesNotWaitForItsDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := slowDisk{raft.NewInmemStore(), make(chan error)}
		s := newEagerLog(disk, func() bool { return true })
		if err := s.StoreLogs(commands(1, 2)); err != nil {
			t.Fatal(err)
		}
		first := later(func() error { return s.awaitWritten(1) })
		synctest.Wait() // the disk writes 1 and 2
		if err := s.StoreLogs(commands(3, 4)); err != nil {
			t.Fatal(err)
		}
		second := later(func() error { return s.awaitWritten(4) })
		for i := uint64(1); i <= 4; i++ {
			var got raft.Log
			if err := s.GetLog(i, &got); err != nil || got.Index != i {
				t.Errorf("entry %d on its way to the disk: %+v, %v", i, got, err)
			}
		}
		if first() != "waits" || second() != "waits" {
			t.Errorf("confirmed before the disk has it: %s, %s", first(), second())
		}
		disk.let <- nil
		if first() != "<nil>" || second() != "waits" {
			t.Errorf("after the first write: %s, %s", first(), second())
		}
		disk.let <- nil
		if second() != "<nil>" {
			t.Errorf("after the second write: %s", second())
		}
		if last, err := s.LastIndex(); last != 4 || err != nil {
			t.Errorf("on disk up to %d, %v", last, err)
		}
	})
}

func TestWhatNeedsNoFollowerIsOnDiskAtOnce(t *testing.T) {
	for name, row := range map[string]struct {
		followed bool
		log      raft.Log
	}{
		"a follower, or the only voter":   {false, raft.Log{Index: 2}},
		"a change of the configuration":   {true, raft.Log{Index: 2, Type: raft.LogConfiguration}},
		"the first entry of a new leader": {true, raft.Log{Index: 2, Type: raft.LogNoop}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				disk := slowDisk{raft.NewInmemStore(), make(chan error)}
				followed := true
				s := newEagerLog(disk, func() bool { return followed })
				if err := s.StoreLogs(commands(1, 1)); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				followed = row.followed
				stored := later(func() error { return s.StoreLog(&row.log) })
				for _, want := range []string{"waits", "waits", "<nil>"} { // what came before it, then itself
					if got := stored(); got != want {
						t.Errorf("%s, want %s", got, want)
					}
					if want == "waits" {
						disk.let <- nil
					}
				}
			})
		})
	}
}

func TestALeaderWhoseDiskFailsConfirmsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := slowDisk{raft.NewInmemStore(), make(chan error)}
		s := newEagerLog(disk, func() bool { return true })
		if err := s.StoreLogs(commands(1, 1)); err != nil {
			t.Fatal(err)
		}
		confirmed := later(func() error { return s.awaitWritten(1) })
		full := errors.New("disk full")
		disk.let <- full
		if confirmed() != "disk full" {
			t.Error(confirmed())
		}
		if err := s.StoreLogs(commands(2, 2)); !errors.Is(err, full) {
			t.Errorf("went on: %v", err)
		}
		if err := s.DeleteRange(1, 1); !errors.Is(err, full) {
			t.Errorf("went on: %v", err)
		}
	})
}

func TestADiskMayLagBehindOnlySoFar(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := slowDisk{raft.NewInmemStore(), make(chan error)}
		s := newEagerLog(disk, func() bool { return true })
		if err := s.StoreLogs(commands(1, maxUnwritten+1)); err != nil {
			t.Fatal(err)
		}
		next := later(func() error { return s.StoreLogs(commands(maxUnwritten+2, maxUnwritten+2)) })
		if next() != "waits" {
			t.Error(next())
		}
		disk.let <- nil
		if next() != "<nil>" {
			t.Error(next())
		}
		disk.let <- nil
	})
}

// TestAFollowersWordWaitsForTheLeadersDisk sends an entry to a follower that
// takes it at once.
func TestAFollowersWordWaitsForTheLeadersDisk(t *testing.T) {
	t.Parallel()
	follower, err := raft.NewTCPTransport("127.0.0.1:0", nil, 1, rpcTimeout, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer follower.Close()
	trans, err := raft.NewTCPTransport("127.0.0.1:0", nil, 1, rpcTimeout, nil)
	if err != nil {
		t.Fatal(err)
	}
	gate := newGate(trans, new(atomic.Uint64))
	defer gate.Close()
	disk := slowDisk{raft.NewInmemStore(), make(chan error)}
	leader := carefulTransport{gate, "a", newEagerLog(disk, func() bool { return true }), newAnnouncer(trans.AppendEntries), newAcks(), func() bool { return false }}
	if err := leader.logs.StoreLogs(commands(1, 1)); err != nil {
		t.Fatal(err)
	}
	confirmed := make(chan error, 1)
	go func() {
		var resp raft.AppendEntriesResponse
		confirmed <- leader.AppendEntries("b", follower.LocalAddr(), &raft.AppendEntriesRequest{Term: 1, Entries: commands(1, 1)}, &resp)
	}()
	rpc := <-follower.Consumer()
	rpc.Respond(&raft.AppendEntriesResponse{Term: 1, Success: true}, nil)
	disk.let <- errors.New("disk full") // nothing was confirmed before, or this one would wait for ever
	if err := <-confirmed; err == nil {
		t.Error("confirmed what the leader's disk does not have")
	}
}
