package cluster

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"malla/cluster/state"
)

// ballot reads candidates: one word each, of an id and letters. v it votes, l it
// leads, x it is unwell and lost, s unwell since a moment, f it has just become
// well, d it does not want to vote, a b c its zone.
func ballot(t *testing.T, text string) (nodes []candidate) {
	t.Helper()
	for _, word := range strings.Fields(text) {
		id, letters, _ := strings.Cut(word, ":")
		n := candidate{id: state.NodeID(id), well: true, willing: true, since: time.Hour}
		for _, letter := range letters {
			switch letter {
			case 'v':
				n.votes = true
			case 'l':
				n.votes, n.leads = true, true
			case 'x':
				n.well = false
			case 's':
				n.well, n.since = false, time.Second
			case 'f':
				n.since = time.Second
			case 'd':
				n.willing = false
			case 'a', 'b', 'c':
				n.zone = string(letter)
			default:
				t.Fatalf("%s: what is %c?", text, letter)
			}
		}
		nodes = append(nodes, n)
	}
	return nodes
}

func TestWhoGetsAVoteAndWhoLosesIt(t *testing.T) {
	for _, c := range []struct {
		name, nodes     string
		most            int
		promote, demote string
	}{
		{"one node", "1:l", 5, "", ""},
		{"the second node", "1:l 2:", 5, "2", ""},
		{"the second node has just come", "1:l 2:f", 5, "2", ""},
		{"the second node is not well yet", "1:l 2:s", 5, "", ""},
		{"the second node does not want to", "1:l 2:d", 5, "", ""},
		{"only one is to vote", "1:l 2: 3:", 1, "", ""},
		{"the third node", "1:l 2:v 3:", 5, "3", ""},
		{"three at once", "1:l 2: 3:", 5, "2 3", ""},
		{"a fourth bears no more than three", "1:l 2:v 3:v 4:", 5, "", ""},
		{"the fifth brings the fourth along", "1:l 2:v 3:v 4: 5:", 5, "4 5", ""},
		{"the fifth has just come", "1:l 2:v 3:v 4: 5:f", 5, "", ""},
		{"the fifth does not want to", "1:l 2:v 3:v 4: 5:d", 5, "", ""},
		{"three are to vote", "1:l 2:v 3:v 4: 5:", 3, "", ""},
		{"a sixth stands by", "1:l 2:v 3:v 4:v 5:v 6:", 5, "", ""},
		{"seven", "1:l 2:v 3:v 4:v 5:v 6: 7:", 7, "6 7", ""},

		{"a voter is lost", "1:l 2:vx 3:v 4:", 5, "4", "2"},
		{"a voter is away for a moment", "1:l 2:vs 3:v 4:", 5, "", ""},
		{"a voter is lost and nobody is ready", "1:l 2:vx 3:v 4:f", 5, "", ""},
		{"a voter of three is lost", "1:l 2:vx 3:v", 5, "", ""},
		{"two of five are lost, nobody stands by", "1:l 2:vx 3:vx 4:v 5:v", 5, "", ""},
		{"two of five are lost: one after the other", "1:l 2:vx 3:vx 4:v 5:v 6: 7:", 5, "6", "2"},
		{"between the two", "1:l 2:x 3:vx 4:v 5:v 6: 7:v", 5, "6", "3"},
		{"it was demoted and nobody promoted", "1:l 2:x 3:v 4:v 5:v 6:", 5, "6", ""},
		{"it was demoted and nobody is ready any more", "1:l 2:x 3:v 4:v 5:v 6:s", 5, "", ""},

		{"a full voter waits for the other one to vote", "1:l 2:vd 3:v 4:", 5, "4", ""},
		{"and is then one too many", "1:l 2:vd 3:v 4:v", 5, "", "2"},
		{"a full voter that nobody can replace", "1:l 2:vd 3:v", 5, "", ""},
		{"a full leader", "1:ld 2:v 3:v 4:", 5, "4", ""},
		{"a full leader, replaced", "1:ld 2:v 3:v 4:v", 5, "", "1"},
		{"one is lost, another full", "1:l 2:vd 3:vx 4:", 5, "4", "3"},

		{"a node was removed", "1:l 2:v 3:v 4:v", 5, "", "4"},
		{"a node was removed, one of the rest is away", "1:l 2:vs 3:v 4:v", 5, "", "2"},
		{"fewer are to vote now", "1:l 2:v 3:v 4:v 5:v", 3, "", "5"},
		{"fewer are to vote, but only just enough answer", "1:l 2:v 3:v 4:vx 5:vx", 3, "", "5"},
		{"three of six answer", "1:l 2:v 3:vx 4:vx 5:vx 6:v 7:v 8:vx", 3, "", "8"},

		{"new voters come from other zones", "1:la 2:va 3:va 4:a 5:a 6:b", 5, "6 4", ""},
		{"three zones for five", "1:la 2:va 3:va 4:a 5:b 6:c", 5, "5 6", ""},
		{"the one in the place of a lost one is of another zone", "1:la 2:vbx 3:vc 4:a 5:b", 3, "5", "2"},
		{"a zone with two more gives one away", "1:la 2:va 3:va 4:b", 3, "4", ""},
		{"which is not the leader's", "1:va 2:va 3:la 4:vb", 3, "", "2"},
		{"a zone with one more does not", "1:la 2:va 3:vb 4:b", 3, "", ""},
		{"not while one is away", "1:la 2:vas 3:va 4:b", 3, "", ""},
		{"no zones, no change", "1:l 2:v 3:v 4: 5:", 3, "", ""},
	} {
		e := electorate{most: c.most, stable: 5 * time.Second, lost: 30 * time.Second}
		promote, demote := e.changes(ballot(t, c.nodes))
		if got := fmt.Sprint(promote, demote); got != fmt.Sprintf("[%s] [%s]", c.promote, c.demote) {
			t.Errorf("%s (%s): promotes and demotes %s, want [%s] [%s]", c.name, c.nodes, got, c.promote, c.demote)
		}
	}
}

