package node_test

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"malla/httpapi"
	"malla/node/nodetest"
)

// rolling is what users do while the nodes of their mesh are restarted.
type rolling struct {
	t    *testing.T
	song []byte

	mu      sync.Mutex        // guards the fields below
	urls    []string          // of the nodes
	songs   map[string][]byte // acknowledged: name -> bytes
	jobs    []string          // acknowledged
	retries int
	done    int
}

// A user's client asks another node each time, and finds there what it has seen.
type user struct {
	*rolling
	client *httpapi.Client
	at     int // the node that is asked next
}

// ask tries a request on one node after another, as clients do: what passes by
// itself is tried again, everything else is a failure.
func (r *user) ask(ctx context.Context, what string, request func(c *httpapi.Client) error) {
	for ctx.Err() == nil {
		r.mu.Lock()
		r.client = r.client.At(r.urls[r.at%len(r.urls)])
		r.mu.Unlock()
		r.at++
		err := request(r.client)
		if err == nil {
			break
		}
		if !httpapi.Transient(err) {
			r.t.Errorf("%s: %v", what, err)
			return
		}
		r.mu.Lock()
		r.retries++
		r.mu.Unlock()
	}
	if ctx.Err() != nil {
		r.t.Errorf("%s: no node did it", what)
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.done++
}

// run uploads, converts, shares and lists until stop is closed.
func (r *user) run(ctx context.Context, k int, stop <-chan struct{}) {
	for i := 0; ; i++ {
		name := fmt.Sprintf("song-%d-%d.mp3", k, i)
		data := append(bytes.Clone(r.song), make([]byte, 100*k+i)...)
		r.ask(ctx, "upload", func(c *httpapi.Client) error {
			item, err := c.Upload(ctx, name, bytes.NewReader(data), int64(len(data)), nil)
			if err == nil {
				r.mu.Lock()
				defer r.mu.Unlock()
				name = item.Item.Name
				r.songs[name] = data
			}
			return err
		})
		r.ask(ctx, "convert", func(c *httpapi.Client) error {
			job, err := c.Convert(ctx, httpapi.ConvertRequest{InputFile: name, OutputFormat: "wav"})
			if err == nil {
				r.mu.Lock()
				defer r.mu.Unlock()
				r.jobs = append(r.jobs, job.JobID)
			}
			return err
		})
		for range 10 {
			r.ask(ctx, "share", func(c *httpapi.Client) error { _, err := c.Share(ctx, name, 5); return err })
			r.ask(ctx, "list", func(c *httpapi.Client) error { _, err := c.Media(ctx, httpapi.MediaQuery{}); return err })
			select {
			case <-stop:
				return
			case <-time.After(20 * time.Millisecond): // a user, no benchmark
			}
		}
	}
}

// TestRollingRestart stops and starts five nodes one after the other, as an
// upgrade does, while users go on.
func TestRollingRestart(t *testing.T) {
	if testing.Short() {
		t.Skip("takes most of a minute; the whole suite does it")
	}
	m := nodetest.New(t, 5)
	ana := m.Node(0).User("ana")
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	r := &rolling{t: t, song: generated(t, "song.mp3"), urls: make([]string, m.Len()), songs: map[string][]byte{}}
	for i := range m.Len() {
		r.urls[i] = m.Node(i).URL()
	}
	var users sync.WaitGroup
	stop := make(chan struct{})
	for k := range 3 {
		u := user{r, ana, k}
		users.Go(func() { u.run(ctx, k, stop) })
	}
	for i := range m.Len() {
		nd := m.Node(i)
		nd.Stop() // its clients find out by themselves
		nd.Restart()
		r.mu.Lock()
		r.urls[i] = nd.URL()
		r.mu.Unlock()
	}
	close(stop)
	users.Wait()
	t.Logf("%d requests and %d retries, %d uploads, %d jobs", r.done, r.retries, len(r.songs), len(r.jobs))
	if t.Failed() {
		return
	}
	ana = as(ana, m.Node(0))
	for _, id := range r.jobs {
		if job := waitJob(t, ana, id); job.Status != httpapi.Completed {
			t.Errorf("job: %+v", job)
		}
	}
	for name, want := range r.songs {
		if err := download(ana, name, want); err != nil {
			t.Error(err)
		}
	}
	m.WaitVotes()
	if nodes := m.Node(0).Nodes(); len(nodes) != m.Len() {
		t.Errorf("the mesh has %d nodes", len(nodes))
	}
}
