package cluster

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"malla/cluster/state"
)

var idPattern = regexp.MustCompile(`^[0-9a-f]{32}$`)

// LoadOrCreateID returns the id of the node whose data directory dir is: 16
// random bytes in hex, made at its first start and kept in the file node-id
// from then on. Addresses and names change, the id never does.
func LoadOrCreateID(dir string) (state.NodeID, error) {
	path := filepath.Join(dir, "node-id")
	text, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		var raw [16]byte
		rand.Read(raw[:])
		id := hex.EncodeToString(raw[:])
		if err := writeFile(path, []byte(id+"\n")); err != nil {
			return "", fmt.Errorf("make this node's id: %w", err)
		}
		return state.NodeID(id), nil
	}
	if err != nil {
		return "", fmt.Errorf("read this node's id: %w", err)
	}
	id := strings.TrimSpace(string(text))
	if !idPattern.MatchString(id) {
		return "", fmt.Errorf("the file %s is damaged: want 32 hex digits", path)
	}
	return state.NodeID(id), nil
}

// A mark is what a node remembers, beside the log, of its way into a mesh.
// It is what keeps a second mesh from being made by accident: once there is a
// mark this node never makes one, even if the rest of its data is lost.
type mark string

const (
	unmarked mark = ""
	joining  mark = "joining" // it may be in the configuration of a mesh
	joined   mark = "joined"  // it was in it
	left     mark = "left"    // it left it for good

	rejoining mark = "rejoining" // it was in it, and gets the lost log from the others: what it voted for is not known
	rejoined  mark = "rejoined"  // joined, and the last start was with --rejoin
)

func markPath(dir string) string { return filepath.Join(dir, "mesh") }

func readMark(dir string) (mark, error) {
	text, err := os.ReadFile(markPath(dir))
	if errors.Is(err, os.ErrNotExist) {
		return unmarked, nil
	}
	if err != nil {
		return unmarked, fmt.Errorf("read whether this node is in a mesh: %w", err)
	}
	switch m := mark(strings.TrimSpace(string(text))); m {
	case joining, joined, rejoining, rejoined, left:
		return m, nil
	}
	return joined, nil // damaged: the careful reading
}

func writeMark(dir string, m mark) error {
	if err := writeFile(markPath(dir), []byte(m+"\n")); err != nil {
		return fmt.Errorf("note that this node is in a mesh: %w", err)
	}
	return nil
}

func generationPath(dir string) string { return filepath.Join(dir, "generation") }

// readGeneration returns which mesh a node belongs to among those that were
// made of each other by [Recover]: the newest is the largest, the first is 0.
func readGeneration(dir string) (uint64, error) {
	text, err := os.ReadFile(generationPath(dir))
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("read the generation of the mesh: %w", err)
	}
	generation, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("the file %s is damaged: want a number", generationPath(dir))
	}
	return generation, nil
}

func writeGeneration(dir string, generation uint64) error {
	if err := writeFile(generationPath(dir), fmt.Appendln(nil, generation)); err != nil {
		return fmt.Errorf("note the generation of the mesh: %w", err)
	}
	return nil
}

// writeFile replaces a small file so that after a crash there is either the
// old content or the new one.
func writeFile(path string, content []byte) error {
	dir := filepath.Dir(path)
	tmp, err := os.CreateTemp(dir, ".tmp-*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name()) // gone already once renamed
	_, err = tmp.Write(content)
	if err = errors.Join(err, tmp.Sync(), tmp.Close()); err != nil {
		return err
	}
	if err := os.Rename(tmp.Name(), path); err != nil {
		return err
	}
	return syncDir(dir)
}

// syncDir makes the names in a directory survive a power cut.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
