//go:build !linux

package disk

import "os"

// forget does nothing where no advice on the page cache can be given.
func forget(*os.File) {}

// Background does nothing where threads have no priority of their own.
func Background() {}
