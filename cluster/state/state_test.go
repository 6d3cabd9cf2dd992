package state

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
	"time"

	"malla/blobs"
)

// now is the time in all commands of these tests.
var now = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// story applies commands one after another, as the log would.
type story struct {
	t     *testing.T
	s     *State
	index uint64
	log   [][]byte
}

func begin(t *testing.T) *story {
	st := &story{t: t, s: New()}
	st.ok(AddUser{ID: "u1", Name: "ana", Password: "phc", At: now})
	st.ok(AddUser{ID: "u2", Name: "bob", Password: "phc", At: now})
	st.ok(RegisterNode{ID: "n1", Name: "node1", At: now})
	st.ok(RegisterNode{ID: "n2", Name: "node2", At: now})
	return st
}

func (st *story) do(cmd Command) (Result, error) {
	st.t.Helper()
	st.index++
	data, err := Encode(fmt.Sprint("req", st.index), cmd)
	if err != nil {
		st.t.Fatal(err)
	}
	st.log = append(st.log, data)
	return st.s.Apply(st.index, data)
}

func (st *story) ok(cmd Command) string {
	st.t.Helper()
	r, err := st.do(cmd)
	if err != nil {
		st.t.Fatalf("%T: %v", cmd, err)
	}
	return r.ID
}

func (st *story) refused(cmd Command, kind Kind) {
	st.t.Helper()
	before := dump(st.t, st.s)
	if _, err := st.do(cmd); !errors.Is(err, &Error{Kind: kind}) {
		st.t.Fatalf("%#v: got %v, want %s", cmd, err, kind)
	}
	if after := dump(st.t, st.s); !bytes.Equal(before, after) {
		st.t.Fatalf("%T was refused but left a trace", cmd)
	}
}

// dump is the state without its index.
func dump(t *testing.T, s *State) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := s.Snapshot().Write(&b); err != nil {
		t.Fatal(err)
	}
	_, records, _ := bytes.Cut(b.Bytes(), []byte("\n"))
	return bytes.Split(records, []byte("\n\n"))[0]
}

func content(text string) Content {
	sum := blobs.RefOf([]byte(text))
	return Content{Blob: blobs.Blob{Ref: sum, Size: int64(len(text)), SHA256: sum}, Type: "audio/mpeg", Kind: "audio", Duration: 3}
}

func song(id, name, text string) AddMedia {
	return AddMedia{ID: MediaID(id), Owner: "u1", Name: name, Content: content(text), At: now}
}

func convert(id string) AddJob {
	return AddJob{ID: JobID(id), Owner: "u1", Media: "m1", Format: "flac", Recipe: "flac", At: now,
		Tasks: []NewTask{{ID: TaskID(id + "-t"), Kind: Convert}}}
}

func TestUsers(t *testing.T) {
	st := begin(t)
	st.refused(AddUser{ID: "u3", Name: "a", Password: "phc"}, Invalid)
	st.refused(AddUser{ID: "u3", Name: "a b c", Password: "phc"}, Invalid)
	st.refused(AddUser{ID: "u3", Name: "ANA", Password: "phc"}, Conflict)
	if _, ok := st.s.View().UserByName("ANA"); ok {
		t.Error("a name was found in another case")
	}
	before, _ := st.s.View().UserByName("ana")
	st.ok(EndSessions{User: "u1"})
	if after, _ := st.s.View().User("u1"); after.Session <= before.Session {
		t.Error("the session did not change")
	}
	st.refused(EndSessions{User: "nobody"}, NotFound)
	st.ok(AddFirstAdmin{AddUser{ID: "u9", Name: "root", Password: "phc"}})
	st.refused(AddFirstAdmin{AddUser{ID: "u8", Name: "root2", Password: "phc"}}, Conflict)
	if u, _ := st.s.View().User("u9"); u.Role != Admin || !st.s.View().HasAdmin() {
		t.Error("no administrator")
	}
}

