package cli

import (
	"fmt"
	"strings"
	"time"

	"github.com/dustin/go-humanize"

	"malla/httpapi"
)

// DrainCmd empties a node.
type DrainCmd struct {
	Remote
	Node string `arg:"" help:"Name or id of the node."`
	Wait bool   `default:"true" negatable:"" help:"Wait until it is empty, showing progress."`
	Undo bool   `help:"Let it keep files and convert again."`
}

// Help is shown by --help.
func (DrainCmd) Help() string {
	return `The node gets no new files and no new tasks, and what it keeps is copied to the
others. When that is done it may be stopped and taken away; until then it must
run. It stays so when it is restarted, until --undo. A node whose disk fails or
is read-only cannot be emptied: the others copy what it had by themselves. For
administrators.

    malla nodes drain attic
    malla nodes drain attic --no-wait
    malla nodes drain attic --undo`
}

// Run asks for it and waits.
func (c DrainCmd) Run(env *Env) error {
	s, err := c.signedIn(env)
	if err != nil {
		return err
	}
	if c.Undo {
		if err := s.UndrainNode(env.ctx, c.Node); err != nil {
			return err
		}
		return c.print(env, "", "keeps files and converts again")
	}
	if err := s.DrainNode(env.ctx, c.Node); err != nil {
		return err
	}
	if !c.Wait {
		return c.print(env, httpapi.IsDraining, "is being emptied: malla nodes tells when it may be stopped")
	}
	if err := s.waitDrained(env, c.Node, c.JSON); err != nil {
		return err
	}
	return c.print(env, httpapi.IsEmpty, "is empty: it may be stopped now")
}

// waitDrained waits until the node is empty, showing progress.
func (s *session) waitDrained(env *Env, node string, quiet bool) error {
	bar := env.percentBar(node, quiet)
	defer bar.Clear()
	most := uint64(1)
	return s.WaitDrained(env.ctx, node, func(n httpapi.NodeStatus) {
		if n.Repair == nil {
			return
		}
		most = max(most, n.Repair.Bytes)
		what := left(n.Repair)
		if n.Disk == "broken" {
			what += "; its disk fails or is read-only: until that is mended nothing leaves it"
		}
		bar.Describe(plain(node + ": " + what))
		bar.Set(int(100 - 100*n.Repair.Bytes/most))
	})
}

func (c DrainCmd) print(env *Env, state httpapi.Draining, what string) error {
	if c.JSON {
		return env.printJSON(struct {
			Node     string           `json:"node"`
			Draining httpapi.Draining `json:"draining"`
		}{c.Node, state})
	}
	_, err := fmt.Fprintf(env.Stdout, "%s %s\n", plain(c.Node), what)
	return err
}

// left says how much a node has still to copy.
func left(r *httpapi.Repair) string {
	words := []string{humanize.Comma(int64(r.Chunks)) + " chunks", size(int64(r.Bytes)) + " left"}
	if r.Seconds > 0 {
		words = append(words, "about "+(time.Duration(r.Seconds)*time.Second).String())
	}
	return strings.Join(words, ", ")
}
