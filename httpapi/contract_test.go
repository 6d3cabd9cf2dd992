package httpapi

import (
	"bytes"
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestContract is part 1 of the contract: every row and every refusal.
func TestContract(t *testing.T) {
	r := newRig(t)
	r.put("ana", "song.mp3", "sound")
	r.put("carl", "of carl.mp4", "film")
	r.token("bob")
	formBody, formKind := form(t, "new.mp3", "new sound")
	textBody, textKind := form(t, "page.mp3", "text only")
	emptyBody, emptyKind := form(t, "empty.mp3", "")
	share := read[Shared](r.do(req{method: "POST", path: "/share/song.mp3", as: "ana"}).want(200))
	sharePath := share.URL[strings.Index(share.URL, "/s/"):]
	asForm := []string{"Content-Type", "application/x-www-form-urlencoded"}
	asJSON := []string{"Content-Type", "application/json"}
	rows := []struct {
		name   string
		req    req
		status int
		body   string // text that the answer holds
		field  string // that the problem names
	}{
		{"signup", req{method: "POST", path: "/auth/signup", header: asJSON, body: `{"username":" karl ","password":"12345678"}`}, 200, `"token_type":"bearer"`, ""},
		{"signup says ok", req{method: "POST", path: "/auth/signup", header: asJSON, body: `{"username":"cara","password":"12345678"}`}, 200, `"ok":true`, ""},
		{"signup with a bad name", req{method: "POST", path: "/auth/signup", body: `{"username":"a b","password":"12345678"}`}, 400, "username", "username"},
		{"signup with a short password", req{method: "POST", path: "/auth/signup", body: `{"username":"dora","password":"1234567"}`}, 400, "8", "password"},
		{"signup with an endless password", req{method: "POST", path: "/auth/signup", body: map[string]string{"username": "dora", "password": strings.Repeat("x", 5000)}}, 400, "256", "password"},
		{"signup with a taken name", req{method: "POST", path: "/auth/signup", body: `{"username":"ana","password":"12345678"}`}, 409, "taken", ""},
		{"signup with a twin of a name", req{method: "POST", path: "/auth/signup", body: `{"username":"ANA","password":"12345678"}`}, 409, "taken", ""},
		{"signup wanting more", req{method: "POST", path: "/auth/signup", body: `{"username":"eve","password":"12345678","role":"admin"}`}, 400, "role", "role"},
		{"signup with a number", req{method: "POST", path: "/auth/signup", body: `{"username":5,"password":"12345678"}`}, 400, "username", "username"},
		{"signup without JSON", req{method: "POST", path: "/auth/signup", body: `username=ana`}, 400, "JSON", ""},
		{"signup with an endless body", req{method: "POST", path: "/auth/signup", body: strings.Repeat(" ", 70<<10)}, 413, "", ""},

		{"login by form", req{method: "POST", path: "/auth/login", header: asForm, body: "grant_type=password&username=ana&password=correct+horse&scope="}, 200, `"access_token":"`, ""},
		{"login by JSON", req{method: "POST", path: "/auth/login", header: asJSON, body: credentials{"ana", password}}, 200, `"token_type":"bearer"`, ""},
		{"login with a wrong password", req{method: "POST", path: "/auth/login", header: asForm, body: "username=ana&password=wrong+horse"}, 400, "wrong user name or password", ""},
		{"login of nobody", req{method: "POST", path: "/auth/login", header: asForm, body: "username=nobody&password=wrong+horse"}, 400, "wrong user name or password", ""},
		{"login with a wildcard", req{method: "POST", path: "/auth/login", header: asForm, body: "username=%25&password=correct+horse"}, 400, "wrong user name or password", ""},
		{"login of a twin", req{method: "POST", path: "/auth/login", header: asForm, body: "username=ANA&password=correct+horse"}, 400, "wrong user name or password", ""},
		{"login with half a form", req{method: "POST", path: "/auth/login", header: asForm, body: "username=ana"}, 400, "password", "password"},

		{"health", req{method: "GET", path: "/health"}, 200, `"ok":true`, ""},
		{"metrics", req{method: "GET", path: "/metrics"}, 200, "api_requests_total", ""},

		{"media", req{method: "GET", path: "/media", as: "ana"}, 200, `"objects":["song.mp3"]`, ""},
		{"media of somebody without any", req{method: "GET", path: "/media", as: "bob"}, 200, `"objects":[]`, ""},
		{"media without a token", req{method: "GET", path: "/media"}, 401, "", ""},
		{"media with a bad token", req{method: "GET", path: "/media", header: []string{"Authorization", "Bearer x.y.z"}}, 401, "", ""},
		{"media with another scheme", req{method: "GET", path: "/media", header: []string{"Authorization", "Basic YW5hOnB3"}}, 401, "", ""},

		{"bytes", req{method: "GET", path: "/media/song.mp3", as: "ana"}, 200, "sound", ""},
		{"a range", req{method: "GET", path: "/media/song.mp3", as: "ana", header: []string{"Range", "bytes=1-2"}}, 206, "ou", ""},
		{"a range behind the end", req{method: "GET", path: "/media/song.mp3", as: "ana", header: []string{"Range", "bytes=99-"}}, 416, "", ""},
		{"bytes without a token", req{method: "GET", path: "/media/song.mp3"}, 401, "", ""},
		{"bytes of nothing", req{method: "GET", path: "/media/none.mp3", as: "ana"}, 404, "", ""},
		{"bytes of somebody else", req{method: "GET", path: "/media/song.mp3", as: "bob"}, 404, "", ""},

		{"upload", req{method: "POST", path: "/upload", as: "ana", header: []string{"Content-Type", formKind}, body: formBody}, 200, `"ok":true,"name":"new.mp3"`, ""},
		{"upload without a token", req{method: "POST", path: "/upload", header: []string{"Content-Type", formKind}, body: formBody}, 401, "", ""},
		{"upload of what is not media", req{method: "POST", path: "/upload", as: "ana", header: []string{"Content-Type", textKind}, body: textBody}, 422, "text", ""},
		{"upload of nothing", req{method: "POST", path: "/upload", as: "ana", header: []string{"Content-Type", emptyKind}, body: emptyBody}, 400, "empty", "file"},
		{"upload that is no form", req{method: "POST", path: "/upload", as: "ana", header: asJSON, body: "{}"}, 415, "multipart", ""},
		{"upload without a boundary", req{method: "POST", path: "/upload", as: "ana", header: []string{"Content-Type", "multipart/form-data"}, body: formBody}, 400, "boundary", "Content-Type"},
		{"upload with a strange replace", req{method: "POST", path: "/upload?replace=perhaps", as: "ana", header: []string{"Content-Type", formKind}, body: formBody}, 400, "", "replace"},

		{"convert", req{method: "POST", path: "/convert", as: "ana", body: `{"input_file":"song.mp3","output_format":"MP3"}`}, 200, `"assigned_worker":null`, ""},
		{"convert with options", req{method: "POST", path: "/convert", as: "ana", body: `{"input_file":"song.mp3","output_format":"webm","options":{"crf":30}}`}, 200, `"ok":true,"job_id":"`, ""},
		{"convert with null options", req{method: "POST", path: "/convert", as: "ana", body: `{"input_file":"song.mp3","output_format":"mp3","options":null}`}, 200, `"ok":true`, ""},
		{"convert to a strange format", req{method: "POST", path: "/convert", as: "ana", body: `{"input_file":"song.mp3","output_format":"xyz"}`}, 400, "output_format", "output_format"},
		{"convert with a bad option", req{method: "POST", path: "/convert", as: "ana", body: `{"input_file":"song.mp3","output_format":"webm","options":{"crf":99}}`}, 400, "crf", "options.crf"},
		{"convert with options that are none", req{method: "POST", path: "/convert", as: "ana", body: `{"input_file":"song.mp3","output_format":"mp3","options":[1]}`}, 400, "", "options"},
		{"convert with what is no number", req{method: "POST", path: "/convert", as: "ana", body: `{"input_file":"song.mp3","output_format":"mp3","options":{"x":NaN}}`}, 400, "JSON", ""},
		{"convert without a file", req{method: "POST", path: "/convert", as: "ana", body: `{"output_format":"mp3"}`}, 400, "", "input_file"},
		{"convert without a format", req{method: "POST", path: "/convert", as: "ana", body: `{"input_file":"song.mp3"}`}, 400, "", "output_format"},
		{"convert of nothing", req{method: "POST", path: "/convert", as: "ana", body: `{"input_file":"../x","output_format":"mp3"}`}, 404, "", ""},
		{"convert of somebody else's", req{method: "POST", path: "/convert", as: "bob", body: `{"input_file":"song.mp3","output_format":"mp3"}`}, 404, "", ""},
		{"convert without a token", req{method: "POST", path: "/convert", body: `{"input_file":"song.mp3","output_format":"mp3"}`}, 401, "", ""},

		{"convert for a purpose", req{method: "POST", path: "/convert", as: "carl", body: `{"input_file":"of carl.mp4","purpose":"Phone"}`}, 200, `"ok":true`, ""},
		{"convert for a strange purpose", req{method: "POST", path: "/convert", as: "carl", body: `{"input_file":"of carl.mp4","purpose":"fridge"}`}, 400, "phone", "purpose"},
		{"convert when there is time", req{method: "POST", path: "/convert", as: "carl", body: `{"input_file":"of carl.mp4","output_format":"mp3","priority":"low"}`}, 200, `"ok":true`, ""},
		{"convert before everybody's", req{method: "POST", path: "/convert", as: "carl", body: `{"input_file":"of carl.mp4","output_format":"mp3","priority":"high"}`}, 403, "administrators", "priority"},
		{"convert with a strange priority", req{method: "POST", path: "/convert", as: "carl", body: `{"input_file":"of carl.mp4","output_format":"mp3","priority":"now"}`}, 400, "low, normal or high", "priority"},
		{"convert several", req{method: "POST", path: "/convert", as: "carl", body: `{"input_files":["of carl.mp4","none.mp3","of carl.mp4"],"output_format":"mp3"}`}, 200, `{"input_file":"none.mp3","error":"`, ""},
		{"convert several, none of them there", req{method: "POST", path: "/convert", as: "carl", body: `{"input_files":["none.mp3","song.mp3"],"output_format":"mp3"}`}, 404, "", ""},
		{"convert several to a strange format", req{method: "POST", path: "/convert", as: "carl", body: `{"input_files":["of carl.mp4"],"output_format":"xyz"}`}, 400, "output_format", "output_format"},
		{"convert one and several", req{method: "POST", path: "/convert", as: "carl", body: `{"input_file":"of carl.mp4","input_files":["of carl.mp4"],"output_format":"mp3"}`}, 400, "input_file", "input_files"},
		{"convert several of none", req{method: "POST", path: "/convert", as: "carl", body: `{"input_files":[],"output_format":"mp3"}`}, 400, "empty", "input_files"},
		{"convert too many", req{method: "POST", path: "/convert", as: "carl", body: ConvertRequest{InputFiles: make([]string, 501), OutputFormat: "mp3"}}, 400, "500", "input_files"},

		{"jobs", req{method: "GET", path: "/jobs", as: "ana"}, 200, `"input_file":"song.mp3"`, ""},
		{"jobs of somebody without any", req{method: "GET", path: "/jobs", as: "bob"}, 200, `{"jobs":[]}`, ""},
		{"jobs by status", req{method: "GET", path: "/jobs?status=completed", as: "ana"}, 200, `{"jobs":[]}`, ""},
		{"jobs by a strange status", req{method: "GET", path: "/jobs?status=xyz", as: "ana"}, 200, `{"jobs":[]}`, ""},
		{"jobs with a strange limit", req{method: "GET", path: "/jobs?limit=ten"}, 400, "limit", "limit"},
		{"jobs with a huge limit", req{method: "GET", path: "/jobs?limit=99999", as: "ana"}, 200, "jobs", ""},
		{"jobs without a token", req{method: "GET", path: "/jobs"}, 200, `"input_file":"•••.mp3"`, ""},
		{"jobs with a bad token", req{method: "GET", path: "/jobs", header: []string{"Authorization", "Bearer x"}}, 200, `"owner":"•••"`, ""},
		{"queue", req{method: "GET", path: "/queue/stats", as: "ana"}, 200, `{"queue_length":3,"stats":{"pending":3,"processing":0,"completed":0,"failed":0},"total_jobs":3}`, ""},
		{"queue without a token", req{method: "GET", path: "/queue/stats"}, 401, "", ""},
		{"formats", req{method: "GET", path: "/formats"}, 200, `"options":[]`, ""},
		{"purposes", req{method: "GET", path: "/formats"}, 200, `"purposes":[{"name":"phone","kind":"video","format":"webm","options":{"crf":33},"text":"for a phone"}]`, ""},
		{"workers", req{method: "GET", path: "/workers/stats"}, 200, `"active_workers":1,"total_workers":2,"total_jobs_processing":1,"average_cpu_load":0.5,"total_conversions_success":7,"total_conversions_failed":2`, ""},

		{"share", req{method: "POST", path: "/share/song.mp3?minutes=60", as: "ana"}, 200, `"expires_in_min":60`, ""},
		{"share for ever", req{method: "POST", path: "/share/song.mp3?minutes=999999", as: "ana"}, 200, `"expires_in_min":10080`, ""},
		{"share for no time", req{method: "POST", path: "/share/song.mp3?minutes=0", as: "ana"}, 200, `"expires_in_min":1,`, ""},
		{"share for a part of a minute", req{method: "POST", path: "/share/song.mp3?minutes=1.5", as: "ana"}, 400, "", "minutes"},
		{"share of nothing", req{method: "POST", path: "/share/none.mp3", as: "ana"}, 404, "", ""},
		{"share of somebody else's", req{method: "POST", path: "/share/song.mp3", as: "bob"}, 404, "", ""},
		{"share without a token", req{method: "POST", path: "/share/song.mp3"}, 401, "", ""},
		{"a link", req{method: "GET", path: sharePath}, 200, "sound", ""},
		{"a range of a link", req{method: "GET", path: sharePath, header: []string{"Range", "bytes=-2"}}, 206, "nd", ""},
		{"a link that is none", req{method: "GET", path: "/s/" + strings.Repeat("x", 32)}, 404, "does not exist, or it has expired", ""},
		{"a link of another shape", req{method: "GET", path: "/s/x"}, 404, "does not exist, or it has expired", ""},

		{"delete of somebody else's", req{method: "DELETE", path: "/media/song.mp3", as: "bob"}, 404, "", ""},
		{"delete without a token", req{method: "DELETE", path: "/media/song.mp3"}, 401, "", ""},
		{"delete", req{method: "DELETE", path: "/media/song.mp3", as: "ana"}, 200, `"ok":true`, ""},
		{"delete again", req{method: "DELETE", path: "/media/song.mp3", as: "ana"}, 404, "", ""},
		{"a link to what was deleted", req{method: "GET", path: sharePath}, 404, "does not exist, or it has expired", ""},

		{"nothing there", req{method: "GET", path: "/none"}, 404, "", ""},
		{"another method", req{method: "PUT", path: "/media"}, 405, "GET", ""},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			r.t = t
			p := r.do(row.req).want(row.status)
			if !bytes.Contains(p.body, []byte(row.body)) {
				t.Errorf("no %q in %s", row.body, p.body)
			}
			if row.status >= 400 {
				p.refused(row.status, row.field)
			}
			if row.status == 401 && p.header.Get("WWW-Authenticate") != "Bearer" {
				t.Error("401 without WWW-Authenticate")
			}
			if row.status == 405 && p.header.Get("Allow") == "" {
				t.Error("405 without Allow")
			}
			if p.header.Get("X-Malla-Index") == "" || p.header.Get("X-Request-Id") == "" {
				t.Error("no index or no request id")
			}
		})
	}
}

