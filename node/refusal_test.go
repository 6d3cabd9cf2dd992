package node_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"malla/httpapi"
	"malla/node"
	"malla/node/nodetest"
)

// waitShort is for what takes a moment on a busy machine.
const waitShort = 10 * time.Second

// problem fails unless err is a problem with that status whose text holds the word.
func problem(t *testing.T, what string, err error, status int, word string) {
	t.Helper()
	var p *httpapi.Problem
	switch {
	case !errors.As(err, &p):
		t.Errorf("%s: %v, want a problem with status %d", what, err, status)
	case p.Status != status || !strings.Contains(strings.ToLower(p.Detail+p.Field), word):
		t.Errorf("%s: status %d, %q (field %q); want %d and the word %q", what, p.Status, p.Detail, p.Field, status, word)
	}
}

// chunks counts the chunks that a node keeps and the uploads under way there.
func chunks(t *testing.T, nd *nodetest.Node) int {
	t.Helper()
	n := 0
	for _, dir := range []string{"blobs/chunks", "blobs/staging", "uploads"} {
		err := filepath.WalkDir(filepath.Join(nd.Data(), dir), func(_ string, d os.DirEntry, err error) error {
			if err == nil && !d.IsDir() {
				n++
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return n
}

func TestBadUploadsAreRefusedAndLeaveNothing(t *testing.T) {
	m := nodetest.New(t, 2)
	c := m.Node(0).User("ana")
	film := generated(t, "film.mp4")
	for _, row := range []struct {
		name   string
		data   []byte
		status int
		word   string
	}{
		{"text.mp4", []byte(strings.Repeat("this is no film\n", 1000)), 422, "not audio or video"},
		{"page.mp4", []byte("<html><script>alert(1)</script>"), 422, "not audio or video"},
		{"playlist.mp4", []byte("#EXTM3U\n#EXTINF:1,\n/etc/passwd\n"), 422, "not audio or video"},
		{"empty.mp4", nil, 400, "empty"},
		{"cut.mp4", film[:200], 422, "neither sound nor moving picture"},
	} {
		_, err := c.Upload(t.Context(), row.name, bytes.NewReader(row.data), int64(len(row.data)), nil)
		problem(t, row.name, err, row.status, row.word)
	}
	// An upload that breaks off: the body ends before its length.
	_, err := c.Upload(t.Context(), "broken.mp4", io.MultiReader(bytes.NewReader(film[:len(film)/2]), failing{}), int64(len(film)), nil)
	if err == nil {
		t.Error("half an upload was taken")
	}
	list, err := c.Media(t.Context(), httpapi.MediaQuery{})
	if err != nil || len(list.Objects) != 0 {
		t.Errorf("library: %v, %v", list.Objects, err)
	}
	for i := range m.Len() {
		nodetest.Eventually(t, "nothing is left", 10*time.Second, func() error {
			if n := chunks(t, m.Node(i)); n != 0 {
				return fmt.Errorf("%d files in the stores of node %d", n, i+1)
			}
			return nil
		})
	}
}

// failing is a connection that breaks.
type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errors.New("the cable was pulled") }

func TestBadConversionsNameTheField(t *testing.T) {
	m := nodetest.New(t, 1)
	c := m.Node(0).User("ana")
	upload(t, c, "song.mp3", generated(t, "song.mp3"))
	upload(t, c, "film.mp4", generated(t, "film.mp4"))
	for _, row := range []struct {
		ask    httpapi.ConvertRequest
		status int
		word   string
	}{
		{httpapi.ConvertRequest{InputFile: "song.mp3", OutputFormat: "exe"}, 400, "output_format"},
		{httpapi.ConvertRequest{InputFile: "song.mp3", OutputFormat: ""}, 400, "output_format"},
		{httpapi.ConvertRequest{InputFile: "song.mp3", OutputFormat: "mp4"}, 400, "no moving picture"},
		{httpapi.ConvertRequest{InputFile: "film.mp4", OutputFormat: "mp4", Options: []byte(`{"crf":99}`)}, 400, "options.crf"},
		{httpapi.ConvertRequest{InputFile: "film.mp4", OutputFormat: "mp4", Options: []byte(`{"preset":"-i /etc/passwd"}`)}, 400, "options.preset"},
		{httpapi.ConvertRequest{InputFile: "song.mp3", OutputFormat: "flac", Options: []byte(`{"compression":"best"}`)}, 400, "options.compression"},
		{httpapi.ConvertRequest{InputFile: "song.mp3", OutputFormat: "mp3", Options: []byte(`{"bitrate":"1k"}`)}, 400, "options.bitrate"},
		{httpapi.ConvertRequest{InputFile: "nothing.mp3", OutputFormat: "mp3"}, 404, ""},
	} {
		_, err := c.Convert(t.Context(), row.ask)
		problem(t, fmt.Sprintf("%+v", row.ask), err, row.status, row.word)
	}
	jobs, err := c.Jobs(t.Context(), "", 50)
	if err != nil || len(jobs) != 0 {
		t.Errorf("jobs: %v, %v", jobs, err)
	}
}

func TestOthersThingsAreNotThere(t *testing.T) {
	m := nodetest.New(t, 1)
	ana, bob := m.Node(0).User("ana"), m.Node(0).User("bob")
	item := upload(t, ana, "song.mp3", generated(t, "song.mp3"))
	asked, err := ana.Convert(t.Context(), httpapi.ConvertRequest{InputFile: "song.mp3", OutputFormat: "wav"})
	if err != nil {
		t.Fatal(err)
	}
	for what, err := range map[string]error{
		"bytes by name": download(bob, "song.mp3", nil),
		"bytes by id":   download(bob, item.ID, nil),
		"delete":        func() error { _, err := bob.Delete(t.Context(), item.ID); return err }(),
		"cancel":        bob.Cancel(t.Context(), asked.JobID),
		"job":           func() error { _, err := bob.Job(t.Context(), asked.JobID); return err }(),
		"share":         func() error { _, err := bob.Share(t.Context(), item.ID, 5); return err }(),
		"convert": func() error {
			_, err := bob.Convert(t.Context(), httpapi.ConvertRequest{InputFile: item.ID, OutputFormat: "wav"})
			return err
		}(),
	} {
		problem(t, what, err, 404, "")
	}
	_, err = m.Node(0).Client().Login(t.Context(), "ana", "not her password")
	problem(t, "wrong password", err, 400, "wrong")
}

func TestAFullDiskIsSaidBeforeTrouble(t *testing.T) {
	m := nodetest.New(t, 1, func(_ int, cfg *node.Config) { cfg.Reserve = 1 << 60 })
	c := m.Node(0).User("ana")
	song := generated(t, "song.mp3")
	_, err := c.Upload(t.Context(), "song.mp3", bytes.NewReader(song), int64(len(song)), nil)
	problem(t, "upload to a full disk", err, http.StatusInsufficientStorage, "room")
	if n := chunks(t, m.Node(0)); n != 0 {
		t.Errorf("%d files are left", n)
	}
}

func TestWithoutAQuorumReadsGoOn(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for time-outs; the whole suite does it")
	}
	m := nodetest.New(t, 3)
	song := generated(t, "song.mp3")
	page := browser(t)
	signUp(t, page, m.Node(0).PageURL())
	c := m.Node(0).User("ana")
	upload(t, c, "song.mp3", song)
	m.Node(1).Kill()
	m.Node(2).Kill()
	nodetest.Eventually(t, "writes are refused", 30*time.Second, func() error {
		_, err := c.Share(t.Context(), "song.mp3", 5)
		var p *httpapi.Problem
		if !errors.As(err, &p) || p.Status != http.StatusServiceUnavailable {
			return fmt.Errorf("share: %v", err)
		}
		if p.RetryAfter <= 0 {
			return fmt.Errorf("no Retry-After: %+v", p)
		}
		return nil
	})
	if err := download(c, "song.mp3", song); err != nil {
		t.Errorf("read without a quorum: %v", err)
	}
	if m.Node(0).Ready() == nil {
		t.Error("ready without a quorum")
	}
	if why := staleness(t, c, "/media"); why == "" {
		t.Error("a read without a quorum does not say so")
	}
	strong := as(c, m.Node(0))
	strong.Consistency = httpapi.Strong
	_, err := strong.Media(t.Context(), httpapi.MediaQuery{})
	problem(t, "strong read without a quorum", err, http.StatusServiceUnavailable, "consistency=strong")
	shown, hidden := chromedp.WaitVisible(chromedp.CSS("#banner")), chromedp.WaitNotVisible(chromedp.CSS("#banner"))
	do(t, page, "the player says so", shown)
	noComplaints(t, page)
	do(t, page, "the dashboard says so", chromedp.Navigate(m.Node(0).PageURL()+"/admin.html"), shown)
	m.Node(1).Restart()
	do(t, page, "the dashboard says that it is over", hidden)
	nodetest.Eventually(t, "writes work again", 20*time.Second, func() error {
		_, err := c.Share(t.Context(), "song.mp3", 5)
		return err
	})
	if list, err := strong.Media(t.Context(), httpapi.MediaQuery{}); err != nil || len(list.Objects) != 1 {
		t.Errorf("strong read with a quorum again: %v, %v", list.Objects, err)
	}
	nodetest.Eventually(t, "reads are the newest again", 20*time.Second, func() error {
		if why := staleness(t, c, "/media"); why != "" {
			return errors.New(why)
		}
		return nil
	})
}

// staleness is what an answer says about not being the newest.
func staleness(t *testing.T, c *httpapi.Client, path string) string {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, c.Base+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+c.Token)
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != http.StatusOK {
		t.Errorf("GET %s: %s", path, res.Status)
	}
	return res.Header.Get("X-Malla-Stale")
}
