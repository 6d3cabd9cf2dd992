package cluster

import (
	"os"

	"golang.org/x/sys/unix"
)

// allocate gives f blocks of its own, without writing them.
func allocate(f *os.File, size int64) error {
	for {
		if err := unix.Fallocate(int(f.Fd()), 0, 0, size); err != unix.EINTR {
			return err
		}
	}
}
