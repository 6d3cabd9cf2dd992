package node_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"malla/httpapi"
	"malla/node/nodetest"
)

// lateRoad is a way to a node on which answers can be late.
type lateRoad struct {
	*httptest.Server

	mu   sync.Mutex // guards the fields below
	path string     // the next answer to a GET of it is held; "": none
	held chan struct{}
	free chan struct{}
}

func newLateRoad(t *testing.T, to string) *lateRoad {
	t.Helper()
	target, err := url.Parse(to)
	if err != nil {
		t.Fatal(err)
	}
	r := &lateRoad{}
	r.Server = httptest.NewServer(&httputil.ReverseProxy{
		Rewrite:        func(p *httputil.ProxyRequest) { p.SetURL(target); p.Out.Host = p.In.Host },
		FlushInterval:  -1,
		ErrorHandler:   func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
		ModifyResponse: func(res *http.Response) error { r.answer(res.Request); return nil },
	})
	t.Cleanup(func() {
		r.release()
		r.CloseClientConnections()
		r.Close()
	})
	return r
}

// answer waits where the answer to that request is to be held.
func (r *lateRoad) answer(req *http.Request) {
	r.mu.Lock()
	if req.Method != http.MethodGet || r.path == "" || req.URL.Path != r.path {
		r.mu.Unlock()
		return
	}
	r.path = ""
	held, free := r.held, r.free
	r.mu.Unlock()
	close(held)
	select {
	case <-free:
	case <-req.Context().Done():
	}
}

// hold makes the next answer to a GET of path late.
func (r *lateRoad) hold(path string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.path, r.held, r.free = path, make(chan struct{}), make(chan struct{})
}

// isHeld waits until the node has given the answer that is held.
func (r *lateRoad) isHeld(t *testing.T) {
	t.Helper()
	select {
	case <-r.held:
	case <-time.After(30 * time.Second):
		t.Fatal("the page did not ask for it")
	}
}

// release lets the answer through.
func (r *lateRoad) release() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.free != nil {
		close(r.free)
		r.free = nil
	}
}

// watchRows makes the page count how often a row of that name is added to a list, and removed.
func watchRows(t *testing.T, page context.Context, list, name string) (seen func() string) {
	t.Helper()
	eval[bool](t, page, fmt.Sprintf(`(() => {
		window.rows = {added: 0, removed: 0};
		const count = (nodes) => [...nodes].filter((el) => el.dataset?.name === %q).length;
		new MutationObserver((changes) => {
			for (const c of changes) { rows.added += count(c.addedNodes); rows.removed += count(c.removedNodes); }
		}).observe(document.querySelector(%q), {childList: true});
		return true;
	})()`, name, list))
	return func() string {
		t.Helper()
		return eval[string](t, page, "`${rows.added} added, ${rows.removed} removed`")
	}
}

// TestLateAnswersInABrowser holds back what the page asked for until events
// have told it more: the older answer takes nothing of that back.
func TestLateAnswersInABrowser(t *testing.T) {
	needsChromium(t)
	m := nodetest.New(t, 1)
	road := newLateRoad(t, m.Node(0).URL())
	page := browser(t)
	signUp(t, page, road.URL)
	ana := m.Node(0).User("ana")
	song := generated(t, "song.mp3")
	upload(t, ana, "one.mp3", song)
	do(t, page, "see the first", chromedp.WaitVisible(in("one.mp3", "play")))
	refresh := func(actions ...chromedp.Action[chromedp.Void]) {
		t.Helper()
		do(t, page, "ask again", append([]chromedp.Action[chromedp.Void]{click(chromedp.CSS("#library-refresh"))}, actions...)...)
	}
	isFresh := chromedp.WaitVisible(chromedp.CSS(`#library-refresh:not([aria-busy])`))

	road.hold("/media")
	refresh()
	road.isHeld(t)
	upload(t, ana, "two.mp3", append(song[:len(song):len(song)], 0))
	do(t, page, "see the second by an event", chromedp.WaitVisible(in("two.mp3", "play")))
	seen := watchRows(t, page, "#library", "two.mp3")
	road.release()
	do(t, page, "see the late answer", isFresh)
	if got := seen(); got != "0 added, 0 removed" {
		t.Errorf("a late answer: the new file was %s", got)
	}

	road.hold("/media") // the answer to what the page asks after a deletion
	do(t, page, "delete", click(in("two.mp3", "delete")), chromedp.WaitVisible(chromedp.CSS("#delete-confirm")),
		click(chromedp.CSS("#delete-confirm")), chromedp.WaitNotPresent(in("two.mp3", "play")))
	road.isHeld(t)
	do(t, page, "undo", click(chromedp.CSS(`#toasts [data-action="toast"]`)), chromedp.WaitVisible(in("two.mp3", "play")))
	seen = watchRows(t, page, "#library", "two.mp3")
	road.release()
	refresh(isFresh)
	if got := seen(); got != "0 added, 0 removed" {
		t.Errorf("a late answer after an undo: the file was %s", got)
	}

	for _, name := range []string{"one.mp3", "two.mp3"} {
		if _, err := ana.Delete(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	trashed := func(name string) chromedp.CSS {
		return chromedp.CSS(fmt.Sprintf(`#trash [data-name=%q] [data-action="restore"]`, name))
	}
	do(t, page, "look into the trash", click(chromedp.CSS("#trash-open")), chromedp.WaitVisible(trashed("one.mp3")), chromedp.WaitVisible(trashed("two.mp3")))
	road.hold("/trash")
	do(t, page, "look again", click(chromedp.CSS("#trash-close")), click(chromedp.CSS("#trash-open")), chromedp.WaitVisible(trashed("one.mp3")))
	road.isHeld(t)
	list, err := ana.Trash(t.Context(), httpapi.TrashQuery{})
	if err != nil || list.Total != 2 || list.Items[1].Name != "one.mp3" {
		t.Fatalf("in the trash: %+v, %v", list, err)
	}
	if _, err := ana.Restore(t.Context(), list.Items[1].ID); err != nil {
		t.Fatal(err)
	}
	do(t, page, "see it go by an event", chromedp.WaitNotPresent(trashed("one.mp3")))
	seen = watchRows(t, page, "#trash", "one.mp3")
	road.release()
	upload(t, ana, "three.mp3", append(song[:len(song):len(song)], 0, 0))
	if _, err := ana.Delete(t.Context(), "three.mp3"); err != nil {
		t.Fatal(err)
	}
	do(t, page, "see a newer answer", chromedp.WaitVisible(trashed("three.mp3")))
	if got := seen(); got != "0 added, 0 removed" {
		t.Errorf("a late answer of the trash: the restored file was %s", got)
	}
	noComplaints(t, page)
}