func TestRefusalsOfTheMesh(t *testing.T) {
	t.Run("sign-up is closed", func(t *testing.T) {
		r := newRig(t, func(c *Config) { c.SignupOpen = false })
		r.do(req{method: "POST", path: "/auth/signup", body: credentials{"ana", password}}).want(403)
	})
	t.Run("no leader", func(t *testing.T) {
		r := newRig(t)
		item := r.put("ana", "song.mp3", "sound")
		body, kind := form(t, "new.mp3", "new")
		r.log.lead(false)
		for _, q := range []req{
			{method: "POST", path: "/upload", header: []string{"Content-Type", kind}, body: body},
			{method: "POST", path: "/convert", body: `{"input_file":"song.mp3","output_format":"mp3"}`},
			{method: "POST", path: "/share/song.mp3"},
			{method: "DELETE", path: "/media/song.mp3"},
			{method: "POST", path: "/auth/logout"},
		} {
			q.as = "ana"
			if r.do(q).want(503).header.Get("Retry-After") == "" {
				t.Errorf("%s: 503 without Retry-After", q.path)
			}
		}
		for _, path := range []string{"/media", "/media/" + item.ID, "/jobs", "/queue/stats", "/auth/me", "/workers/stats", "/health"} {
			r.do(req{method: "GET", path: path, as: "ana"}).want(200)
		}
	})
	t.Run("no room", func(t *testing.T) {
		r := newRig(t)
		r.token("ana")
		r.disk.set(true, false)
		body, kind := form(t, "new.mp3", "new")
		r.do(req{method: "POST", path: "/upload", as: "ana", header: []string{"Content-Type", kind}, body: body}).want(507)
	})
	t.Run("too large", func(t *testing.T) {
		r := newRig(t, func(c *Config) { c.MaxUpload = 1000 })
		body, kind := form(t, "new.mp3", strings.Repeat("x", 1001))
		r.do(req{method: "POST", path: "/upload", as: "ana", header: []string{"Content-Type", kind}, body: body}).want(413)
		body, kind = form(t, "new.mp3", strings.Repeat("x", 1000))
		r.do(req{method: "POST", path: "/upload", as: "ana", header: []string{"Content-Type", kind}, body: body}).want(200)
		body, kind = form(t, "new.mp3", strings.Repeat("x", 400<<10))
		r.do(req{method: "POST", path: "/upload", as: "ana", header: []string{"Content-Type", kind}, body: body}).want(413)
		if n := r.disk.chunks(t); n != 2 {
			t.Errorf("%d chunks are there, want the 2 of the file that was taken", n)
		}
	})
	t.Run("the bytes cannot be reached", func(t *testing.T) {
		r := newRig(t)
		r.put("ana", "song.mp3", "sound")
		r.disk.set(false, true)
		r.do(req{method: "GET", path: "/media/song.mp3", as: "ana"}).want(503)
	})
	t.Run("not ready, not healthy", func(t *testing.T) {
		r := newRig(t, func(c *Config) { c.Health = func() error { return errBoom } })
		r.mesh.ready = errBoom
		r.do(req{method: "GET", path: "/ready"}).want(503)
		if body := r.do(req{method: "GET", path: "/health"}).want(503).body; bytes.Contains(body, []byte("secret")) {
			t.Errorf("the reason went out: %s", body)
		}
	})
	t.Run("metrics with a token", func(t *testing.T) {
		r := newRig(t, func(c *Config) { c.MetricsToken = "m" })
		r.do(req{method: "GET", path: "/metrics"}).want(403)
		r.do(req{method: "GET", path: "/metrics", as: "root"}).want(403)
		r.do(req{method: "GET", path: "/metrics", header: []string{"Authorization", "Bearer m"}}).want(200)
	})
	t.Run("a fault of ours", func(t *testing.T) {
		r := newRig(t)
		r.library.fail = errBoom
		body, kind := form(t, "new.mp3", "new")
		p := r.do(req{method: "POST", path: "/upload", as: "ana", header: []string{"Content-Type", kind, "X-Request-Id", "my-id"}, body: body}).want(500)
		if bytes.Contains(p.body, []byte("secret")) || !bytes.Contains(p.body, []byte("my-id")) {
			t.Errorf("the problem is %s", p.body)
		}
		if log := r.logged.String(); !strings.Contains(log, "level=ERROR") || !strings.Contains(log, "secret") || strings.Count(log, "boom") != 1 {
			t.Errorf("the log is %s", log)
		}
	})
}

