package state

import (
	"fmt"
	"testing"
	"time"

	"malla/blobs"
)

// film queues a job of two segments, the sound, and the assembly.
func (st *story) film(id string) {
	st.t.Helper()
	job := convert(id)
	job.Recipe = "recipe of " + id
	job.Tasks = []NewTask{
		{ID: TaskID(id + "-1"), Kind: Segment, From: 0, To: 50, Cost: 5, Class: "x264"},
		{ID: TaskID(id + "-2"), Kind: Segment, From: 50, To: 90, Cost: 4, Class: "x264"},
		{ID: TaskID(id + "-a"), Kind: Audio, Cost: 1},
		{ID: TaskID(id + "-j"), Kind: Assembly},
	}
	st.ok(job)
}

// finish assigns a task and reports it done, with an output of that text.
func (st *story) finish(task, node, text string) {
	st.t.Helper()
	st.ok(AssignTasks{Assignments: []Assignment{{TaskID(task), NodeID(node)}}, At: now})
	k, _ := st.s.View().Task(TaskID(task))
	st.ok(FinishTask{Task: k.ID, Attempt: k.Attempt, Output: content(text), Media: MediaID(task + "-out"), At: now, Usage: Usage{CPU: 4e9, Memory: 1 << 20, Units: 1e6}})
}

func (st *story) task(id string) Task {
	k, ok := st.s.View().Task(TaskID(id))
	if !ok {
		st.t.Fatalf("no task %s", id)
	}
	return k
}

func (st *story) job(id string) Job {
	j, ok := st.s.View().Job(JobID(id))
	if !ok {
		st.t.Fatalf("no job %s", id)
	}
	return j
}

func TestAFilmIsAssembledWhenItsPartsAreThere(t *testing.T) {
	st := begin(t)
	st.ok(song("m1", "a.mp3", "one"))
	st.film("j1")
	st.finish("j1-1", "n1", "first")
	st.finish("j1-2", "n2", "second")
	st.ok(AssignTasks{Assignments: []Assignment{{"j1-j", "n1"}}, At: now}) // too early: passed over
	if k := st.task("j1-j"); k.State != Blocked {
		t.Fatalf("the assembly is %s before the sound is there", k.State)
	}
	st.finish("j1-a", "n1", "sound")
	if k := st.task("j1-j"); k.State != Waiting {
		t.Fatalf("the assembly is %s with all parts there", k.State)
	}
	if !named(st.s.View(), content("first").Blob.Ref) {
		t.Error("a part may be collected before it is joined")
	}
	st.finish("j1-j", "n2", "whole")
	if j := st.job("j1"); j.State != Done || j.OutputName != "a_converted.flac" {
		t.Errorf("job: %+v", j)
	}
	if named(st.s.View(), content("first").Blob.Ref) {
		t.Error("a part is kept after its job")
	}
}

func TestNotesAreAddedOnce(t *testing.T) {
	st := begin(t)
	st.ok(song("m1", "a.mp3", "one"))
	job := convert("j1")
	job.Notes = []string{"known"}
	st.ok(job)
	st.ok(AssignTasks{Assignments: []Assignment{{"j1-t", "n1"}}, At: now})
	st.ok(FinishTask{Task: "j1-t", Attempt: 1, Output: content("out"), Media: "m2", Notes: []string{"known", "new", "new"}, At: now})
	if j := st.job("j1"); fmt.Sprint(j.Notes) != "[known new]" {
		t.Errorf("notes: %q", j.Notes)
	}
}

