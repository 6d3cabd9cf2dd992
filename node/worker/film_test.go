package worker

import (
	"context"
	"errors"
	"runtime"
	"testing"
	"time"

	"malla/blobs"
	"malla/cluster/state"
	"malla/node/ffmpeg"
)

// film queues a job of two segments, the sound and the assembly, of an input of
// that many bytes.
func (m *mesh) film(id string, size int) {
	m.t.Helper()
	index, err := ffmpeg.Index{TimeBase: ffmpeg.Rational{Num: 1, Den: 25}, Size: int64(size), Pictures: []int64{0, 1, 2, 3}, Keys: []ffmpeg.Key{{Picture: 2, Pos: int64(size / 2)}}}.MarshalBinary()
	if err != nil {
		m.t.Fatal(err)
	}
	m.must(state.AddMedia{ID: "film", Owner: "u1", Name: "film.mov", Content: state.Content{Blob: m.keep(make([]byte, size)), Index: m.keep(index)}})
	task := func(name string, kind state.TaskKind, from, to int) state.NewTask {
		return state.NewTask{ID: state.TaskID(id + name), Kind: kind, From: from, To: to, Cost: 20}
	}
	m.must(state.AddJob{ID: state.JobID(id), Owner: "u1", Media: "film", Format: "flac",
		Tasks: []state.NewTask{task("a", state.Audio, 0, 0), task("1", state.Segment, 0, 2), task("2", state.Segment, 2, 4), task("j", state.Assembly, 0, 0)}})
}

func (m *mesh) give(tasks ...string) {
	m.t.Helper()
	var all []state.Assignment
	for _, id := range tasks {
		all = append(all, state.Assignment{Task: state.TaskID(id), Node: "n1"})
	}
	m.must(state.AssignTasks{Assignments: all})
}

// untilTask waits for a state of the task.
func (m *mesh) untilTask(id string, want state.TaskState) {
	m.t.Helper()
	for deadline := time.After(10 * time.Second); ; {
		v := m.state.View()
		k, _ := v.Task(state.TaskID(id))
		if k.State == want {
			return
		}
		select {
		case <-v.Changed():
		case <-deadline:
			m.t.Fatalf("task %s is %s, not %s: %+v", id, k.State, want, k.Tries)
		}
	}
}

func TestAFilmIsMadeOfItsParts(t *testing.T) {
	m := newMesh(t)
	m.run()
	m.film("f", 100)
	m.give("fa", "f1", "f2")
	m.untilTask("fj", state.Waiting)
	if k, _ := m.state.View().Task("f1"); k.Usage.CPU != int64(time.Second) || k.BeganAt.IsZero() {
		t.Errorf("what the segment took: %+v", k)
	}
	m.give("fj")
	j := m.until("f", state.Done)
	if got := string(m.kept[j.OutputRef]); got != "[0-2][2-4]sound" {
		t.Errorf("the output is %q", got)
	}
}

func TestPartsThatDoNotFitMakeAWholeConversion(t *testing.T) {
	m := newMesh(t)
	m.mismatch = true
	m.run()
	m.film("f", 100)
	m.give("fa", "f1", "f2")
	m.untilTask("fj", state.Waiting)
	m.give("fj")
	m.untilTask("fj", state.Dropped)
	var whole state.Task
	for k := range m.state.View().TasksOf("f") {
		if k.Kind == state.Convert {
			whole = *k
		}
	}
	if whole.Cost < 40 {
		t.Errorf("the whole conversion: %+v", whole)
	}
	m.give(string(whole.ID))
	j := m.until("f", state.Done)
	if j.Redone != "a picture is missing" || m.redone != 1 {
		t.Errorf("job: %+v; counted %d", j, m.redone)
	}
}

func TestPartsThatAreLostMakeAWholeConversion(t *testing.T) {
	m := newMesh(t)
	m.run()
	m.film("f", 100)
	m.give("fa", "f1", "f2")
	m.untilTask("fj", state.Waiting)
	part, _ := m.state.View().Task("f1")
	m.mu.Lock()
	delete(m.kept, part.Output.Blob.Ref)
	m.mu.Unlock()
	for range partTries { // its holders may only be away
		m.give("fj")
		m.untilTask("fj", state.Waiting)
	}
	m.give("fj")
	m.untilTask("fj", state.Dropped)
	for k := range m.state.View().TasksOf("f") {
		if k.Kind == state.Convert {
			m.give(string(k.ID))
		}
	}
	if j := m.until("f", state.Done); j.Redone == "" || string(m.kept[j.OutputRef]) != "converted" {
		t.Errorf("job: %+v", j)
	}
}

