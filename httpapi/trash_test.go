package httpapi

import (
	"errors"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"malla/cluster/state"
)

func (r *rig) trash(as string) TrashList {
	r.t.Helper()
	return read[TrashList](r.do(req{method: "GET", path: "/trash", as: as}).want(200))
}

// TestTheTrash is the contract of deleting and of having it back.
func TestTheTrash(t *testing.T) {
	r := newRig(t)
	item := r.put("ana", "song.mp3", "sound")
	link := read[Shared](r.do(req{method: "POST", path: "/share/song.mp3?minutes=600", as: "ana"}).want(200))
	share := link.URL[strings.Index(link.URL, "/s/"):]
	deleted := r.clock.Now()
	gone := read[Deleted](r.do(req{method: "DELETE", path: "/media/song.mp3", as: "ana"}).want(200))
	if goes := deleted.Add(testTrashKeep); !gone.OK || gone.ID != item.ID || gone.Name != "song.mp3" || !gone.GoesAt.Equal(goes) {
		t.Errorf("deleted: %+v, want until %s", gone, goes)
	}
	for _, path := range []string{"/media/song.mp3", "/media/" + item.ID, "/media/song.mp3/info"} {
		r.do(req{method: "GET", path: path, as: "ana"}).want(404)
	}
	r.do(req{method: "GET", path: share}).want(404)
	if list := read[MediaList](r.do(req{method: "GET", path: "/media", as: "ana"}).want(200)); len(list.Objects) != 0 {
		t.Errorf("the library still shows %q", list.Objects)
	}
	r.clock.pass(time.Hour)
	list := r.trash("ana")
	if len(list.Items) != 1 || list.Keep != int64(testTrashKeep/time.Second) {
		t.Fatalf("the trash shows %+v", list)
	}
	if x := list.Items[0]; x.ID != item.ID || x.SHA256 != item.SHA256 || !x.DeletedAt.Equal(deleted) || !x.GoesAt.Equal(gone.GoesAt) {
		t.Errorf("in the trash: %+v", x)
	}
	if others := r.trash("bob"); len(others.Items) != 0 {
		t.Errorf("bob sees %+v", others)
	}

	other := r.put("ana", "song.mp3", "other sound")
	back := read[Restored](r.do(req{method: "POST", path: "/trash/" + item.ID + "/restore", as: "ana"}).want(200))
	if !back.OK || back.ID != item.ID || back.Name != "song (2).mp3" || back.Item.Name != back.Name {
		t.Errorf("restored: %+v", back)
	}
	if got := r.do(req{method: "GET", path: "/media/song%20(2).mp3", as: "ana"}).want(200); string(got.body) != "sound" {
		t.Errorf("its bytes are %q", got.body)
	}
	r.do(req{method: "GET", path: share}).want(200)
	r.do(req{method: "POST", path: "/trash/" + item.ID + "/restore", as: "ana"}).want(404)

	for _, id := range []string{item.ID, other.ID} {
		r.do(req{method: "DELETE", path: "/media/" + id, as: "ana"}).want(200)
	}
	if got := r.trash("ana").Items; len(got) != 2 || got[0].ID != other.ID {
		t.Errorf("want the latest deletion first: %+v", got)
	}
	r.do(req{method: "DELETE", path: "/trash/" + item.ID, as: "ana"}).want(200)
	r.do(req{method: "DELETE", path: "/trash/" + item.ID, as: "ana"}).want(404)
	r.do(req{method: "DELETE", path: "/trash", as: "ana"}).refused(400, "confirm")
	r.do(req{method: "DELETE", path: "/trash/", as: "ana"}).want(http.StatusTemporaryRedirect) // to the one that asks
	if n := len(r.trash("ana").Items); n != 1 {
		t.Fatalf("%d items after an emptying that was not confirmed", n)
	}
	if e := read[Emptied](r.do(req{method: "DELETE", path: "/trash?confirm=true", as: "ana"}).want(200)); !e.OK || e.Deleted != 1 {
		t.Errorf("emptied: %+v", e)
	}
	if n := len(r.trash("ana").Items); n != 0 {
		t.Errorf("%d items in an emptied trash", n)
	}
}

// TestEmptyingTakesWhatWasShown deletes an item after the list was fetched that
// the question was about, and has more in the trash than one log entry ends.
func TestEmptyingTakesWhatWasShown(t *testing.T) {
	r := newRig(t)
	ana := r.user("ana").ID
	content := r.disk.content(t, "sound")
	for i := range emptyBatch + 2 {
		id := state.MediaID(fmt.Sprint(i))
		r.log.must(t, state.AddMedia{ID: id, Owner: ana, Name: fmt.Sprintf("%d.mp3", i), Content: content, At: r.clock.Now()},
			state.RemoveMedia{ID: id, Owner: ana, Keep: time.Hour, At: r.clock.Now()})
	}
	shown := r.trash("ana")
	late := r.put("ana", "late.mp3", "late sound")
	r.do(req{method: "DELETE", path: "/media/late.mp3", as: "ana"}).want(200)
	r.do(req{method: "DELETE", path: "/trash?confirm=true&index=x", as: "ana"}).refused(400, "index")
	empty := fmt.Sprintf("/trash?confirm=true&index=%d", shown.Index)
	if e := read[Emptied](r.do(req{method: "DELETE", path: empty, as: "ana"}).want(200)); e.Deleted != len(shown.Items) {
		t.Errorf("%d were deleted, want the %d that were shown", e.Deleted, len(shown.Items))
	}
	if left := r.trash("ana"); left.Total != 1 || left.Items[0].ID != late.ID {
		t.Errorf("left: %+v, want what was deleted after the look", left)
	}
	if e := read[Emptied](r.do(req{method: "DELETE", path: empty, as: "ana"}).want(200)); e.Deleted != 0 {
		t.Errorf("a second time %d were deleted", e.Deleted)
	}
	if e := read[Emptied](r.do(req{method: "DELETE", path: "/trash?confirm=true&index=18446744073709551615", as: "ana"}).want(200)); e.Deleted != 1 {
		t.Errorf("%d were deleted, want what is there now", e.Deleted)
	}
}

