package node_test

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"malla/httpapi"
	"malla/httpapi/backup"
	"malla/node"
	"malla/node/nodetest"
)

// backupOf is a backup that an administrator makes through the node.
func backupOf(t *testing.T, admin *httpapi.Client, files bool) ([]byte, backup.Trailer) {
	t.Helper()
	var body io.ReadCloser
	nodetest.Eventually(t, "a backup begins", 30*time.Second, func() (err error) {
		body, err = admin.Backup(t.Context(), files)
		return err
	})
	defer body.Close()
	var data bytes.Buffer
	_, end, err := backup.Read(io.TeeReader(body, &data), backup.Visitor{})
	if err != nil {
		t.Fatal(err)
	}
	return data.Bytes(), end
}

// setUp makes the administrator of a mesh.
func setUp(t *testing.T, nd *nodetest.Node) *httpapi.Client {
	t.Helper()
	admin := nd.Client()
	link, _ := nd.SetupURL()
	_, token, _ := strings.Cut(link, "#setup=")
	if _, err := admin.Setup(t.Context(), token, "root", "correct horse"); err != nil {
		t.Fatal(err)
	}
	return admin
}

// TestRestoreBackup takes backups of two nodes that hold one copy of each chunk,
// and makes new meshes of them.
func TestRestoreBackup(t *testing.T) {
	if testing.Short() {
		t.Skip("five nodes are started one after another")
	}
	m := nodetest.New(t, 2, func(_ int, cfg *node.Config) { cfg.Copies = 1 })
	admin, ana := setUp(t, m.Node(0)), m.Node(0).User("ana")
	admin.Consistency = httpapi.Strong // what another client was told is in it
	songs := map[string][]byte{}
	for i := range 4 {
		name := fmt.Sprintf("song%d.mp3", i)
		songs[name] = append(generated(t, "song.mp3"), make([]byte, i)...)
		upload(t, ana, name, songs[name])
	}
	whole, end := backupOf(t, admin.At(m.Node(1).URL()), true)
	if end.Chunks < 8 || len(end.Missing) > 0 { // a manifest and a chunk each
		t.Errorf("trailer %+v", end)
	}
	bare, end := backupOf(t, admin, false)
	if end.Chunks > 0 || len(bare) >= len(whole) {
		t.Errorf("without files: %d bytes, %+v", len(bare), end)
	}
	for _, nd := range []*nodetest.Node{m.Node(1), m.Node(0)} {
		nd.Stop()
	}

	data := filepath.Join(t.TempDir(), "again")
	cut := node.Restore{From: bytes.NewReader(whole[:len(whole)-4096]), Data: data}
	if _, err := cut.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "cut off") {
		t.Fatalf("restored half a backup: %v", err)
	}
	done, err := node.Restore{From: bytes.NewReader(whole), Data: data}.Run(t.Context())
	if err != nil || done.Users != 2 || done.Blobs < 4 || done.Whole != done.Blobs {
		t.Fatalf("restored %+v, %v", done, err)
	}
	if _, err := (node.Restore{From: bytes.NewReader(whole), Data: data}).Run(t.Context()); err == nil || !strings.Contains(err.Error(), "empty directory") {
		t.Errorf("restored into a data directory: %v", err)
	}
	again := nodetest.New(t, 1, func(_ int, cfg *node.Config) { cfg.Data = data })
	if _, err := ana.At(again.Node(0).URL()).Me(t.Context()); err == nil {
		t.Error("a session of before the backup still lives")
	}
	for name, song := range songs {
		if err := download(again.Node(0).User("ana"), name, song); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}

	// Without files the names are there, and the bytes when they come again.
	data = filepath.Join(t.TempDir(), "bare")
	done, err = node.Restore{From: bytes.NewReader(bare), Data: data}.Run(t.Context())
	if err != nil || done.Blobs < 4 || done.Whole != 0 {
		t.Fatalf("restored without files: %+v, %v", done, err)
	}
	empty := nodetest.New(t, 1, func(_ int, cfg *node.Config) { cfg.Data = data })
	ana = empty.Node(0).User("ana")
	if list, err := ana.Media(t.Context(), httpapi.MediaQuery{}); err != nil || len(list.Items) != 4 {
		t.Errorf("listed: %+v, %v", list, err)
	}
	if body, err := ana.Open(t.Context(), "song1.mp3", 0); err == nil { // Download would try for a while
		t.Error("bytes came from nowhere", body.Body.Close())
	}
	upload(t, ana, "song1.mp3", songs["song1.mp3"])
	if err := download(ana, "song1.mp3", songs["song1.mp3"]); err != nil {
		t.Errorf("uploaded again: %v", err)
	}
	// A node of the old mesh brings the rest.
	old := m.Node(1)
	old.Change(func(cfg *node.Config) { cfg.Join, cfg.Rejoin = []string{empty.Node(0).GossipAddr()}, true })
	old.Restart()
	if files, err := filepath.Glob(filepath.Join(old.Data(), "raft", "raft.damaged-*")); err != nil || len(files) != 1 {
		t.Errorf("put aside: %v, %v", files, err)
	}
	nodetest.Eventually(t, "what the old node has can be read", 30*time.Second, func() error {
		for name, song := range songs {
			if !hasAll(t, old, song) {
				continue // it was on the node that does not come back
			}
			if err := download(ana, name, song); err != nil {
				return err
			}
		}
		return nil
	})
}

// hasAll tells whether the node's disk has the bytes of a file of one chunk.
func hasAll(t *testing.T, nd *nodetest.Node, data []byte) bool {
	for _, file := range chunkFiles(t, nd) {
		if got, err := os.ReadFile(file); err == nil && bytes.Equal(got, data) {
			return true
		}
	}
	return false
}
