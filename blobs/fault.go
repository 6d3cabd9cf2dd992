package blobs

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"
)

var (
	// ErrFull tells that a disk has no room but its reserve.
	ErrFull = errors.New("no room left on the disk")
	// ErrBroken tells that a disk cannot be written or read: it takes no
	// chunks until it works again.
	ErrBroken = errors.New("the disk is read-only or fails")
)

// faults are the system's ways of saying that a disk is full or broken. A
// folder of ours that is not there any more is a file system that went away.
var faults = map[error]error{
	syscall.ENOSPC: ErrFull, syscall.EDQUOT: ErrFull,
	syscall.EROFS: ErrBroken, syscall.EIO: ErrBroken, syscall.ENXIO: ErrBroken, syscall.ENODEV: ErrBroken, syscall.ESTALE: ErrBroken,
}

// OfDisk gives the system's errors that mean a full or a broken disk those
// names too, and returns others as they are.
func OfDisk(err error) error {
	if TakesNone(err) {
		return err
	}
	var sys syscall.Errno
	if errors.As(err, &sys) && faults[sys] != nil {
		return fmt.Errorf("%w: %w", faults[sys], err)
	}
	return err
}

// OfFolder is OfDisk for what is done in a folder that was there before.
func OfFolder(err error) error {
	if errors.Is(err, fs.ErrNotExist) && !TakesNone(err) {
		return fmt.Errorf("%w: %w", ErrBroken, err)
	}
	return OfDisk(err)
}

// TakesNone tells whether err is that of a disk which takes no chunks at the
// moment, because it is full or broken. Others may.
func TakesNone(err error) bool { return errors.Is(err, ErrFull) || errors.Is(err, ErrBroken) }
