//go:build !linux

package mesh

import "syscall"

// attributes has nothing to add where a child cannot be tied to its parent.
func attributes() *syscall.SysProcAttr { return nil }