func TestPartsThatDoNotFitAreDoneAgainWhole(t *testing.T) {
	st := begin(t)
	st.ok(song("m1", "a.mp3", "one"))
	st.film("j1")
	for _, part := range []string{"1", "2", "a"} {
		st.finish("j1-"+part, "n1", part)
	}
	st.ok(AssignTasks{Assignments: []Assignment{{"j1-j", "n1"}}, At: now})
	again := ConvertWhole{Task: "j1-j", Attempt: 1, Reason: "a picture is missing", New: NewTask{ID: "j1-w", Kind: Convert}, At: now}
	wrong := again
	wrong.New.Kind = Segment
	st.refused(wrong, Invalid)
	st.ok(again)
	st.ok(AssignTasks{Assignments: []Assignment{{"j1-w", "n1"}}, At: now})
	twice := again
	twice.Task, twice.New.ID = "j1-w", "j1-x"
	st.refused(twice, Invalid)
	st.ok(ReleaseTasks{Releases: []Release{{Task: "j1-w", Attempt: 1, Cause: Moved, Reason: "busy"}}, At: now})
	st.refused(again, Stale)
	if named(st.s.View(), content("1").Blob.Ref) {
		t.Error("the parts are kept")
	}
	if j := st.job("j1"); j.Redone == "" || j.State != Running {
		t.Errorf("job: %+v", j)
	}
	st.finish("j1-w", "n2", "whole")
	if j := st.job("j1"); j.State != Done {
		t.Errorf("job is %s", j.State)
	}
}

func TestARetryGoesOnWithWhatIsThere(t *testing.T) {
	st := begin(t)
	st.ok(song("m1", "a.mp3", "one"))
	st.film("j1")
	st.finish("j1-1", "n1", "first")
	st.refused(RetryJob{ID: "j1", Owner: "u1", At: now}, Conflict)
	st.ok(AssignTasks{Assignments: []Assignment{{"j1-2", "n1"}}, At: now})
	st.ok(FailTask{Task: "j1-2", Attempt: 1, Reason: "damaged", Log: "line", Final: true, At: now})
	if j := st.job("j1"); j.State != Failed {
		t.Fatalf("job is %s", j.State)
	}
	later := now.Add(time.Hour)
	st.refused(RetryJob{ID: "j1", Owner: "u2", At: later}, NotFound)
	st.ok(RetryJob{ID: "j1", Owner: "u1", At: later})
	for task, want := range map[string]TaskState{"j1-1": Finished, "j1-2": Waiting, "j1-a": Waiting, "j1-j": Blocked} {
		if k := st.task(task); k.State != want {
			t.Errorf("task %s is %s, not %s", task, k.State, want)
		}
	}
	for n := range MaxAttempts - 1 { // tries before the retry do not count
		st.ok(AssignTasks{Assignments: []Assignment{{"j1-2", "n1"}}, At: later})
		st.ok(FailTask{Task: "j1-2", Attempt: n + 2, Reason: "busy", At: later})
	}
	if j := st.job("j1"); j.State != Running {
		t.Errorf("job is %s before its tries are used up", j.State)
	}
	st.ok(RemoveMedia{ID: "m1", Owner: "u1"})
	st.ok(CancelJob{ID: "j1", Owner: "u1", At: later})
	st.refused(RetryJob{ID: "j1", Owner: "u1", At: later}, Conflict)
}

func TestPartsOfAFailedJobAreKeptForADay(t *testing.T) {
	st := begin(t)
	st.ok(song("m1", "a.mp3", "one"))
	st.film("j1")
	st.finish("j1-1", "n1", "first")
	st.ok(AssignTasks{Assignments: []Assignment{{"j1-2", "n1"}}, At: now})
	st.ok(FailTask{Task: "j1-2", Attempt: 1, Reason: "damaged", Final: true, At: now})
	part := content("first").Blob.Ref
	if st.s.View().NeedsSweep(Sweep{At: now.Add(KeepParts)}) || !named(st.s.View(), part) {
		t.Error("the part is not kept")
	}
	late := now.Add(KeepParts + time.Minute)
	st.ok(AddShare{ID: "s1", Owner: "u1", Media: "m1", For: time.Hour, At: late}) // must not hide what is due
	if !st.s.View().NeedsSweep(Sweep{At: late}) {
		t.Error("nothing to sweep")
	}
	st.ok(Sweep{Limit: 10, At: late})
	if named(st.s.View(), part) {
		t.Error("the part is kept for ever")
	}
	st.ok(RetryJob{ID: "j1", Owner: "u1", At: late})
	if k := st.task("j1-1"); k.State != Waiting {
		t.Errorf("a part that is gone is %s", k.State)
	}
}