func TestJobOnTheWire(t *testing.T) {
	r := newRig(t)
	job := r.queue("ana", "take <b>one.wav")
	keys := func() map[string]any {
		return read[struct{ Jobs []map[string]any }](r.do(req{method: "GET", path: "/jobs", as: "ana"}).want(200)).Jobs[0]
	}
	pending := keys()
	if pending["status"] != "pending" || pending["progress"] != 0.0 || pending["assigned_worker"] != nil || pending["owner"] != "ana" || pending["created_at"] != "2026-11-23T12:00:00Z" {
		t.Errorf("pending: %v", pending)
	}
	if o, ok := pending["options"].(map[string]any); !ok || len(o) != 0 {
		t.Errorf("options: %v", pending["options"])
	}
	r.clock.pass(2 * time.Second)
	r.assign(job)
	r.progress.set(0.42424)
	running := keys()
	if running["status"] != "processing" || running["progress"] != 42.42 || running["assigned_worker"] != "worker_a" || running["worker_id"] != "worker_a" || running["started_at"] != "2026-11-23T12:00:02Z" {
		t.Errorf("running: %v", running)
	}
	r.clock.pass(1234 * time.Millisecond)
	r.finish(job, "out")
	ended := keys()
	in := float64(len("sound of take <b>one.wav"))
	if ended["status"] != "completed" || ended["progress"] != 100.0 || ended["duration_seconds"] != 1.23 || ended["output_file"] != "take <b>one_converted.mp3" ||
		ended["input_size_bytes"] != in || ended["output_size_bytes"] != 3.0 || ended["size_reduction_percent"] != round2(100*(in-3)/in) {
		t.Errorf("ended: %v", ended)
	}
	one := read[Job](r.do(req{method: "GET", path: "/jobs/" + job, as: "ana"}).want(200))
	if len(one.Tasks) != 1 || one.Tasks[0].Node != "worker_a" || one.Tasks[0].State != "finished" || one.Tasks[0].Progress != 100 || one.Attempt != 1 {
		t.Errorf("tasks: %+v", one.Tasks)
	}
	r.do(req{method: "DELETE", path: "/jobs/" + job, as: "ana"}).want(409)

	other := r.queue("ana", "two.wav")
	r.do(req{method: "GET", path: "/jobs/" + other, as: "bob"}).want(404)
	r.do(req{method: "DELETE", path: "/jobs/" + other, as: "bob"}).want(404)
	r.do(req{method: "DELETE", path: "/jobs/" + other, as: "ana"}).want(200)
	canceled := keys()
	if canceled["status"] != "failed" || canceled["canceled"] != true || canceled["error"] == "" {
		t.Errorf("canceled: %v", canceled)
	}
	if failed := r.do(req{method: "GET", path: "/jobs?status=failed&limit=1", as: "ana"}); !strings.Contains(string(failed.body), other) {
		t.Errorf("failed jobs: %s", failed.body)
	}
	if asked := r.progress.asked; asked != 1 {
		t.Errorf("the nodes were asked %d times for progress", asked)
	}
}

