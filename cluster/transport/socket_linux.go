package transport

import (
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// limitUnacknowledged ends a connection whose bytes nobody acknowledges.
// Without it the kernel keeps on sending to a machine that vanished for a
// quarter of an hour: keep-alive only works while nothing is under way.
func limitUnacknowledged(_, _ string, c syscall.RawConn) error {
	var result error
	err := c.Control(func(fd uintptr) {
		result = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int((30 * time.Second).Milliseconds()))
	})
	if err != nil {
		return err
	}
	return result
}