func TestTheSameConversionAgainIsDoneAtOnce(t *testing.T) {
	st := begin(t)
	st.ok(song("m1", "a.mp3", "one"))
	st.ok(AddMedia{ID: "mb", Owner: "u2", Name: "theirs.mp3", Content: content("one"), At: now})
	st.ok(convert("j1"))
	st.finish("j1-t", "n1", "out")
	again := AddJob{ID: "j2", Owner: "u2", Media: "mb", Format: "flac", Recipe: "flac", Output: "mo", Tasks: []NewTask{{ID: "x", Kind: Convert}}, At: now}
	st.ok(again)
	if j := st.job("j2"); j.State != Done || j.Reused || j.OutputName != "theirs_converted.flac" || j.OutputRef != content("out").Blob.Ref {
		t.Errorf("job: %+v", j)
	}
	own := again
	own.ID, own.Owner, own.Media = "j5", "u1", "m1"
	st.ok(own)
	if j := st.job("j5"); j.State != Done || !j.Reused {
		t.Errorf("the owner's own job again: %+v", j)
	}
	other := again
	other.ID, other.Recipe, other.Tasks = "j3", "flac compression=9", []NewTask{{ID: "y", Kind: Convert}}
	st.ok(other)
	if j := st.job("j3"); j.State != Queued {
		t.Errorf("another recipe is %s", j.State)
	}
	st.ok(RemoveMedia{ID: "j1-t-out", Owner: "u1"})
	st.ok(RemoveMedia{ID: "mo", Owner: "u2"})
	again.ID, again.Tasks = "j4", []NewTask{{ID: "z", Kind: Convert}}
	st.ok(again)
	if j := st.job("j4"); j.State != Queued {
		t.Errorf("the job is %s although nobody holds the output any more", j.State)
	}
}

func TestAnInputThatKillsItsWorkersDoesNotTourTheMesh(t *testing.T) {
	for _, row := range []struct {
		name  string
		cause Cause
		bears int
	}{{"crashes", Crashed, MaxCrashes}, {"dead nodes", Lost, MaxLost}, {"stalls", Stalled, MaxAttempts}} {
		st := begin(t)
		st.ok(song("m1", "a.mp3", "one"))
		st.ok(convert("j1"))
		for n := 1; n <= row.bears; n++ {
			st.ok(AssignTasks{Assignments: []Assignment{{"j1-t", NodeID(fmt.Sprint("n", n%2+1))}}, At: now})
			st.ok(ReleaseTasks{Releases: []Release{{Task: "j1-t", Attempt: n, Cause: row.cause, Reason: "gone"}}, At: now})
			want := Running
			if n == row.bears {
				want = Failed
			}
			if j := st.job("j1"); j.State != want {
				t.Errorf("%s: after %d the job is %s", row.name, n, j.State)
			}
		}
	}
	st := begin(t)
	st.ok(song("m1", "a.mp3", "one"))
	st.ok(convert("j1"))
	for n := 1; n <= 2*MaxAttempts; n++ {
		st.ok(AssignTasks{Assignments: []Assignment{{"j1-t", "n1"}}, At: now})
		st.ok(ReleaseTasks{Releases: []Release{{Task: "j1-t", Attempt: n, Cause: Moved, Reason: "busy"}}, At: now})
	}
	if j := st.job("j1"); j.State != Running {
		t.Errorf("being moved ended the job: %+v", j)
	}
}

