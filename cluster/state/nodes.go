package state

import (
	"bytes"
	"regexp"
	"time"
)

// NodeID names a node for ever: a random text in its data directory, never an
// address.
type NodeID string

// A Node is a member of the mesh, whether it is alive or not.
type Node struct {
	ID        NodeID    `json:"id"`
	Name      string    `json:"name"`
	Zone      string    `json:"zone,omitempty"`
	Version   string    `json:"version"`
	Level     int       `json:"level,omitempty"` // that this version knows
	HTTP      string    `json:"http"`            // host:port of its API
	Peer      string    `json:"peer"`            // host:port of its link
	Gossip    string    `json:"gossip"`          // host:port of its gossip
	Key       []byte    `json:"key,omitempty"`   // public, Ed25519: tells it from whoever else has the secret; none of a version that has no such key
	Converted uint64    `json:"converted"`
	Failed    uint64    `json:"failed"`
	JoinedAt  time.Time `json:"joined_at"`

	Capacity   uint64    `json:"capacity,omitempty"`   // bytes that chunks may take on its disk, in coarse steps; 0 of a version that does not tell
	DrainingAt time.Time `json:"draining_at,omitzero"` // since when it is being emptied; zero: it is not

	Suspicions  int       `json:"suspicions,omitempty"`  // attempts that failed here since the last one that did not
	SucceededAt time.Time `json:"succeeded_at,omitzero"` // the last attempt that worked
	SuspectedAt time.Time `json:"suspected_at,omitzero"` // the first of the suspicions
	Asides      int       `json:"asides,omitempty"`      // times in a row that it was set aside
	AsideUntil  time.Time `json:"aside_until,omitzero"`  // gets no tasks before that
}

// When a node is set aside.
const (
	maxSuspicions = 3
	shortestAside = time.Minute
	longestAside  = time.Hour
)

// succeed notes an attempt that worked.
func (n *Node) succeed(at time.Time) {
	n.Converted++
	n.SucceededAt, n.Suspicions, n.Asides, n.AsideUntil = at, 0, 0, time.Time{}
}

// suspect notes an attempt that failed for no fault of the input. A node on
// which they fail one after another while they work on others is set aside, for
// longer each time.
func (t *tx) suspect(k *Task, at time.Time) {
	t.count(k.Node, func(n *Node) {
		if n.Suspicions++; n.Suspicions == 1 {
			n.SuspectedAt = at
		}
		if n.Suspicions < maxSuspicions || !t.othersSucceed(n.ID, n.SuspectedAt) {
			return
		}
		n.AsideUntil = at.Add(min(shortestAside<<min(n.Asides, 10), longestAside))
		n.Suspicions = 0
		n.Asides++
	})
}

// othersSucceed tells whether an attempt has worked on another node since.
func (t *tx) othersSucceed(but NodeID, since time.Time) bool {
	for n := range nodes.each(t.records, "id", "") {
		if n.ID != but && !n.SucceededAt.Before(since) && !n.SucceededAt.IsZero() {
			return true
		}
	}
	return false
}

var nodes = table[Node]{name: "nodes", indexes: map[string]index[Node]{
	"id":   {true, func(n *Node) string { return key(string(n.ID)) }},
	"name": {true, func(n *Node) string { return key(n.Name) }},
}}

var nodeName = regexp.MustCompile(`^[a-zA-Z0-9_.-]{1,63}$`)

// CheckNodeName returns why a name cannot be a node's, or nil.
func CheckNodeName(name string) error {
	if !nodeName.MatchString(name) {
		return InvalidField("name", "%q is not a node's name: use 1 to 63 letters, digits, dots, dashes or underscores", name)
	}
	return nil
}

// knows is the newest level that the node knows.
func (n *Node) knows() int { return max(1, n.Level) }

// RegisterNode enters a node, or its new name and addresses. A name that
// another node has is a Conflict, and so are another key than the node came
// with and a version that does not know what the mesh has agreed on. A new node
// is Busy while the mesh replaces its secret: who has the old one must not be
// handed the next.
type RegisterNode struct {
	ID      NodeID    `json:"id"`
	Name    string    `json:"name"`
	Zone    string    `json:"zone,omitempty"`
	Version string    `json:"version"`
	Level   int       `json:"level,omitempty"`
	HTTP    string    `json:"http"`
	Peer    string    `json:"peer"`
	Gossip  string    `json:"gossip"`
	Key     []byte    `json:"key,omitempty"`
	At      time.Time `json:"at"`

	Capacity uint64 `json:"capacity,omitempty"`

	// Known tells that the node is in the mesh already: where it is not any
	// more, it was removed in the meantime, and that is NotFound.
	Known bool `json:"known,omitempty"`
}

