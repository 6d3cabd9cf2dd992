package httpapi

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"malla/blobs"
	"malla/cluster/state"
)

// nowhere is the address of a node that is gone.
func nowhere(t *testing.T) string {
	t.Helper()
	s := httptest.NewServer(http.NotFoundHandler())
	s.Close()
	return s.URL
}

func TestTheWholeLifeOfAFile(t *testing.T) {
	r := newRig(t)
	ctx := t.Context()
	c := &Client{Base: nowhere(t), Others: []string{nowhere(t), r.url + "/"}}
	if err := c.Health(ctx); err != nil {
		t.Fatal(err)
	}
	check := func(what string, err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	_, err := c.Signup(ctx, "ana", password)
	check("signup", err)
	me, err := c.Me(ctx)
	check("me", err)
	content := strings.Repeat("sound", 1000)
	var sent int64
	up, err := c.Upload(ctx, "my song.mp3", strings.NewReader(content), int64(len(content)), func(n int64) { sent = n })
	check("upload", err)
	endless, err := c.Upload(ctx, "endless.mp3", io.MultiReader(strings.NewReader("of no known size")), -1, nil)
	check("upload of no known size", err)
	list, err := c.Media(ctx, MediaQuery{Query: "my", Sort: "-created", Limit: 5})
	check("media", err)
	info, err := c.Info(ctx, "my song.mp3")
	check("info", err)
	var got bytes.Buffer
	n, err := c.Download(ctx, "my song.mp3", &got, 0, nil)
	check("download", err)
	if me.Username != "ana" || sent != int64(len(content)) || up.Name != "my song.mp3" || endless.Item.Size != 16 || len(list.Items) != 1 || info.ID != up.ID ||
		n != int64(len(content)) || got.String() != content {
		t.Errorf("%+v %d %+v %+v %+v %d", me, sent, up, list, info, n)
	}
	formats, err := c.Formats(ctx)
	check("formats", err)
	asked, err := c.Convert(ctx, ConvertRequest{InputFile: up.ID, OutputFormat: formats[0].Name})
	check("convert", err)
	var seen []string
	job, err := c.WaitJob(ctx, asked.JobID, func(j Job) {
		seen = append(seen, j.Status)
		switch len(seen) {
		case 1:
			r.assign(j.ID)
		case 2:
			r.finish(j.ID, "out")
		}
	})
	check("wait", err)
	if job.Status != Completed || strings.Join(seen, " ") != "pending processing completed" {
		t.Errorf("%+v %v", job, seen)
	}
	jobs, err := c.Jobs(ctx, Completed, 3)
	check("jobs", err)
	queue, err := c.QueueStats(ctx)
	check("queue", err)
	workers, err := c.WorkerStats(ctx)
	check("workers", err)
	nodes, err := c.Nodes(ctx)
	check("nodes", err)
	if len(jobs) != 1 || queue.TotalJobs != 1 || workers.Summary.Total != 2 || len(nodes) != 2 {
		t.Errorf("%v %v %v %v", jobs, queue, workers, nodes)
	}
	shared, err := c.Share(ctx, "my song.mp3", 5)
	check("share", err)
	res, err := http.Get(shared.URL)
	check("open the share", err)
	res.Body.Close()
	shares, err := c.Shares(ctx)
	check("shares", err)
	if res.StatusCode != 200 || len(shares) != 1 {
		t.Errorf("%s %v", res.Status, shares)
	}
	check("unshare", c.Unshare(ctx, shares[0].ID))
	link, err := c.SignURL(ctx, up.ID, 5)
	check("sign", err)
	if link.ExpiresIn != 5 {
		t.Errorf("%+v", link)
	}
	var p *Problem
	if err := c.Cancel(ctx, job.ID); !errors.As(err, &p) || p.Status != 409 {
		t.Errorf("cancel: %v", err)
	}
	_, err = c.Delete(ctx, up.ID)
	check("delete", err)
	if _, err := c.Info(ctx, up.ID); !errors.As(err, &p) || p.Status != 404 || p.Error() == "" {
		t.Errorf("info of what is gone: %v", err)
	}
	check("ready", c.Ready(ctx))
	_, err = c.Version(ctx)
	check("version", err)
	check("logout", c.Logout(ctx))
	if _, err := c.Me(ctx); !errors.As(err, &p) || p.Status != 401 {
		t.Errorf("me: %v", err)
	}
	admin := &Client{Base: r.url}
	_, err = admin.Setup(ctx, setupToken, "root", password)
	check("setup", err)
	if _, err := (&Client{Base: nowhere(t)}).Login(ctx, "ana", password); !errors.As(err, new(*url.Error)) || !Transient(err) {
		t.Errorf("login nowhere: %v", err)
	}
}

// A client never reads older than what it has seen, whichever node answers.
func TestClientCarriesTheIndex(t *testing.T) {
	var index atomic.Value
	index.Store("")
	node := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		index.Store(r.Header.Get("X-Malla-Index"))
		w.Header().Set("X-Malla-Index", r.URL.Query().Get("limit"))
		w.Write([]byte(`{"jobs":[]}`))
	}))
	defer node.Close()
	c := &Client{Base: node.URL}
	for _, limit := range []int{42, 7, 9} {
		if _, err := c.Jobs(t.Context(), "", limit); err != nil {
			t.Fatal(err)
		}
	}
	if index.Load() != "42" {
		t.Errorf("sent %v", index.Load())
	}
}

