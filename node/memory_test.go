package node_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"malla/httpapi"
	"malla/node/nodetest"
)

// wave is a WAV file of n bytes of sound that is made while it is read, other
// for each seed.
func wave(seed byte, n int64) io.Reader {
	var head bytes.Buffer
	head.WriteString("RIFF")
	binary.Write(&head, binary.LittleEndian, uint32(min(n+36, 1<<32-1)))
	head.WriteString("WAVEfmt ")
	for _, v := range []any{uint32(16), uint16(1), uint16(2), uint32(192_000), uint32(768_000), uint16(4), uint16(16)} {
		binary.Write(&head, binary.LittleEndian, v)
	}
	head.WriteString("data")
	binary.Write(&head, binary.LittleEndian, uint32(n))
	return io.MultiReader(&head, io.LimitReader(&noise{state: uint64(seed) + 1}, n))
}

// noise is endless and cheap: xorshift (Marsaglia 2003).
type noise struct{ state uint64 }

func (n *noise) Read(p []byte) (int, error) {
	for i := 0; i < len(p); i += 8 {
		n.state ^= n.state << 13
		n.state ^= n.state >> 7
		n.state ^= n.state << 17
		var word [8]byte
		binary.LittleEndian.PutUint64(word[:], n.state)
		copy(p[i:], word[:])
	}
	return len(p), nil
}

// TestBodiesStream runs a node as a process of its own and looks at the most
// memory that it ever had while twenty uploads come at once and one is large.
func TestBodiesStream(t *testing.T) {
	const limit = 300 << 20
	const size = int64(2) << 30
	if testing.Short() {
		t.Skip("moves 2 GiB; the whole suite does")
	}
	p := startProcess(t)
	c := &httpapi.Client{Base: p.url}
	if _, err := c.Signup(t.Context(), "ana", "correct horse"); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			const n = 24 << 20
			if _, err := c.Upload(t.Context(), fmt.Sprintf("song%d.wav", i), wave(byte(i), n), n+44, nil); err != nil {
				t.Errorf("upload %d: %v", i, err)
			}
		})
	}
	wg.Wait()
	t.Logf("after twenty uploads at once: %d MiB", p.peak(t)>>20)
	if _, err := c.Upload(t.Context(), "large.wav", wave(99, size), size+44, nil); err != nil {
		t.Fatalf("upload of %d bytes: %v", size, err)
	}
	content, err := c.Open(t.Context(), "large.wav", 0)
	if err != nil {
		t.Fatal(err)
	}
	defer content.Body.Close()
	if n, err := io.Copy(io.Discard, content.Body); err != nil || n != size+44 {
		t.Errorf("read back %d bytes: %v", n, err)
	}
	peak := p.peak(t)
	t.Logf("after %d MiB up and down: %d MiB", size>>20, peak>>20)
	if peak > limit {
		t.Errorf("the node had %d MiB, more than %d", peak>>20, limit>>20)
	}
}

// process is a node run by the real program.
type process struct {
	cmd *exec.Cmd
	url string
}

// startProcess builds the program and starts a node with it.
func startProcess(t *testing.T) *process {
	t.Helper()
	dir := t.TempDir()
	program := filepath.Join(dir, "malla")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, "malla").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "serve", "--data", filepath.Join(dir, "data"), "--http", "127.0.0.1:0",
		"--gossip", "127.0.0.1:0", "--peer", "127.0.0.1:0", "--advertise", "127.0.0.1", "--reserve", "64MB")
	cmd.Stderr = log
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		log.Close()
		if text, err := os.ReadFile(log.Name()); err == nil && t.Failed() {
			t.Logf("log of the node:\n%s", text)
		}
	})
	greeting := new(lines)
	go io.Copy(greeting, out)
	p := &process{cmd: cmd}
	nodetest.Eventually(t, "the node says where its page is", 30*time.Second, func() error {
		_, rest, found := strings.Cut(greeting.String(), "malla is ready:")
		if !found {
			return fmt.Errorf("it said %q", greeting)
		}
		p.url = strings.Fields(rest)[0]
		return nil
	})
	return p
}

// lines collects what a process prints.
type lines struct {
	mu   sync.Mutex // guards the field below
	text strings.Builder
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// peak is the most memory that the process had at once, in bytes.
func (p *process) peak(t *testing.T) int64 {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	kib, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return kib << 10
}
