package node_test

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"malla/httpapi"
	"malla/node"
	"malla/node/nodetest"
)

// TestTheTrashKeepsBytes deletes two files, one for a week and one for a second:
// the nodes collect the chunks of the second, and none of the first.
func TestTheTrashKeepsBytes(t *testing.T) {
	m := nodetest.New(t, 2, func(i int, cfg *node.Config) {
		cfg.Timing.Sweep, cfg.Timing.RepairEvery, cfg.Timing.CollectAfter = 100*time.Millisecond, 100*time.Millisecond, 300*time.Millisecond
		cfg.TrashKeep = []time.Duration{7 * 24 * time.Hour, time.Second}[i]
	})
	c := m.Node(0).User("ana")
	song := generated(t, "song.mp3")
	kept := upload(t, c, "kept.mp3", song)
	nodetest.Eventually(t, "both nodes have it", 20*time.Second, func() error {
		if a, b := chunks(t, m.Node(0)), chunks(t, m.Node(1)); a == 0 || a != b {
			return fmt.Errorf("%d and %d chunks", a, b)
		}
		return nil
	})
	before := chunks(t, m.Node(0))
	upload(t, c, "gone.mp3", append(bytes.Clone(song), 0))
	if n := chunks(t, m.Node(0)); n <= before {
		t.Fatalf("a second file made no chunk: %d after %d", n, before)
	}
	week, err := c.Delete(t.Context(), "kept.mp3")
	if err != nil || time.Until(week.GoesAt) < 6*24*time.Hour {
		t.Fatalf("deleted for a week: %+v, %v", week, err)
	}
	second, err := m.Node(1).User("ana").Delete(t.Context(), "gone.mp3")
	if err != nil || time.Until(second.GoesAt) > time.Second {
		t.Fatalf("deleted for a second: %+v, %v", second, err)
	}
	nodetest.Eventually(t, "what was deleted for a second is collected", 30*time.Second, func() error {
		if a, b := chunks(t, m.Node(0)), chunks(t, m.Node(1)); a != before || b != before {
			return fmt.Errorf("%d and %d chunks, want %d", a, b, before)
		}
		return nil
	})
	if list, err := c.Trash(t.Context(), httpapi.TrashQuery{}); err != nil || len(list.Items) != 1 || list.Items[0].ID != kept.ID {
		t.Errorf("in the trash: %+v, %v", list, err)
	}
	if _, err := c.Restore(t.Context(), kept.ID); err != nil {
		t.Fatal(err)
	}
	if err := download(c, "kept.mp3", song); err != nil {
		t.Error(err)
	}
	if _, err := c.Delete(t.Context(), "kept.mp3"); err != nil {
		t.Fatal(err)
	}
	list, err := c.Trash(t.Context(), httpapi.TrashQuery{Limit: 1})
	if err != nil {
		t.Fatal(err)
	}
	if n, err := c.EmptyTrash(t.Context(), list.Index); err != nil || n != 1 {
		t.Fatalf("emptied %d, %v", n, err)
	}
	nodetest.Eventually(t, "an emptied trash is collected", 30*time.Second, func() error {
		if a, b := chunks(t, m.Node(0)), chunks(t, m.Node(1)); a+b != 0 {
			return fmt.Errorf("%d and %d chunks are left", a, b)
		}
		return nil
	})
}
