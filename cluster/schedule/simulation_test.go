package schedule

import (
	"fmt"
	"testing"
	"time"

	"malla/cluster/state"
)

const pieces = 400 // segments of a film of two hours

// filmOn simulates one film on nodes of a slot each.
func filmOn(t *testing.T, nodes, segments int, change func(*simulation)) (*simulation, time.Duration) {
	t.Helper()
	s := newSimulation(t, nodes, 1)
	s.twoHours("ana", "film", segments)
	if change != nil {
		change(s)
	}
	took := s.run(24 * time.Hour)
	if j, _ := s.s.View().Job("film"); j.State != state.Done {
		t.Fatalf("after %v the job is %s: %s", took, j.State, j.Error)
	}
	return s, took
}

func TestSpeedUp(t *testing.T) {
	_, one := filmOn(t, 1, pieces, nil)
	for _, row := range []struct {
		nodes, segments int
		least           float64
	}{{2, 40, 1.9}, {4, 40, 3.6}, {64, pieces, 50}, {64, 2 * pieces, 55}} {
		_, took := filmOn(t, row.nodes, row.segments, nil)
		speedUp := float64(one) / float64(took)
		t.Logf("%d nodes, %d segments: %v, %.1f times as fast as one node", row.nodes, row.segments, took, speedUp)
		if speedUp < row.least {
			t.Errorf("%d nodes, %d segments: %.1f times as fast, want %.1f", row.nodes, row.segments, speedUp, row.least)
		}
	}
}

func TestANodeThatDiesCostsWhatItHadInHand(t *testing.T) {
	for _, row := range []struct{ nodes, dies int }{{4, 1}, {64, 8}} {
		_, rest := filmOn(t, row.nodes-row.dies, pieces, nil)
		_, all := filmOn(t, row.nodes, pieces, nil)
		s, took := filmOn(t, row.nodes, pieces, func(s *simulation) {
			s.after(all/2, func() {
				for _, n := range s.nodes[:row.dies] {
					s.kill(n)
				}
			})
		})
		t.Logf("%d of %d nodes die: %v, beside %v without them and %v with them", row.dies, row.nodes, took, rest, all)
		if float64(took) > 1.15*float64(rest) {
			t.Errorf("%d of %d nodes die: %v, more than 15 %% over the %v of the others alone", row.dies, row.nodes, took, rest)
		}
		again := 0
		for k := range s.s.View().TasksOf("film") {
			again += k.Attempt - 1
		}
		if s.inHand != row.dies || again != s.inHand {
			t.Errorf("%d of %d nodes die with %d tasks in hand, and %d are done again", row.dies, row.nodes, s.inHand, again)
		}
	}
}

func TestASlowNodeDoesNotHoldUpAFilm(t *testing.T) {
	for _, slow := range []float64{4, 20} {
		_, even := filmOn(t, 16, pieces, nil)
		s, took := filmOn(t, 16, pieces, func(s *simulation) { s.nodes[3].slow = slow })
		t.Logf("one of 16 nodes is %v times slower: %v instead of %v, %d moved", slow, took, even, len(s.released))
		// Without the slow node there is a 15th of the work more for each, and
		// the end may wait for a segment to be recognised and done again.
		if most := even*16/15 + 6*time.Minute; took > most {
			t.Errorf("one of 16 nodes is %v times slower: %v, want %v", slow, took, most)
		}
		if slow > 5 && len(s.released) == 0 {
			t.Errorf("one of 16 nodes is %v times slower, and nothing is moved off it", slow)
		}
	}
}

func TestASongDoesNotWaitForFilms(t *testing.T) {
	s := newSimulation(t, 8, 2)
	for i := range 20 {
		s.twoHours("ana", fmt.Sprint("film", i), pieces)
	}
	rows := []struct {
		name, user, task string
		cost             float64
		most             time.Duration // until it begins
	}{
		{"a song of another user", "bob", "s1", 4, time.Second},
		{"a song of the same user", "ana", "s2", 4, time.Second},
		{"a song of unknown cost", "bob", "s3", 0, time.Second},
		{"an audio book, which takes the next slot that is free", "bob", "s4", 30, 20 * time.Second},
	}
	for i, row := range rows {
		s.after(time.Duration(i+1)*5*time.Minute, func() { s.quick(row.user, row.task, row.cost); s.change() })
	}
	s.run(30 * time.Minute)
	for _, row := range rows {
		if waited := s.waited(t, state.TaskID(row.task)); waited > row.most {
			t.Errorf("%s waits %v among films, want %v", row.name, waited, row.most)
		}
	}
}

// waited is how long the task of a job waited for its first start.
func (s *simulation) waited(t *testing.T, task state.TaskID) time.Duration {
	t.Helper()
	began, ok := s.began[task]
	if !ok {
		t.Fatalf("%s has not begun", task)
	}
	k, _ := s.s.View().Task(task)
	return began.Sub(k.NotBefore)
}

func TestUsersHaveLikeShares(t *testing.T) {
	for _, nodes := range []int{1, 3, 8} {
		s := newSimulation(t, nodes, 1)
		for i := range 20 {
			s.twoHours("ana", fmt.Sprint("a", i), pieces)
		}
		s.twoHours("bob", "b", pieces)
		s.twoHours("eve", "e", 4*pieces) // of shorter segments
		s.run(time.Hour)
		used := map[state.UserID]time.Duration{}
		total := time.Duration(0)
		for _, j := range []string{"a0", "a1", "b", "e"} {
			for k := range s.s.View().TasksOf(state.JobID(j)) {
				if k.State == state.Finished {
					used[k.Owner] += k.FinishedAt.Sub(k.AssignedAt)
					total += k.FinishedAt.Sub(k.AssignedAt)
				}
			}
		}
		t.Logf("%d nodes: %v", nodes, used)
		for _, u := range []state.UserID{"ana", "bob", "eve"} {
			if share := float64(used[u]) / float64(total); share < 0.28 || share > 0.39 {
				t.Errorf("%d nodes: %s had %.2f of the mesh, want a third", nodes, u, share)
			}
		}
	}
}

func TestNodesDoNotIdleBetweenSongs(t *testing.T) {
	const songsQueued = 300
	s := newSimulation(t, 3, 2)
	for i := range songsQueued {
		s.quick("ana", fmt.Sprint("s", i), 1)
	}
	took := s.run(time.Hour)
	ideal := time.Duration(0)
	for i := range songsQueued {
		k, _ := s.s.View().Task(state.TaskID(fmt.Sprint("s", i)))
		ideal += (overhead + encoding(&k)) / 6
	}
	t.Logf("%d songs: %v, at best %v", songsQueued, took, ideal)
	if float64(took) > float64(ideal)/0.97 {
		t.Errorf("%d songs of a second take %v, at best %v", songsQueued, took, ideal)
	}
}
