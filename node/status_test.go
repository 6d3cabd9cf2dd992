package node

import (
	"testing"

	"malla/cluster"
	"malla/httpapi"
)

// A node that is gone copies nothing, whatever it said last.
func TestWhatIsToldOfNodesThatAreGone(t *testing.T) {
	last := cluster.Load{Work: cluster.Work{Broken: true, Left: 3, LeftBytes: 3000, Rate: 1000, Stored: 9000}}
	for _, state := range []cluster.MemberState{cluster.Alive, cluster.Suspect, cluster.Dead, cluster.Left} {
		var s httpapi.NodeStatus
		describeLoad(&s, cluster.Member{State: state, Load: last})
		there := state == cluster.Alive || state == cluster.Suspect
		if (s.Repair != nil) != there || (s.Disk == diskBroken) != there {
			t.Errorf("%s: it copies %+v, its disk is %q", state, s.Repair, s.Disk)
		}
		if s.Stored != last.Stored {
			t.Errorf("%s: %d bytes stored, want what it last said", state, s.Stored)
		}
	}
}
