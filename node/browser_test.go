package node_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"malla/node/nodetest"
)

func needsChromium(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("needs Chromium; the whole suite does it")
	}
}

// browser starts a real Chromium that knows nobody, with a page of desktop size.
func browser(t *testing.T) context.Context {
	t.Helper()
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.NoSandbox, chromedp.UserDataDir(t.TempDir()), chromedp.WindowSize(1280, 900),
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-sync", true),
		chromedp.Flag("autoplay-policy", "no-user-gesture-required"), chromedp.Flag("lang", "en"),
	)
	ctx, cancel := chromedp.NewExecAllocator(t.Context(), options...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	ctx, cancel = context.WithTimeout(ctx, 3*time.Minute)
	t.Cleanup(cancel)
	if err := chromedp.Do(ctx); err != nil { // the browser lives as long as the context of the first call
		t.Fatalf("start Chromium: %v", err)
	}
	return ctx
}

// listen makes the page remember what a page of ours never should have:
// uncaught errors, and what its security policy stopped.
const listen = `(() => {
	window.complaints = [];
	addEventListener('error', e => complaints.push(e.message));
	addEventListener('unhandledrejection', e => complaints.push(String(e.reason)));
	addEventListener('securitypolicyviolation', e => complaints.push(e.violatedDirective + ' ' + e.blockedURI));
	return true;
})()`

// eval returns what an expression gives in the page.
func eval[T any](t *testing.T, page context.Context, expression string) T {
	t.Helper()
	value, err := chromedp.Run(page, chromedp.Evaluate[T](expression))
	if err != nil {
		t.Fatalf("%s: %v", expression, err)
	}
	return value
}

// do runs actions in the page; on a failure it says what the page showed.
func do(t *testing.T, page context.Context, what string, actions ...chromedp.Action[chromedp.Void]) {
	t.Helper()
	step, cancel := context.WithTimeout(page, time.Minute)
	defer cancel()
	if err := chromedp.Do(step, actions...); err != nil {
		t.Fatalf("%s: %v; the page shows:\n%s", what, err, eval[string](t, page, `document.body.innerText`))
	}
}

// shows waits until the first picture is there: the browser's own controls take
// no click before.
func shows(t *testing.T, page context.Context, video string) {
	t.Helper()
	nodetest.Eventually(t, "the film shows", 30*time.Second, func() error {
		if ready := eval[int](t, page, fmt.Sprintf(`document.querySelector(%q).readyState`, video)); ready < 2 {
			return fmt.Errorf("its state is %d", ready)
		}
		return nil
	})
}

// moves waits until the video that the selector names has played a while.
func moves(t *testing.T, page context.Context, video string) {
	t.Helper()
	nodetest.Eventually(t, "the film plays", 30*time.Second, func() error {
		at := eval[float64](t, page, fmt.Sprintf(`document.querySelector(%q).currentTime`, video))
		if at < 0.3 {
			return fmt.Errorf("it is at %v s: %s", at, eval[string](t, page, fmt.Sprintf(
				`(v => JSON.stringify({src: v.currentSrc, ready: v.readyState, network: v.networkState, paused: v.paused, error: v.error && v.error.message}))(document.querySelector(%q))`, video)))
		}
		return nil
	})
}

// Selectors of what a person clicks and sees; the page documents them.
func in(name, action string) chromedp.CSS {
	return chromedp.CSS(fmt.Sprintf(`#library [data-name=%q] [data-action=%q]`, name, action))
}

// offered selects a format in the dialog, which is empty until the API named them.
func offered(format string) chromedp.CSS {
	return chromedp.CSS(fmt.Sprintf(`#convert-format option[value=%q]`, format))
}

// TestAPersonInABrowser is the life of a film as a person sees it, in Chromium.
func TestAPersonInABrowser(t *testing.T) {
	needsChromium(t)
	m := nodetest.New(t, 1)
	film := nodetest.File(t, "film.mp4", generated(t, "film.mp4"))
	page := browser(t)
	do(t, page, "open the page", chromedp.Navigate(m.Node(0).PageURL()))
	eval[bool](t, page, listen)
	do(t, page, "sign up",
		chromedp.Click(chromedp.CSS("#tab-signup")), chromedp.SendKeys(chromedp.CSS("#signup-user"), "ana"),
		chromedp.SendKeys(chromedp.CSS("#signup-pass"), "correct horse"), chromedp.Click(chromedp.CSS("#signup-submit")),
		chromedp.WaitVisible(chromedp.CSS("#app-view")))
	do(t, page, "upload", chromedp.SetUploadFiles(chromedp.CSS("#file-input"), []string{film}),
		chromedp.WaitVisible(in("film.mp4", "play")))
	do(t, page, "play", chromedp.Click(in("film.mp4", "play")), chromedp.WaitVisible(chromedp.CSS("#video-player")))
	moves(t, page, "#video-player")
	do(t, page, "ask for a conversion", chromedp.Click(chromedp.CSS("#video-close")),
		chromedp.Click(in("film.mp4", "convert")), chromedp.WaitReady(offered("webm")),
		chromedp.SetValue(chromedp.CSS("#convert-format"), "webm"))
	eval[bool](t, page, `document.querySelector('#convert-format').dispatchEvent(new Event('change', {bubbles: true}))`)
	do(t, page, "see the job finish", chromedp.Click(chromedp.CSS("#convert-submit")),
		chromedp.WaitVisible(chromedp.CSS(`#jobs [data-status="completed"]`)), chromedp.WaitVisible(in("film_converted.webm", "share")))
	do(t, page, "share", chromedp.Click(in("film_converted.webm", "share")),
		chromedp.WaitVisible(chromedp.CSS("#share-create")), chromedp.Click(chromedp.CSS("#share-create")),
		chromedp.WaitVisible(chromedp.CSS("#share-link")))
	kept := eval[string](t, page, `document.cookie + JSON.stringify(localStorage) + JSON.stringify(sessionStorage)`)
	if strings.Contains(kept, "eyJ") {
		t.Errorf("scripts of the page can read a token: %s", kept)
	}
	if all := eval[[]string](t, page, `complaints`); len(all) > 0 {
		t.Errorf("the page complained: %q", all)
	}
	link := eval[string](t, page, `document.querySelector('#share-link').value`)
	stranger := browser(t)
	do(t, stranger, "open the link as a stranger", chromedp.Navigate(link), chromedp.WaitReady(chromedp.CSS("video")))
	shows(t, stranger, "video")
	do(t, stranger, "play it", chromedp.Click(chromedp.CSS("video"))) // strangers' bytes are sandboxed, so nothing plays by itself
	moves(t, stranger, "video")
}

// TestTheDashboard shows the nodes to whoever opens it, signed in or not.
func TestTheDashboard(t *testing.T) {
	needsChromium(t)
	m := nodetest.New(t, 2)
	page := browser(t)
	do(t, page, "open the dashboard", chromedp.Navigate(m.Node(0).PageURL()+"/admin.html"))
	eval[bool](t, page, listen)
	for i := range m.Len() {
		card := chromedp.CSS(fmt.Sprintf(`#node-cards [data-node=%q]`, m.Node(i).Name()))
		do(t, page, "see the card of "+m.Node(i).Name(), chromedp.WaitVisible(card))
	}
	if n := eval[int](t, page, `[...document.querySelectorAll('canvas')].filter(c => c.width > 0 && c.height > 0).length`); n < 3 {
		t.Errorf("%d charts", n)
	}
	if all := eval[[]string](t, page, `complaints`); len(all) > 0 {
		t.Errorf("the page complained: %q", all)
	}
}
