package cli

import (
	"fmt"

	"malla/httpapi"
)

// LeaveCmd takes a node that runs out of the mesh.
type LeaveCmd struct {
	Remote
	Node string `arg:"" help:"Name or id of the node."`
}

// Help is shown by --help.
func (LeaveCmd) Help() string {
	return `The node is emptied as by malla nodes drain, then taken out of the mesh for good,
and its process ends. It must run until then. Its data directory is of no use any
more. For administrators. A node that is stopped is a member all the same, since it
is expected back.

    malla nodes leave attic`
}

// Run empties the node and forgets it.
func (c LeaveCmd) Run(env *Env) error {
	s, err := c.signedIn(env)
	if err != nil {
		return err
	}
	if err := s.DrainNode(env.ctx, c.Node); err != nil {
		return err
	}
	if err := s.waitDrained(env, c.Node, c.JSON); err != nil {
		return err
	}
	if err := s.ForgetNode(env.ctx, c.Node, httpapi.Safely); err != nil {
		return err
	}
	return printForgotten(env, c.Node, c.JSON, "left the mesh")
}

// ForgetCmd takes a node that is dead out of the mesh.
type ForgetCmd struct {
	Remote
	Node  string `arg:"" help:"Name or id of the node."`
	Force bool   `help:"Also where files are lost by it: the others have not copied what it kept, or it runs."`
}

// Help is shown by --help.
func (ForgetCmd) Help() string {
	return `For a node that is gone and does not come back. The others copy what it kept by
themselves, a minute after it went; until they have, forgetting it is refused. If it
comes back after all it is not let in: start it with an empty data directory. For
administrators.

    malla nodes forget attic
    malla nodes forget attic --force     # what only it has is lost`
}

// Run forgets the node.
func (c ForgetCmd) Run(env *Env) error {
	s, err := c.signedIn(env)
	if err != nil {
		return err
	}
	how := httpapi.Safely
	if c.Force {
		how = httpapi.Forced
		fmt.Fprintf(env.Stderr, "Forgetting %s by force: files of which it has the only copy are lost.\n", plain(c.Node))
	}
	if err := s.ForgetNode(env.ctx, c.Node, how); err != nil {
		return err
	}
	return printForgotten(env, c.Node, c.JSON, "is no node of the mesh any more")
}

func printForgotten(env *Env, node string, asJSON bool, what string) error {
	if asJSON {
		return env.printJSON(struct {
			Node      string `json:"node"`
			Forgotten bool   `json:"forgotten"`
		}{node, true})
	}
	_, err := fmt.Fprintf(env.Stdout, "%s %s\n", plain(node), what)
	return err
}
