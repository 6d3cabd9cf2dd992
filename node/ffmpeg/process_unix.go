//go:build unix && !linux

package ffmpeg

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// ownGroup puts the child into a process group of its own. Only Linux can
// have it killed when the node dies.
func ownGroup() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// killGroup kills at once: ffmpeg may ignore a polite signal for minutes.
func killGroup(p *os.Process) error {
	if err := p.Signal(syscall.Signal(0)); err != nil {
		return err
	}
	return syscall.Kill(-p.Pid, syscall.SIGKILL)
}

// confine only lowers the priority: limits of another process can be set on
// Linux alone. The arguments, the wall clock and the watch remain.
func confine(pid int, l childLimits) {
	_ = unix.Setpriority(unix.PRIO_PGRP, pid, int(l.nice.orDefault()))
}

func bytesMoved(int) int64 { return 0 }

func peakMemory(*os.ProcessState) int64 { return 0 }
