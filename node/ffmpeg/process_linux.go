package ffmpeg

import (
	"bytes"
	"fmt"
	"math"
	"os"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// ownGroup puts the child into a process group of its own, so that a signal
// reaches all of it, and has the kernel kill it when the node dies.
func ownGroup() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// killGroup kills at once: ffmpeg may ignore a polite signal for minutes.
func killGroup(p *os.Process) error {
	// A process that was waited for has given its number back.
	if err := p.Signal(syscall.Signal(0)); err != nil {
		return err
	}
	return syscall.Kill(-p.Pid, syscall.SIGKILL)
}

// confine sets the child's limits in the first moments of its life, when it
// is still linking its libraries. A child that is gone already needs none.
func confine(pid int, l childLimits) {
	_ = unix.Setpriority(unix.PRIO_PGRP, pid, int(l.nice.orDefault()))
	limit := func(resource int, soft, hard uint64) {
		_ = unix.Prlimit(pid, resource, &unix.Rlimit{Cur: soft, Max: hard}, nil)
	}
	limit(unix.RLIMIT_CORE, 0, 0)
	limit(unix.RLIMIT_NOFILE, maxOpenFiles, maxOpenFiles)
	if l.memory > 0 {
		limit(unix.RLIMIT_AS, l.memory, l.memory)
	}
	if l.cpu > 0 {
		s := uint64(math.Ceil(l.cpu.Seconds()))
		limit(unix.RLIMIT_CPU, s, s+cpuGrace)
	}
	if l.file > 0 {
		limit(unix.RLIMIT_FSIZE, l.file, l.file)
	}
}

// cpuGrace is the time in seconds between the signal that ffmpeg may handle
// and the one that it cannot.
const cpuGrace = 2

// bytesMoved is what the process has read and written through system calls,
// zero when it is gone.
func bytesMoved(pid int) int64 {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/io", pid))
	if err != nil {
		return 0
	}
	var sum int64
	for line := range bytes.Lines(data) {
		key, value, _ := bytes.Cut(line, []byte(": "))
		if k := string(key); k == "rchar" || k == "wchar" {
			n, _ := strconv.ParseInt(string(bytes.TrimSpace(value)), 10, 64)
			sum += n
		}
	}
	return sum
}

// peakMemory is the most memory that the process had at once, in bytes.
func peakMemory(s *os.ProcessState) int64 {
	if usage, ok := s.SysUsage().(*syscall.Rusage); ok {
		return usage.Maxrss << 10
	}
	return 0
}
