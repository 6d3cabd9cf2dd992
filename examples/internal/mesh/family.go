package mesh

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// kernelTick is the unit of /proc's processor times, on every Linux.
const kernelTick = 10 * time.Millisecond

// member is what /proc tells of a process.
type member struct {
	pid, parent int
	used        time.Duration // processor time of all its threads
	reaped      time.Duration // of the children that it has waited for
}

// family lists the process and all that descend from it, parents first. It is
// empty where there is no /proc.
func family(root int) []member {
	children := map[int][]member{} // parent -> processes
	var found []member
	for _, m := range processes() {
		if m.pid == root {
			found = append(found, m)
			continue
		}
		children[m.parent] = append(children[m.parent], m)
	}
	for i := 0; i < len(found); i++ {
		found = append(found, children[found[i].pid]...)
	}
	return found
}

func processes() []member {
	paths, _ := filepath.Glob("/proc/[0-9]*/stat") // the pattern is right
	var all []member
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			continue // it ended
		}
		if m, err := parseStat(text); err == nil {
			all = append(all, m)
		}
	}
	return all
}

// parseStat reads /proc/PID/stat, see proc(5). The name in it may hold anything,
// so what follows is found from its last parenthesis.
func parseStat(text []byte) (member, error) {
	number, _, _ := bytes.Cut(text, []byte(" "))
	fields := bytes.Fields(text[bytes.LastIndexByte(text, ')')+1:])
	if len(fields) < 15 {
		return member{}, fmt.Errorf("a stat of %d fields", len(fields))
	}
	var values [6]int
	for i, field := range [][]byte{number, fields[1], fields[11], fields[12], fields[13], fields[14]} {
		n, err := strconv.Atoi(string(field))
		if err != nil {
			return member{}, err
		}
		values[i] = n
	}
	return member{
		pid: values[0], parent: values[1],
		used:   time.Duration(values[2]+values[3]) * kernelTick,
		reaped: time.Duration(values[4]+values[5]) * kernelTick,
	}, nil
}

// stop halts the process and all that descend from it. Who is halted makes no
// children, so that it ends when a look finds nobody new.
func stop(root int) {
	halted := map[int]bool{}
	for fresh := true; fresh; {
		fresh = false
		for _, m := range family(root) {
			if !halted[m.pid] {
				syscall.Kill(m.pid, syscall.SIGSTOP) // an error says that it has ended
				halted[m.pid], fresh = true, true
			}
		}
	}
}

// resume lets them go on.
func resume(root int) {
	for _, m := range family(root) {
		syscall.Kill(m.pid, syscall.SIGCONT) // an error says that it has ended
	}
}
