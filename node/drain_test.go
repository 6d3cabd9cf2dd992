package node

import (
	"errors"
	"strings"
	"testing"

	"malla/cluster/state"
	"malla/httpapi"
)

func TestWhichNodesCanBeDrained(t *testing.T) {
	const gb = 1_000_000_000
	mesh := func(n int, change func(nodes []httpapi.NodeStatus)) []httpapi.NodeStatus {
		var nodes []httpapi.NodeStatus
		for _, id := range []string{"a", "b", "c", "d", "e"}[:n] {
			nodes = append(nodes, httpapi.NodeStatus{ID: id, Name: "node " + id, State: "alive", DiskFree: 10 * gb, Stored: 5 * gb})
		}
		if change != nil {
			change(nodes)
		}
		return nodes
	}
	for _, c := range []struct {
		name  string
		nodes []httpapi.NodeStatus
		want  error
		word  string
	}{
		{"four nodes, three copies", mesh(4, nil), nil, ""},
		{"the only node", mesh(1, nil), state.ErrConflict, "only 0 of"},
		{"three nodes, three copies", mesh(3, nil), state.ErrConflict, "only 2 of"},
		{"one of the others is dead", mesh(4, func(n []httpapi.NodeStatus) { n[3].State = "dead" }), state.ErrConflict, "only 2 of"},
		{"one of the others is full", mesh(4, func(n []httpapi.NodeStatus) { n[3].Disk = "full" }), state.ErrConflict, "only 2 of"},
		{"one of the others is draining, too", mesh(5, func(n []httpapi.NodeStatus) { n[3].Draining = httpapi.IsEmpty }), nil, ""},
		{"no room", mesh(4, func(n []httpapi.NodeStatus) { n[0].Stored = 28 * gb }), state.ErrFull, "27 GB"},
		{"room but for the reserve", mesh(4, func(n []httpapi.NodeStatus) { n[0].Stored = 27 * gb }), nil, ""},
		{"its disk is broken", mesh(4, func(n []httpapi.NodeStatus) { n[0].Disk = "broken" }), state.ErrConflict, "read-only"},
		{"its disk is full", mesh(4, func(n []httpapi.NodeStatus) { n[0].Disk = "full" }), nil, ""},
		{"it is dead", mesh(4, func(n []httpapi.NodeStatus) { n[0].State = "dead" }), state.ErrConflict, "does not answer"},
	} {
		err := canDrain(c.nodes, "a", 3, 1*gb)
		if !errors.Is(err, c.want) || err != nil && !strings.Contains(err.Error(), c.word) {
			t.Errorf("%s: %v, want %v with %q", c.name, err, c.want, c.word)
		}
	}
}