func TestMediaNames(t *testing.T) {
	st := begin(t)
	st.ok(song("m1", "a.mp3", "one"))
	for _, row := range []struct {
		name    string
		add     AddMedia
		id, got string
	}{
		{"the same bytes give back the item", song("m2", "a.mp3", "one"), "m1", "a.mp3"},
		{"other bytes get a number", song("m3", "a.mp3", "two"), "m3", "a (2).mp3"},
		{"which is found again", song("m4", "a.mp3", "two"), "m3", "a (2).mp3"},
		{"and counts on", song("m5", "a.mp3", "three"), "m5", "a (3).mp3"},
		{"a name without extension", song("m6", "noext", "x"), "m6", "noext"},
		{"and its second", song("m7", "noext", "y"), "m7", "noext (2)"},
	} {
		if id := st.ok(row.add); id != row.id {
			t.Errorf("%s: id %s, want %s", row.name, id, row.id)
		}
		if m, _ := st.s.View().Media(MediaID(row.id)); m.Name != row.got {
			t.Errorf("%s: name %q, want %q", row.name, m.Name, row.got)
		}
	}
	replace := song("m8", "a.mp3", "new")
	replace.Replace = true
	if id := st.ok(replace); id != "m1" {
		t.Errorf("replacing gave id %s", id)
	}
	for _, bad := range []string{"", ".", "..", "a/b", "a\x00b", "a\nb", string(make([]byte, 300))} {
		st.refused(song("m9", bad, "x"), Invalid)
	}
	if CheckMediaName("\xff") == nil { // JSON would have mended it on its way through the log
		t.Error("a name that is not UTF-8 is allowed")
	}
	other := song("m9", "a.mp3", "x")
	other.Owner = "nobody"
	st.refused(other, NotFound)
}

func TestLongNamesAreCutAtACharacter(t *testing.T) {
	st := begin(t)
	long := ""
	for len(long)+2+4 <= MaxNameLen {
		long += "ñ"
	}
	st.ok(song("m1", long+".mp3", "one"))
	st.ok(song("m2", long+".mp3", "two"))
	m, _ := st.s.View().Media("m2")
	if err := CheckMediaName(m.Name); err != nil {
		t.Fatalf("%q: %v", m.Name, err)
	}
}

func TestRemoveMedia(t *testing.T) {
	st := begin(t)
	st.ok(song("m1", "a.mp3", "one"))
	st.ok(AddShare{ID: "s1", Owner: "u1", Media: "m1", For: time.Hour, At: now})
	seen := st.s.Index()
	st.refused(RemoveMedia{ID: "m1", Owner: "u2"}, NotFound)
	st.ok(RemoveMedia{ID: "m1", Owner: "u1"})
	v := st.s.View()
	if _, ok := v.Media("m1"); ok {
		t.Error("still there")
	}
	if _, _, ok := v.Share("s1", now); ok {
		t.Error("its share is still there")
	}
	var gone []string
	for r := range v.RemovalsSince("u1", seen) {
		gone = append(gone, r.Name)
	}
	if len(gone) != 1 || gone[0] != "a.mp3" {
		t.Errorf("removals: %v", gone)
	}
}

func TestShares(t *testing.T) {
	st := begin(t)
	st.ok(song("m1", "a.mp3", "one"))
	st.refused(AddShare{ID: "s1", Owner: "u2", Media: "m1", For: time.Hour, At: now}, NotFound)
	st.refused(AddShare{ID: "s1", Owner: "u1", Media: "m1", For: time.Second, At: now}, Invalid)
	st.refused(AddShare{ID: "s1", Owner: "u1", Media: "m1", For: 8 * 24 * time.Hour, At: now}, Invalid)
	st.ok(AddShare{ID: "s1", Owner: "u1", Media: "m1", For: time.Hour, At: now})
	if _, m, ok := st.s.View().Share("s1", now.Add(59*time.Minute)); !ok || m.ID != "m1" {
		t.Error("not found while it lives")
	}
	if _, _, ok := st.s.View().Share("s1", now.Add(time.Hour)); ok {
		t.Error("found after it expired")
	}
	st.refused(RemoveShare{ID: "s1", Owner: "u2"}, NotFound)
	st.ok(Sweep{Limit: 10, At: now.Add(2 * time.Hour)})
	st.refused(RemoveShare{ID: "s1", Owner: "u1"}, NotFound)
}

