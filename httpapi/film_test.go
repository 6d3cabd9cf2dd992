package httpapi

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"malla/cluster/state"
)

// film queues a job of ana's that is cut into so many segments, of cost 2 each,
// with sound and an assembly of unknown cost.
func (r *rig) film(id string, segments int) {
	r.t.Helper()
	item := r.put("ana", id+".mp4", "film of "+id)
	add := state.AddJob{ID: state.JobID(id), Owner: r.user("ana").ID, Media: state.MediaID(item.ID), Format: "webm", Recipe: "v1 webm", Notes: []string{"the cover is left out"}, At: r.clock.Now()}
	for i := range segments {
		add.Tasks = append(add.Tasks, state.NewTask{ID: state.TaskID(fmt.Sprint(id, "-", i)), Kind: state.Segment, From: 100 * i, To: 100*i + 100, Cost: 2})
	}
	add.Tasks = append(add.Tasks, state.NewTask{ID: state.TaskID(id + "-audio"), Kind: state.Audio}, state.NewTask{ID: state.TaskID(id + "-join"), Kind: state.Assembly})
	r.log.must(r.t, add)
}

// begin gives tasks to the first node; end finishes them.
func (r *rig) begin(tasks ...string) {
	r.t.Helper()
	var all []state.Assignment
	for _, k := range tasks {
		all = append(all, state.Assignment{Task: state.TaskID(k), Node: "n1"})
	}
	r.log.must(r.t, state.AssignTasks{Assignments: all, At: r.clock.Now()})
}

func (r *rig) end(tasks ...string) {
	r.t.Helper()
	for _, k := range tasks {
		task, _ := r.log.View().Task(state.TaskID(k))
		r.log.must(r.t, state.FinishTask{Task: task.ID, Attempt: task.Attempt, Output: r.disk.content(r.t, k), Media: state.MediaID("made by " + k),
			Usage: state.Usage{CPU: int64(3 * time.Second), Memory: 200e6}, At: r.clock.Now()})
	}
}

func (r *rig) job(id string) Job {
	r.t.Helper()
	return read[Job](r.do(req{method: "GET", path: "/jobs/" + id, as: "ana"}).want(200))
}

func (r *rig) jobLog(id string) string {
	r.t.Helper()
	p := r.do(req{method: "GET", path: "/jobs/" + id + "/log", as: "ana"}).want(200)
	if kind := p.header.Get("Content-Type"); kind != "text/plain; charset=utf-8" {
		r.t.Errorf("the log is %s", kind)
	}
	return string(p.body)
}

