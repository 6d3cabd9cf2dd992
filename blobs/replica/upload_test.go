package replica_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"time"

	"malla/blobs"
	"malla/blobs/blobstest"
	"malla/blobs/replica"
	"malla/blobs/upload"
)

// noKeepers are no other nodes: what is written in one go has no record.
type noKeepers struct{}

func (noKeepers) Nodes() []upload.Peer { return nil }

func (noKeepers) Do(context.Context, string, *http.Request) (*http.Response, error) {
	return nil, errors.New("no such node")
}

func (nd *node) uploads() *upload.Store {
	nd.mesh.t.Helper()
	s, err := upload.Open(upload.Config{Dir: filepath.Join(nd.dir, "uploads"), Dest: nd.Replica, Self: nd.id, Peers: noKeepers{}})
	if err != nil {
		nd.mesh.t.Fatal(err)
	}
	return s
}

func TestWhatIsUploadedHereIsReadEverywhere(t *testing.T) {
	m := newMesh(t, 4, nil)
	data := testData(2, 1)
	blob, err := m.nodes[0].uploads().Write(t.Context(), "", bytes.NewReader(data), blobs.MaxBlobSize)
	if err != nil {
		t.Fatal(err)
	}
	if blob.SHA256 != blobs.RefOf(data) || blob.Size != int64(len(data)) {
		t.Errorf("blob = %+v", blob)
	}
	m.nodes[0].die()
	for _, nd := range m.nodes[1:] {
		nd.wantRead(blob.Ref, data)
	}
}

func TestARefusedUploadLeavesNothingOnAnyNode(t *testing.T) {
	m := newMesh(t, 3, nil)
	up := m.nodes[0].uploads()
	data := testData(2, 1)
	broken := io.MultiReader(bytes.NewReader(data[:len(data)-100]), iotest.ErrReader(io.ErrUnexpectedEOF))
	if _, err := up.Write(t.Context(), "", broken, blobs.MaxBlobSize); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Fatal(err)
	}
	id := upload.NewID()
	if _, err := up.Write(t.Context(), id, bytes.NewReader(data), blobs.MaxBlobSize); err != nil {
		t.Fatal(err)
	}
	if err := up.Discard(t.Context(), id); err != nil { // as where it turns out not to be media
		t.Fatal(err)
	}
	for _, nd := range m.nodes {
		err := nd.disk.Each(t.Context(), func(ref blobs.Ref, size int64, used time.Time) error {
			t.Errorf("%s still has %s, %d bytes", nd.id, ref.Short(), size)
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	}
}

func TestWhatARecordNamesIsNotDiscarded(t *testing.T) {
	m := newMesh(t, 3, nil)
	up := m.nodes[0].uploads()
	data := blobstest.Bytes(1000, 1)
	id := upload.NewID()
	blob, err := up.Write(t.Context(), id, bytes.NewReader(data), 1000)
	if err != nil {
		t.Fatal(err)
	}
	m.name(blob.Ref) // agreed on, though the one who proposed it heard an error
	if err := up.Discard(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	for _, nd := range m.nodes {
		nd.wantRead(blob.Ref, data)
	}
}

func TestAHolderDiesDuringAnUpload(t *testing.T) {
	m := newMesh(t, 4, nil)
	data := testData(4, 1)
	half := len(data) / 2
	dies := io.MultiReader(bytes.NewReader(data[:half]), readerFunc(func([]byte) (int, error) {
		m.nodes[1].hang() // stopped, and nobody knows yet
		return 0, io.EOF
	}), bytes.NewReader(data[half:]))
	blob, err := m.nodes[0].uploads().Write(t.Context(), "", dies, blobs.MaxBlobSize)
	if err != nil {
		t.Fatal(err)
	}
	m.nodes[1].die()
	m.nodes[0].die()
	m.nodes[3].wantRead(blob.Ref, data)
}

type readerFunc func(p []byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// BenchmarkTwentyUploads sends twenty blobs at once to one node of three, all
// in this process, and reports the most memory that all three used.
func BenchmarkTwentyUploads(b *testing.B) {
	m := newMesh(b, 3, func(cfg *replica.Config) { cfg.SlowAfter, cfg.Stall = time.Minute, time.Minute })
	up := m.nodes[0].uploads()
	const size = 2 * blobs.ChunkSize
	var seed atomic.Uint64
	var most uint64
	b.SetBytes(20 * size)
	for b.Loop() {
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				r := io.LimitReader(blobstest.Stream(seed.Add(1)), size)
				if _, err := up.Write(b.Context(), "", r, size); err != nil {
					b.Error(err)
				}
			})
		}
		done := make(chan struct{})
		go func() { wg.Wait(); close(done) }()
		for open := true; open; {
			select {
			case <-done:
				open = false
			case <-time.After(10 * time.Millisecond):
			}
			var ms runtime.MemStats
			runtime.ReadMemStats(&ms)
			most = max(most, ms.Sys-ms.HeapReleased)
		}
	}
	b.ReportMetric(float64(most)/1e6, "MB-memory")
}
