package disk

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"malla/blobs"
)

// The writer is this test program again, started with these variables: a real
// process, which can be killed.
const (
	writerDir   = "MALLA_TEST_WRITER" // where its store is
	writerFsync = "MALLA_TEST_FSYNC"  // "off": nothing is made durable
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(writerDir); dir != "" {
		if err := writeWithoutEnd(dir, os.Getenv(writerFsync) != "off"); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

// writeWithoutEnd puts and adopts random chunks of many sizes, some at a time,
// and prints the ref of each after it was acknowledged.
func writeWithoutEnd(dir string, fsync bool) error {
	sync := (*os.File).Sync
	if !fsync {
		sync = func(*os.File) error { return nil }
	}
	s, err := open(Config{Dir: dir}, sync)
	if err != nil {
		return err
	}
	failed := make(chan error)
	for w := range 3 {
		go func() {
			for i := 0; ; i++ {
				ref, err := writeOne(s, fmt.Sprintf("%d-%d", w, i), w == 0)
				if err != nil {
					failed <- err
				}
				fmt.Println(ref) // one write of less than a page: never torn
			}
		}()
	}
	return <-failed
}

func writeOne(s *Store, name string, adopt bool) (ref blobs.Ref, err error) {
	data := make([]byte, 1+mathrand.IntN(200_000)>>mathrand.IntN(10))
	rand.Read(data)
	ref = blobs.RefOf(data)
	if !adopt {
		return ref, s.Put(context.Background(), ref, strings.NewReader(string(data)))
	}
	part := filepath.Join(filepath.Dir(s.dir), "part-"+name)
	if err := os.WriteFile(part, data, 0o600); err != nil {
		return ref, err
	}
	_, err = s.Adopt(context.Background(), "", ref, part)
	return ref, err
}

// startWriter starts a writer in dir and returns what it acknowledges.
func startWriter(t *testing.T, dir string, env ...string) (cmd *exec.Cmd, acks io.Reader) {
	t.Helper()
	cmd = exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), append(env, writerDir+"="+dir)...)
	cmd.Stderr = t.Output()
	acks, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd, acks
}

// acknowledged reads the refs that the writer printed until it ended, and calls
// seen after each.
func acknowledged(acks io.Reader, seen func()) (refs []blobs.Ref, err error) {
	for lines := bufio.NewScanner(acks); lines.Scan(); {
		ref, err := blobs.ParseRef(lines.Text())
		if err != nil {
			return nil, fmt.Errorf("the writer said %q", lines.Text())
		}
		refs = append(refs, ref)
		seen()
	}
	return refs, nil
}

// lost opens the store that a writer left and returns how many of the chunks
// are not whole. What is half-made is an error, whether acknowledged or not.
func lost(t *testing.T, dir string, acked []blobs.Ref) (n int) {
	t.Helper()
	s := openStore(t, Config{Dir: dir})
	if left := files(t, s.staging()); len(left) > 0 {
		t.Errorf("left in staging: %v", left)
	}
	none := func(int) error { return nil }
	for _, ref := range acked {
		if _, err := s.Scrub(t.Context(), ref, none); err != nil {
			n++
		}
	}
	return n
}

// torn returns how many files of the store are not what their name says.
func torn(t *testing.T, dir string) (n int) {
	t.Helper()
	s := openStore(t, Config{Dir: dir})
	err := s.Each(t.Context(), func(ref blobs.Ref, _ int64, _ time.Time) error {
		if _, err := s.Scrub(t.Context(), ref, func(int) error { return nil }); err != nil {
			n++
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestKilledAtAnyMomentNothingAcknowledgedIsLost(t *testing.T) {
	kills := 200
	if testing.Short() {
		kills = 20
	}
	var total, begun int
	var mu sync.Mutex // guards total and begun
	var wg sync.WaitGroup
	const lanes = 2
	for range lanes {
		wg.Go(func() {
			dir := filepath.Join(t.TempDir(), "blobs")
			for i := range kills / lanes {
				acked, err := killOne(t, dir, i%4 == 0)
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				total += len(acked)
				if len(acked) > 0 {
					begun++
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	t.Logf("%d kills, %d of them after the first chunk; %d chunks were acknowledged", kills, begun, total)
}

// killOne starts a writer, kills it at a random moment after its start or after
// its first chunk, and looks at what it left. Then it removes the chunks, so
// that looking stays quick.
func killOne(t *testing.T, dir string, starting bool) ([]blobs.Ref, error) {
	cmd, acks := startWriter(t, dir)
	killSoon := sync.OnceFunc(func() {
		time.AfterFunc(time.Duration(mathrand.Int64N(int64(40*time.Millisecond))), func() { cmd.Process.Kill() })
	})
	if starting { // while it opens the store, perhaps: that is a moment like any other
		killSoon()
	}
	acked, err := acknowledged(acks, killSoon)
	var exit *exec.ExitError
	if end := cmd.Wait(); !errors.As(end, &exit) || exit.ExitCode() != -1 {
		return nil, fmt.Errorf("the writer ended by itself: %w", errors.Join(end, err))
	}
	if err != nil {
		return nil, err
	}
	if n := lost(t, dir, acked); n > 0 {
		return nil, fmt.Errorf("%d of %d acknowledged chunks are not whole", n, len(acked))
	}
	if n := torn(t, dir); n > 0 {
		return nil, fmt.Errorf("%d torn chunks can be seen", n)
	}
	parts, err := filepath.Glob(filepath.Join(filepath.Dir(dir), "part-*"))
	for _, path := range append(parts, filepath.Join(dir, "chunks")) {
		err = errors.Join(err, os.RemoveAll(path))
	}
	return acked, err
}
