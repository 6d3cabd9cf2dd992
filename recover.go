package main

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"strings"

	"github.com/dustin/go-humanize"

	"malla/httpapi/cli"
	"malla/node"
)

// recoverCmd makes a mesh of one survivor.
type recoverCmd struct {
	Data   string `default:"data" env:"MALLA_DATA" placeholder:"DIR" help:"Data directory of the node, which must not run."`
	DryRun bool   `help:"Only tell what this node has, to compare survivors."`
	Yes    bool   `help:"Do it: the nodes that are missing are gone for good."`
	JSON   bool   `name:"json" help:"Print what the node has as JSON."`
}

// Help is shown by malla recover --help.
func (recoverCmd) Help() string {
	return `For a mesh that lost most of its voters for good, and so cannot agree on
anything any more. Where they only are off or out of reach, bring them back
instead: nothing needs to be recovered then.

 1. Stop every node that is left.
 2. On each, malla recover --dry-run. Of those with the highest generation take
    the one with the highest term, and of those the highest entry. What only
    nodes that are gone had confirmed is lost with them.
 3. On that one, malla recover --yes; then start it as always. It is a mesh by
    itself, with everything that was in its log: also what no majority ever
    confirmed counts from now on.
 4. Start the other survivors once with malla serve --rejoin --join ADDRESS.
    New nodes join as always. Chunks are copied until there are enough again.

The other nodes are forgotten and their tasks start anew. A node of the old mesh
that comes back has no say: when it meets this one it stops, and says that it
wants --rejoin. But as long as such nodes do not meet it, a majority of them goes
on as the old mesh, and what they confirm is lost when they rejoin.

    malla recover --data /var/lib/malla --dry-run
    malla recover --data /var/lib/malla --yes`
}

// Run recovers, or tells what there is.
func (c recoverCmd) Run() error {
	r := node.Recover{Data: c.Data, Logger: slog.New(slog.NewTextHandler(os.Stderr, nil)), CheckLog: checkLog()}
	if !c.DryRun && !c.Yes {
		return cli.WithCode(exitUnchecked, fmt.Errorf("this makes a new mesh of one node, and every other one of the old mesh has to rejoin it: see malla recover --help, compare the survivors with --dry-run, then give --yes"))
	}
	var s *node.Survivor
	var err error
	if c.DryRun {
		s, err = r.Survey()
	} else {
		s, err = r.Run()
	}
	if err != nil {
		return err
	}
	if c.JSON {
		return json.NewEncoder(os.Stdout).Encode(s)
	}
	fmt.Printf("node %s: last entry %s of term %d, generation %d; voters: %s; nodes on record: %s\n", s.ID,
		humanize.Comma(int64(s.Index)), s.Term, s.Generation, strings.Join(s.Voters, ", "), strings.Join(s.Nodes, ", "))
	if c.Yes && !c.DryRun {
		fmt.Println("This node is a mesh by itself now: start it. The other survivors: malla serve --rejoin --join ADDRESS")
	}
	return nil
}

// checkLogCmd looks at a log on behalf of a node that starts: what is damaged
// may end the process that reads it.
type checkLogCmd struct {
	Dir string `arg:""`
}

// Run reports by the exit code.
func (c checkLogCmd) Run() error {
	os.Exit(node.ReportLog(c.Dir, os.Stdout, os.Stderr))
	return nil
}

// checkLog has a log looked at by a process of this program.
func checkLog() func(dir string) ([]string, error) {
	self, err := os.Executable()
	if err != nil {
		return nil // the node does it itself
	}
	return node.CheckLogIn(self, "check-log")
}
