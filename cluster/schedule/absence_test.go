package schedule

import (
	"fmt"
	"testing"
	"time"

	"malla/cluster/state"
)

func TestLost(t *testing.T) {
	for _, row := range []struct {
		name string
		at   func(second int) Presence // of the node that has the task
		want string                    // causes, by second
	}{
		{"the node is there", func(int) Presence { return Present }, "map[]"},
		{"the node is gone", func(int) Presence { return Gone }, "map[10:lost]"},
		{"the node goes later", func(s int) Presence {
			if s < 5 {
				return Present
			}
			return Gone
		}, "map[15:lost]"},
		{"the node comes back in time, again and again", func(s int) Presence {
			if s%8 == 0 {
				return Present
			}
			return Gone
		}, "map[]"},
		{"the node said that it goes", func(s int) Presence {
			if s < 5 {
				return Present
			}
			return Departed
		}, "map[5:moved]"},
	} {
		m := newMesh(t)
		m.long("ana", "t")
		m.long("bob", "other")
		m.assign(now.Add(-time.Hour), "t", "n1", "other", "n2")
		var a Absence
		ended := map[int]state.Cause{}
		for s := 0; s <= 30 && len(ended) == 0; s++ {
			nodes := map[state.NodeID]Presence{"n1": row.at(s), "n2": Present}
			for _, r := range a.Lost(m.s.View(), nodes, 10*time.Second, now.Add(time.Duration(s)*time.Second)) {
				if r.Task != "t" || r.Attempt != 1 || r.Reason == "" {
					t.Errorf("%s: %+v", row.name, r)
				}
				ended[s] = r.Cause
			}
		}
		if fmt.Sprint(ended) != row.want {
			t.Errorf("%s: %v, want %s", row.name, ended, row.want)
		}
	}
}

func TestANodeThatNobodyKnowsIsGone(t *testing.T) {
	m := newMesh(t)
	m.long("ana", "t")
	m.assign(now, "t", "n1")
	var a Absence
	a.Lost(m.s.View(), nil, time.Second, now)
	if lost := a.Lost(m.s.View(), nil, time.Second, now.Add(time.Second)); len(lost) != 1 {
		t.Errorf("%v", lost)
	}
}
