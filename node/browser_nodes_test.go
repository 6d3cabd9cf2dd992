package node_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"malla/httpapi"
	"malla/node"
	"malla/node/nodetest"
)

// TestAnAdministratorEmptiesANode is a node being emptied, and taken back, by
// whoever looks after the mesh.
func TestAnAdministratorEmptiesANode(t *testing.T) {
	needsChromium(t)
	m := nodetest.New(t, 2, func(_ int, cfg *node.Config) { cfg.Copies, cfg.Timing.RepairWait = 1, time.Minute })
	link, _ := m.Node(0).SetupURL()
	_, token, _ := strings.Cut(link, "#setup=")
	if _, err := m.Node(0).Client().Setup(t.Context(), token, "root", "correct horse"); err != nil {
		t.Fatal(err)
	}
	page := browser(t)
	do(t, page, "sign in", chromedp.Navigate(m.Node(0).PageURL()), chromedp.WaitVisible(chromedp.CSS("#login-user")),
		chromedp.SendKeys(chromedp.CSS("#login-user"), "root"), chromedp.SendKeys(chromedp.CSS("#login-pass"), "correct horse"),
		click(chromedp.CSS("#login-submit")), chromedp.WaitVisible(chromedp.CSS("#app-view")))
	eval[bool](t, page, listen)
	row := fmt.Sprintf(`#nodes [data-node=%q] `, m.Node(1).Name())
	press := func(action string) chromedp.CSS { return chromedp.CSS(row + fmt.Sprintf(`[data-action=%q]`, action)) }
	becomes := func(want httpapi.Draining) {
		t.Helper()
		nodetest.Eventually(t, fmt.Sprintf("the node is %q", want), 30*time.Second, func() error {
			if s := statusOf(m.Node(0), m.Node(1)); s.Draining != want {
				return fmt.Errorf("it is %+v", s)
			}
			return nil
		})
	}
	do(t, page, "ask to empty it", click(chromedp.CSS("#api-badge")), chromedp.WaitVisible(press("drain")), click(press("drain")))
	becomes("") // it is only asked
	do(t, page, "confirm", chromedp.WaitVisible(press("drain-confirm")), click(press("drain-confirm")), chromedp.WaitVisible(press("undrain")))
	becomes(httpapi.IsEmpty)
	nodetest.Eventually(t, "the page says so", 10*time.Second, func() error {
		if text := eval[string](t, page, fmt.Sprintf(`document.querySelector(%q).innerText`, row)); !strings.Contains(text, "may be stopped") {
			return fmt.Errorf("it shows %q", text)
		}
		return nil
	})
	do(t, page, "use it again", click(press("undrain")), chromedp.WaitVisible(press("drain")))
	becomes("")
	forgets(t, page, m, press)
	noComplaints(t, page)
}

// forgets has the second node die and be forgotten, on the page. The mesh of two
// needs a third one to agree on that.
func forgets(t *testing.T, page context.Context, m *nodetest.Mesh, press func(action string) chromedp.CSS) {
	t.Helper()
	says := func(words string) {
		t.Helper()
		nodetest.Eventually(t, "the page says: "+words, 20*time.Second, func() error {
			if text := eval[string](t, page, `document.querySelector('#nodes-note').innerText`); !strings.Contains(text, words) {
				return fmt.Errorf("it shows %q", text)
			}
			return nil
		})
	}
	says("A third node lets any one fail")
	m.Add(func(_ int, cfg *node.Config) { cfg.Copies = 1 })
	says("survives the loss of 1 node")
	gone := m.Node(1).Name()
	m.Node(1).Kill()
	do(t, page, "ask to forget it", chromedp.WaitVisible(press("forget")), click(press("forget")),
		chromedp.WaitVisible(press("forget-confirm")), click(press("forget-confirm")))
	// A minute, or what stands for it here, must pass before its files are copied.
	do(t, page, "it warns", chromedp.WaitVisible(press("forget-force")), click(press("forget-force")))
	nodetest.Eventually(t, "it is forgotten", 20*time.Second, func() error {
		for _, s := range m.Node(0).Nodes() {
			if s.Name == gone {
				return fmt.Errorf("it is %+v", s)
			}
		}
		return nil
	})
}
