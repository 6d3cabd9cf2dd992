package node_test

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"malla/httpapi"
	"malla/node/nodetest"
)

// sound is a WAV file of so many seconds, 96 kB each.
func sound(seconds int) []byte {
	data := make([]byte, 44+seconds*96_000)
	copy(data, "RIFF\x00\x00\x00\x00WAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00\x80\xbb\x00\x00\x00\x77\x01\x00\x02\x00\x10\x00data")
	binary.LittleEndian.PutUint32(data[4:], uint32(len(data)-8))
	binary.LittleEndian.PutUint32(data[40:], uint32(len(data)-44))
	for i := 44; i < len(data); i += 2 {
		binary.LittleEndian.PutUint16(data[i:], uint16(int16(8000*math.Sin(float64(i)/35))))
	}
	return data
}

// badRoad is a way to a node on which long uploads get stuck, or are cut off.
type badRoad struct {
	*httptest.Server

	mu      sync.Mutex // guards the fields below
	hold    bool       // what goes beyond 2 MB of a request waits
	cuts    int        // so many requests are cut off after 1 MB
	unnamed bool       // nobody hears what an upload became
	held    int        // requests that got stuck
	offsets []int64    // that PATCH requests said
}

func newBadRoad(t *testing.T, to string) *badRoad {
	t.Helper()
	target, err := url.Parse(to)
	if err != nil {
		t.Fatal(err)
	}
	r := &badRoad{}
	proxy := &httputil.ReverseProxy{
		Rewrite:       func(p *httputil.ProxyRequest) { p.SetURL(target); p.Out.Host = p.In.Host },
		FlushInterval: -1,
		ModifyResponse: func(res *http.Response) error {
			r.mu.Lock()
			defer r.mu.Unlock()
			if !r.unnamed || res.Header.Get("Malla-Media-Id") == "" {
				return nil
			}
			res.Header.Del("Malla-Media-Id")
			res.Header.Del("Malla-Media-Name")
			if res.Request.Method == http.MethodPatch {
				return io.ErrUnexpectedEOF // the answer is lost
			}
			return nil
		},
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
	}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.Method == http.MethodPatch {
			req.Body = r.body(req)
		}
		proxy.ServeHTTP(w, req)
	}))
	r.Server.Config.ErrorLog = nil
	t.Cleanup(func() {
		r.CloseClientConnections()
		r.Close()
	})
	return r
}

// body is the body of a request as it gets through.
func (r *badRoad) body(req *http.Request) io.ReadCloser {
	r.mu.Lock()
	defer r.mu.Unlock()
	offset, _ := strconv.ParseInt(req.Header.Get("Upload-Offset"), 10, 64)
	r.offsets = append(r.offsets, offset)
	limit, cut := int64(math.MaxInt64), false
	switch {
	case r.hold:
		limit = 2 << 20
	case r.cuts > 0 && req.ContentLength > 1<<20:
		r.cuts--
		limit, cut = 1<<20, true
	}
	return &stuckBody{ReadCloser: req.Body, left: limit, stuck: func() error {
		if !cut {
			r.mu.Lock()
			r.held++
			r.mu.Unlock()
			<-req.Context().Done()
		}
		return io.ErrUnexpectedEOF
	}}
}

type stuckBody struct {
	io.ReadCloser
	left  int64
	stuck func() error
}

func (b *stuckBody) Read(p []byte) (int, error) {
	if b.left == 0 {
		return 0, b.stuck()
	}
	n, err := b.ReadCloser.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	return n, err
}

func (r *badRoad) isStuck() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.held == 0 {
		return fmt.Errorf("no request is stuck")
	}
	return nil
}

// row selects an upload on the page, in that state.
func row(name, state string) chromedp.CSS {
	return chromedp.CSS(fmt.Sprintf(`#uploads [data-upload=%q][data-state=%q]`, name, state))
}

// TestUploadsInABrowser pauses an upload, loads the page anew, chooses the file
// again, and loses the connection on the way: the file arrives whole, and what
// was there is not sent again.
func TestUploadsInABrowser(t *testing.T) {
	needsChromium(t)
	m := nodetest.New(t, 1)
	road := newBadRoad(t, m.Node(0).URL())
	road.hold = true
	data := sound(220) // 21 MB: more than waits unseen in the buffers of connections
	long, short := nodetest.File(t, "long.wav", data), nodetest.File(t, "short.mp3", generated(t, "song.mp3"))
	page := browser(t)
	signUp(t, page, road.URL)
	do(t, page, "upload two at once", chromedp.SetUploadFiles(chromedp.CSS("#file-input"), []string{long, short}),
		chromedp.WaitVisible(in("short.mp3", "play")), chromedp.WaitVisible(row("long.wav", "sending")))
	nodetest.Eventually(t, "the long one is on its way", 20*time.Second, road.isStuck)
	do(t, page, "pause it", click(chromedp.CSS(`#uploads [data-upload="long.wav"] [data-action="pause"]`)), chromedp.WaitVisible(row("long.wav", "paused")))
	noComplaints(t, page)

	do(t, page, "see the short one arrive", chromedp.WaitVisible(row("short.mp3", "done"))) // else the browser asks before it leaves
	do(t, page, "load the page anew", chromedp.Reload(), chromedp.WaitVisible(row("long.wav", "unfinished")))
	eval[bool](t, page, listen)
	road.mu.Lock()
	road.hold, road.cuts, road.offsets = false, 1, nil
	road.mu.Unlock()
	do(t, page, "choose it again", chromedp.SetUploadFiles(chromedp.CSS("#file-input"), []string{long}))
	nodetest.Eventually(t, "it goes on, also behind the cut", time.Minute, func() error { // the node may be busy with what was held
		road.mu.Lock()
		defer road.mu.Unlock()
		if road.cuts != 0 || len(road.offsets) < 2 {
			return fmt.Errorf("it went on at %d", road.offsets)
		}
		return nil
	})
	do(t, page, "see it arrive", chromedp.WaitVisible(row("long.wav", "done")), chromedp.WaitVisible(in("long.wav", "play")))
	road.mu.Lock()
	offsets := road.offsets
	road.mu.Unlock()
	const unsent = 4096 // that the road's own client had not sent yet when it was held
	if offsets[0] < 2<<20-unsent || offsets[len(offsets)-1] <= offsets[0] || !slices.IsSorted(offsets) {
		t.Errorf("it went on at %d: want more than one place, the first at what was there before, the last behind it", offsets)
	}
	if err := download(m.Node(0).User("ana"), "long.wav", data); err != nil {
		t.Error(err)
	}
	if n := eval[int](t, page, `document.querySelectorAll('#uploads [data-upload]').length`); n != 1 {
		t.Errorf("the page shows %d uploads", n)
	}
	if kept := eval[string](t, page, `JSON.stringify(localStorage)`); strings.Contains(kept, "tus::") || strings.Contains(kept, "eyJ") {
		t.Errorf("the browser still keeps %s", kept)
	}
	noComplaints(t, page)
}

