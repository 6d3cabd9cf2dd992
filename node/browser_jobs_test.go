package node_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"malla/node/nodetest"
)

// TestSeveralFilesInABrowser converts a selection, and looks at one of the jobs
// and its log.
func TestSeveralFilesInABrowser(t *testing.T) {
	needsChromium(t)
	m := nodetest.New(t, 1)
	one, two := nodetest.File(t, "one.mp3", generated(t, "song.mp3")), nodetest.File(t, "two.mp3", append(generated(t, "song.mp3"), 0))
	page := browser(t)
	do(t, page, "open the page", chromedp.Navigate(m.Node(0).PageURL()))
	eval[bool](t, page, listen)
	do(t, page, "sign up",
		chromedp.Click(chromedp.CSS("#tab-signup")), chromedp.SendKeys(chromedp.CSS("#signup-user"), "ana"),
		chromedp.SendKeys(chromedp.CSS("#signup-pass"), "correct horse"), chromedp.Click(chromedp.CSS("#signup-submit")),
		chromedp.WaitVisible(chromedp.CSS("#app-view")))
	do(t, page, "upload", chromedp.SetUploadFiles(chromedp.CSS("#file-input"), []string{one, two}),
		chromedp.WaitVisible(in("one.mp3", "play")), chromedp.WaitVisible(in("two.mp3", "play")))
	do(t, page, "select all and convert", chromedp.Click(chromedp.CSS("#select-all")), chromedp.Click(chromedp.CSS("#selection-convert")),
		chromedp.WaitReady(offered("flac")), chromedp.SetValue(chromedp.CSS("#convert-format"), "flac"))
	eval[bool](t, page, `document.querySelector('#convert-format').dispatchEvent(new Event('change', {bubbles: true}))`)
	do(t, page, "see both finish", chromedp.Click(chromedp.CSS("#convert-submit")), chromedp.WaitNotVisible(chromedp.CSS("#convert-dialog")),
		chromedp.WaitVisible(in("one_converted.flac", "play")), chromedp.WaitVisible(in("two_converted.flac", "play")))
	do(t, page, "look at a job", chromedp.Click(chromedp.CSS(`#jobs [data-status="completed"] [data-action="details"]`)),
		chromedp.WaitVisible(chromedp.CSS(`#job-pieces [data-state="finished"]`)), chromedp.Click(chromedp.CSS("#job-show-log")), chromedp.WaitVisible(chromedp.CSS("#job-log")))
	nodetest.Eventually(t, "the log is there", 10*time.Second, func() error {
		if text := eval[string](t, page, `document.querySelector('#job-log').textContent`); !strings.Contains(text, "_converted.flac") || !strings.Contains(text, m.Node(0).Name()) {
			return fmt.Errorf("it says %q", text)
		}
		return nil
	})
	if all := eval[[]string](t, page, `complaints`); len(all) > 0 {
		t.Errorf("the page complained: %q", all)
	}
}
