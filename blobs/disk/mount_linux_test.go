package disk

import (
	"bytes"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"malla/blobs"
	"malla/blobs/blobstest"
)

func run(args ...string) error {
	if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
		return fmt.Errorf("%v: %w: %s", args, err, bytes.TrimSpace(out))
	}
	return nil
}

// mounted mounts with those arguments at a new folder until the test ends. The
// test is skipped where mounting is not allowed.
func mounted(t *testing.T, args ...string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	if err := run(append(append([]string{"mount"}, args...), dir)...); err != nil {
		t.Skip("needs to mount file systems, as root: ", err)
	}
	t.Cleanup(func() { run("umount", "-l", dir) })
	return dir
}

// A power cut keeps what the disk was given and forgets the memory of the
// kernel. The disk is a file here: what it holds at one moment, while the
// writer stands still, is what would be found after a cut at that moment.
func TestPowerCut(t *testing.T) {
	if _, err := exec.LookPath("mkfs.ext4"); err != nil {
		t.Skip("needs mkfs.ext4: ", err)
	}
	cuts := 5
	if testing.Short() {
		cuts = 1
	}
	for _, c := range []struct{ name, fsync string }{{"with fsync", "on"}, {"without fsync", "off"}} {
		t.Run(c.name, func(t *testing.T) {
			acked, gone := 0, 0
			for range cuts {
				a, g := cutPower(t, c.fsync)
				acked, gone = acked+a, gone+g
			}
			t.Logf("%d cuts: %d of %d acknowledged chunks are lost", cuts, gone, acked)
			switch {
			case acked == 0:
				t.Error("nothing was written: the test shows nothing")
			case c.fsync == "on" && gone > 0:
				t.Errorf("%d of %d acknowledged chunks are lost", gone, acked)
			case c.fsync == "off" && gone == 0:
				t.Error("nothing is lost without fsync: the test would not notice")
			}
		})
	}
}

// cutPower lets a writer write for a while, cuts the power, and returns how
// many chunks it had acknowledged and how many of them are not whole.
func cutPower(t *testing.T, fsync string) (acked, gone int) {
	t.Helper()
	tmp := t.TempDir()
	image, found := filepath.Join(tmp, "disk"), filepath.Join(tmp, "after")
	for _, cmd := range [][]string{{"truncate", "-s", "256M", image}, {"mkfs.ext4", "-q", "-F", image}} {
		if err := run(cmd...); err != nil {
			t.Fatal(err)
		}
	}
	// commit=300: the file system shall not help those who do not sync.
	dir := mounted(t, "-o", "loop,commit=300", image)
	cmd, acks := startWriter(t, filepath.Join(dir, "blobs"), writerFsync+"="+fsync)
	type result struct {
		refs []blobs.Ref
		err  error
	}
	all, enough := make(chan result, 1), make(chan struct{})
	left := 20 + mathrand.IntN(300)
	go func() {
		refs, err := acknowledged(acks, func() {
			if left--; left == 0 {
				close(enough)
			}
		})
		all <- result{refs, err}
	}()
	select {
	case <-enough:
	case r := <-all:
		t.Fatalf("the writer ended by itself: %v", r.err)
	}
	stop(t, cmd.Process.Pid)
	if err := run("cp", "--sparse=always", image, found); err != nil {
		t.Fatal(err)
	}
	cmd.Process.Kill()
	r := <-all
	cmd.Wait()
	if r.err != nil {
		t.Fatal(r.err)
	}
	if err := run("umount", dir); err != nil {
		t.Fatal(err)
	}
	after := mounted(t, "-o", "loop", found) // the journal of the file system is replayed here
	gone = lost(t, filepath.Join(after, "blobs"), r.refs)
	if n := torn(t, filepath.Join(after, "blobs")); fsync == "on" && n > 0 {
		t.Errorf("%d torn chunks can be seen", n)
	}
	if err := run("umount", after); err != nil {
		t.Fatal(err)
	}
	return len(r.refs), gone
}

// stop makes the process stand still, and waits until it does. What it printed
// before is acknowledged.
func stop(t *testing.T, pid int) {
	t.Helper()
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for range tick.C {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			t.Fatal(err)
		}
		if state := stat[bytes.LastIndexByte(stat, ')')+2]; state == 'T' {
			return
		}
	}
}