// TestVotesComeToRest lets random meshes go on until nothing changes, and looks
// at each step whether those that are well stay a majority.
func TestVotesComeToRest(t *testing.T) {
	e := electorate{most: 5, stable: 5 * time.Second, lost: 30 * time.Second}
	for seed := range 2000 {
		n, bits := 1+seed%9, uint64(seed)*0x9e3779b97f4a7c15
		draw := func(of uint64) uint64 { bits ^= bits << 13; bits ^= bits >> 7; bits ^= bits << 17; return bits % of }
		var nodes []candidate
		for i := range n {
			nodes = append(nodes, candidate{
				id: state.NodeID(fmt.Sprint(i)), zone: string('a' + rune(draw(3))), since: time.Hour,
				votes: i == 0 || draw(2) == 0, leads: i == 0, well: i == 0 || draw(4) > 0, willing: draw(5) > 0,
			})
		}
		before := fmt.Sprintf("%+v", nodes)
		count := func() (voters, well int) {
			for _, c := range nodes {
				if c.votes {
					voters++
					if c.well {
						well++
					}
				}
			}
			return voters, well
		}
		if voters, well := count(); well < quorum(voters) {
			continue // nobody leads, so nobody changes anything
		}
		for step := 0; ; step++ {
			promote, demote := e.changes(nodes)
			if len(promote)+len(demote) == 0 {
				break
			}
			if step > 40 {
				t.Fatalf("no end of changes: %s", before)
			}
			for i := range nodes { // as autopilot does it: an unwell one is demoted first where the number is odd
				voters, _ := count()
				if slices.Contains(demote, nodes[i].id) && (len(promote) == 0 || !nodes[i].well && voters%2 == 1) {
					nodes[i].votes = false
				}
			}
			if voters, well := count(); well < quorum(voters) {
				t.Fatalf("no majority is left after %v: %s", demote, before)
			}
			for i := range nodes {
				if slices.Contains(promote, nodes[i].id) {
					nodes[i].votes = true
				}
			}
		}
		if voters, well := count(); well < quorum(voters) {
			t.Fatalf("no majority is left: %s", before)
		}
	}
}

func TestCheckVoters(t *testing.T) {
	for n, ok := range map[int]bool{-1: false, 0: false, 1: true, 2: false, 3: true, 4: false, 5: true, 7: true, 9: false} {
		if err := CheckVoters(n); (err == nil) != ok {
			t.Errorf("%d: %v", n, err)
		}
	}
}

func TestALostVoterIsReplacedAndTheQuorumStays(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	nodes := m.up(4)
	leader := m.leader(nodes...)
	if s := leader.c.Strength(); s != (Strength{Voters: 3, Alive: 3, Survives: 1, Nodes: 4}) {
		t.Errorf("strength: %+v", s)
	}
	roles := leader.c.raft.roles()
	i := slices.IndexFunc(nodes, func(n *node) bool { return n != leader && roles[n.id()] == Voter })
	lost, lostID := nodes[i], nodes[i].id()
	lost.kill()
	standby := slices.IndexFunc(nodes, func(n *node) bool { return n != lost && roles[n.id()] == Nonvoter })
	eventually(t, "another node votes instead", func() error {
		now := leader.c.raft.roles()
		if now[lostID] != Nonvoter || now[nodes[standby].id()] != Voter || len(now) != 4 {
			return fmt.Errorf("the roles are %v", now)
		}
		return nil
	})
	// The next one finds nobody to take its vote. It keeps it: with it gone
	// two nodes would agree without knowing of a third.
	next := nodes[standby]
	next.kill()
	lead := leader.c.voters.lost + 10*leader.c.cfg.Timing.Vote
	never(t, lead, "the quorum became smaller", func() bool { return countRoles(leader.c.raft.roles(), Voter) != 3 })
	eventually(t, "it says that no further one may go", func() error {
		if s := leader.c.Strength(); s.Survives != 0 || s.Voters != 3 || s.Alive != 2 {
			return fmt.Errorf("it says %+v", s)
		}
		return nil
	})
	leader.writes("ana")
	m.start(lost)
	m.start(next)
	m.agree(nodes...)
}

