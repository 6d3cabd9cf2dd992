package node_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"malla/httpapi"
	"malla/node"
	"malla/node/nodetest"
)

// statusOf is what one node knows of the other.
func statusOf(at, of *nodetest.Node) httpapi.NodeStatus {
	for _, n := range at.Nodes() {
		if n.Name == of.Name() {
			return n
		}
	}
	return httpapi.NodeStatus{}
}

// stored are the files of the node's chunks.
func stored(t *testing.T, nd *nodetest.Node) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(nd.Data(), "blobs", "chunks", "*", "*"))
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func TestANodeIsEmptiedAndMayGo(t *testing.T) {
	m := nodetest.New(t, 3, func(_ int, cfg *node.Config) { cfg.Copies = 2 })
	admin := m.Node(0).Client()
	link, _ := m.Node(0).SetupURL()
	_, token, _ := strings.Cut(link, "#setup=")
	if _, err := admin.Setup(t.Context(), token, "root", "correct horse"); err != nil {
		t.Fatal(err)
	}
	songs := map[string][]byte{}
	for i := range 4 {
		name := fmt.Sprintf("song%d.mp3", i)
		songs[name] = append(generated(t, "song.mp3"), make([]byte, i)...)
		upload(t, admin, name, songs[name])
	}
	leaving := m.Node(2)
	nodetest.Eventually(t, "the node has chunks", 20*time.Second, func() error {
		if len(stored(t, leaving)) == 0 {
			return fmt.Errorf("none yet")
		}
		return nil
	})
	for _, nd := range []*nodetest.Node{m.Node(0), m.Node(1), leaving} {
		for _, file := range stored(t, nd) { // as if they were uploaded an hour ago: what is young stays a while
			if err := os.Chtimes(file, time.Time{}, time.Now().Add(-time.Hour)); err != nil {
				t.Fatal(err)
			}
		}
	}
	problem(t, "a user empties a node", m.Node(0).User("ana").DrainNode(t.Context(), leaving.Name()), http.StatusForbidden, "administrator")
	if err := admin.DrainNode(t.Context(), leaving.Name()); err != nil {
		t.Fatal(err)
	}
	problem(t, "empty a second one", admin.DrainNode(t.Context(), m.Node(1).Name()), http.StatusConflict, "copies")
	leaving.Kill()
	leaving.Restart() // it goes on
	nodetest.Eventually(t, "it is empty", 60*time.Second, func() error {
		if s := statusOf(m.Node(0), leaving); s.Draining != httpapi.IsEmpty {
			return fmt.Errorf("it is %+v, and has %d chunks", s, len(stored(t, leaving)))
		}
		return nil
	})
	if left := stored(t, leaving); len(left) > 0 {
		t.Errorf("it has %d chunks", len(left))
	}
	leaving.Kill()
	for name, want := range songs {
		if err := download(admin, name, want); err != nil {
			t.Error(err)
		}
	}
}
