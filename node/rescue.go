package node

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"

	"malla/cluster"
)

// CheckLogIn returns a [Config].CheckLog that lets another process look at the
// log, which may die of it: command, which is given a directory as its last
// argument, calls [ReportLog] and ends with the code that it returns.
func CheckLogIn(command ...string) func(dir string) (aside []string, err error) {
	return cluster.CheckLogIn(command...)
}

// ReportLog is the other side of [CheckLogIn].
func ReportLog(dir string, out, text io.Writer) (exitCode int) {
	return cluster.ReportLog(dir, out, text)
}

// A Survivor is what a node that does not run has of the agreement.
type Survivor = cluster.Survivor

// Recover says which node to make a new mesh of, when most nodes are gone for
// good.
type Recover struct {
	Data     string
	Logger   *slog.Logger
	CheckLog func(dir string) (aside []string, err error) // as in Config
}

func (r Recover) recovery() (cluster.Recovery, error) {
	if _, err := os.Stat(filepath.Join(r.Data, "node-id")); err != nil {
		return cluster.Recovery{}, fmt.Errorf("--data %s: not the data directory of a node: %w", r.Data, err)
	}
	id, err := cluster.LoadOrCreateID(r.Data)
	if err != nil {
		return cluster.Recovery{}, fmt.Errorf("--data %s: %w", r.Data, err)
	}
	return cluster.Recovery{ID: id, Dir: clusterDir(r.Data), Logger: r.Logger, CheckLog: r.CheckLog}, nil
}

// Survey reads what the node has and changes nothing.
func (r Recover) Survey() (*Survivor, error) {
	c, err := r.recovery()
	if err != nil {
		return nil, err
	}
	return c.Survey()
}

// Run makes the node a mesh by itself, as [cluster.Recovery.Recover] describes.
func (r Recover) Run() (*Survivor, error) {
	c, err := r.recovery()
	if err != nil {
		return nil, err
	}
	return c.Recover()
}
