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
	signUp(t, page, m.Node(0).PageURL())
	do(t, page, "upload", chromedp.SetUploadFiles(chromedp.CSS("#file-input"), []string{one, two}),
		chromedp.WaitVisible(row("one.mp3", "done")), chromedp.WaitVisible(row("two.mp3", "done")), // nothing moves any more
		chromedp.WaitVisible(in("one.mp3", "play")), chromedp.WaitVisible(in("two.mp3", "play")))
	do(t, page, "select all and convert", click(chromedp.CSS("#select-all")), click(chromedp.CSS("#selection-convert")),
		chromedp.WaitReady(offered("flac")), chromedp.SetValue(chromedp.CSS("#convert-format"), "flac"))
	do(t, page, "see both finish", click(chromedp.CSS("#convert-submit")), chromedp.WaitNotVisible(chromedp.CSS("#convert-dialog")),
		chromedp.WaitVisible(in("one_converted.flac", "play")), chromedp.WaitVisible(in("two_converted.flac", "play")))
	nodetest.Eventually(t, "the page shows both as done", 30*time.Second, func() error {
		if n := eval[int](t, page, `document.querySelectorAll('#jobs [data-status="completed"]').length`); n != 2 {
			return fmt.Errorf("%d of them", n)
		}
		return nil
	})
	job := eval[string](t, page, `document.querySelector('#jobs [data-job]').dataset.job`)
	do(t, page, "look at a job", click(chromedp.CSS(fmt.Sprintf(`#jobs [data-job=%q] [data-action="details"]`, job))),
		chromedp.WaitVisible(chromedp.CSS(`#job-pieces [data-state="finished"]`)), click(chromedp.CSS("#job-show-log")), chromedp.WaitVisible(chromedp.CSS("#job-log")))
	nodetest.Eventually(t, "the log is there", 10*time.Second, func() error {
		if text := eval[string](t, page, `document.querySelector('#job-log').textContent`); !strings.Contains(text, "_converted.flac") || !strings.Contains(text, m.Node(0).Name()) {
			return fmt.Errorf("it says %q", text)
		}
		return nil
	})
	noComplaints(t, page)
}
