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

// reached waits until a click on what its selector names reaches it: a dialog that opens
// moves, and what a list only just got is drawn, and takes clicks, a little later.
const reached = `(async () => {
	for (let before = ''; ; await new Promise(requestAnimationFrame)) {
		const el = document.querySelector(%q);
		if (!el) continue;
		el.scrollIntoView({block: 'nearest', behavior: 'instant'});
		const {x, y, width, height} = el.getBoundingClientRect();
		const now = [x, y, width, height].join();
		if (now === before && el.contains(document.elementFromPoint(x + width / 2, y + height / 2))) return true;
		before = now;
	}
})()`

// click presses what the selector names, as soon as that reaches it.
func click(sel chromedp.CSS) chromedp.Action[chromedp.Void] {
	return func(ctx context.Context, t *chromedp.Target) (chromedp.Void, error) {
		if _, err := chromedp.WaitVisible(sel)(ctx, t); err != nil {
			return chromedp.Void{}, err
		}
		if _, err := chromedp.Evaluate[bool](fmt.Sprintf(reached, sel), chromedp.EvalAwaitPromise)(ctx, t); err != nil {
			return chromedp.Void{}, err
		}
		return chromedp.Click(sel)(ctx, t)
	}
}

// signUp opens the page at url and makes an account for ana, whom it leaves signed in.
func signUp(t *testing.T, page context.Context, url string) {
	t.Helper()
	do(t, page, "open the page", chromedp.Navigate(url))
	eval[bool](t, page, listen)
	do(t, page, "sign up",
		click(chromedp.CSS("#tab-signup")), chromedp.SendKeys(chromedp.CSS("#signup-user"), "ana"),
		chromedp.SendKeys(chromedp.CSS("#signup-pass"), "correct horse"), click(chromedp.CSS("#signup-submit")),
		chromedp.WaitVisible(chromedp.CSS("#app-view")))
}

// noComplaints fails the test where the page remembered something, see listen.
func noComplaints(t *testing.T, page context.Context) {
	t.Helper()
	if all := eval[[]string](t, page, `complaints`); len(all) > 0 {
		t.Errorf("the page complained: %q", all)
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
	signUp(t, page, m.Node(0).PageURL())
	do(t, page, "upload", chromedp.SetUploadFiles(chromedp.CSS("#file-input"), []string{film}),
		chromedp.WaitVisible(in("film.mp4", "play")))
	do(t, page, "play", click(in("film.mp4", "play")), chromedp.WaitVisible(chromedp.CSS("#video-player")))
	moves(t, page, "#video-player")
	do(t, page, "ask for a conversion", click(chromedp.CSS("#video-close")),
		click(in("film.mp4", "convert")), chromedp.WaitReady(offered("webm")),
		chromedp.SetValue(chromedp.CSS("#convert-format"), "webm"))
	do(t, page, "see the job finish", click(chromedp.CSS("#convert-submit")),
		chromedp.WaitVisible(chromedp.CSS(`#jobs [data-status="completed"]`)), chromedp.WaitVisible(in("film_converted.webm", "share")))
	do(t, page, "share", click(in("film_converted.webm", "share")),
		chromedp.WaitVisible(chromedp.CSS("#share-create")), click(chromedp.CSS("#share-create")),
		chromedp.WaitVisible(chromedp.CSS("#share-link")))
	kept := eval[string](t, page, `document.cookie + JSON.stringify(localStorage) + JSON.stringify(sessionStorage)`)
	if strings.Contains(kept, "eyJ") {
		t.Errorf("scripts of the page can read a token: %s", kept)
	}
	noComplaints(t, page)
	link := eval[string](t, page, `document.querySelector('#share-link').value`)
	stranger := browser(t)
	do(t, stranger, "open the link as a stranger", chromedp.Navigate(link), chromedp.WaitReady(chromedp.CSS("video")))
	shows(t, stranger, "video")
	do(t, stranger, "play it", chromedp.Click(chromedp.CSS("video"))) // strangers' bytes are sandboxed: nothing plays by itself, no script runs
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
	noComplaints(t, page)
}
