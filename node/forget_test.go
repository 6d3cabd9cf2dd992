package node_test

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"malla/cluster"
	"malla/httpapi"
	"malla/node"
	"malla/node/nodetest"
)

// root signs up as administrator at the node.
func root(t *testing.T, nd *nodetest.Node) *httpapi.Client {
	t.Helper()
	link, _ := nd.SetupURL()
	_, token, _ := strings.Cut(link, "#setup=")
	admin := nd.Client()
	if _, err := admin.Setup(t.Context(), token, "root", "correct horse"); err != nil {
		t.Fatal(err)
	}
	return admin
}

// TestNodesGoForGood: one that runs is emptied first, one that is dead waits
// until what it kept is copied, and the files are all there in the end.
func TestNodesGoForGood(t *testing.T) {
	m := nodetest.New(t, 4, func(_ int, cfg *node.Config) {
		cfg.Copies = 2
		cfg.Timing.RepairWait, cfg.Timing.RepairEvery, cfg.Timing.CollectAfter = 3*time.Second, 200*time.Millisecond, time.Millisecond
	})
	admin := root(t, m.Node(0))
	songs := map[string][]byte{}
	for i := range 4 {
		name := fmt.Sprintf("song%d.mp3", i)
		songs[name] = append(generated(t, "song.mp3"), make([]byte, i)...)
		upload(t, admin, name, songs[name])
	}
	running, dead := m.Node(2).Name(), m.Node(3).Name()
	problem(t, "a user forgets a node", m.Node(0).User("ana").ForgetNode(t.Context(), dead, httpapi.Forced), http.StatusForbidden, "administrator")
	problem(t, "a node that runs", admin.ForgetNode(t.Context(), running, httpapi.Safely), http.StatusConflict, "empty it first")
	m.Node(3).Kill()
	nodetest.Eventually(t, "the node is dead", 30*time.Second, func() error {
		for _, s := range m.Node(0).Nodes() {
			if s.Name == dead && s.State != string(cluster.Dead) {
				return fmt.Errorf("it is %s", s.State)
			}
		}
		return nil
	})
	problem(t, "right after its death", admin.ForgetNode(t.Context(), dead, httpapi.Safely), http.StatusConflict, "not yet copied")
	nodetest.Eventually(t, "it can be forgotten", 60*time.Second, func() error {
		return admin.ForgetNode(t.Context(), dead, httpapi.Safely)
	})
	for _, nd := range []*nodetest.Node{m.Node(0), m.Node(1), m.Node(2)} {
		for _, file := range stored(t, nd) { // as if they were uploaded an hour ago: what is young stays a while
			if err := os.Chtimes(file, time.Time{}, time.Now().Add(-time.Hour)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := m.Node(2).Leave(t.Context()); err != nil {
		t.Fatalf("leave: %v", err)
	}
	m.Node(2).Stop()
	nodes, strength, err := admin.Mesh(t.Context())
	if err != nil || len(nodes) != 2 || strength.Nodes != 2 || !strings.Contains(strength.Text, "third node") {
		t.Errorf("the mesh is %+v, %+v: %v", nodes, strength, err)
	}
	for name, want := range songs {
		if err := download(admin, name, want); err != nil {
			t.Error(err)
		}
	}
	var refusal *httpapi.Problem
	if err := admin.ForgetNode(t.Context(), dead, httpapi.Safely); !errors.As(err, &refusal) || refusal.Status != http.StatusNotFound {
		t.Errorf("forgotten twice: %v", err)
	}
}
