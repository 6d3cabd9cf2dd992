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
	"testing"
	"time"

	"golang.org/x/time/rate"
)

// TestReadersThatFillTheirCacheFirst are players: they read as fast as they can
// at first, and then as fast as they play. That they are slow does not end their
// answer, whether its bytes lie in files or not; that they stop does.
func TestReadersThatFillTheirCacheFirst(t *testing.T) {
	const (
		cache = 8 << 20 // read at once: the spans have become as long as they can
		size  = cache + maxSpan + 1<<20
		speed = 2 << 20 // bytes a second then: a span takes longer than a reader may take nothing
	)
	content := bytes.Repeat([]byte("malla "), size/6+1)[:size]
	path := filepath.Join(t.TempDir(), "chunk")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, files := range []bool{true, false} {
		t.Run(fmt.Sprintf("in files: %t", files), func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			r.api.stall = time.Second
			item := r.put("ana", "song.mp3", string(content))
			if files {
				r.api.cfg.Blobs = &fileBlob{paths: []string{path}}
			}
			watched := r.watch(64 << 10)

			body := r.slowly(item.ID)
			got := make([]byte, cache, size)
			if _, err := io.ReadFull(body, got); err != nil {
				t.Fatal(err)
			}
			pace := rate.NewLimiter(speed, 32<<10)
			for part := make([]byte, 32<<10); ; {
				n, err := body.Read(part)
				got = append(got, part[:n]...)
				if err == io.EOF {
					break
				}
				if err != nil {
					t.Fatalf("cut off after %d bytes of slow reading: %v", len(got)-cache, err)
				}
				if err := pace.WaitN(t.Context(), n); err != nil {
					t.Fatal(err)
				}
			}
			if !bytes.Equal(got, content) {
				t.Errorf("%d bytes, want %d, or they are others", len(got), size)
			}

			body = r.slowly(item.ID)
			if _, err := io.ReadFull(body, got[:cache]); err != nil {
				t.Fatal(err)
			}
			watched.serving.Wait() // the reader takes nothing any more
			if _, err := io.Copy(io.Discard, body); !errors.Is(err, io.ErrUnexpectedEOF) && !isReset(err) {
				t.Errorf("a reader who stopped had %v, want a connection that breaks off", err)
			}
		})
	}
}

func isReset(err error) bool {
	var op *net.OpError
	return errors.As(err, &op)
}

// slowly opens an item over a connection that has little room for what its
// reader does not take.
func (r *rig) slowly(id string) io.ReadCloser {
	r.t.Helper()
	transport := &http.Transport{DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := new(net.Dialer).DialContext(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return c, c.(*net.TCPConn).SetReadBuffer(64 << 10)
	}}
	r.t.Cleanup(transport.CloseIdleConnections)
	request, err := http.NewRequest("GET", r.url+"/media/"+id, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+r.token("ana"))
	res, err := (&http.Client{Transport: transport}).Do(request)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { res.Body.Close() })
	return res.Body
}