func TestALifeOfAJob(t *testing.T) {
	st := begin(t)
	st.ok(song("m1", "a.mp3", "one"))
	bad := convert("j1")
	bad.Owner = "u2"
	st.refused(bad, NotFound)
	st.ok(convert("j1"))
	st.refused(convert("j1"), Conflict)
	st.ok(AssignTasks{Assignments: []Assignment{{"j1-t", "n1"}, {"nothing", "n1"}}, At: now})
	st.ok(AssignTasks{Assignments: []Assignment{{"j1-t", "n2"}}, At: now}) // an older plan: passed over
	k, _ := st.s.View().Task("j1-t")
	if k.Node != "n1" || k.Attempt != 1 {
		t.Fatalf("task: %+v", k)
	}
	st.ok(ReleaseTasks{Releases: []Release{{Task: "j1-t", Attempt: 1, Reason: "the node is gone"}}, At: now})
	st.ok(AssignTasks{Assignments: []Assignment{{"j1-t", "n2"}}, At: now})
	finish := FinishTask{Task: "j1-t", Attempt: 1, Output: content("out"), Media: "m2", At: now}
	st.refused(finish, Stale)
	finish.Attempt = 2
	st.ok(finish)
	st.refused(finish, Stale)
	j, _ := st.s.View().Job("j1")
	if j.State != Done || j.OutputName != "a_converted.flac" || j.Output != "m2" {
		t.Errorf("job: %+v", j)
	}
	if n, _ := st.s.View().Node("n2"); n.Converted != 1 {
		t.Errorf("node2 has converted %d", n.Converted)
	}
	st.refused(CancelJob{ID: "j1", Owner: "u1", At: now}, Conflict)
}

func named(v *View, ref blobs.Ref) bool {
	for r := range v.Blobs() {
		if r == ref {
			return true
		}
	}
	return false
}

func TestFailures(t *testing.T) {
	st := begin(t)
	st.ok(song("m1", "a.mp3", "one"))
	st.ok(convert("j1"))
	for n := 1; n <= MaxAttempts; n++ {
		st.ok(AssignTasks{Assignments: []Assignment{{"j1-t", "n1"}}, At: now})
		st.ok(FailTask{Task: "j1-t", Attempt: n, Reason: "boom", At: now})
		k, _ := st.s.View().Task("j1-t")
		if n < MaxAttempts && (k.State != Waiting || !k.NotBefore.After(now)) {
			t.Fatalf("after attempt %d: %+v", n, k)
		}
	}
	j, _ := st.s.View().Job("j1")
	if j.State != Failed || j.Error != "boom" {
		t.Errorf("job: %+v", j)
	}
	st.ok(convert("j2"))
	st.ok(AssignTasks{Assignments: []Assignment{{"j2-t", "n1"}}, At: now})
	st.ok(FailTask{Task: "j2-t", Attempt: 1, Reason: "no audio", Final: true, At: now})
	if j, _ := st.s.View().Job("j2"); j.State != Failed {
		t.Errorf("a final failure left the job %s", j.State)
	}
}

func TestCancel(t *testing.T) {
	st := begin(t)
	st.ok(song("m1", "a.mp3", "one"))
	st.ok(convert("j1"))
	st.ok(AssignTasks{Assignments: []Assignment{{"j1-t", "n1"}}, At: now})
	st.refused(CancelJob{ID: "j1", Owner: "u2", At: now}, NotFound)
	st.ok(CancelJob{ID: "j1", Owner: "u1", At: now})
	for range st.s.View().TasksOn("n1") {
		t.Error("the worker still has the task")
	}
	st.refused(FinishTask{Task: "j1-t", Attempt: 1, Output: content("out"), At: now}, Stale)
}

func TestNodes(t *testing.T) {
	st := begin(t)
	st.refused(RegisterNode{ID: "n3", Name: "node1"}, Conflict)
	st.refused(RegisterNode{ID: "n3", Name: "<b>"}, Invalid)
	st.ok(RegisterNode{ID: "n1", Name: "renamed", HTTP: "h:1"})
	if n, _ := st.s.View().Node("n1"); n.Name != "renamed" || !n.JoinedAt.Equal(now) {
		t.Errorf("node: %+v", n)
	}
	st.ok(song("m1", "a.mp3", "one"))
	st.ok(convert("j1"))
	st.ok(AssignTasks{Assignments: []Assignment{{"j1-t", "n1"}}, At: now})
	st.ok(RemoveNode{ID: "n1", At: now})
	if k, _ := st.s.View().Task("j1-t"); k.State != Waiting {
		t.Errorf("its task is %s", k.State)
	}
	st.refused(RemoveNode{ID: "n1"}, NotFound)
	st.refused(RegisterNode{ID: "n1", Name: "node1", Known: true, At: now}, NotFound) // said before it heard of its removal
	st.ok(RegisterNode{ID: "n1", Name: "node1", At: now})
	st.ok(RegisterNode{ID: "n1", Name: "node1", Known: true, At: now})
}

