package replica_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"malla/blobs"
	"malla/blobs/blobstest"
	"malla/blobs/replica"
)

// elsewhere is a mesh of two nodes, seen by the first; answer is the other one.
type elsewhere struct {
	draining bool // the first
	answer   func(ctx context.Context, req *http.Request) (*http.Response, error)
}

func (e elsewhere) Nodes() []replica.Peer {
	return []replica.Peer{{ID: "n0", Weight: 1, Alive: true, Draining: e.draining}, {ID: "n1", Weight: 1, Alive: true}}
}

func (e elsewhere) Do(ctx context.Context, _ string, req *http.Request) (*http.Response, error) {
	return e.answer(ctx, req)
}

// failsSlowly fails each request after a second.
func failsSlowly(ctx context.Context, _ *http.Request) (*http.Response, error) {
	late := time.NewTimer(time.Second)
	defer late.Stop()
	select {
	case <-late.C:
		return nil, errDead
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// A round must not hold up the next one for as long as everything takes that
// cannot be done: who is to be asked may be known long since.
func TestARoundThatGetsNothingEndsAllTheSame(t *testing.T) {
	const chunks = 500 // each fails after a second
	refs := make([]blobs.Ref, chunks)
	for i := range refs {
		refs[i] = blobs.RefOf(fmt.Append(nil, i))
	}
	man := blobs.Manifest{Size: chunks * blobs.ChunkSize, SHA256: refs[0], Chunks: refs}
	for _, c := range []struct {
		name       string
		draining   bool
		referenced []blobs.Ref
		local      [][]byte
	}{
		{"the chunks", false, []blobs.Ref{man.Blob().Ref}, [][]byte{man.Encode()}},
		{"the manifests", false, refs, nil},
		{"what is copied away", true, nil, manyChunks(chunks)},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { // Sleep moves the bubble's clock on: no time passes
				local := new(blobstest.Memory)
				for _, data := range c.local {
					if err := local.Put(t.Context(), blobs.RefOf(data), bytes.NewReader(data)); err != nil {
						t.Fatal(err)
					}
				}
				r, err := replica.New(replica.Config{
					Self: "n0", Copies: 2, Local: local, Peers: elsewhere{c.draining, failsSlowly},
					Settled: func() bool { return true },
					Referenced: func(yield func(blobs.Ref) bool) {
						for _, ref := range c.referenced {
							if !yield(ref) {
								return
							}
						}
					},
				})
				if err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithCancel(t.Context())
				done := make(chan struct{})
				go func() {
					defer close(done)
					r.Run(ctx)
				}()
				time.Sleep(75 * time.Second)
				if took := r.Status().Took; took < 25*time.Second {
					t.Errorf("a round took %v of 75 s, want half a minute, or twice that where manifests are missing too", took)
				}
				cancel()
				<-done
				if err := r.Close(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

func manyChunks(n int) (all [][]byte) {
	for i := range n {
		all = append(all, fmt.Append(nil, i))
	}
	return all
}

func TestWhatIsCopiedAwayKeepsToTheRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // Sleep moves the bubble's clock on: no time passes
		local := new(blobstest.Memory)
		for i := range 20 {
			data := blobstest.Bytes(1<<20, uint64(i))
			if err := local.Put(t.Context(), blobs.RefOf(data), bytes.NewReader(data)); err != nil {
				t.Fatal(err)
			}
		}
		var put atomic.Int64
		takes := func(_ context.Context, req *http.Request) (*http.Response, error) {
			n, err := io.Copy(io.Discard, req.Body)
			res := &http.Response{StatusCode: http.StatusCreated, Body: http.NoBody}
			if req.Method == http.MethodPut {
				put.Add(n)
			} else { // a question about some chunks: it has none
				res.Body = io.NopCloser(strings.NewReader(strings.Repeat("0", int(n/32))))
			}
			return res, err
		}
		r, err := replica.New(replica.Config{
			Self: "n0", Copies: 1, Local: local, Peers: elsewhere{true, takes}, RepairRate: 1 << 20,
			Settled: func() bool { return true },
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			r.Run(ctx)
		}()
		time.Sleep(10 * time.Second)
		if n := put.Load() >> 20; n < 9 || n > 11 {
			t.Errorf("%d MiB in 10 s at 1 MiB/s", n)
		}
		time.Sleep(15 * time.Second)
		if n := put.Load() >> 20; n != 20 {
			t.Errorf("%d MiB of 20 were copied in the end", n)
		}
		cancel()
		<-done
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
}
