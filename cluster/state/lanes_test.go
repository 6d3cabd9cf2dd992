package state

import (
	"fmt"
	"strings"
	"testing"
)

// queues makes films of 2 segments and an audio task each, and songs.
func queues(t *testing.T) *story {
	st := begin(t)
	st.ok(song("m1", "a.mp3", "one"))
	st.ok(AddMedia{ID: "mb", Owner: "u2", Name: "b.mp3", Content: content("two"), At: now})
	st.film("j1")
	st.film("j2")
	st.ok(AddJob{ID: "j3", Owner: "u2", Media: "mb", Format: "mp3", Tasks: []NewTask{{ID: "t3", Kind: Convert, Cost: QuickCost}}, At: now})
	st.ok(AddJob{ID: "j4", Owner: "u2", Media: "mb", Format: "mp3", Tasks: []NewTask{{ID: "t4", Kind: Convert, Cost: QuickCost + 1}}, At: now})
	st.ok(convert("j5"))
	st.ok(SetPriority{ID: "j5", Owner: "u1", Priority: High})
	return st
}

func TestFirstWaiting(t *testing.T) {
	view := queues(t).s.View()
	for _, row := range []struct {
		p    Priority
		lane Lane
		want string
	}{
		{High, QuickLane, "j5-t"}, {High, LongLane, ""},
		{Normal, QuickLane, "j1-a t3"}, {Normal, LongLane, "j1-1 t4"},
		{Low, QuickLane, ""}, {Low, LongLane, ""},
	} {
		var got []string
		for k := range view.FirstWaiting(row.p, row.lane) {
			got = append(got, string(k.ID))
		}
		if strings.Join(got, " ") != row.want {
			t.Errorf("priority %d, lane %d: %v, want %s", row.p, row.lane, got, row.want)
		}
	}
}

func TestFirstWaitingJumpsOverLongQueues(t *testing.T) {
	st := begin(t)
	st.ok(song("m1", "a.mp3", "one"))
	st.ok(AddMedia{ID: "mb", Owner: "u2", Name: "b.mp3", Content: content("two"), At: now})
	many := convert("j1")
	many.Tasks = nil
	for i := range 3 * nearby {
		many.Tasks = append(many.Tasks, NewTask{ID: TaskID(fmt.Sprint("a", i)), Kind: Segment})
	}
	st.ok(many)
	st.ok(AddJob{ID: "j2", Owner: "u2", Media: "mb", Format: "mp3", Tasks: []NewTask{{ID: "b", Kind: Segment}}, At: now})
	var got []TaskID
	for k := range st.s.View().FirstWaiting(Normal, LongLane) {
		got = append(got, k.ID)
	}
	if fmt.Sprint(got) != "[a0 b]" {
		t.Errorf("%v", got)
	}
}

func TestQueueOf(t *testing.T) {
	view := queues(t).s.View()
	for _, row := range []struct {
		name string
		from TaskID
		skip TaskID // after it the rest of its job is passed over
		want string
	}{
		{"the oldest job first, each in its order", "j1-1", "", "[j1-1 j1-2 j2-1 j2-2]"},
		{"from the middle on", "j1-2", "", "[j1-2 j2-1 j2-2]"},
		{"without the rest of a job", "j1-1", "j1-1", "[j1-1 j2-1 j2-2]"},
		{"without the rest of the last job", "j1-1", "j2-1", "[j1-1 j1-2 j2-1]"},
		{"the other lane", "j1-a", "", "[j1-a j2-a]"},
		{"another priority", "j5-t", "", "[j5-t]"},
		{"another user", "t4", "", "[t4]"},
	} {
		k, _ := view.Task(row.from)
		q := view.QueueOf(&k)
		var got []TaskID
		for k := q.Next(); k != nil; k = q.Next() {
			got = append(got, k.ID)
			if k.ID == row.skip {
				q.SkipJob(k)
			}
		}
		if fmt.Sprint(got) != row.want {
			t.Errorf("%s: %v, want %s", row.name, got, row.want)
		}
	}
}
