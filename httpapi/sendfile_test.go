package httpapi

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"malla/blobs"
)

// TestFilesGoToTheSocketByTheKernel serves an item that lies in files, as
// chunks do, through everything that a request goes through, and looks at what
// the connection is given: a file, which it sends with sendfile(2).
func TestFilesGoToTheSocketByTheKernel(t *testing.T) {
	const size = 3*maxSpan + 1000
	content := bytes.Repeat([]byte("malla "), size/6+1)[:size]
	files := &fileBlob{}
	for i, part := range [][]byte{content[:size/2], content[size/2:]} {
		path := filepath.Join(t.TempDir(), fmt.Sprint(i))
		if err := os.WriteFile(path, part, 0o600); err != nil {
			t.Fatal(err)
		}
		files.paths = append(files.paths, path)
	}
	r := newRig(t)
	item := r.put("ana", "song.mp3", string(content))
	r.api.cfg.Blobs = files
	watched := r.watch(0)
	const sniffed = 512 // bytes that net/http copies itself with the header
	for _, row := range []struct {
		name, ranges string
		from, to     int
	}{
		{"the whole file", "", 0, size},
		{"a range over the seam of two files", fmt.Sprintf("bytes=%d-%d", size/2-3000, size/2+2999), size/2 - 3000, size/2 + 3000},
		{"the end", "bytes=-5000", size - 5000, size},
	} {
		t.Run(row.name, func(t *testing.T) {
			watched.reset()
			q := req{method: "GET", path: "/media/" + item.ID, as: "ana"}
			if row.ranges != "" {
				q.header = []string{"Range", row.ranges}
			}
			if got := r.do(q).body; !bytes.Equal(got, content[row.from:row.to]) {
				t.Fatalf("%d bytes, want %d", len(got), row.to-row.from)
			}
			watched.serving.Wait() // a client may have all bytes before their count is noted
			if sent := watched.reset(); sent != int64(row.to-row.from-sniffed) {
				t.Errorf("%d of %d bytes were sent from files", sent, row.to-row.from)
			}
		})
	}
}

// A file that cannot be read to its end is not taken for the whole.
func TestAFileThatBecameShorter(t *testing.T) {
	const size = 200_000
	r := newRig(t)
	content := strings.Repeat("0123456789", size/10)
	item := r.put("ana", "song.mp3", content)
	path := filepath.Join(t.TempDir(), "short")
	if err := os.WriteFile(path, []byte(content[:size/2]), 0o600); err != nil {
		t.Fatal(err)
	}
	r.api.cfg.Blobs = &fileBlob{paths: []string{path}, size: size}
	request, err := http.NewRequest("GET", r.url+"/media/"+item.ID, nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+r.token("ana"))
	res, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if got, err := io.ReadAll(res.Body); !errors.Is(err, io.ErrUnexpectedEOF) || string(got) != content[:size/2] {
		t.Errorf("%d bytes, %v, want %d and a connection that breaks off", len(got), err, size/2)
	}
}

// fileBlob is a blob whose bytes lie in files, one behind the other.
type fileBlob struct {
	paths []string
	size  int64 // that it claims to have; 0: what it has
}

func (f *fileBlob) Open(context.Context, blobs.Ref) (blobs.Reader, error) {
	b := &openFiles{claimed: f.size}
	for _, path := range f.paths {
		file, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		info, err := file.Stat()
		if err != nil {
			return nil, err
		}
		b.files, b.sizes = append(b.files, file), append(b.sizes, info.Size())
	}
	return b, nil
}

type openFiles struct {
	files   []*os.File
	sizes   []int64
	claimed int64
	pos     int64
}

func (b *openFiles) Size() int64 {
	size := b.claimed
	for _, s := range b.sizes {
		if b.claimed == 0 {
			size += s
		}
	}
	return size
}

func (b *openFiles) Span(n int64) (io.Reader, int64, error) {
	within := b.pos
	for i, file := range b.files {
		if within < b.sizes[i] || b.claimed > 0 {
			if _, err := file.Seek(within, io.SeekStart); err != nil {
				return nil, 0, err
			}
			if b.claimed == 0 {
				n = min(n, b.sizes[i]-within)
			}
			b.pos += n
			return io.LimitReader(file, n), n, nil
		}
		within -= b.sizes[i]
	}
	return nil, 0, io.EOF
}

func (b *openFiles) Read(p []byte) (int, error) {
	span, size, err := b.Span(int64(len(p)))
	if err != nil {
		return 0, err
	}
	n, err := span.Read(p)
	b.pos += int64(n) - size
	if err == io.EOF {
		err = io.ErrUnexpectedEOF // as a chunk that is not as long as its manifest says
	}
	return n, err
}

func (b *openFiles) Seek(off int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		off += b.pos
	case io.SeekEnd:
		off += b.Size()
	}
	b.pos = off
	return off, nil
}

func (b *openFiles) Close() error {
	var errs []error
	for _, file := range b.files {
		errs = append(errs, file.Close())
	}
	return errors.Join(errs...)
}

// watchedListener counts the bytes that its connections were given as files.
type watchedListener struct {
	net.Listener
	serving sync.WaitGroup // requests
	buffer  int            // of what a connection is sent

	mu   sync.Mutex // guards the field below
	sent int64
}

// watch serves the API at another address, and watches the connections. Each has
// a buffer of so many bytes for what it is sent; 0: what the kernel chooses.
func (r *rig) watch(buffer int) *watchedListener {
	r.t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		r.t.Fatal(err)
	}
	watched := &watchedListener{Listener: listener, buffer: buffer}
	handler := r.api.Handler()
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		watched.serving.Add(1)
		defer watched.serving.Done()
		handler.ServeHTTP(w, r)
	})}
	go server.Serve(watched)
	r.t.Cleanup(func() { server.Close() })
	r.url = "http://" + listener.Addr().String()
	return watched
}

func (l *watchedListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	tcp := c.(*net.TCPConn)
	if l.buffer > 0 {
		tcp.SetWriteBuffer(l.buffer)
	}
	return &watchedConn{tcp, l}, nil
}

// reset returns how many bytes were sent since the last time.
func (l *watchedListener) reset() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	sent := l.sent
	l.sent = 0
	return sent
}

type watchedConn struct {
	*net.TCPConn
	listener *watchedListener
}

func (c *watchedConn) ReadFrom(src io.Reader) (int64, error) {
	n, err := c.TCPConn.ReadFrom(src)
	if limited, ok := src.(*io.LimitedReader); ok {
		if _, ok := limited.R.(*os.File); ok {
			c.listener.mu.Lock()
			c.listener.sent += n
			c.listener.mu.Unlock()
		}
	}
	return n, err
}
