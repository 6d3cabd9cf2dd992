package node_test

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"malla/blobs"
	"malla/node"
	"malla/node/nodetest"
)

// chunksOn counts the whole chunks of 8 MiB on the node's disk, without its cache.
func chunksOn(t *testing.T, nd *nodetest.Node) (n int) {
	t.Helper()
	err := filepath.WalkDir(filepath.Join(nd.Data(), "blobs", "chunks"), func(_ string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		if info, err := e.Info(); err == nil && info.Size() == blobs.ChunkSize {
			n++
		}
		return nil
	})
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return n
}

// TestADownloadOutlivesTheNodeThatFeedsIt reads a large file at a node that has
// none of it, and kills one of the two that have while it is read.
func TestADownloadOutlivesTheNodeThatFeedsIt(t *testing.T) {
	const chunks = 16
	const size = chunks * blobs.ChunkSize
	m := nodetest.New(t, 3, func(i int, cfg *node.Config) {
		cfg.Copies, cfg.Capacity = 2, 1<<40
		if i == 2 {
			cfg.Capacity = 1 // beside the others: it gets nothing
		}
	})
	c := m.Node(0).User("ana")
	uploaded := sha256.New()
	if _, err := c.Upload(t.Context(), "large.wav", io.TeeReader(wave(7, size-44), uploaded), size, nil); err != nil {
		t.Fatal(err)
	}
	nodetest.Eventually(t, "both holders have all", 30*time.Second, func() error {
		for _, nd := range []*nodetest.Node{m.Node(0), m.Node(1)} {
			if n := chunksOn(t, nd); n != chunks {
				return fmt.Errorf("%d of %d chunks", n, chunks)
			}
		}
		return nil
	})
	if n := chunksOn(t, m.Node(2)); n != 0 {
		t.Fatalf("%d chunks are on the node that should have none", n)
	}
	content, err := as(c, m.Node(2)).Open(t.Context(), "large.wav", 0)
	if err != nil {
		t.Fatal(err)
	}
	defer content.Body.Close()
	got := sha256.New()
	if _, err := io.CopyN(got, content.Body, size/4); err != nil {
		t.Fatal(err)
	}
	// Reading goes on while it dies: chunks are on their way then.
	var dying sync.WaitGroup
	dying.Go(m.Node(1).Kill)
	n, err := io.Copy(got, content.Body)
	dying.Wait()
	if err != nil || n != size-size/4 {
		t.Errorf("after the holder was killed: %d bytes, %v; want %d", n, err, size-size/4)
	}
	if want := hex.EncodeToString(uploaded.Sum(nil)); hex.EncodeToString(got.Sum(nil)) != want {
		t.Errorf("other bytes came than were sent")
	}
}
