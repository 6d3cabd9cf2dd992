//go:build !linux

package transport

import "syscall"

// limitUnacknowledged needs an option that only Linux has; elsewhere the
// system's own limit holds.
func limitUnacknowledged(_, _ string, _ syscall.RawConn) error { return nil }
