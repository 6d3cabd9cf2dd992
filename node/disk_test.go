package node_test

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"malla/httpapi"
	"malla/node"
	"malla/node/nodetest"
)

// mounted mounts a small file system in memory at dir and returns how to make
// it read-only and writable. Where that is not allowed the test is skipped.
func mounted(t *testing.T, dir string) (remount func(how string)) {
	t.Helper()
	run := func(args ...string) error {
		if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
			return fmt.Errorf("%v: %w: %s", args, err, out)
		}
		return nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := run("mount", "-t", "tmpfs", "-o", "size=256m", "malla-test", dir); err != nil {
		t.Skip("needs to mount a file system: ", err)
	}
	t.Cleanup(func() { run("umount", "-l", dir) })
	return func(how string) {
		t.Helper()
		nodetest.Eventually(t, "mounted "+how, 10*time.Second, func() error { // a write under way is waited for
			return run("mount", "-o", "remount,"+how, dir)
		})
	}
}

// diskOf is what one node knows of the other's disk.
func diskOf(at, of *nodetest.Node) string {
	for _, n := range at.Nodes() {
		if n.Name == of.Name() {
			return n.Disk
		}
	}
	return "of no node"
}

func metrics(t *testing.T, nd *nodetest.Node) string {
	t.Helper()
	resp, err := http.Get(nd.URL() + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	return string(nodetest.Read(t, resp.Body))
}

func TestAReadOnlyDiskIsPassedByUntilItWorks(t *testing.T) {
	var remount func(string)
	m := nodetest.New(t, 3, func(i int, cfg *node.Config) {
		cfg.Reserve, cfg.Copies, cfg.Timing.RepairWait = 1<<20, 2, 2*time.Second
		if i == 2 {
			remount = mounted(t, filepath.Join(cfg.Data, "blobs"))
		}
	})
	ana, sick := m.Node(0).User("ana"), m.Node(2)
	theirs := &httpapi.Client{Base: sick.URL(), Token: ana.Token}
	song := generated(t, "song.mp3")
	nodetest.Eventually(t, "that node knows the user", 10*time.Second, func() error { _, err := theirs.Me(t.Context()); return err })
	upload(t, theirs, "before.mp3", song)

	remount("ro")
	other := append(bytes.Clone(song), make([]byte, 1000)...) // other bytes: nothing of it is there
	_, err := theirs.Upload(t.Context(), "no.mp3", bytes.NewReader(other), int64(len(other)), nil)
	problem(t, "upload to a node whose disk is read-only", err, http.StatusServiceUnavailable, "disk")
	nodetest.Eventually(t, "the others know", 20*time.Second, func() error {
		if state := diskOf(m.Node(0), sick); state != "broken" {
			return fmt.Errorf("its disk is %q", state)
		}
		return nil
	})
	if err := theirs.Health(t.Context()); err == nil {
		t.Error("it says that it is healthy")
	}
	upload(t, ana, "others.mp3", other)
	for name, want := range map[string][]byte{"before.mp3": song, "others.mp3": other} {
		nodetest.Eventually(t, name+" is read at that node", 10*time.Second, func() error { return download(theirs, name, want) })
	}
	if !strings.Contains(metrics(t, sick), "malla_disk_broken 1") {
		t.Error("the metrics do not say so")
	}

	nodetest.Eventually(t, "its copies are made again elsewhere", 30*time.Second, func() error {
		for _, path := range chunkFiles(t, sick) {
			rel, err := filepath.Rel(sick.Data(), path)
			if err != nil {
				return err
			}
			for _, nd := range m.Others(2) { // of three nodes two are left, and two copies are wanted
				if _, err := os.Stat(filepath.Join(nd.Data(), rel)); err != nil {
					return fmt.Errorf("at %s: %w", nd.Name(), err)
				}
			}
		}
		return nil
	})

	remount("rw")
	nodetest.Eventually(t, "it is used again", 30*time.Second, func() error {
		if state := diskOf(m.Node(0), sick); state != "" {
			return fmt.Errorf("its disk is %q", state)
		}
		return theirs.Health(t.Context())
	})
	again := append(bytes.Clone(song), make([]byte, 2000)...)
	upload(t, theirs, "again.mp3", again)
}