func TestWhatIsSentAgain(t *testing.T) {
	status := func(code int, count *atomic.Int32) string {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			count.Add(1)
			io.Copy(io.Discard, r.Body)
			if code == 0 {
				panic(http.ErrAbortHandler) // the connection breaks; who knows what was done
			}
			w.WriteHeader(code)
			w.Write([]byte(`{"ok":true}`))
		}))
		t.Cleanup(s.Close)
		return s.URL
	}
	for _, row := range []struct {
		name      string
		first     int // status of the first node; 0: it breaks
		call      func(*Client) error
		elsewhere bool // the second node is asked
	}{
		{"a read after a break", 0, func(c *Client) error { _, err := c.Me(t.Context()); return err }, true},
		{"a read after 503", 503, func(c *Client) error { _, err := c.Me(t.Context()); return err }, true},
		{"a read after 500", 500, func(c *Client) error { _, err := c.Me(t.Context()); return err }, false},
		{"a change after 503", 503, func(c *Client) error { _, err := c.Convert(t.Context(), ConvertRequest{}); return err }, true},
		{"a change after a break", 0, func(c *Client) error { _, err := c.Convert(t.Context(), ConvertRequest{}); return err }, false},
		{"an upload that was sent", 503, func(c *Client) error {
			_, err := c.Upload(t.Context(), "a", strings.NewReader("x"), 1, nil)
			return err
		}, false},
	} {
		var first, second atomic.Int32
		c := &Client{Base: status(row.first, &first), Others: []string{status(200, &second)}}
		err := row.call(c)
		if (second.Load() == 1) != row.elsewhere || (err == nil) != row.elsewhere {
			t.Errorf("%s: the nodes were asked %d and %d times; %v", row.name, first.Load(), second.Load(), err)
		}
	}
}

// A download goes on where it broke, and notices when the file was replaced.
func TestDownloadGoesOn(t *testing.T) {
	content := strings.Repeat("0123456789", 100_000)
	etag := `"` + blobs.RefOf([]byte(content)).String() + `"`
	var asked []string
	replaced := false
	node := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.Header.Get("Range"))
		w.Header().Set("ETag", etag)
		if replaced {
			w.Header().Set("ETag", `"other"`)
		}
		w.Header().Set("Content-Type", "audio/mpeg")
		http.ServeContent(&cutWriter{ResponseWriter: w, left: 300_000}, r, "", time.Time{}, strings.NewReader(content))
	}))
	defer node.Close()
	c := &Client{Base: node.URL}
	var got bytes.Buffer
	n, err := c.Download(t.Context(), "a", &got, 0, nil)
	if err != nil || n != int64(len(content)) || got.String() != content || len(asked) < 4 || asked[0] != "" || !strings.HasPrefix(asked[1], "bytes=") {
		t.Errorf("%d %v, asked %v", n, err, asked)
	}
	got.Reset()
	if n, err := c.Download(t.Context(), "a", &got, 999_990, nil); err != nil || n != int64(len(content)) || got.String() != "0123456789" {
		t.Errorf("%d %v", n, err)
	}
	stop := errors.New("disk full")
	if _, err := c.Download(t.Context(), "a", failingWriter{stop}, 0, nil); !errors.Is(err, stop) {
		t.Error(err)
	}
	_, err = c.Download(t.Context(), "a", io.Discard, 0, func(at, size int64) { replaced = true })
	if !errors.Is(err, ErrChanged) {
		t.Errorf("a replaced file: %v", err)
	}
}

type failingWriter struct{ err error }

func (w failingWriter) Write([]byte) (int, error) { return 0, w.err }

// cutWriter breaks the connection after so many bytes.
type cutWriter struct {
	http.ResponseWriter
	left int
}

func (w *cutWriter) Write(b []byte) (int, error) {
	if w.left -= len(b); w.left < 0 {
		panic(http.ErrAbortHandler)
	}
	return w.ResponseWriter.Write(b)
}

func TestDownloadThatIsCompleteAlready(t *testing.T) {
	r := newRig(t)
	r.put("ana", "song.mp3", "sound")
	c := &Client{Base: r.url, Token: r.token("ana")}
	if n, err := c.Download(t.Context(), "song.mp3", io.Discard, 5, nil); n != 5 || err != nil {
		t.Errorf("%d %v", n, err)
	}
	var p *Problem
	if _, err := c.Download(t.Context(), "song.mp3", io.Discard, 6, nil); !errors.As(err, &p) || p.Status != 416 {
		t.Errorf("%v", err)
	}
}

func TestWaitingEndsWithItsContext(t *testing.T) {
	r := newRig(t)
	id := r.queue("ana", "song.mp3")
	c := &Client{Base: r.url, Token: r.token("ana")}
	ctx, cancel := context.WithCancel(t.Context())
	_, err := c.WaitJob(ctx, id, func(Job) { cancel() })
	if !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if _, err := c.WaitJob(t.Context(), "none", nil); !errors.As(err, new(*Problem)) {
		t.Error(err)
	}
	if !Transient(problemOf(state.Errorf(state.NoLeader, "x"))) || Transient(problemOf(state.Errorf(state.Invalid, "x"))) || Transient(nil) {
		t.Error("what passes by itself is told wrongly")
	}
}

// Refusals of a proxy are told as well as they can be.
func TestRefusalsThatAreNotOurs(t *testing.T) {
	node := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Retry-After", "3")
		http.Error(w, "<html>bad gateway", http.StatusBadGateway)
	}))
	defer node.Close()
	var p *Problem
	_, err := (&Client{Base: node.URL}).Me(t.Context())
	if !errors.As(err, &p) || p.Status != 502 || p.RetryAfter != 3*time.Second || !strings.Contains(p.Error(), "502") {
		t.Errorf("%+v", err)
	}
}