func TestAnAssemblyThatIsNotWhatWasAskedForMakesAWholeConversion(t *testing.T) {
	m := newMesh(t)
	m.misshapen = 1
	m.run()
	m.film("f", 100)
	m.give("fa", "f1", "f2")
	m.untilTask("fj", state.Waiting)
	m.give("fj")
	m.untilTask("fj", state.Dropped)
	for k := range m.state.View().TasksOf("f") {
		if k.Kind == state.Convert {
			m.give(string(k.ID))
		}
	}
	m.until("f", state.Done)
}

func TestASegmentThatStarvesGetsTheWholeInput(t *testing.T) {
	m := newMesh(t)
	size := blobs.ChunkSize + 1<<20
	tries := 0
	m.encode = func(p ffmpeg.Params) error {
		tries++
		if tries == 1 {
			return &ffmpeg.Error{Kind: ffmpeg.Starved, Msg: "pictures are missing"}
		}
		return nil
	}
	m.run()
	m.film("f", size)
	m.give("f2")
	m.untilTask("f2", state.Finished)
	if tries != 2 {
		t.Errorf("encoded %d times", tries)
	}
	m.encode = func(ffmpeg.Params) error { return errors.New("no") }
	m.give("f1")
	m.untilTask("f1", state.Waiting)
	if k, _ := m.state.View().Task("f1"); len(k.Tries) != 1 {
		t.Errorf("tries: %+v", k.Tries)
	}
}

func TestASegmentThatStarvesTwiceMakesAWholeConversion(t *testing.T) {
	m := newMesh(t)
	m.encode = func(ffmpeg.Params) error { return &ffmpeg.Error{Kind: ffmpeg.Starved, Msg: "pictures are missing"} }
	m.run()
	m.film("f", 100)
	m.give("f1")
	m.untilTask("f1", state.Waiting) // it may have been this node's FFmpeg
	if n, _ := m.state.View().Node("n1"); n.Suspicions != 1 {
		t.Errorf("the node has %d suspicions", n.Suspicions)
	}
	m.give("f1")
	m.untilTask("f1", state.Dropped)
	if j, _ := m.state.View().Job("f"); j.Redone != "pictures are missing" {
		t.Errorf("job: %+v", j)
	}
}

func TestASongDoesNotWaitForFilms(t *testing.T) {
	m := newMesh(t)
	hold := make(chan struct{})
	begun := make(chan struct{}, 8)
	m.encode = func(ffmpeg.Params) error { begun <- struct{}{}; <-hold; return nil }
	m.run()
	m.film("f", 100)
	m.give("f1", "f2")
	<-begun
	<-begun // both long places are taken
	m.assign("song")
	m.until("song", state.Done)
	close(hold)
	m.untilTask("f2", state.Finished)
}

func TestMoreTasksThanPlacesWaitHere(t *testing.T) {
	m := newMesh(t)
	hold := make(chan struct{})
	m.convert = func(ctx context.Context) error {
		select {
		case <-hold:
		case <-ctx.Done():
		}
		return ctx.Err()
	}
	w, _ := m.start()
	for _, id := range []string{"a", "b", "c"} {
		m.assign(id)
	}
	<-m.started
	<-m.started
	for deadline := time.Now().Add(10 * time.Second); waiting(w) == 0; runtime.Gosched() { // the third is still reading its input
		if time.Now().After(deadline) {
			t.Fatal("none waits")
		}
	}
	if n := waiting(w); n != 1 || w.Busy() != 3 {
		t.Errorf("%d of %d wait", n, w.Busy())
	}
	close(hold)
	m.until("c", state.Done)
}

// waiting is how many tasks wait for a place in their lane.
func waiting(w *Worker) int {
	n := 0
	for _, p := range w.Progress() {
		if p.Waiting {
			n++
		}
	}
	return n
}