func TestMaskedJobs(t *testing.T) {
	r := newRig(t)
	job := r.queue("ana", `"><img src=x onerror=alert(1)>.wav`)
	r.queue("ana", "x.<script>")
	r.assign(job)
	r.log.must(t, failTask(job, "the file "+quoted("private.wav")+" is broken", r.clock.Now()))
	for _, h := range [][]string{nil, {"Authorization", "Bearer nonsense"}} {
		body := string(r.do(req{method: "GET", path: "/jobs", header: h}).want(200).body)
		for _, private := range []string{"ana", "img", "script", "private", "onerror", "<", "take"} {
			if strings.Contains(body, private) {
				t.Errorf("%q is shown to anybody: %s", private, body)
			}
		}
		if !strings.Contains(body, `"input_file":"•••.wav"`) || !strings.Contains(body, `"error":"the conversion failed"`) || !strings.Contains(body, job) {
			t.Errorf("masked jobs are %s", body)
		}
	}
	if body := string(r.do(req{method: "GET", path: "/jobs", as: "bob"}).want(200).body); body != `{"jobs":[]}`+"\n" {
		t.Errorf("another user sees %s", body)
	}
}

func TestHeadServesNoBody(t *testing.T) {
	r := newRig(t)
	r.put("ana", "song.mp3", "sound")
	p := r.do(req{method: http.MethodHead, path: "/media/song.mp3", as: "ana"}).want(200)
	if len(p.body) != 0 || p.header.Get("Content-Length") != "5" || p.header.Get("Accept-Ranges") != "bytes" {
		t.Errorf("%v %q", p.header, p.body)
	}
}
