package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"time"

	"malla/examples/internal/footage"
	"malla/examples/internal/mesh"
	"malla/httpapi"
)

// load is what the users do while nodes die.
type load struct {
	mesh   *mesh.Mesh
	ledger *ledger
	token  string
	seed   uint64
	dir    string
}

// client begins at a random node and knows the others, as people do who reload
// the page at the next address.
func (l *load) client(r *rand.Rand) *httpapi.Client {
	order := r.Perm(l.mesh.Len())
	c := &httpapi.Client{Base: l.mesh.URL(order[0]), Token: l.token}
	for _, i := range order[1:] {
		c.Others = append(c.Others, l.mesh.URL(i))
	}
	return c
}

// run does it until the context ends, and returns when nobody is at it any more.
func (l *load) run(ctx context.Context) {
	var users sync.WaitGroup
	for i, act := range []func(context.Context, *rand.Rand, int){l.upload, l.upload, l.film, l.convert, l.read, l.read} {
		users.Go(func() {
			r := rand.New(rand.NewPCG(l.seed, uint64(i+1)))
			for n := 0; ctx.Err() == nil; n++ {
				act(ctx, r, i*100_000+n)
				select {
				case <-ctx.Done():
				case <-time.After(time.Duration(100+r.IntN(400)) * time.Millisecond):
				}
			}
		})
	}
	users.Wait()
}

// upload sends new noise of up to three megabytes, now and then of more than a
// chunk's size.
func (l *load) upload(ctx context.Context, r *rand.Rand, n int) {
	size := 50_000 + r.IntN(3_000_000)
	if n%7 == 6 {
		size = 9_000_000 + r.IntN(9_000_000)
	}
	data := footage.Noise(l.seed+uint64(n), size)
	name := fmt.Sprintf("noise-%06d.wav", n)
	l.put(ctx, r, name, data, float64(len(data)-44)/footage.NoiseRate, false)
}

// film sends a new film, whose conversion takes long enough to be hit.
func (l *load) film(ctx context.Context, r *rand.Rand, n int) {
	seconds := float64(4 + r.IntN(8))
	path := filepath.Join(l.dir, fmt.Sprintf("film-%06d.mp4", n))
	if err := footage.Film(ctx, path, seconds, n); err != nil {
		return // interrupted
	}
	defer os.Remove(path)
	data, err := os.ReadFile(path)
	if err != nil {
		l.ledger.refuse("upload", err)
		return
	}
	if f, ok := l.put(ctx, r, filepath.Base(path), data, seconds, true); ok {
		l.ask(ctx, r, f, []string{"mp4", "avi", "mkv", "webm", "mov"}[n%5])
	}
	select {
	case <-ctx.Done():
	case <-time.After(3 * time.Second):
	}
}

func (l *load) put(ctx context.Context, r *rand.Rand, name string, data []byte, seconds float64, film bool) (file, bool) {
	m, err := l.client(r).UploadFile(ctx, httpapi.File{Name: name, Body: bytes.NewReader(data), Size: int64(len(data))})
	if err != nil {
		if ctx.Err() == nil {
			l.ledger.refuse("upload", err)
		}
		return file{}, false
	}
	sum := sha256.Sum256(data)
	f := file{id: m.ID, name: m.Name, sha256: hex.EncodeToString(sum[:]), size: int64(len(data)), seconds: seconds, film: film}
	if m.SHA256 != f.sha256 || m.Size != f.size {
		l.ledger.lie(fmt.Sprintf("upload of %s was acknowledged as %d bytes with SHA-256 %s, sent were %d with %s", name, m.Size, m.SHA256, f.size, f.sha256))
	}
	l.ledger.addFile(f)
	return f, true
}

// convert asks for a sound format of a small file, each at most once: asking
// twice would rightly give one output.
func (l *load) convert(ctx context.Context, r *rand.Rand, n int) {
	f, ok := l.ledger.anyFile(r)
	if !ok || f.film || f.size > 4_000_000 {
		return
	}
	formats := []string{"mp3", "flac", "aac", "ogg", "m4a"}
	format := formats[n%len(formats)]
	_, jobs, _ := l.ledger.content()
	for _, j := range jobs {
		if j.input.id == f.id && j.format == format {
			return
		}
	}
	l.ask(ctx, r, f, format)
	select {
	case <-ctx.Done():
	case <-time.After(500 * time.Millisecond):
	}
}

func (l *load) ask(ctx context.Context, r *rand.Rand, f file, format string) {
	asked, err := l.client(r).Convert(ctx, httpapi.ConvertRequest{InputFile: f.id, OutputFormat: format})
	if err != nil {
		if ctx.Err() == nil {
			l.ledger.refuse("conversion", err)
		}
		return
	}
	l.ledger.addJob(job{id: asked.JobID, input: f, format: format})
}

// read reads an acknowledged file from wherever it is to be had. A refusal may
// happen while nodes die; other bytes may not.
func (l *load) read(ctx context.Context, r *rand.Rand, _ int) {
	f, ok := l.ledger.anyFile(r)
	if !ok {
		return
	}
	sum := sha256.New()
	_, err := l.client(r).Download(ctx, f.id, sum, 0, nil)
	switch {
	case ctx.Err() != nil:
	case err != nil:
		l.ledger.refuse("read", err)
	case hex.EncodeToString(sum.Sum(nil)) != f.sha256:
		l.ledger.lie(f.name + " was read with other bytes than were acknowledged")
	default:
		l.ledger.reads.Add(1)
	}
}
