package state

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	"malla/blobs"
)

const week = 7 * 24 * time.Hour

func trashIt(id string) RemoveMedia {
	return RemoveMedia{ID: MediaID(id), Owner: "u1", Keep: week, At: now}
}

func trashNames(v *View, owner UserID) []string {
	var names []string
	for x := range v.TrashOf(owner) {
		names = append(names, x.Media.Name)
	}
	return names
}

func inTrash(v *View, id MediaID) (Trashed, bool) {
	for x := range v.TrashOf("u1") {
		if x.Media.ID == id {
			return *x, true
		}
	}
	return Trashed{}, false
}

func TestTrashKeepsAnItemUntilItsTime(t *testing.T) {
	st := begin(t)
	film := song("m1", "a.mp3", "one")
	film.Content.Index = blobs.Blob{Ref: blobs.RefOf([]byte("index")), Size: 5}
	st.ok(film)
	st.refused(RemoveMedia{ID: "m1", Owner: "u2", Keep: week, At: now}, NotFound)
	st.ok(trashIt("m1"))
	v := st.s.View()
	if _, ok := v.Media("m1"); ok {
		t.Error("its id still opens")
	}
	if _, ok := v.MediaByName("u1", "a.mp3"); ok {
		t.Error("its name still opens")
	}
	x, ok := inTrash(v, "m1")
	if !ok || x.Media.Name != "a.mp3" || !x.At.Equal(now) || !x.Goes.Equal(now.Add(week)) {
		t.Errorf("in the trash: %+v", x)
	}
	st.refused(trashIt("m1"), NotFound)
	st.refused(convert("j1"), NotFound)
	st.refused(AddShare{ID: "s9", Owner: "u1", Media: "m1", For: time.Hour, At: now}, NotFound)

	if early := now.Add(week - time.Second); v.NeedsSweep(Sweep{At: early}) {
		t.Error("it goes a second early")
	}
	st.ok(Sweep{Limit: 10, At: now.Add(week - time.Second)})
	for _, ref := range []blobs.Ref{film.Content.Blob.Ref, film.Content.Index.Ref} {
		if !named(st.s.View(), ref) {
			t.Error("the bytes of what is in the trash are not named before its time")
		}
	}
	if !st.s.View().NeedsSweep(Sweep{At: now.Add(week)}) {
		t.Error("nobody is told that its time is over")
	}
	seen := st.s.Index()
	st.ok(Sweep{Limit: 10, At: now.Add(week)})
	if len(trashNames(st.s.View(), "u1")) != 0 || named(st.s.View(), film.Content.Blob.Ref) || named(st.s.View(), film.Content.Index.Ref) {
		t.Error("it is there after its time")
	}
	for r := range st.s.View().RemovalsSince("u1", seen) {
		if r.Media == "m1" && r.Purged {
			return
		}
	}
	t.Error("nobody hears that it is gone for good")
}