func TestAFilmOnTheWire(t *testing.T) {
	r := newRig(t)
	r.film("f", 4) // costs 4 × 2 and 2 × 1
	r.clock.pass(5 * time.Second)
	r.begin("f-0", "f-1", "f-audio")
	if j := r.job("f"); j.Segments != 4 || j.SegmentsDone != 0 || j.Progress != 0 || j.ETA != nil || j.Speed != 0 || j.QueuePosition != 0 {
		t.Errorf("begun: %+v", j)
	}
	r.clock.pass(10 * time.Second)
	r.end("f-0")
	r.progress.set(0.5)
	r.progress.speed = 1.25
	j := r.job("f")
	if j.SegmentsDone != 1 || j.Progress != 35 || j.Speed != 1.25 || j.ETA == nil || *j.ETA != round2(10*6.5/3.5) || !slices.Equal(j.Notes, []string{"the cover is left out"}) {
		t.Errorf("running: %+v, %v", j, *j.ETA)
	}
	if k := j.Tasks[0]; k.Seq != 0 || k.Kind != "segment" || k.State != "finished" || k.Took != 10 || k.CPU != 3 || k.Memory != 200e6 || k.Node != "worker_a" || k.Speed != 0 {
		t.Errorf("done: %+v", k)
	}
	if k := j.Tasks[1]; k.Seq != 1 || k.State != "assigned" || k.Progress != 50 || k.Speed != 1.25 || k.Took != 0 {
		t.Errorf("under way: %+v", k)
	}
	// A failure, a retry: what was done is not counted as done since then.
	r.log.must(t, state.FailTask{Task: "f-1", Attempt: 1, Cause: state.Crashed, Reason: "the decoder crashed", Log: "[mp4 @ 0x1] bad\x1b[2J\n\nSegmentation fault\n", Final: true, At: r.clock.Now()})
	failed := r.job("f")
	if failed.Status != Failed || failed.ETA != nil || failed.Tasks[1].Attempts[0].Cause != "crashed" {
		t.Errorf("failed: %+v", failed)
	}
	want(t, r.jobLog("f"), "f.mp4 to webm\n", "priority normal", "v1 webm", "failed 2026-11-23 12:00:15Z: the decoder crashed", "into 4 segments, 1 of them done", "Note       the cover is left out",
		"   1 segment   done on worker_a, attempt 1, in 10.0 s, 3.0 s of processor, 200 MB of memory\n",
		"     attempt 1 on worker_a: crashed 2026-11-23 12:00:15Z, after 10.0 s: the decoder crashed\n       | [mp4 @ 0x1] bad[2J\n       | Segmentation fault\n")
	r.do(req{method: "POST", path: "/jobs/f/retry", as: "ana"}).want(200)
	if j := r.job("f"); j.Status != Pending || j.QueuePosition != 1 || j.Progress != 20 || j.SegmentsDone != 1 || j.Error != "" {
		t.Errorf("again: %+v", j)
	}
	r.do(req{method: "POST", path: "/jobs/f/retry", as: "ana"}).want(409)
	r.clock.pass(5 * time.Second)
	r.begin("f-1")
	r.clock.pass(5 * time.Second)
	r.progress.set(0.5)
	if j := r.job("f"); j.Progress != 30 || *j.ETA != 5*7/1 || j.Attempt != 2 {
		t.Errorf("under way again: %+v, %v", j, *j.ETA)
	}
	r.end("f-1")
	r.begin("f-2", "f-3", "f-audio")
	r.end("f-2", "f-3", "f-audio")
	r.begin("f-join")
	r.log.must(t, state.ConvertWhole{Task: "f-join", Attempt: 1, Reason: "a picture is missing", New: state.NewTask{ID: "f-whole", Kind: state.Convert}, At: r.clock.Now()})
	if j := r.job("f"); j.Segments != 0 || j.Redone != "a picture is missing" || j.Progress != 0 || j.Whole == "" {
		t.Errorf("whole: %+v", j)
	}
	want(t, r.jobLog("f"), "done again in one piece", "thrown away", "   7 convert   waits for a node")
	r.begin("f-whole")
	r.end("f-whole")
	if j := r.job("f"); j.Status != Completed || j.Progress != 100 || j.OutputFile != "f_converted.webm" {
		t.Errorf("done: %+v", j)
	}
	r.do(req{method: "PATCH", path: "/jobs/f", as: "ana", body: JobChange{"low"}}).want(409)
}

func TestThePartsOfALongFilm(t *testing.T) {
	r := newRig(t)
	e := r.open("/events", "ana")
	e.next("stats")
	r.film("long", 700)
	_, told := e.next("job")
	if want(t, told, `"segments":700`); len(told) > 1500 {
		t.Errorf("an event of %d bytes", len(told))
	}
	var tasks []string
	for i := range 600 {
		tasks = append(tasks, fmt.Sprint("long-", i))
	}
	r.begin(tasks...)
	r.end(tasks[:599]...)
	log := r.jobLog("long")
	if lines := strings.Count(log, "\n"); lines != 702+11 {
		t.Errorf("%d lines in\n%.1500s", lines, log)
	}
	if j := r.job("long"); len(j.Tasks) != 702 || j.SegmentsDone != 599 {
		t.Errorf("%d tasks, %d done", len(j.Tasks), j.SegmentsDone)
	}
}