func TestARealDiskFillsUp(t *testing.T) {
	dir := mounted(t, "-t", "tmpfs", "-o", "size=40m", "malla-test")
	const reserve = 8 << 20
	s := openStore(t, Config{Dir: filepath.Join(dir, "blobs"), Reserve: reserve})
	var refs []blobs.Ref
	for seed := uint64(0); ; seed++ {
		data := blobstest.Bytes(blobs.ChunkSize/2, seed)
		err := s.Put(t.Context(), blobs.RefOf(data), bytes.NewReader(data))
		if errors.Is(err, blobs.ErrFull) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		refs = append(refs, blobs.RefOf(data))
	}
	if free, _, err := statfs(dir); err != nil || free < reserve {
		t.Errorf("%d bytes are free, %v: the reserve of %d was used", free, err, reserve)
	}
	if len(refs) < 5 {
		t.Errorf("only %d chunks found room", len(refs))
	}
	// Something else takes the reserve as well, in the middle of a write.
	s.room.reserve = -blobs.ChunkSize
	for seed := uint64(1000); ; seed++ {
		data := blobstest.Bytes(blobs.ChunkSize, seed)
		err := s.Put(t.Context(), blobs.RefOf(data), bytes.NewReader(data))
		if errors.Is(err, blobs.ErrFull) {
			break
		}
		if err != nil {
			t.Fatalf("a write that the disk refuses: %v, want ErrFull", err)
		}
	}
	if _, cause := s.Broken(); cause != nil {
		t.Errorf("a full disk counts as broken: %v", cause)
	}
	if left := files(t, s.staging()); len(left) > 0 {
		t.Errorf("left in staging: %v", left)
	}
	if n := lost(t, s.dir, refs); n > 0 {
		t.Errorf("%d of %d chunks are not whole", n, len(refs))
	}
}

func TestARealDiskBecomesReadOnlyAndWritableAgain(t *testing.T) {
	dir := mounted(t, "-t", "tmpfs", "-o", "size=40m", "malla-test")
	s := openStore(t, Config{Dir: filepath.Join(dir, "blobs")})
	data := blobstest.Bytes(300_000, 1)
	ref := put(t, s, data)
	ours := blobstest.Bytes(300_000, 3)
	if _, err := s.PutFor(t.Context(), "u", blobs.RefOf(ours), bytes.NewReader(ours)); err != nil {
		t.Fatal(err)
	}
	other := blobstest.Bytes(300_000, 2)
	part := filepath.Join(dir, "part")
	if err := os.WriteFile(part, other, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := run("mount", "-o", "remount,ro", dir); err != nil {
		t.Fatal(err)
	}
	done := func(what string, gone bool, err error) error {
		if gone {
			t.Errorf("%s says that it did it", what)
		}
		return err
	}
	for what, write := range map[string]func() error{
		"remove": func() error {
			gone, err := s.Remove(t.Context(), ref, time.Now().Add(time.Hour))
			return done("remove", gone, err)
		},
		"discard": func() error {
			gone, err := s.Discard(t.Context(), "u", blobs.RefOf(ours))
			return done("discard", gone, err)
		},
		"probe":  s.Probe,
		"put":    func() error { return s.Put(t.Context(), blobs.RefOf(other), bytes.NewReader(other)) },
		"keep":   func() error { _, err := s.KeepFor(t.Context(), "", ref); return err },
		"delete": func() error { return s.Delete(t.Context(), ref) },
		"adopt":  func() error { _, err := s.Adopt(t.Context(), "", blobs.RefOf(other), part); return err },
	} {
		s.health.cause = nil // each by itself, on a disk of which nothing is known
		if err := write(); !errors.Is(err, blobs.ErrBroken) {
			t.Errorf("%s = %v, want ErrBroken", what, err)
		}
		if _, cause := s.Broken(); cause == nil {
			t.Errorf("after %s the disk counts as sound", what)
		}
	}
	if c, err := s.Open(t.Context(), ref); err != nil {
		t.Errorf("what is there cannot be read: %v", err)
	} else {
		c.Close()
	}
	if err := run("mount", "-o", "remount,rw", dir); err != nil {
		t.Fatal(err)
	}
	if err := s.Probe(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Adopt(t.Context(), "", blobs.RefOf(other), part); err != nil {
		t.Errorf("adopt on a disk that works again: %v", err)
	}
}
