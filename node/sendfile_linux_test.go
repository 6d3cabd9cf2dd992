package node

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// connected returns the two ends of a connection of a listener for files.
func connected(t *testing.T) (ours io.ReaderFrom, server, client net.Conn) {
	t.Helper()
	plain, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := forFiles(plain)
	t.Cleanup(func() { l.Close() })
	if client, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	if server, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	return server.(*fileConn), server, client
}

func fileOf(t *testing.T, data []byte) *os.File {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func noise(n int) []byte {
	data := make([]byte, n)
	rand.NewChaCha8([32]byte{1}).Read(data) // never fails
	return data
}

func TestPartsOfAFileAreSent(t *testing.T) {
	data := noise(20 << 20)
	ours, server, client := connected(t)
	f := fileOf(t, data)
	const from = 1000
	if _, err := f.Seek(from, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	got := make(chan []byte, 1)
	go func() {
		all, _ := io.ReadAll(client) // what is missing shows below
		got <- all
	}()
	parts := []int64{1, 3 << 20, 10 << 20}
	sent := int64(0)
	for _, n := range parts {
		src := &io.LimitedReader{R: f, N: n}
		k, err := ours.ReadFrom(src)
		if k != n || err != nil || src.N != 0 {
			t.Fatalf("sent %d of %d, %d left, %v", k, n, src.N, err)
		}
		sent += k
	}
	// More than there is ends with the file, without an error, as a copy does.
	k, err := ours.ReadFrom(&io.LimitedReader{R: f, N: 100 << 20})
	if want := int64(len(data)) - from - sent; k != want || err != nil {
		t.Errorf("the rest: %d, %v, want %d", k, err, want)
	}
	if k, err := ours.ReadFrom(bytes.NewReader(data[:5000])); k != 5000 || err != nil {
		t.Errorf("what is no file: %d, %v", k, err)
	}
	server.Close()
	if all := <-got; !bytes.Equal(all, append(data[from:], data[:5000]...)) {
		t.Errorf("%d bytes arrived, or others", len(all))
	}
}

func TestAReaderWhoDoesNotRead(t *testing.T) {
	ours, server, client := connected(t)
	f := fileOf(t, noise(20<<20))
	server.SetWriteDeadline(time.Now().Add(50 * time.Millisecond))
	k, err := ours.ReadFrom(&io.LimitedReader{R: f, N: 20 << 20})
	if !errors.Is(err, os.ErrDeadlineExceeded) || k >= 20<<20 {
		t.Errorf("sent %d, %v, want a deadline", k, err)
	}
	client.Close()
	server.SetWriteDeadline(time.Time{})
	if _, err := ours.ReadFrom(&io.LimitedReader{R: f, N: 20 << 20}); err == nil {
		t.Error("sent to a reader who is gone")
	}
}

func TestMoreReadersThanThreadsMayWait(t *testing.T) {
	data := noise(4 << 20)
	type end struct {
		n   int64
		err error
	}
	ends := make(chan end)
	const readers = 16
	plain, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := forFiles(plain)
	defer l.Close()
	for range readers {
		client, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		server, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer server.Close()
		f := fileOf(t, data)
		go func() {
			n, err := server.(io.ReaderFrom).ReadFrom(&io.LimitedReader{R: f, N: int64(len(data))})
			ends <- end{n, err}
		}()
		go func() {
			got := make([]byte, len(data))
			if _, err := io.ReadFull(client, got); err != nil || !bytes.Equal(got, data) {
				ends <- end{0, errors.Join(err, errors.New("other bytes"))}
				return
			}
			ends <- end{int64(len(data)), nil}
		}()
	}
	for range 2 * readers {
		if e := <-ends; e.n != int64(len(data)) || e.err != nil {
			t.Errorf("%d bytes, %v", e.n, e.err)
		}
	}
}
