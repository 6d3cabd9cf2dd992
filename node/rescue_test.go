package node_test

import (
	"fmt"
	"os"
	"testing"
	"time"

	"malla/node"
	"malla/node/nodetest"
)

// TestRecoverWithTwoOfThreeNodesDestroyed: what was confirmed and is on the
// third is there afterwards, and two new nodes get copies of everything.
func TestRecoverWithTwoOfThreeNodesDestroyed(t *testing.T) {
	if testing.Short() {
		t.Skip("six nodes are started one after another")
	}
	m := nodetest.New(t, 3)
	left := m.Node(2)
	ana := m.Node(0).User("ana")
	song := generated(t, "song.mp3")
	upload(t, ana, "song.mp3", song)
	nodetest.Eventually(t, "the third node has a copy, and the state", 30*time.Second, func() error {
		if all := len(chunkFiles(t, left)); all < 2 {
			return fmt.Errorf("%d chunks", all)
		}
		return download(ana.At(left.URL()), "song.mp3", song)
	})
	want := len(chunkFiles(t, left))
	for _, nd := range m.Others(2) {
		nd.Kill()
		if err := os.RemoveAll(nd.Data()); err != nil {
			t.Fatal(err)
		}
	}
	left.Stop()
	rescue := node.Recover{Data: left.Data()}
	if s, err := rescue.Survey(); err != nil || len(s.Voters) != 3 || len(s.Nodes) != 3 {
		t.Fatalf("what is left: %+v, %v", s, err)
	}
	if _, err := rescue.Run(); err != nil {
		t.Fatal(err)
	}
	left.Change(func(cfg *node.Config) { cfg.Join = nil })
	left.Restart()
	again := left.User("ana")
	read := func(nd *nodetest.Node) {
		t.Helper()
		nodetest.Eventually(t, "the song is read from "+nd.Name(), time.Minute, func() error {
			return download(again.At(nd.URL()), "song.mp3", song)
		})
	}
	read(left)
	four, five := m.Add(), m.Add()
	for _, nd := range []*nodetest.Node{four, five} {
		nodetest.Eventually(t, nd.Name()+" has every chunk", time.Minute, func() error {
			if got := len(chunkFiles(t, nd)); got < want {
				return fmt.Errorf("%d of %d", got, want)
			}
			return nil
		})
		read(nd)
	}
}