func TestPagesOfTheTrash(t *testing.T) {
	r := newRig(t)
	for _, name := range []string{"a.mp3", "b.mp3", "c.mp3", "d.mp3", "e.mp3"} {
		r.put("ana", name, name)
		r.do(req{method: "DELETE", path: "/media/" + name, as: "ana"}).want(200)
	}
	c := &Client{Base: r.url, Token: r.token("ana")}
	var got []string
	for q := (TrashQuery{Limit: 2}); ; {
		part, err := c.Trash(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range part.Items {
			got = append(got, x.Name)
		}
		if left := 5 - len(got); part.Total != 5 && part.Total != 4 || len(part.Items) > 2 || (part.Next == "") != (left == 0) {
			t.Errorf("a part: %+v", part)
		}
		if part.Next == "" {
			break
		}
		if len(got) == 2 { // what was told last is gone when the next part is asked for
			if err := c.Purge(t.Context(), part.Items[1].ID); err != nil {
				t.Fatal(err)
			}
		}
		q.Cursor = part.Next
	}
	if want := []string{"e.mp3", "d.mp3", "c.mp3", "b.mp3", "a.mp3"}; !slices.Equal(got, want) {
		t.Errorf("the parts are %q, want %q", got, want)
	}
	r.do(req{method: "GET", path: "/trash?limit=many", as: "ana"}).refused(400, "limit")
	r.do(req{method: "GET", path: "/trash?cursor=many", as: "ana"}).refused(400, "cursor")
}

func TestWithoutATrashDeletingIsForGood(t *testing.T) {
	r := newRig(t, func(c *Config) { c.TrashKeep = 0 })
	r.put("ana", "song.mp3", "sound")
	p := r.do(req{method: "DELETE", path: "/media/song.mp3", as: "ana"}).want(200)
	if strings.Contains(string(p.body), "goes_at") {
		t.Errorf("it promises a trash: %s", p.body)
	}
	if list := r.trash("ana"); len(list.Items) != 0 || list.Keep != 0 {
		t.Errorf("the trash shows %+v", list)
	}
}

// TestEventsOfTheTrash is what a page that shows it hears.
func TestEventsOfTheTrash(t *testing.T) {
	r := newRig(t)
	item := r.put("ana", "song.mp3", "sound")
	e := r.open("/events", "ana")
	e.next("ready")
	r.do(req{method: "DELETE", path: "/media/song.mp3", as: "ana"}).want(200)
	_, data := e.next("media")
	want(t, data, item.ID, `"deleted":true`, `"goes_at":"`)
	r.do(req{method: "POST", path: "/trash/" + item.ID + "/restore", as: "ana"}).want(200)
	_, data = e.next("media", "trash")
	want(t, data, item.ID, `"sha256"`)
	r.do(req{method: "DELETE", path: "/media/song.mp3", as: "ana"}).want(200)
	e.next("media")
	r.do(req{method: "DELETE", path: "/trash?confirm=true", as: "ana"}).want(200)
	name, data := e.next("media", "trash")
	want(t, name+" "+data, "trash ", item.ID, `"purged":true`)
}

func TestClientOfTheTrash(t *testing.T) {
	r := newRig(t)
	c := &Client{Base: r.url, Token: r.token("ana")}
	one, two := r.put("ana", "one.mp3", "1"), r.put("ana", "two.mp3", "2")
	for _, name := range []string{"one.mp3", "two.mp3"} {
		if gone, err := c.Delete(t.Context(), name); err != nil || gone.GoesAt.IsZero() {
			t.Fatalf("delete: %+v, %v", gone, err)
		}
	}
	if list, err := c.Trash(t.Context(), TrashQuery{}); err != nil || len(list.Items) != 2 {
		t.Errorf("trash: %+v, %v", list, err)
	}
	if back, err := c.Restore(t.Context(), one.ID); err != nil || back.Name != "one.mp3" {
		t.Errorf("restore: %+v, %v", back, err)
	}
	if err := c.Purge(t.Context(), two.ID); err != nil {
		t.Errorf("purge: %v", err)
	}
	var p *Problem
	if err := c.Purge(t.Context(), one.ID); !errors.As(err, &p) || p.Status != 404 {
		t.Errorf("purge of what was restored: %v", err)
	}
	if n, err := c.EmptyTrash(t.Context(), math.MaxUint64); err != nil || n != 0 {
		t.Errorf("empty: %d, %v", n, err)
	}
}