func TestRestoredItemsAreWhatTheyWere(t *testing.T) {
	st := begin(t)
	st.ok(song("m1", "a.mp3", "one"))
	before, _ := st.s.View().Media("m1")
	st.ok(AddShare{ID: "short", Owner: "u1", Media: "m1", For: time.Hour, At: now})
	st.ok(AddShare{ID: "long", Owner: "u1", Media: "m1", For: week, At: now})
	st.ok(trashIt("m1"))
	if _, _, ok := st.s.View().Share("long", now); ok {
		t.Error("its share opens what is in the trash")
	}
	later := now.Add(2 * time.Hour)
	st.ok(Sweep{Limit: 10, At: later})
	st.refused(RestoreMedia{ID: "m1", Owner: "u2"}, NotFound)
	if id := st.ok(RestoreMedia{ID: "m1", Owner: "u1"}); id != "m1" {
		t.Errorf("restored as %q", id)
	}
	after, _ := st.s.View().Media("m1")
	if after.Modified <= before.Modified {
		t.Error("nobody who follows the changes hears of it")
	}
	if after.Modified = before.Modified; after.Name != before.Name || after.Created != before.Created || after.Content.Blob != before.Content.Blob {
		t.Errorf("%+v\nwas %+v", after, before)
	}
	if _, _, ok := st.s.View().Share("short", later); ok {
		t.Error("a share that expired in the trash lives")
	}
	if _, m, ok := st.s.View().Share("long", later); !ok || m.ID != "m1" {
		t.Error("a share that has not expired did not come back")
	}
	if len(trashNames(st.s.View(), "u1")) != 0 {
		t.Error("it is in the trash as well")
	}
	st.refused(RestoreMedia{ID: "m1", Owner: "u1"}, NotFound)
	st.ok(trashIt("m1"))
	st.ok(RemoveShare{ID: "long", Owner: "u1"}) // revoked while its item is in the trash
	st.ok(RestoreMedia{ID: "m1", Owner: "u1"})
	if _, _, ok := st.s.View().Share("long", later); ok {
		t.Error("a share that was revoked came back")
	}
}

func TestRestoringFindsAFreeName(t *testing.T) {
	st := begin(t)
	st.ok(song("m1", "a.mp3", "one"))
	st.ok(trashIt("m1"))
	if id := st.ok(song("m2", "a.mp3", "one")); id != "m2" {
		t.Fatalf("an upload gave back %q, which is in the trash", id)
	}
	st.ok(trashIt("m2"))
	st.ok(song("m3", "a.mp3", "three"))
	st.ok(RestoreMedia{ID: "m1", Owner: "u1"})
	st.ok(RestoreMedia{ID: "m2", Owner: "u1"}) // the same bytes as m1, another item
	for id, want := range map[MediaID]string{"m1": "a (2).mp3", "m2": "a (3).mp3", "m3": "a.mp3"} {
		if m, _ := st.s.View().Media(id); m.Name != want {
			t.Errorf("%s is %q, want %q", id, m.Name, want)
		}
	}
}

func TestPurgingAndEmptying(t *testing.T) {
	st := begin(t)
	for _, id := range []string{"m1", "m2", "m3"} {
		st.ok(song(id, id+".mp3", id))
		st.ok(AddShare{ID: ShareID("s" + id), Owner: "u1", Media: MediaID(id), For: time.Hour, At: now})
		st.ok(trashIt(id))
	}
	theirs := song("o1", "o.mp3", "other")
	theirs.Owner = "u2"
	st.ok(theirs)
	st.ok(RemoveMedia{ID: "o1", Owner: "u2", Keep: week, At: now})
	if got := trashNames(st.s.View(), "u1"); !slices.Equal(got, []string{"m3.mp3", "m2.mp3", "m1.mp3"}) {
		t.Errorf("the trash shows %q, want the latest first", got)
	}
	st.refused(PurgeMedia{ID: "m1", Owner: "u2"}, NotFound)
	st.ok(PurgeMedia{ID: "m1", Owner: "u1"})
	st.refused(RestoreMedia{ID: "m1", Owner: "u1"}, NotFound)
	if named(st.s.View(), content("m1").Blob.Ref) {
		t.Error("its bytes are still named")
	}
	m2, _ := inTrash(st.s.View(), "m2")
	if n := st.ok(EmptyTrash{Owner: "u1", Index: m2.Index, Limit: 10}); n != "1" {
		t.Errorf("it says that it ended %s, want 1", n)
	}
	if got := trashNames(st.s.View(), "u1"); !slices.Equal(got, []string{"m3.mp3"}) {
		t.Errorf("what was deleted after the look at the trash went with it: %q", got)
	}
	for _, id := range []string{"m4", "m5"} {
		st.ok(song(id, id+".mp3", id))
		st.ok(trashIt(id))
	}
	if n := st.ok(EmptyTrash{Owner: "u1", Index: st.s.Index(), Limit: 2}); n != "2" {
		t.Errorf("it says that it ended %s of 3, want the 2 that it may", n)
	}
	if got := trashNames(st.s.View(), "u1"); !slices.Equal(got, []string{"m5.mp3"}) {
		t.Errorf("the trash shows %q, want the oldest to go first", got)
	}
	if n := st.ok(EmptyTrash{Owner: "u1", Index: st.s.Index(), Limit: 2}); n != "1" {
		t.Errorf("it says that it ended %s, want the last one", n)
	}
	if mine, others := trashNames(st.s.View(), "u1"), trashNames(st.s.View(), "u2"); len(mine) != 0 || len(others) != 1 {
		t.Errorf("left: %q, and %q of another user", mine, others)
	}
	for range st.s.View().SharesOf("u1") {
		t.Error("a share outlived its item")
	}
}

