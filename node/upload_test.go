package node_test

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"malla/httpapi"
	"malla/node/nodetest"
)

const chunkSize = 8 << 20 // of stored bytes

// wavOf is sound of about that many bytes, as WAV, of which no two chunks are equal.
func wavOf(size int, seed uint64) []byte {
	samples := make([]byte, size)
	rand.NewChaCha8([32]byte{byte(seed), 1}).Read(samples)
	h := []byte("RIFF....WAVEfmt ")
	binary.LittleEndian.PutUint32(h[4:], uint32(36+size))
	h = binary.LittleEndian.AppendUint32(h, 16)
	for _, v := range []uint16{1, 2} { // PCM, stereo
		h = binary.LittleEndian.AppendUint16(h, v)
	}
	h = binary.LittleEndian.AppendUint32(h, 48_000)
	h = binary.LittleEndian.AppendUint32(h, 48_000*4)
	for _, v := range []uint16{4, 16} {
		h = binary.LittleEndian.AppendUint16(h, v)
	}
	h = append(h, "data"...)
	return append(binary.LittleEndian.AppendUint32(h, uint32(size)), samples...)
}

// tus sends one request of the protocol to a node, once that knows who asks.
func tus(t *testing.T, c *httpapi.Client, nd *nodetest.Node, method, path string, body []byte, header ...string) *http.Response {
	t.Helper()
	nodetest.Eventually(t, "the node knows the user", 10*time.Second, func() error {
		_, err := as(c, nd).Me(t.Context())
		return err
	})
	req, err := http.NewRequestWithContext(t.Context(), method, nd.URL()+path, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Tus-Resumable", "1.0.0")
	req.Header.Set("Authorization", "Bearer "+c.Token)
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(res.Body)
	res.Body.Close()
	if err != nil || res.StatusCode >= 500 {
		t.Logf("%s %s: %d %s %v", method, path, res.StatusCode, text, err)
	}
	return res
}

func patch(t *testing.T, c *httpapi.Client, nd *nodetest.Node, path string, offset int64, body []byte) *http.Response {
	t.Helper()
	return tus(t, c, nd, "PATCH", path, body, "Content-Type", "application/offset+octet-stream", "Upload-Offset", strconv.FormatInt(offset, 10))
}

// offsetOf asks a node until it can tell the offset.
func offsetOf(t *testing.T, c *httpapi.Client, nd *nodetest.Node, path string) int64 {
	t.Helper()
	var offset int64
	nodetest.Eventually(t, "the offset", 20*time.Second, func() error {
		res := tus(t, c, nd, "HEAD", path, nil)
		if res.StatusCode != http.StatusOK {
			return fmt.Errorf("HEAD answers %d", res.StatusCode)
		}
		var err error
		offset, err = strconv.ParseInt(res.Header.Get("Upload-Offset"), 10, 64)
		return err
	})
	return offset
}

func TestAnUploadGoesOnAtAnotherNode(t *testing.T) {
	m := nodetest.New(t, 3)
	a, b, c := m.Node(0), m.Node(1), m.Node(2)
	a.WaitReady()
	ana := a.User("ana")
	song := wavOf(40<<20, 1)
	half := int64(len(song) / 2)

	made := tus(t, ana, a, "POST", "/files/", nil, "Upload-Length", strconv.Itoa(len(song)),
		"Upload-Metadata", "filename "+base64.StdEncoding.EncodeToString([]byte("song.wav")))
	path := made.Header.Get("Location")
	if made.StatusCode != http.StatusCreated || !strings.HasPrefix(path, "/files/") || made.Header.Get("Upload-Expires") == "" {
		t.Fatalf("creation: %d %v", made.StatusCode, made.Header)
	}
	// Any node answers for it, and takes bytes, while the first one lives.
	if res := patch(t, ana, a, path, 0, song[:5_000_000]); res.StatusCode != http.StatusNoContent {
		t.Fatalf("PATCH: %d", res.StatusCode)
	}
	if at := offsetOf(t, ana, b, path); at != 5_000_000 {
		t.Errorf("the second node says %d", at)
	}
	if res := patch(t, ana, c, path, 5_000_000, song[5_000_000:half]); res.StatusCode != http.StatusNoContent || res.Header.Get("Upload-Offset") != fmt.Sprint(half) {
		t.Fatalf("PATCH by the third node: %d %v", res.StatusCode, res.Header)
	}
	if res := patch(t, ana, b, path, 17, song[:10]); res.StatusCode != http.StatusConflict || res.Header.Get("Content-Type") != "application/problem+json" {
		t.Errorf("PATCH at a wrong offset by the second node: %d %v", res.StatusCode, res.Header)
	}
	if res := tus(t, b.User("bob"), b, "HEAD", path, nil); res.StatusCode != http.StatusNotFound {
		t.Errorf("somebody else hears %d", res.StatusCode)
	}

	a.Kill()
	at := offsetOf(t, ana, b, path)
	t.Logf("killed at %d of %d, goes on at %d: %d bytes are sent again", half, len(song), at, half-at)
	if at < half-chunkSize || at > half {
		t.Errorf("goes on at %d, want at most one chunk before %d", at, half)
	}
	var res *http.Response
	nodetest.Eventually(t, "the rest is taken", 30*time.Second, func() error {
		at := offsetOf(t, ana, b, path)
		if res = patch(t, ana, b, path, at, song[at:]); res.StatusCode != http.StatusNoContent {
			return fmt.Errorf("PATCH answers %d", res.StatusCode)
		}
		return nil
	})
	if res.Header.Get("Malla-Media-Id") == "" {
		t.Errorf("headers %v", res.Header)
	}
	nodetest.Eventually(t, "the third node has it", 10*time.Second, func() error { return download(as(ana, c), "song.wav", song) })

	// The first node comes back: it knows what became of the upload, and does
	// not make a second file of it.
	a.Restart()
	for _, nd := range []*nodetest.Node{a, b, c} {
		if head := tus(t, ana, nd, "HEAD", path, nil); head.Header.Get("Malla-Media-Id") != res.Header.Get("Malla-Media-Id") {
			t.Errorf("HEAD: %d %v", head.StatusCode, head.Header)
		}
		patch(t, ana, nd, path, half, song[half:])
	}
	if list, err := as(ana, a).Media(t.Context(), httpapi.MediaQuery{}); err != nil || len(list.Items) != 1 {
		t.Errorf("the library has %d items, %v", len(list.Items), err)
	}
}

// TestTheClientGoesOnAtAnotherNode kills the node in the middle of a request. One
// chunk is being spread and one filled then, and more is in the sockets: when
// three quarters are sent, the first chunk is safe.
func TestTheClientGoesOnAtAnotherNode(t *testing.T) {
	m := nodetest.New(t, 3)
	m.Node(0).WaitReady()
	ana := m.Node(0).User("ana")
	ana.Others = []string{m.Node(1).URL(), m.Node(2).URL()}
	song := wavOf(40<<20, 2)
	var once sync.Once
	var most int64
	from := int64(-1) // where it went on
	begun := 0
	killed := make(chan struct{})
	got, err := ana.UploadFile(t.Context(), httpapi.File{
		Name: "song.wav", Body: bytes.NewReader(song), Size: int64(len(song)),
		Started: func(string) { begun++ },
		Progress: func(sent int64) {
			if sent < most && from < 0 {
				from = sent
			}
			most = max(most, sent)
			if sent > int64(len(song))/4*3 {
				once.Do(func() {
					go func() { defer close(killed); m.Node(0).Kill() }()
				})
			}
		},
	})
	<-killed
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d bytes were handed to the system, then it went on at about %d", most, from)
	if begun != 1 || from < chunkSize {
		t.Errorf("the upload was begun %d times, and went on at %d", begun, from)
	}
	if got.Name != "song.wav" || got.Size != int64(len(song)) {
		t.Errorf("%+v", got)
	}
	if err := download(as(ana, m.Node(2)), "song.wav", song); err != nil {
		t.Error(err)
	}
}

func TestATerminatedUploadLeavesNoRecord(t *testing.T) {
	m := nodetest.New(t, 3)
	m.Node(0).WaitReady()
	ana := m.Node(0).User("ana")
	song := wavOf(9<<20, 3)
	path := tus(t, ana, m.Node(0), "POST", "/files/", nil, "Upload-Length", strconv.Itoa(len(song)), "Upload-Metadata", "filename YS53YXY=").Header.Get("Location")
	patch(t, ana, m.Node(0), path, 0, song[:len(song)-5])
	if res := tus(t, ana, m.Node(1), "DELETE", path, nil); res.StatusCode != http.StatusNoContent {
		t.Fatalf("DELETE by another node: %d", res.StatusCode)
	}
	nodetest.Eventually(t, "no node has anything of it", 10*time.Second, func() error {
		for i := range m.Len() {
			if n := chunks(t, m.Node(i)); n > 0 {
				names, _ := filepath.Glob(filepath.Join(m.Node(i).Data(), "uploads", "*"))
				return fmt.Errorf("node %d has %d files, of uploads %v", i+1, n, names)
			}
		}
		return nil
	})
	if res := tus(t, ana, m.Node(2), "HEAD", path, nil); res.StatusCode != http.StatusNotFound {
		t.Errorf("HEAD: %d", res.StatusCode)
	}
}
