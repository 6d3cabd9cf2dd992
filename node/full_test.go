package node

import (
	"testing"

	"malla/blobs"
)

func TestADiskAtItsLimitDoesNotComeAndGo(t *testing.T) {
	full, changes := false, 0
	look := func(chunks int64) {
		if now := takesNone(full, chunks*blobs.ChunkSize); now != full {
			full = now
			changes++
		}
	}
	for range 10 { // a chunk comes, a chunk goes
		look(4)
		look(3)
	}
	if !full || changes != 1 {
		t.Errorf("full is %v after %d changes, want true after one", full, changes)
	}
	for _, c := range []struct {
		left int64 // chunks
		want bool
	}{{3, true}, {15, true}, {16, false}, {15, false}, {4, false}, {3, true}, {1000, false}} {
		if look(c.left); full != c.want {
			t.Errorf("with room for %d chunks full is %v", c.left, full)
		}
	}
}