// TestWhatIsNotNamedIsNotDoneInABrowser loses the last answer of an upload: as long
// as nobody says what it became, the page says that it is being saved, after it
// was loaded anew too.
func TestWhatIsNotNamedIsNotDoneInABrowser(t *testing.T) {
	needsChromium(t)
	m := nodetest.New(t, 1)
	road := newBadRoad(t, m.Node(0).URL())
	road.unnamed = true
	page := browser(t)
	signUp(t, page, road.URL)
	do(t, page, "upload", chromedp.SetUploadFiles(chromedp.CSS("#file-input"), []string{nodetest.File(t, "song.mp3", generated(t, "song.mp3"))}),
		chromedp.WaitVisible(row("song.mp3", "saving")))
	nodetest.Eventually(t, "it is named", 10*time.Second, func() error { return download(m.Node(0).User("ana"), "song.mp3", generated(t, "song.mp3")) })
	eval[bool](t, page, `BeforeUnloadEvent.prototype.preventDefault = () => {}, true`) // nobody is there to answer
	do(t, page, "load the page anew", chromedp.Reload(), chromedp.WaitVisible(row("song.mp3", "saving")))
	if kept := eval[string](t, page, `JSON.stringify(localStorage)`); !strings.Contains(kept, "tus::") {
		t.Errorf("the browser has forgotten the upload: %s", kept)
	}
	road.mu.Lock()
	road.unnamed = false
	road.mu.Unlock()
	do(t, page, "hear what it became", chromedp.WaitVisible(row("song.mp3", "done")))
	if kept := eval[string](t, page, `JSON.stringify(localStorage)`); strings.Contains(kept, "tus::") {
		t.Errorf("the browser still keeps %s", kept)
	}
}

// TestTheTrashInABrowser deletes and takes it back, then deletes again and finds
// the file in the trash, and at last deletes it for good.
func TestTheTrashInABrowser(t *testing.T) {
	needsChromium(t)
	m := nodetest.New(t, 1)
	page := browser(t)
	signUp(t, page, m.Node(0).PageURL())
	do(t, page, "upload", chromedp.SetUploadFiles(chromedp.CSS("#file-input"), []string{nodetest.File(t, "song.mp3", generated(t, "song.mp3"))}),
		chromedp.WaitVisible(row("song.mp3", "done")), chromedp.WaitVisible(in("song.mp3", "play")))
	remove := func() {
		t.Helper()
		do(t, page, "delete", click(in("song.mp3", "delete")), chromedp.WaitVisible(chromedp.CSS("#delete-confirm")),
			click(chromedp.CSS("#delete-confirm")), chromedp.WaitNotPresent(in("song.mp3", "play")))
	}
	inTrash := func(action string) chromedp.CSS {
		return chromedp.CSS(fmt.Sprintf(`#trash [data-name="song.mp3"] [data-action=%q]`, action))
	}
	remove()
	do(t, page, "undo", click(chromedp.CSS(`#toasts [data-action="toast"]`)), chromedp.WaitVisible(in("song.mp3", "play")),
		chromedp.WaitNotVisible(chromedp.CSS("#trash-count")))
	remove()
	do(t, page, "restore", click(chromedp.CSS("#trash-open")), chromedp.WaitVisible(inTrash("restore")), click(inTrash("restore")),
		chromedp.WaitVisible(chromedp.CSS("#trash-nothing")), click(chromedp.CSS("#trash-close")), chromedp.WaitVisible(in("song.mp3", "play")))
	if err := download(m.Node(0).User("ana"), "song.mp3", generated(t, "song.mp3")); err != nil {
		t.Error(err)
	}
	remove()
	do(t, page, "empty the trash", click(chromedp.CSS("#trash-open")), chromedp.WaitVisible(inTrash("purge")), click(chromedp.CSS("#trash-empty-all")),
		chromedp.WaitVisible(chromedp.CSS("#delete-confirm")), click(chromedp.CSS("#delete-confirm")), chromedp.WaitVisible(chromedp.CSS("#trash-nothing")))
	if list, err := m.Node(0).User("ana").Trash(t.Context(), httpapi.TrashQuery{}); err != nil || len(list.Items) != 0 {
		t.Errorf("in the trash: %+v, %v", list, err)
	}
	noComplaints(t, page)
}