func countRoles(roles map[state.NodeID]Role, role Role) (n int) {
	for _, r := range roles {
		if r == role {
			n++
		}
	}
	return n
}

// TestADiskThatFailsCostsTheVote has the leader say that its disk is broken:
// its vote goes to the node that stands by, and it leads no more.
func TestADiskThatFailsCostsTheVote(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	var broken atomic.Pointer[state.NodeID]
	for i := range 4 {
		n := m.add(fmt.Sprint("n", i))
		n.change = func(c *Config) {
			id := c.ID
			c.Work = func() Work { b := broken.Load(); return Work{Broken: b != nil && *b == id} }
			if i > 0 {
				c.Join = []string{m.nodes[0].c.GossipAddr()}
			}
		}
		m.start(n)
		if i == 0 {
			n.ready()
		}
	}
	m.agree(m.nodes...)
	m.settled(m.nodes...)
	ill := m.leader(m.nodes...)
	id := ill.id()
	broken.Store(&id)
	eventually(t, "its vote is another's", func() error {
		roles := ill.c.Roles()
		if roles[id] != Nonvoter || countRoles(ill.c.raft.roles(), Voter) != 3 {
			return fmt.Errorf("the roles are %v", roles)
		}
		return nil
	})
	for _, n := range m.nodes {
		n.writes("by-" + n.name)
	}
	ill.ready() // it goes on as a follower
}

func TestVotersStandInDifferentZones(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	for i, zone := range []string{"a", "a", "a", "b", "c"} {
		n := m.add(fmt.Sprint("n", i))
		n.change = func(c *Config) {
			c.Zone, c.Voters = zone, 3
			if i > 0 {
				c.Join = []string{m.nodes[0].c.GossipAddr()}
			}
		}
		m.start(n)
		n.ready()
	}
	eventually(t, "one voter in each zone", func() error {
		var zones []string
		for id, role := range m.nodes[0].c.raft.roles() {
			if rec, _ := m.nodes[0].state.View().Node(id); role == Voter {
				zones = append(zones, rec.Zone)
			}
		}
		slices.Sort(zones)
		if !slices.Equal(zones, []string{"a", "b", "c"}) {
			return fmt.Errorf("they stand in %v", zones)
		}
		return nil
	})
}

// TestARemovedNodeGetsNoVote: autopilot decides by a picture that may be older
// than a removal.
func TestARemovedNodeGetsNoVote(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	nodes := m.up(2)
	leader, other := m.leader(nodes...), nodes[0]
	if other == leader {
		other = nodes[1]
	}
	id := other.id()
	if err := leader.c.Remove(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	b := ballots{leader.c.raft.raft(), leader.c}
	if err := b.AddVoter(raft.ServerID(id), raft.ServerAddress(id), 0, 0).Error(); err == nil {
		t.Error("it got a vote")
	}
	if err := b.DemoteVoter(raft.ServerID(id), 0, 0).Error(); err == nil {
		t.Error("it lost a vote")
	}
	if got := len(leader.c.raft.roles()); got != 1 {
		t.Errorf("%d nodes are in the configuration", got)
	}
}

func TestWhatAMeshSays(t *testing.T) {
	for words, s := range map[string]Strength{
		"one node":                        {1, 1, 0, 1},
		"while one of two is away":        {2, 2, 0, 2},
		"survives the loss of 1 node":     {3, 3, 1, 4},
		"survives the loss of 2 nodes":    {5, 5, 2, 9},
		"no further voting node may fail": {3, 2, 0, 3},
		"only 1 of 3 voting nodes answer: nothing can be changed until 2 do": {3, 1, -1, 3},
		"not in a mesh yet": {},
	} {
		if got := s.String(); !strings.Contains(got, words) {
			t.Errorf("%+v says %q, want %q", s, got, words)
		}
	}
	m := newMesh(t)
	nodes := m.up(1)
	if s := nodes[0].c.Strength(); s != (Strength{Voters: 1, Alive: 1, Nodes: 1}) {
		t.Errorf("one node: %+v", s)
	}
}

// settled waits until as many of these nodes vote as should.
func (m *mesh) settled(nodes ...*node) {
	m.t.Helper()
	eventually(m.t, "the votes are given", func() error {
		for _, n := range nodes {
			roles := n.c.raft.roles()
			if want := n.c.voters.wanted(len(nodes)); len(roles) != len(nodes) || countRoles(roles, Voter) != want {
				return errors.New("the roles are " + fmt.Sprint(roles))
			}
		}
		return nil
	})
}

// writes waits until the node has a write agreed on.
func (n *node) writes(name string) {
	n.t.Helper()
	eventually(n.t, n.name+" writes", func() error {
		_, err := n.addUser(name)
		if errors.Is(err, state.ErrConflict) {
			return nil // it was agreed on by an earlier try
		}
		return err
	})
}
