package state

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"strings"
	"testing"
)

// later is a command of the next level, as this version meets it.
func later() []byte {
	return frame(fmt.Appendf(nil, `{"v":%d,"req":"r","cmd":"Later","body":{}}`, Level+1))
}

func TestWhatCameInLaterWaitsForAllNodes(t *testing.T) {
	st := begin(t)
	st.ok(RegisterNode{ID: "n1", Name: "node1", Version: "v9", Level: Level + 1, At: now})
	st.ok(RegisterNode{ID: "n2", Name: "node2", Version: "v8", Level: Level, At: now})
	before := dump(t, st.s)
	_, err := st.s.Apply(st.index+1, later())
	if !errors.Is(err, ErrBusy) || !strings.Contains(err.Error(), "node2 runs v8") || strings.Contains(err.Error(), "node1") {
		t.Errorf("before the mesh agreed on its level: %v", err)
	}
	if !bytes.Equal(before, dump(t, st.s)) || st.s.Index() != st.index+1 {
		t.Error("it left a trace")
	}
	st.index++
	st.refused(RaiseLevel{To: Level + 1}, Busy)
	if got := st.s.View().CommonLevel(); got != Level {
		t.Errorf("all nodes know level %d", got)
	}
}

func TestAnOldVersionStops(t *testing.T) {
	st := begin(t)
	st.ok(RegisterNode{ID: "n1", Name: "node1", Level: Level + 1, At: now})
	st.ok(RegisterNode{ID: "n2", Name: "node2", Level: Level + 1, At: now})
	before, index := dump(t, st.s), st.s.Index()
	if _, err := st.do(RaiseLevel{To: Level + 1}); !errors.Is(err, ErrTooOld) {
		t.Errorf("an old node hears that the mesh goes on: %v", err)
	}
	if !bytes.Equal(before, dump(t, st.s)) || st.s.Index() != index {
		t.Error("it counts as applied")
	}
	for _, text := range []string{
		fmt.Sprintf(`{"format":"malla state 1","index":9,"level":%d}`, Level+1) + "\n" + `{"t":"later","r":{}}` + "\n",
		fmt.Sprintf(`{"format":"malla state 1","index":9,"level":%d}`, Level+1) + "\n",
	} {
		whole := text + fmt.Sprintf("\n%08x\n", crc32.Checksum([]byte(text), castagnoli))
		if err := New().Restore(strings.NewReader(whole)); !errors.Is(err, ErrTooOld) {
			t.Errorf("a snapshot of a later level: %v", err)
		}
	}
}

func TestACommandThatNobodyKnowsStopsTheNode(t *testing.T) {
	st := begin(t)
	entry := frame([]byte(`{"v":1,"cmd":"Never","body":{}}`))
	if _, err := st.s.Apply(st.index+1, entry); !errors.Is(err, ErrTooOld) {
		t.Errorf("got %v", err)
	}
}

func TestNoNodeGoesBackBehindTheMesh(t *testing.T) {
	st := begin(t)
	t2 := &tx{records: st.s.View().records.next(), index: st.index}
	agreements.put(t2, &agreement{Level + 1})
	st.s.publish(t2.records, st.index)
	st.refused(RegisterNode{ID: "n3", Name: "node3", Version: "v8", Level: Level, At: now}, Conflict)
	st.refused(RegisterNode{ID: "n1", Name: "node1", Version: "v8", At: now}, Conflict)
	st.ok(RegisterNode{ID: "n3", Name: "node3", Version: "v9", Level: Level + 1, At: now})
	st.ok(RaiseLevel{To: 1}) // late, and nothing to do
	if got := st.s.View().Level(); got != Level+1 {
		t.Errorf("the mesh went back to level %d", got)
	}
}
