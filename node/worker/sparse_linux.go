package worker

import (
	"os"
	"slices"
	"unsafe"

	"golang.org/x/sys/unix"

	"malla/node/ffmpeg"
)

// cached tells whether a part of the file is in the page cache. A hole of a new
// file gets there only by being read (mincore(2)); some file systems, such as
// tmpfs, keep nothing for holes.
func cached(f *os.File, span ffmpeg.Span) bool {
	const window = 1 << 30 // mapped at once
	page := int64(os.Getpagesize())
	from := (span.From + page - 1) / page * page
	for ; from < span.To; from += window {
		length := min(span.To-from, window)
		mapped, err := unix.Mmap(int(f.Fd()), from, int(length), unix.PROT_READ, unix.MAP_SHARED)
		if err != nil {
			return false
		}
		present := make([]byte, (length+page-1)/page)
		_, _, errno := unix.Syscall(unix.SYS_MINCORE, uintptr(unsafe.Pointer(&mapped[0])), uintptr(length), uintptr(unsafe.Pointer(&present[0])))
		unix.Munmap(mapped)
		if errno == 0 && slices.ContainsFunc(present, func(b byte) bool { return b&1 != 0 }) {
			return true
		}
	}
	return false
}
