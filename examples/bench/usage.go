package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// tick is the unit of CPU time in /proc, which every Linux of today has.
const tick = 0.01 // seconds

// cpuOf is the CPU time in seconds that the processes have used so far.
func cpuOf(pids ...int) (sum float64, err error) {
	for _, pid := range pids {
		fields, err := statOf(strconv.Itoa(pid))
		if err != nil {
			return 0, err
		}
		for _, f := range fields[11:13] { // utime and stime, see proc(5)
			n, err := strconv.ParseFloat(f, 64)
			if err != nil {
				return 0, err
			}
			sum += n * tick
		}
	}
	return sum, nil
}

// statOf returns the fields of /proc/PID/stat that stand behind the name.
func statOf(pid string) ([]string, error) {
	text, err := os.ReadFile(filepath.Join("/proc", pid, "stat"))
	if err != nil {
		return nil, fmt.Errorf("CPU time of a process: %w", err)
	}
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	if len(fields) < 13 {
		return nil, fmt.Errorf("/proc/%s/stat: %q", pid, text)
	}
	return fields, nil
}

// groupOf returns the processes of the group that this process leads.
func groupOf(leader int) (pids []int) {
	entries, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil // the pattern is right
	}
	for _, e := range entries {
		fields, err := statOf(filepath.Base(e))
		if err != nil || fields[2] != strconv.Itoa(leader) {
			continue // another one, or one that has just ended
		}
		pid, _ := strconv.Atoi(filepath.Base(e))
		pids = append(pids, pid)
	}
	return pids
}

// peakMemory is the most memory in bytes that the process ever had at once.
func peakMemory(pid int) (int64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, fmt.Errorf("memory of the node: %w", err)
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kB, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 10, 64)
			return kB << 10, err
		}
	}
	return 0, fmt.Errorf("memory of the node: no VmHWM in /proc/%d/status", pid)
}

func megabytes(n float64) string { return fmt.Sprintf("%.0f MB", n/1e6) }
