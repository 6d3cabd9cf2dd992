package mesh

import "syscall"

// attributes keep the terminal's Ctrl-C from the nodes, which are asked to end
// one after another, and end them when this program is killed.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