func TestJobsGoOnWhenTheirInputIsTrashed(t *testing.T) {
	st := begin(t)
	st.ok(song("m1", "a.mp3", "one"))
	st.ok(convert("j1"))
	st.ok(convert("j2"))
	st.ok(trashIt("m1"))
	st.ok(AssignTasks{Assignments: []Assignment{{"j1-t", "n1"}}, At: now})
	st.ok(FinishTask{Task: "j1-t", Attempt: 1, Output: content("out"), Media: "m2", At: now})
	if j, _ := st.s.View().Job("j1"); j.State != Done {
		t.Errorf("the job is %s", j.State)
	}
	st.ok(CancelJob{ID: "j2", Owner: "u1", At: now})
	st.refused(RetryJob{ID: "j2", Owner: "u1", At: now}, Conflict)
	st.ok(RestoreMedia{ID: "m1", Owner: "u1"})
	st.ok(RetryJob{ID: "j2", Owner: "u1", At: now})
}

func TestTheTrashSurvivesSnapshots(t *testing.T) {
	st := begin(t)
	st.ok(song("m1", "a.mp3", "one"))
	var old bytes.Buffer // as a version without a trash writes it: not a line of that table
	if err := st.s.Snapshot().Write(&old); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(old.String(), "trash") {
		t.Fatal("an empty trash stands in the snapshot: versions without one cannot read it")
	}
	st.ok(trashIt("m1"))
	var snap bytes.Buffer
	if err := st.s.Snapshot().Write(&snap); err != nil {
		t.Fatal(err)
	}
	s := New()
	if err := s.Restore(&snap); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(dump(t, s), dump(t, st.s)) || len(trashNames(s.View(), "u1")) != 1 {
		t.Error("the restored state is another")
	}
	if err := s.Restore(&old); err != nil {
		t.Fatalf("an old snapshot: %v", err)
	}
	if _, ok := s.View().Media("m1"); !ok || len(trashNames(s.View(), "u1")) != 0 {
		t.Error("the old snapshot gave another state")
	}
}

// An entry of a version without a trash deletes as it did there.
func TestOldEntriesDeleteAtOnce(t *testing.T) {
	st := begin(t)
	st.ok(song("m1", "a.mp3", "one"))
	entry := frame([]byte(`{"v":1,"cmd":"RemoveMedia","body":{"id":"m1","owner":"u1"}}`))
	if _, err := st.s.Apply(st.index+1, entry); err != nil {
		t.Fatal(err)
	}
	if v := st.s.View(); len(trashNames(v, "u1")) != 0 || named(v, content("one").Blob.Ref) {
		t.Error("it went into the trash")
	}
	st.index++
	for _, id := range []string{"m2", "m3"} {
		st.ok(song(id, id+".mp3", id))
		st.ok(trashIt(id))
	}
	st.ok(EmptyTrash{Owner: "u1", Index: st.s.Index()}) // without a limit
	if got := trashNames(st.s.View(), "u1"); len(got) != 0 {
		t.Errorf("%q are left in a trash that was emptied without a limit", got)
	}
}
