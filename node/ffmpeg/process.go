package ffmpeg

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

const (
	stderrBytes  = 32 << 10 // of what a child says last are kept
	maxOpenFiles = 64
	pipeGrace    = 2 * time.Second // after a child's death, for its pipes to drain
)

// Why a child was stopped.
var (
	errWall  = errors.New("took longer than allowed")
	errStall = errors.New("made no progress for too long")
)

// A child is one run of ffmpeg or ffprobe.
type child struct {
	path   string
	args   []string
	dir    string    // absolute path of the working folder; empty: the root
	env    []string  // beside what all children get
	stdout io.Writer // called by one goroutine; an error from it ends the child
	limits childLimits

	// alive counts what shows that the child gets on. Nil: it is not watched.
	alive func() int64
}

type childLimits struct {
	wall, stall time.Duration
	cpu         time.Duration // of all threads together
	memory      uint64        // bytes of address space
	file        uint64        // bytes that a file may grow to; 0: no bound
	nice        Niceness      // 0: that of films
}

// outcome is how a child ended.
type outcome struct {
	ok      bool   // exit status 0
	stderr  string // the last of it
	state   string // such as "exit status 1", "signal: killed"
	wall    time.Duration
	cpu     time.Duration
	peakRSS int64 // bytes, 0 where unknown
}

// runChild runs one child to its end, whatever that is: with an exit status
// the error is nil. The error is the context's when that ended it, errWall or
// errStall when its time was up, what stdout's Write returned, or that of a
// failed start. When runChild returns there is no process left.
func runChild(ctx context.Context, c child) (outcome, error) {
	if err := ctx.Err(); err != nil {
		return outcome{}, err
	}
	limited, cancel := context.WithTimeoutCause(ctx, c.limits.wall, errWall)
	defer cancel()
	limited, stop := context.WithCancelCause(limited)
	defer stop(nil)

	tail := &tailBuffer{limit: stderrBytes}
	out := &watchedWriter{to: c.stdout, stop: stop}
	cmd := exec.CommandContext(limited, c.path, c.args...)
	cmd.Dir = cmp.Or(c.dir, "/")
	cmd.Env = append([]string{"PATH=/usr/local/bin:/usr/bin:/bin", "HOME=/nonexistent", "LC_ALL=C"}, c.env...)
	cmd.Stdout, cmd.Stderr = out, tail
	cmd.SysProcAttr = ownGroup()
	cmd.Cancel = func() error { return killGroup(cmd.Process) }
	cmd.WaitDelay = pipeGrace

	var watching sync.WaitGroup
	started := func(pid int) {
		confine(pid, c.limits)
		if c.alive != nil && c.limits.stall > 0 {
			watching.Go(func() {
				read := func() int64 { return out.n.Load() + tail.total() }
				watch(limited, c.limits.stall, c.alive, func() int64 { return bytesMoved(pid) - read() }, stop)
			})
		}
	}
	begin := time.Now()
	err := onOneThread(cmd, started)
	res := outcome{stderr: tail.String(), wall: time.Since(begin)}
	why := context.Cause(limited)
	stop(nil)
	watching.Wait()
	if cmd.ProcessState == nil && why != nil {
		return res, why
	}
	if cmd.ProcessState == nil {
		return res, fmt.Errorf("start %s: %w", c.path, err)
	}
	res.ok = cmd.ProcessState.Success()
	res.state = cmd.ProcessState.String()
	res.cpu = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	res.peakRSS = peakMemory(cmd.ProcessState)
	if why != nil && (!res.ok || out.refused.Load()) {
		return res, why
	}
	return res, nil
}

// onOneThread starts the child and waits for it on a thread that lives as
// long as the child does: Linux kills a child with Pdeathsig when the thread
// that started it ends, not the process (golang/go#27505).
func onOneThread(cmd *exec.Cmd, started func(pid int)) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		if err := cmd.Start(); err != nil {
			done <- err
			return
		}
		started(cmd.Process.Pid)
		done <- cmd.Wait()
	}()
	return <-done
}

// watch stops the child when neither alive nor the bytes that it moves change
// for the stall time. Bytes count because a conversion may be silent for long
// at its ends: while it seeks in a huge input, and while the index is moved
// to the front of a huge output.
func watch(ctx context.Context, stall time.Duration, alive, moved func() int64, stop context.CancelCauseFunc) {
	const chatter = 4 << 10 // progress reports that are still in the pipe
	tick := time.NewTicker(max(min(stall/4, time.Second), 10*time.Millisecond))
	defer tick.Stop()
	lastAlive, lastMoved, since := alive(), moved(), time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			a, m := alive(), moved()
			if a != lastAlive || m > lastMoved+chatter {
				lastAlive, lastMoved, since = a, m, now
			} else if now.Sub(since) >= stall {
				stop(errStall)
				return
			}
		}
	}
}

// A watchedWriter counts what passes and stops the child when the reader
// refuses more.
type watchedWriter struct {
	to      io.Writer
	stop    context.CancelCauseFunc
	n       atomic.Int64
	refused atomic.Bool
}

func (w *watchedWriter) Write(p []byte) (int, error) {
	w.n.Add(int64(len(p)))
	if w.to == nil {
		return len(p), nil
	}
	n, err := w.to.Write(p)
	if err != nil {
		w.refused.Store(true)
		w.stop(err)
	}
	return n, err
}

// A tailBuffer keeps the last bytes that were written to it.
type tailBuffer struct {
	limit int
	mu    sync.Mutex // guards the fields below
	buf   []byte
	n     int64
}

func (t *tailBuffer) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.n += int64(len(p))
	t.buf = append(t.buf, p[max(0, len(p)-t.limit):]...)
	if over := len(t.buf) - t.limit; over > 0 {
		t.buf = append(t.buf[:0], t.buf[over:]...)
	}
	return len(p), nil
}

func (t *tailBuffer) total() int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.n
}

func (t *tailBuffer) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(bytes.ToValidUTF8(t.buf, nil))
}
