package node_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"malla/httpapi"
	"malla/node"
	"malla/node/nodetest"
)

// TestWorkThatStandsStillIsTakenOver stops the FFmpeg that works on a job, as a
// disk or a driver that hangs would, while its node goes on.
func TestWorkThatStandsStillIsTakenOver(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for a stall; the whole suite does it")
	}
	m := nodetest.New(t, 2, func(_ int, cfg *node.Config) { cfg.Slots, cfg.Timing.StallAfter = 1, 4*time.Second })
	c := m.Node(0).User("ana")
	upload(t, c, "film.mp4", generated(t, "long.mp4"))
	asked, err := c.Convert(t.Context(), httpapi.ConvertRequest{InputFile: "film.mp4", OutputFormat: "webm"})
	if err != nil {
		t.Fatal(err)
	}
	nodetest.Eventually(t, "the job is under way", 20*time.Second, func() error {
		job, err := c.Job(t.Context(), asked.JobID)
		if err == nil && job.Progress == 0 {
			err = errors.New("no progress yet")
		}
		return err
	})
	if stopped := signalConverters(t, syscall.SIGSTOP); stopped == 0 {
		t.Fatal("no FFmpeg runs")
	}
	job := waitJob(t, c, asked.JobID)
	if job.Status != httpapi.Completed || len(job.Tasks) == 0 || len(job.Tasks[0].Attempts) == 0 {
		t.Fatalf("job: %+v", job)
	}
	first := job.Tasks[0].Attempts[0]
	if first.Cause != "stalled" || !strings.Contains(first.Reason, "no progress") || first.Node == job.Tasks[0].Node {
		t.Errorf("the first attempt: %+v, the task: %+v", first, job.Tasks[0])
	}
	if left := converters(t); len(left) != 0 {
		t.Errorf("FFmpeg still runs: %v", left)
	}
	onlyOneOutput(t, c)
}

// signalConverters sends a signal to every FFmpeg that this process started.
func signalConverters(t *testing.T, sig syscall.Signal) int {
	t.Helper()
	all := converters(t)
	for _, pid := range all {
		if err := syscall.Kill(pid, sig); err != nil {
			t.Errorf("signal %d: %v", pid, err)
		}
	}
	return len(all)
}

// converters are the children of this process that are FFmpegs.
func converters(t *testing.T) []int {
	t.Helper()
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	var all []int
	for _, path := range stats {
		data, err := os.ReadFile(path)
		if err != nil {
			continue // it has just ended
		}
		// "pid (name) state parent ..."
		pid, rest, _ := strings.Cut(string(data), " (")
		name, rest, _ := strings.Cut(rest, ") ")
		fields := strings.Fields(rest)
		if name != "ffmpeg" || len(fields) < 2 || fields[1] != fmt.Sprint(os.Getpid()) {
			continue
		}
		n, err := strconv.Atoi(pid)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, n)
	}
	return all
}
