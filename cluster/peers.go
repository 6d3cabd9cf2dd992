package cluster

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"malla/cluster/state"
)

// maxKnown bounds how many addresses of other nodes are kept.
const maxKnown = 1024

// A knownPeer is where another node was when it was last seen.
type knownPeer struct {
	ID     state.NodeID `json:"id"`
	Gossip string       `json:"gossip"`
	Peer   string       `json:"peer"`
}

// knownPeers remembers the other nodes across restarts, in a file: the gossip
// forgets them within half a minute, and a whole mesh that comes back has
// nobody to ask.
type knownPeers struct {
	writing sync.Mutex // one save at a time, so that the newest wins

	path string

	mu    sync.Mutex // guards the fields below
	peers map[state.NodeID]knownPeer
	dirty bool // differs from the file
}

func loadKnownPeers(dir string) (*knownPeers, error) {
	k := &knownPeers{path: filepath.Join(dir, "peers.json"), peers: map[state.NodeID]knownPeer{}}
	text, err := os.ReadFile(k.path)
	if errors.Is(err, os.ErrNotExist) {
		return k, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the known nodes: %w", err)
	}
	var all []knownPeer
	if json.Unmarshal(text, &all) != nil {
		return k, nil // only hints are lost; seeds and the others' hints remain
	}
	for _, p := range all {
		k.peers[p.ID] = p
	}
	return k, nil
}

// see notes where a node is now.
func (k *knownPeers) see(p knownPeer) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.peers[p.ID] != p && (len(k.peers) < maxKnown || k.peers[p.ID].ID != "") {
		k.peers[p.ID], k.dirty = p, true
	}
}

// keep forgets the nodes that are not wanted any more.
func (k *knownPeers) keep(wanted func(state.NodeID) bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	before := len(k.peers)
	maps.DeleteFunc(k.peers, func(id state.NodeID, _ knownPeer) bool { return !wanted(id) })
	k.dirty = k.dirty || len(k.peers) != before
}

func (k *knownPeers) get(id state.NodeID) (knownPeer, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	p, ok := k.peers[id]
	return p, ok
}

func (k *knownPeers) all() []knownPeer {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Collect(maps.Values(k.peers))
}

// save writes the file, where it differs.
func (k *knownPeers) save() error {
	k.writing.Lock()
	defer k.writing.Unlock()
	k.mu.Lock()
	all := slices.SortedFunc(maps.Values(k.peers), func(a, b knownPeer) int {
		if a.ID < b.ID {
			return -1
		}
		return 1
	})
	dirty := k.dirty
	k.dirty = false
	k.mu.Unlock()
	if !dirty {
		return nil
	}
	text, err := json.MarshalIndent(all, "", "  ")
	if err == nil {
		err = writeFile(k.path, append(text, '\n'))
	}
	if err != nil {
		k.mu.Lock()
		k.dirty = true
		k.mu.Unlock()
		return fmt.Errorf("keep the known nodes: %w", err)
	}
	return nil
}