func TestDrainingIsAgreedOn(t *testing.T) {
	st := begin(t)
	st.refused(DrainNode{ID: "n9", At: now}, NotFound)
	st.refused(UndrainNode{ID: "n9"}, NotFound)
	st.ok(DrainNode{ID: "n1", At: now})
	st.ok(DrainNode{ID: "n1", At: now.Add(time.Hour)})
	st.refused(DrainNode{ID: "n2", At: now}, Conflict) // nobody would be left
	st.ok(RegisterNode{ID: "n1", Name: "node1", HTTP: "h:1", Capacity: 4 << 40, At: now})
	if n, _ := st.s.View().Node("n1"); !n.DrainingAt.Equal(now) || n.Capacity != 4<<40 {
		t.Errorf("after a restart: %+v", n)
	}
	st.ok(UndrainNode{ID: "n1"})
	st.ok(DrainNode{ID: "n2", At: now})
	if n, _ := st.s.View().Node("n1"); !n.DrainingAt.IsZero() {
		t.Errorf("it is drained still: %+v", n)
	}
}

func TestListsAreInOrder(t *testing.T) {
	st := begin(t)
	st.ok(song("m1", "b.mp3", "one"))
	st.ok(song("m2", "a.mp3", "two"))
	seen := st.s.Index()
	for i := range 300 { // enough that a wrong order of bytes shows
		st.ok(convert(fmt.Sprint("j", i)))
	}
	last := uint64(1 << 62)
	n := 0
	for j := range st.s.View().JobsOf("u1") {
		if j.Created >= last {
			t.Fatal("not newest first")
		}
		last = j.Created
		n++
	}
	if n != 300 {
		t.Errorf("%d jobs", n)
	}
	for range st.s.View().MediaSince("u1", seen) {
		t.Error("an unchanged item was listed")
	}
	n = 0
	for range st.s.View().JobsSince("u1", seen) {
		n++
	}
	if n != 300 {
		t.Errorf("%d changed jobs", n)
	}
	var names []string
	for m := range st.s.View().MediaOf("u1") {
		names = append(names, m.Name)
	}
	if fmt.Sprint(names) != "[a.mp3 b.mp3]" {
		t.Error(names)
	}
}

func TestARequestIsAppliedOnce(t *testing.T) {
	s := New()
	data, _ := Encode("r1", AddUser{ID: "u1", Name: "ana", Password: "phc"})
	for index := uint64(1); index <= 2; index++ {
		if r, err := s.Apply(index, data); err != nil || r.ID != "u1" {
			t.Fatalf("entry %d: %v %v", index, r, err)
		}
	}
}

func TestEntriesThatAreNotOurs(t *testing.T) {
	s := New()
	good, _ := Encode("r1", AddUser{ID: "u1", Name: "ana", Password: "phc"})
	flipped := bytes.Clone(good)
	flipped[len(flipped)/2] ^= 4
	for _, data := range [][]byte{nil, {1}, flipped, good[:len(good)-1]} {
		if _, err := s.Apply(1, data); !errors.Is(err, ErrDamaged) {
			t.Errorf("%q: %v", data, err)
		}
	}
}

