package replica_test

import (
	"testing"
	"time"

	"malla/blobs"
	"malla/blobs/blobstest"
	"malla/blobs/replica"
)

// TestAHoldKeepsWhatNobodyNames on all nodes, while one reads by an older state.
func TestAHoldKeepsWhatNobodyNames(t *testing.T) {
	m := newMesh(t, 3, func(cfg *replica.Config) { cfg.CollectAfter = 50 * time.Millisecond })
	gone := m.nodes[0].put(blobstest.Bytes(1000, 2))
	eventually(t, "all copies are made", func() error { return m.lacking([]blobs.Ref{gone}) })
	ref, _ := m.nodes[0].store(blobstest.Bytes(5000, 3))
	m.name(ref)
	release := m.nodes[1].Hold(t.Context())
	m.runAll()
	m.waitRounds(6)
	if have := m.having(gone); len(have) != 3 {
		t.Errorf("what nobody names is only on %v, in spite of the hold", have)
	}
	release()
}
