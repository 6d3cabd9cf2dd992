package node_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"malla/blobs"
	"malla/node"
	"malla/node/nodetest"
)

// chunkFiles are the files of the node's chunks.
func chunkFiles(t *testing.T, nd *nodetest.Node) (all []string) {
	t.Helper()
	err := filepath.WalkDir(filepath.Join(nd.Data(), "blobs", "chunks"), func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			all = append(all, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestFsckFindsDamageThatTheMeshThenHeals(t *testing.T) {
	m := nodetest.New(t, 2)
	ana, sick := m.Node(0).User("ana"), m.Node(1)
	song := generated(t, "song.mp3")
	upload(t, ana, "song.mp3", song) // acknowledged by a majority of two: both have it
	fsck := node.Fsck{Data: sick.Data()}
	if _, err := fsck.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "stop that node") {
		t.Fatalf("fsck beside a running node: %v", err)
	}
	sick.Stop()
	report, err := fsck.Run(t.Context())
	if err != nil || report.Damaged > 0 || report.Chunks == 0 || report.Complete != report.Manifests {
		t.Fatalf("a sound directory: %+v, %v", report, err)
	}

	hurt := chunkFiles(t, sick)[0]
	data, err := os.ReadFile(hurt)
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)/2] ^= 16
	if err := os.Chmod(hurt, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(hurt, data, 0o600); err != nil {
		t.Fatal(err)
	}
	fsck.Repair = true
	report, err = fsck.Run(t.Context())
	if err != nil || report.Damaged != 1 || report.Findings[0].Kind != blobs.FoundDamaged || report.Findings[0].Fixed == "" {
		t.Fatalf("a flipped bit: %+v, %v", report, err)
	}
	if rel, _ := filepath.Rel(sick.Data(), hurt); report.Findings[0].File != rel {
		t.Errorf("found %s, want %s", report.Findings[0].File, rel)
	}
	if report, err = fsck.Run(t.Context()); err != nil || report.Damaged > 0 {
		t.Errorf("after the repair: %+v, %v", report, err)
	}

	sick.Restart()
	nodetest.Eventually(t, "the chunk is back", 30*time.Second, func() error {
		data, err := os.ReadFile(hurt)
		if err == nil && blobs.RefOf(data).String() != filepath.Base(filepath.Dir(hurt))+filepath.Base(hurt) {
			t.Error("a damaged chunk came back")
		}
		return err
	})
}

func TestFsckOfWhatIsNoDataDirectory(t *testing.T) {
	if _, err := (node.Fsck{Data: t.TempDir()}).Run(t.Context()); err == nil || !strings.Contains(err.Error(), "--data") {
		t.Errorf("an empty folder: %v", err)
	}
}