func TestReplayAndRestoreGiveTheSameState(t *testing.T) {
	st := begin(t)
	st.ok(song("m1", "a.mp3", "one"))
	st.ok(AddShare{ID: "s1", Owner: "u1", Media: "m1", For: time.Hour, At: now})
	st.ok(convert("j1"))
	st.ok(convert("j2"))
	st.ok(AssignTasks{Assignments: []Assignment{{"j1-t", "n1"}, {"j2-t", "n2"}}, At: now})
	st.ok(FinishTask{Task: "j1-t", Attempt: 1, Output: content("out"), Media: "m2", At: now})
	st.refused(convert("j1"), Conflict)
	st.ok(RemoveMedia{ID: "m2", Owner: "u1"})

	again := New()
	for i, data := range st.log {
		again.Apply(uint64(i+1), data)
	}
	var snap bytes.Buffer
	if err := st.s.Snapshot().Write(&snap); err != nil {
		t.Fatal(err)
	}
	restored := New()
	if err := restored.Restore(bytes.NewReader(snap.Bytes())); err != nil {
		t.Fatal(err)
	}
	for name, s := range map[string]*State{"replayed": again, "restored": restored} {
		if !bytes.Equal(dump(t, s), dump(t, st.s)) || s.Index() != st.s.Index() {
			t.Errorf("the %s state is another", name)
		}
	}
	for i := range snap.Len() {
		if i%7 != 0 {
			continue
		}
		bad := bytes.Clone(snap.Bytes())
		bad[i] ^= 1
		if err := New().Restore(bytes.NewReader(bad)); !errors.Is(err, ErrSnapshot) {
			t.Fatalf("byte %d flipped: %v", i, err)
		}
	}
	if err := New().Restore(bytes.NewReader(snap.Bytes()[:snap.Len()/2])); !errors.Is(err, ErrSnapshot) {
		t.Errorf("half a snapshot: %v", err)
	}
}

func TestViewsTellOfChanges(t *testing.T) {
	st := begin(t)
	v := st.s.View()
	select {
	case <-v.Changed():
		t.Fatal("nothing changed yet")
	default:
	}
	st.ok(song("m1", "a.mp3", "one"))
	<-v.Changed()
	if _, ok := v.Media("m1"); ok {
		t.Error("an old view shows a new item")
	}
	if err := st.s.WaitIndex(t.Context(), st.index); err != nil {
		t.Error(err)
	}
}

func TestSweepKeepsWhatIsYoung(t *testing.T) {
	st := begin(t)
	st.ok(song("m1", "a.mp3", "one"))
	st.ok(convert("j1"))
	st.ok(CancelJob{ID: "j1", Owner: "u1", At: now})
	st.ok(convert("j2"))
	if st.s.View().NeedsSweep(Sweep{At: now.Add(KeepEnded)}) {
		t.Error("a sweep with nothing to do")
	}
	late := now.Add(KeepEnded + time.Hour)
	if !st.s.View().NeedsSweep(Sweep{At: late}) {
		t.Error("no sweep where there is something to do")
	}
	st.ok(Sweep{Limit: 10, At: late})
	if _, ok := st.s.View().Job("j1"); ok {
		t.Error("an old job is still there")
	}
	if _, ok := st.s.View().Job("j2"); !ok {
		t.Error("a queued job was swept")
	}
}

func FuzzDecode(f *testing.F) {
	good, _ := Encode("r1", AddUser{ID: "u1", Name: "ana"})
	f.Add(good)
	f.Add(Join([][]byte{good, good}))
	f.Add(frame([]byte(`{"v":1,"cmd":"AddJob","body":{"tasks":[{}]}}`)))
	f.Fuzz(func(t *testing.T, data []byte) {
		s := New()
		s.Apply(1, data)
		s.Apply(2, frame(data))
	})
}

func BenchmarkApply(b *testing.B) {
	s := New()
	data, _ := Encode("", AddUser{ID: "u1", Name: "ana", Password: "phc"})
	s.Apply(1, data)
	n := uint64(1)
	for b.Loop() {
		n++
		data, _ := Encode(fmt.Sprint(n), song(fmt.Sprint("m", n), fmt.Sprint(n, ".mp3"), fmt.Sprint(n)))
		if _, err := s.Apply(n, data); err != nil {
			b.Fatal(err)
		}
	}
}

