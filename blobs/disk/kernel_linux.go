package disk

import (
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// forget drops the file's clean pages from the page cache. It is advice: where
// the kernel does not take it, reading goes on all the same.
func forget(f *os.File) { unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED) }

// Background gives the calling goroutine a thread of its own that gets
// processor and disk after all others, for as long as the goroutine lives.
// Where that is not allowed it is a thread like any other.
func Background() {
	runtime.LockOSThread() // for good: the thread ends with the goroutine
	const (
		ofThread        = 1         // IOPRIO_WHO_PROCESS; 0 is the caller
		lastOfBestClass = 2<<13 | 7 // IOPRIO_CLASS_BE: idle could starve for ever
	)
	unix.Syscall(unix.SYS_IOPRIO_SET, ofThread, 0, lastOfBestClass)
	unix.Setpriority(unix.PRIO_PROCESS, unix.Gettid(), 15)
}