func TestTheQueue(t *testing.T) {
	r := newRig(t)
	first, second := r.queue("ana", "one.mp3"), r.queue("ana", "two.mp3")
	places := func() [2]int { return [2]int{r.job(first).QueuePosition, r.job(second).QueuePosition} }
	if got := places(); got != [2]int{1, 2} {
		t.Errorf("places %v", got)
	}
	e := r.open("/events", "ana")
	_, told := e.next("queue")
	want(t, told, quoted(first)+":1", quoted(second)+":2")
	r.do(req{method: "PATCH", path: "/jobs/" + first, as: "ana", body: JobChange{"high"}}).refused(403, "priority")
	r.do(req{method: "PATCH", path: "/jobs/" + first, as: "ana", body: `{}`}).refused(400, "priority")
	r.do(req{method: "PATCH", path: "/jobs/" + first, as: "ana", body: `{"priority":"soon"}`}).refused(400, "priority")
	r.do(req{method: "PATCH", path: "/jobs/" + first, as: "ana", body: JobChange{"low"}}).want(200)
	r.clock.pass(placesAge)
	if got := places(); got != [2]int{2, 1} || r.job(first).Priority != "low" {
		t.Errorf("places %v, priority %s", got, r.job(first).Priority)
	}
	_, told = e.next("queue")
	want(t, told, quoted(first)+":2", quoted(second)+":1")
	root := r.queue("root", "mine.mp3")
	r.do(req{method: "PATCH", path: "/jobs/" + root, as: "root", body: JobChange{"high"}}).want(200)
	r.clock.pass(placesAge)
	if got := places(); got != [2]int{3, 2} {
		t.Errorf("behind an administrator's: places %v", got)
	}
}

func TestAFilmIsMasked(t *testing.T) {
	r := newRig(t)
	r.film("f", 2)
	body := string(r.do(req{method: "GET", path: "/jobs"}).want(200).body)
	want(t, body, `"segments":2`, `"queue_position":1`)
	if strings.Contains(body, "cover") {
		t.Errorf("what is in the file is shown to anybody: %s", body)
	}
}

func TestSeveralFilesAtOnce(t *testing.T) {
	r := newRig(t)
	r.put("ana", "one.mp3", "1")
	r.put("ana", "two.mp3", "2")
	c := &Client{Base: r.url, Token: r.token("ana")}
	list, err := c.ConvertAll(t.Context(), []string{"one.mp3", "none", "two.mp3"}, ConvertRequest{OutputFormat: "mp3", Priority: "low"})
	if err != nil || len(list) != 3 || list[0].JobID == "" || list[1].Error == "" || list[1].JobID != "" || list[2].InputFile != "two.mp3" || list[2].JobID == "" {
		t.Fatalf("%v %+v", err, list)
	}
	job, err := c.Job(t.Context(), list[2].JobID)
	if err != nil || job.Priority != "low" || job.InputFile != "two.mp3" {
		t.Errorf("%v %+v", err, job)
	}
	if err := c.Cancel(t.Context(), job.ID); err != nil {
		t.Error(err)
	}
	if err := c.Retry(t.Context(), job.ID); err != nil {
		t.Error(err)
	}
	if err := c.SetPriority(t.Context(), job.ID, "normal"); err != nil {
		t.Error(err)
	}
	if text, err := c.JobLog(t.Context(), job.ID); err != nil || !strings.HasPrefix(text, "two.mp3 to mp3\n") {
		t.Errorf("%v %s", err, text)
	}
	if p, err := c.Purposes(t.Context()); err != nil || len(p) != 1 || p[0].Name != "phone" {
		t.Errorf("%v %+v", err, p)
	}
	// Without a leader the first refusal stands for all.
	r.log.lead(false)
	p := r.do(req{method: "POST", path: "/convert", as: "ana", body: ConvertRequest{InputFiles: []string{"one.mp3", "two.mp3"}, OutputFormat: "mp3"}}).want(503)
	if p.header.Get("Retry-After") == "" {
		t.Error("503 without Retry-After")
	}
}

func TestANodeThatIsSetAside(t *testing.T) {
	r := newRig(t)
	until := r.clock.Now().Add(time.Minute)
	nodes := r.mesh.Nodes()
	nodes[0].AsideUntil = until
	r.mesh.set(nodes...)
	for _, path := range []string{"/nodes", "/workers/stats"} {
		want(t, string(r.do(req{method: "GET", path: path, as: "ana"}).want(200).body), `"aside_until":"2026-11-23T12:01:00Z"`)
	}
	r.clock.pass(time.Minute)
	for _, path := range []string{"/nodes", "/workers/stats"} {
		if body := string(r.do(req{method: "GET", path: path, as: "ana"}).want(200).body); strings.Contains(body, "aside") {
			t.Errorf("%s: %s", path, body)
		}
	}
}