func TestJobsAreKeptAsLongAsTheSweepSays(t *testing.T) {
	st := begin(t)
	st.ok(song("m1", "a.mp3", "one"))
	st.ok(convert("early")) // but it ends last
	for _, id := range []string{"j1", "j2", "j3"} {
		st.ok(convert(id))
		st.ok(CancelJob{ID: JobID(id), Owner: "u1", At: now})
	}
	st.ok(CancelJob{ID: "early", Owner: "u1", At: now.Add(2 * time.Hour)})
	sweep := Sweep{Limit: 2, KeepJobs: time.Hour, At: now.Add(time.Hour + time.Second)}
	sweeps := 0
	for ; st.s.View().NeedsSweep(sweep); sweeps++ {
		st.ok(sweep)
	}
	if sweeps != 2 {
		t.Errorf("%d sweeps of 2 records for 3 jobs", sweeps)
	}
	for _, id := range []string{"j1", "j2", "j3"} {
		if _, there := st.s.View().Job(JobID(id)); there {
			t.Errorf("job %s is kept for longer", id)
		}
		for range st.s.View().TasksOf(JobID(id)) {
			t.Errorf("a task of job %s is kept", id)
		}
	}
	st.job("early")
}

func TestJobsAreCounted(t *testing.T) {
	st := begin(t)
	st.ok(song("m1", "a.mp3", "one"))
	for _, id := range []string{"j1", "j2", "j3"} {
		st.ok(convert(id))
	}
	st.ok(AssignTasks{Assignments: []Assignment{{"j1-t", "n1"}}, At: now})
	st.ok(CancelJob{ID: "j2", Owner: "u1", At: now})
	restored := New()
	var snapshot bytes.Buffer
	if err := errors.Join(st.s.Snapshot().Write(&snapshot), restored.Restore(&snapshot)); err != nil {
		t.Fatal(err)
	}
	for name, v := range map[string]*View{"as it grew": st.s.View(), "restored": restored.View()} {
		for state, want := range map[JobState]int{Queued: 1, Running: 1, Canceled: 1, Done: 0} {
			if all, own, others := v.CountJobs("", state), v.CountJobs("u1", state), v.CountJobs("u2", state); all != want || own != want || others != 0 {
				t.Errorf("%s: %d jobs are %s, %d of their owner, %d of another, want %d", name, all, state, own, others, want)
			}
		}
	}
	st.ok(Sweep{Limit: 10, KeepJobs: time.Hour, At: now.Add(2 * time.Hour)})
	if n := st.s.View().CountJobs("u1", Canceled); n != 0 {
		t.Errorf("%d jobs are counted that are gone", n)
	}
}

func TestChangesOfTheBlobsAreNoticed(t *testing.T) {
	st := begin(t)
	for _, c := range []struct {
		what    string
		cmd     Command
		changes bool
	}{
		{"an item is new", song("m1", "a.mp3", "one"), true},
		{"a job reads it", convert("j1"), true},
		{"a job begins", AssignTasks{Assignments: []Assignment{{"j1-t", "n1"}}, At: now}, false},
		{"it is linked", AddShare{ID: "s1", Owner: "u1", Media: "m1", For: time.Hour, At: now}, false},
		{"an output is new", FinishTask{Task: "j1-t", Attempt: 1, Output: content("out"), Media: "m2", At: now}, true},
		{"an item goes", RemoveMedia{ID: "m1", Owner: "u1"}, true},
		{"a user is new", AddUser{ID: "u3", Name: "cid", Password: "phc", At: now}, false},
	} {
		st.ok(c.cmd)
		if changed := st.s.View().BlobsChanged() == st.index; changed != c.changes {
			t.Errorf("%s: noticed %v, want %v", c.what, changed, c.changes)
		}
	}
}

func TestATryThatComesTooLateDoesNothing(t *testing.T) {
	s := New()
	entry, _ := EncodeSince(1, "r1", AddUser{ID: "u1", Name: "ana", Password: "phc"})
	if _, err := s.Apply(2, entry); err != nil {
		t.Fatal(err)
	}
	for index := uint64(keepRequests + 2); index < keepRequests+20; index++ { // each drops what is too old
		other, _ := Encode(fmt.Sprint("r", index), EndSessions{User: "u1"})
		if _, err := s.Apply(index, other); err != nil {
			t.Fatal(err)
		}
	}
	before := dump(t, s)
	if r, err := s.Apply(keepRequests+20, entry); !errors.Is(err, ErrBusy) {
		t.Errorf("the answer is forgotten, and the try is answered with %v, %v", r, err)
	}
	if !bytes.Equal(before, dump(t, s)) {
		t.Error("it changed the state")
	}
}