func (c RegisterNode) apply(t *tx) (string, error) {
	if err := CheckNodeName(c.Name); err != nil {
		return "", err
	}
	if other := nodes.get(t.records, "name", key(c.Name)); other != nil && other.ID != c.ID {
		return "", Errorf(Conflict, "the name %q belongs to another node of this mesh (%s): start this one with another --name", c.Name, other.ID)
	}
	if agreed := t.view().Level(); max(1, c.Level) < agreed {
		return "", Errorf(Conflict, "version %s of malla is too old for this mesh, which has agreed on what newer ones do (level %d): upgrade this node", c.Version, agreed)
	}
	n := Node{ID: c.ID, JoinedAt: c.At}
	old := nodes.get(t.records, "id", key(string(c.ID)))
	if old != nil {
		n = *old
	} else if c.Known {
		return "", Errorf(NotFound, "node %s was removed from this mesh: start it as a new node, with an empty data directory", c.Name)
	} else if t.view().Rotation().Phase != SecretSettled {
		return "", Errorf(Busy, "the mesh is replacing its secret, and takes no new node until that is done (malla secret status)")
	}
	if len(n.Key) > 0 && len(c.Key) > 0 && !bytes.Equal(n.Key, c.Key) {
		return "", Errorf(Conflict, "node %s has another key than the one it came with: start it with the file node-key of its own data directory, or as a new node, with an empty one", n.Name)
	}
	if len(c.Key) > 0 {
		n.Key = c.Key
	}
	n.Name, n.Zone, n.Version, n.HTTP, n.Peer, n.Gossip = c.Name, c.Zone, c.Version, c.HTTP, c.Peer, c.Gossip
	n.Capacity, n.Level = c.Capacity, c.Level
	nodes.put(t, &n)
	return string(n.ID), nil
}

// DrainNode makes a node be emptied: it gets no new chunks and no new tasks,
// and its chunks move to the others. It stays so over restarts, until
// [UndrainNode]. That nobody would be left to keep chunks is a Conflict.
type DrainNode struct {
	ID NodeID    `json:"id"`
	At time.Time `json:"at"`
}

func (c DrainNode) apply(t *tx) (string, error) {
	old := nodes.get(t.records, "id", key(string(c.ID)))
	if old == nil {
		return "", Errorf(NotFound, "no such node")
	}
	if !old.DrainingAt.IsZero() {
		return string(c.ID), nil
	}
	others := 0
	for n := range nodes.each(t.records, "id", "") {
		if n.ID != c.ID && n.DrainingAt.IsZero() {
			others++
		}
	}
	if others == 0 {
		return "", Errorf(Conflict, "%s is the last node that is not being drained: its chunks would have nowhere to go", old.Name)
	}
	t.count(c.ID, func(n *Node) { n.DrainingAt = c.At })
	return string(c.ID), nil
}

// UndrainNode makes a node keep chunks and run tasks again.
type UndrainNode struct {
	ID NodeID `json:"id"`
}

func (c UndrainNode) apply(t *tx) (string, error) {
	if nodes.get(t.records, "id", key(string(c.ID))) == nil {
		return "", Errorf(NotFound, "no such node")
	}
	t.count(c.ID, func(n *Node) { n.DrainingAt = time.Time{} })
	return string(c.ID), nil
}

// RemoveNode forgets a node. Its tasks wait for another.
type RemoveNode struct {
	ID NodeID    `json:"id"`
	At time.Time `json:"at"`
}

func (c RemoveNode) apply(t *tx) (string, error) {
	n := nodes.get(t.records, "id", key(string(c.ID)))
	if n == nil {
		return "", Errorf(NotFound, "no such node")
	}
	for _, k := range collect(tasks.each(t.records, "node", key(string(c.ID)))) {
		if j := jobs.get(t.records, "id", key(string(k.Job))); j != nil {
			t.endAttempt(k, j, ending{Moved, "the node was removed from the mesh", "", c.At, c.At, false})
		}
	}
	nodes.drop(t, n)
	t.learned(n)
	return string(n.ID), nil
}

// count changes the record of a node, where there is one.
func (t *tx) count(id NodeID, change func(*Node)) {
	if old := nodes.get(t.records, "id", key(string(id))); old != nil {
		n := *old
		change(&n)
		nodes.put(t, &n)
	}
}

// Node returns the node with that id.
func (v *View) Node(id NodeID) (Node, bool) {
	return deref(nodes.get(v.records, "id", key(string(id))))
}

// Nodes returns all nodes, by name.
func (v *View) Nodes() []Node {
	var all []Node
	for n := range nodes.each(v.records, "name", "") {
		all = append(all, *n)
	}
	return all
}
