package node_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"malla/httpapi"
	"malla/node"
	"malla/node/nodetest"
)

// TestTheReplacedSystemsContract calls part 1 of the contract on a running
// node, in the way in which the replaced system's pages and scripts do: with
// nothing but HTTP. What each rule is in detail is tested in package httpapi.
func TestTheReplacedSystemsContract(t *testing.T) {
	m := nodetest.New(t, 1, func(_ int, cfg *node.Config) { cfg.Name = "worker_a" })
	base := m.Node(0).URL()
	ana, bob := m.Node(0).User("ana"), m.Node(0).User("bob")
	song := generated(t, "song.mp3")
	upload(t, ana, "a song.mp3", song)
	shared, err := ana.Share(t.Context(), "a song.mp3", 60)
	if err != nil {
		t.Fatal(err)
	}
	token := shared.URL[strings.LastIndex(shared.URL, "/")+1:]
	again, kind := form(t, "other.mp3", song)
	text, textKind := form(t, "notes.mp3", []byte("only text"))
	const asForm, asJSON = "application/x-www-form-urlencoded", "application/json"
	for _, row := range []struct {
		name         string
		method, path string
		user         *httpapi.Client
		kind         string // Content-Type of the body
		body         string
		status       int
		want         string // that the answer holds
	}{
		{"sign up", "POST", "/auth/signup", nil, asJSON, `{"username":"carla","password":"12345678"}`, 200, `"ok":true,"access_token":"`},
		{"sign up with a bad name", "POST", "/auth/signup", nil, asJSON, `{"username":"c","password":"12345678"}`, 400, `"detail":"`},
		{"sign up with a short password", "POST", "/auth/signup", nil, asJSON, `{"username":"dora","password":"1234567"}`, 400, `"detail":"`},
		{"sign up with a taken name", "POST", "/auth/signup", nil, asJSON, `{"username":"ana","password":"12345678"}`, 409, `taken`},
		{"sign in by form", "POST", "/auth/login", nil, asForm, "username=ana&password=correct+horse", 200, `"token_type":"bearer"`},
		{"sign in by JSON", "POST", "/auth/login", nil, asJSON, `{"username":"ana","password":"correct horse"}`, 200, `"access_token":"`},
		{"sign in with a wrong password", "POST", "/auth/login", nil, asForm, "username=ana&password=wrong", 400, `"detail":"`},
		{"sign in as nobody", "POST", "/auth/login", nil, asForm, "username=nobody&password=wrong", 400, `"detail":"`},
		{"health", "GET", "/health", nil, "", "", 200, `"ok":true`},
		{"metrics", "GET", "/metrics", nil, "", "", 200, "api_uploads_total"},
		{"metrics of the worker", "GET", "/metrics", nil, "", "", 200, "worker_jobs_in_progress"},
		{"metrics of the agreement", "GET", "/metrics", nil, "", "", 200, "raft_"},
		{"list", "GET", "/media", ana, "", "", 200, `"objects":["a song.mp3"]`},
		{"list of somebody without files", "GET", "/media", bob, "", "", 200, `"objects":[]`},
		{"list without a token", "GET", "/media", nil, "", "", 401, `"detail":"`},
		{"bytes", "GET", "/media/a%20song.mp3", ana, "", "", 200, string(song[:64])},
		{"bytes without a token", "GET", "/media/a%20song.mp3", nil, "", "", 401, ""},
		{"bytes of somebody else", "GET", "/media/a%20song.mp3", bob, "", "", 404, ""},
		{"bytes of nothing", "GET", "/media/none.mp3", ana, "", "", 404, `"detail":"`},
		{"upload", "POST", "/upload", ana, kind, again, 200, `"ok":true,"name":"other.mp3"`},
		{"upload without a token", "POST", "/upload", nil, kind, again, 401, ""},
		{"upload of text", "POST", "/upload", ana, textKind, text, 422, `"detail":"`},
		{"convert", "POST", "/convert", ana, asJSON, `{"input_file":"a song.mp3","output_format":"WAV","options":null}`, 200, `"ok":true,"job_id":"`},
		{"convert to what is no format", "POST", "/convert", ana, asJSON, `{"input_file":"a song.mp3","output_format":"exe"}`, 400, "output_format"},
		{"convert with a bad option", "POST", "/convert", ana, asJSON, `{"input_file":"a song.mp3","output_format":"flac","options":{"compression":99}}`, 400, "compression"},
		{"convert what is not there", "POST", "/convert", ana, asJSON, `{"input_file":"none.mp3","output_format":"wav"}`, 404, ""},
		{"convert somebody else's", "POST", "/convert", bob, asJSON, `{"input_file":"a song.mp3","output_format":"wav"}`, 404, ""},
		{"jobs", "GET", "/jobs?limit=10", ana, "", "", 200, `"input_file":"a song.mp3"`},
		{"jobs of a status", "GET", "/jobs?status=failed", ana, "", "", 200, `"jobs":[]`},
		{"jobs for everybody", "GET", "/jobs?limit=10", nil, "", "", 200, `"output_format":"wav"`},
		{"queue", "GET", "/queue/stats", ana, "", "", 200, `"total_jobs":1`},
		{"queue without a token", "GET", "/queue/stats", nil, "", "", 401, ""},
		{"workers", "GET", "/workers/stats", nil, "", "", 200, `"worker_id":"worker_a"`},
		{"share", "POST", "/share/a%20song.mp3?minutes=5", ana, "", "", 200, `"expires_in_min":5`},
		{"share for as long as can be", "POST", "/share/a%20song.mp3?minutes=99999999", ana, "", "", 200, `"expires_in_min":10080`},
		{"share somebody else's", "POST", "/share/a%20song.mp3?minutes=5", bob, "", "", 404, ""},
		{"share without a token", "POST", "/share/a%20song.mp3", nil, "", "", 401, ""},
		{"open a share", "GET", "/s/" + token, nil, "", "", 200, string(song[:64])},
		{"open no share", "GET", "/s/" + strings.Repeat("x", len(token)), nil, "", "", 404, `"detail":"`},
		{"delete somebody else's", "DELETE", "/media/a%20song.mp3", bob, "", "", 404, ""},
		{"delete without a token", "DELETE", "/media/a%20song.mp3", nil, "", "", 401, ""},
		{"delete", "DELETE", "/media/other.mp3", ana, "", "", 200, `"ok":true`},
		{"the player", "GET", "/player.html", nil, "", "", 200, "<html"},
		{"the player at the root", "GET", "/", nil, "", "", 200, "<html"},
		{"the dashboard", "GET", "/admin.html", nil, "", "", 200, "<html"},
		{"nothing", "GET", "/nothing/here", nil, "", "", 404, ""},
	} {
		req, err := http.NewRequestWithContext(t.Context(), row.method, base+row.path, strings.NewReader(row.body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Origin", "http://localhost:5500") // the old pages are opened from elsewhere
		req.Header.Set("ngrok-skip-browser-warning", "true")
		if row.kind != "" {
			req.Header.Set("Content-Type", row.kind)
		}
		if row.user != nil {
			req.Header.Set("Authorization", "Bearer "+row.user.Token)
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatalf("%s: %v", row.name, err)
		}
		body := nodetest.Read(t, res.Body)
		if res.StatusCode != row.status || !bytes.Contains(body, []byte(row.want)) {
			t.Errorf("%s: status %d, want %d with %q:\n%.300s", row.name, res.StatusCode, row.status, row.want, body)
		}
		if row.status >= 400 && !isProblem(res, body) {
			t.Errorf("%s: no problem document: %s %.200s", row.name, res.Header.Get("Content-Type"), body)
		}
		if res.Header.Get("Access-Control-Allow-Origin") != "*" {
			t.Errorf("%s: pages of other origins cannot read the answer", row.name)
		}
	}
}

// isProblem tells whether an answer is what the old pages can show: JSON whose
// detail is a string.
func isProblem(res *http.Response, body []byte) bool {
	var p struct {
		Detail string `json:"detail"`
		Status int    `json:"status"`
	}
	return strings.HasPrefix(res.Header.Get("Content-Type"), "application/problem+json") &&
		json.Unmarshal(body, &p) == nil && p.Detail != "" && p.Status == res.StatusCode
}

// form is a multipart body with one file, and its Content-Type.
func form(t *testing.T, name string, data []byte) (body, kind string) {
	t.Helper()
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	part, err := w.CreateFormFile("file", name)
	if err != nil {
		t.Fatal(err)
	}
	part.Write(data)
	w.Close()
	return b.String(), w.FormDataContentType()
}

// TestMediaPlaysByRange reads pieces of a film as players do.
func TestMediaPlaysByRange(t *testing.T) {
	m := nodetest.New(t, 2)
	c := m.Node(0).User("ana")
	film := generated(t, "film.mp4")
	upload(t, c, "película ñ.mp4", film)
	other := m.Node(1).URL()
	nodetest.Eventually(t, "the other node has it", waitShort, func() error {
		return download(c.At(other), "película ñ.mp4", film)
	})
	for _, row := range []struct {
		header   string
		status   int
		from, to int
	}{
		{"bytes=0-99", 206, 0, 100},
		{"bytes=100-", 206, 100, len(film)},
		{"bytes=-50", 206, len(film) - 50, len(film)},
		{"bytes=0-", 206, 0, len(film)},
		{fmt.Sprintf("bytes=%d-", len(film)), 416, 0, 0},
		{"bytes=0-1,5-9", 200, 0, len(film)},
	} {
		req, err := http.NewRequestWithContext(t.Context(), "GET", other+"/media/"+url.PathEscape("película ñ.mp4"), nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+c.Token)
		req.Header.Set("Range", row.header)
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		if res.StatusCode != row.status || row.status < 400 && !bytes.Equal(body, film[row.from:row.to]) {
			t.Errorf("%s: status %d, %d bytes", row.header, res.StatusCode, len(body))
		}
	}
}