func TestANodeThatFailsWhereOthersSucceedIsSetAside(t *testing.T) {
	st := begin(t)
	st.ok(song("m1", "a.mp3", "one"))
	fail := func(n int, at time.Time) {
		id := fmt.Sprint("f", n)
		st.ok(convert(id))
		st.ok(AssignTasks{Assignments: []Assignment{{TaskID(id + "-t"), "n1"}}, At: at})
		st.ok(FailTask{Task: TaskID(id + "-t"), Attempt: 1, Reason: "no room", At: at})
	}
	aside := func() time.Duration {
		n, _ := st.s.View().Node("n1")
		return max(0, n.AsideUntil.Sub(now))
	}
	for n := range 5 {
		fail(n, now)
	}
	if aside() != 0 {
		t.Error("set aside although nobody did better")
	}
	st.film("j1")
	st.finish("j1-1", "n2", "first")
	fail(5, now)
	first := aside()
	if first <= 0 {
		t.Fatal("not set aside")
	}
	for n := range 3 {
		fail(6+n, now)
	}
	if aside() <= first {
		t.Error("not longer the second time")
	}
	st.finish("j1-2", "n1", "second")
	if aside() != 0 {
		t.Error("still aside after a success")
	}
}

func TestTheMeshLearnsWhatWorkCosts(t *testing.T) {
	st := begin(t)
	st.ok(song("m1", "a.mp3", "one"))
	st.film("j1")
	st.finish("j1-1", "n1", "first")
	if r, _ := st.s.View().Rate("x264"); r.CPU != 4_000_000 || r.Memory != 1<<20 || r.Samples != 1 {
		t.Errorf("rate: %+v", r)
	}
	st.ok(AssignTasks{Assignments: []Assignment{{"j1-2", "n1"}}, At: now})
	st.ok(FinishTask{Task: "j1-2", Attempt: 1, Output: content("second"), At: now, Usage: Usage{CPU: 8e9, Units: 1e6}})
	if r, _ := st.s.View().Rate("x264"); r.CPU != 6_000_000 || r.Samples != 2 || r.Memory >= 1<<20 || r.Memory < 1<<19 {
		t.Errorf("rate: %+v", r)
	}
	if _, known := st.s.View().Rate("vp9"); known {
		t.Error("a class that was never done is known")
	}
}

func TestWaitingTasksAreInOrder(t *testing.T) {
	st := begin(t)
	st.ok(song("m1", "a.mp3", "one"))
	st.ok(AddMedia{ID: "mb", Owner: "u2", Name: "b.mp3", Content: content("two"), At: now})
	st.film("j1")
	st.ok(AddJob{ID: "j2", Owner: "u2", Media: "mb", Format: "mp3", Tasks: []NewTask{{ID: "t2", Kind: Convert}}, At: now})
	st.ok(convert("j3"))
	st.refused(SetPriority{ID: "j3", Owner: "u1", Priority: 7}, Invalid)
	st.refused(SetPriority{ID: "j3", Owner: "u2", Priority: High}, NotFound)
	st.ok(SetPriority{ID: "j3", Owner: "u1", Priority: High})
	var order []TaskID
	for k := range st.s.View().TasksWaiting() {
		order = append(order, k.ID)
	}
	if fmt.Sprint(order) != "[j3-t j1-1 j1-2 j1-a t2]" {
		t.Errorf("order: %v", order)
	}
	if places := st.s.View().QueuePositions(); places["j3"] != 1 || places["j1"] != 2 || places["j2"] != 3 {
		t.Errorf("places: %v", places)
	}
	st.ok(CancelJob{ID: "j3", Owner: "u1", At: now})
	st.refused(SetPriority{ID: "j3", Owner: "u1", Priority: Low}, Conflict)
}

func TestAnIndexBelongsToItsBytes(t *testing.T) {
	st := begin(t)
	st.ok(song("m1", "a.mp3", "one"))
	index := blobs.Blob{Ref: blobs.RefOf([]byte("index")), Size: 5}
	st.refused(SetIndex{ID: "m1", Blob: blobs.RefOf([]byte("other")), Index: index}, Stale)
	st.ok(SetIndex{ID: "m1", Blob: content("one").Blob.Ref, Index: index})
	st.ok(SetIndex{ID: "m1", Blob: content("one").Blob.Ref, Index: blobs.Blob{Ref: blobs.RefOf([]byte("late")), Size: 4}})
	if !named(st.s.View(), index.Ref) {
		t.Error("the index may be collected, or was replaced by a later one")
	}
}
