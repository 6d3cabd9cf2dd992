package node

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// mayImport: folder -> the folders of malla that its code may import. Tests may
// import more. A new arrow is a decision to argue for in its commit.
var mayImport = map[string][]string{
	"":                  {"node", "httpapi/cli"}, // main
	"node":              {"node/library", "node/worker", "node/ffmpeg", "cluster", "cluster/state", "cluster/schedule", "cluster/transport", "blobs", "blobs/disk", "blobs/upload", "blobs/replica", "httpapi", "httpapi/backup", "web"},
	"node/library":      {"blobs", "cluster/state", "node/ffmpeg"},
	"node/worker":       {"blobs", "cluster/state", "node/ffmpeg"},
	"node/ffmpeg":       {},
	"node/nodetest":     {"node", "httpapi", "cluster", "cluster/state", "cluster/transport", "node/ffmpeg"},
	"httpapi":           {"httpapi/auth", "cluster/state", "blobs", "blobs/upload"},
	"httpapi/auth":      {"cluster/state"},
	"httpapi/backup":    {"blobs"},                              // only for Ref and ChunkSize
	"httpapi/cli":       {"httpapi", "httpapi/backup", "blobs"}, // blobs only for Ref
	"cluster":           {"cluster/state", "cluster/transport"},
	"cluster/schedule":  {"cluster/state"},
	"cluster/state":     {"blobs"}, // only for Ref and Blob
	"cluster/transport": {},
	"blobs":             {},
	"blobs/disk":        {"blobs"},
	"blobs/upload":      {"blobs"},
	"blobs/replica":     {"blobs"},
	"blobs/blobstest":   {"blobs"},
	"web":               {},
	"examples":          {"httpapi", "examples"},
	"examples/bench":    {"httpapi", "examples", "cluster", "cluster/state", "blobs"}, // makes a state that no number of requests makes in time

	"cluster/testdata/member":      {"cluster", "cluster/state", "cluster/transport"}, // a program of a test
	"cluster/testdata/next/member": {"cluster/state"},
}

// onlyIn: library -> the folder that alone may import it.
var onlyIn = map[string]string{
	"github.com/hashicorp/raft":           "cluster",
	"github.com/hashicorp/raft-boltdb/v2": "cluster",
	"github.com/hashicorp/memberlist":     "cluster",
	"github.com/julienschmidt/httprouter": "httpapi",
	"github.com/golang-jwt/jwt/v5":        "httpapi/auth",
	"github.com/tidwall/btree":            "cluster/state",
	"github.com/alecthomas/kong":          "", // main and its client commands
	"github.com/schollz/progressbar/v3":   "httpapi/cli",
}

func TestImports(t *testing.T) {
	fset := token.NewFileSet()
	err := filepath.WalkDir("..", func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (strings.HasPrefix(d.Name(), ".") && d.Name() != ".." || d.Name() == "data") {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(file, ".go") || strings.HasSuffix(file, "_test.go") {
			return nil
		}
		rel, err := filepath.Rel("..", file)
		if err != nil {
			return err
		}
		from := strings.TrimSuffix(path.Dir(filepath.ToSlash(rel)), ".")
		f, err := parser.ParseFile(fset, file, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, imp := range f.Imports {
			target, _ := strconv.Unquote(imp.Path.Value)
			if why := refuse(from, target); why != "" {
				t.Errorf("%s imports %s: %s", rel, target, why)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// refuse returns why the folder may not import the target, or "".
func refuse(from, target string) string {
	if target == "os/exec" && from != "node/ffmpeg" && from != "cluster" && !strings.HasPrefix(from, "examples/") {
		return "only node/ffmpeg starts processes, and cluster one of its own to read a log that may be damaged"
	}
	if only, listed := onlyIn[target]; listed {
		if from != only && !(target == "github.com/alecthomas/kong" && from == "httpapi/cli") {
			return "only " + only + " may"
		}
		return ""
	}
	ours, isOurs := strings.CutPrefix(target, "malla/")
	if !isOurs {
		return ""
	}
	rule := from
	if strings.HasPrefix(from, "examples/") {
		if mayImport[from] == nil {
			rule = "examples"
		}
		if strings.HasPrefix(ours, "examples/") {
			ours = "examples"
		}
	}
	allowed, known := mayImport[rule]
	switch {
	case !known:
		return "the folder is not in the map of node/imports_test.go"
	case !slices.Contains(allowed, ours):
		return "that arrow is not in the map of node/imports_test.go"
	}
	return ""
}
