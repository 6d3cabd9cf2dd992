package cli

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"malla/httpapi"
)

// SecretRotateCmd replaces the mesh's secret.
type SecretRotateCmd struct {
	Remote
	Without      []string `placeholder:"NODE" help:"Do not wait for this node (may be repeated). It needs the new secret by hand when it returns later."`
	EndSessions  bool     `xor:"sessions" help:"End all sessions and signed links with the old secret: everybody signs in again."`
	KeepSessions bool     `xor:"sessions" help:"Let sessions go on, up to 7 days, though a removed node knows the old secret and could sign in as anybody meanwhile."`
	Wait         bool     `default:"true" negatable:"" help:"Wait until it is done, showing progress."`
}

// Help is shown by --help.
func (SecretRotateCmd) Help() string {
	return `The mesh draws a new secret, hands it to every node, lets all of them use it, and
then takes nothing of the old one: a node that was removed and still has it sees
nothing and is refused. The mesh keeps running, and users notice nothing. Do it
after removing a node, and whenever the secret may have been seen. For
administrators.

Users' sessions go on until they end by themselves, within 7 days. If a node was
removed that knows the secret, it could use it to sign in as anybody until then,
so you are asked to choose: --end-sessions, or --keep-sessions. Shares are not
touched in either case.

A node that is not there is named, and nothing is done. With --without it is not
waited for; if it returns after the old secret has ended, start it with
--secret-file naming a copy of the file "secret" in the data directory of any
other node. Nodes that join later need that new secret too. Running nodes keep
the newest themselves: a --secret-file or MALLA_SECRET with an older one of this
mesh may stay.

    malla secret rotate
    malla secret rotate --end-sessions
    malla secret rotate --without attic`
}

// Run asks for it and waits.
func (c SecretRotateCmd) Run(env *Env) error {
	s, err := c.signedIn(env)
	if err != nil {
		return err
	}
	ask := httpapi.RotateRequest{Without: c.Without}
	switch {
	case c.EndSessions:
		ask.Sessions = httpapi.EndSessions
	case c.KeepSessions:
		ask.Sessions = httpapi.KeepSessions
	}
	st, err := s.RotateSecret(env.ctx, ask)
	if err != nil {
		return err
	}
	if c.EndSessions {
		fmt.Fprintln(env.Stderr, "All sessions end with the old secret, also the one of this command: malla secret status needs malla login then.")
	}
	if c.Wait {
		last := ""
		st, err = s.WaitRotated(env.ctx, func(st httpapi.SecretStatus) {
			if line := secretLine(st); line != last {
				fmt.Fprintln(env.Stderr, line)
				last = line
			}
		})
		var refused *httpapi.Problem
		if c.EndSessions && errors.As(err, &refused) && refused.Status == http.StatusUnauthorized {
			err, st.Phase = nil, "settled" // this command's own session has ended with the rest
		}
		if err != nil {
			return err
		}
	}
	if c.JSON {
		return env.printJSON(st)
	}
	switch {
	case st.Phase != "settled":
		_, err = fmt.Fprintln(env.Stdout, "The secret is being replaced: malla secret status tells how far it is.")
	case st.Canceled != "":
		return fmt.Errorf("the secret was not replaced: %s", st.Canceled)
	default:
		_, err = fmt.Fprintln(env.Stdout, `The mesh has a new secret. It is in the file "secret" of each node's data directory: new nodes need a copy.`)
	}
	return err
}

// SecretStatusCmd shows how far that is.
type SecretStatusCmd struct {
	Remote
}

// Run prints it.
func (c SecretStatusCmd) Run(env *Env) error {
	s, err := c.signedIn(env)
	if err != nil {
		return err
	}
	st, err := s.Secret(env.ctx)
	if err != nil {
		return err
	}
	if c.JSON {
		return env.printJSON(st)
	}
	rows := [][]string{{"Secret", secretLine(st)}}
	for _, row := range []struct {
		what string
		at   time.Time
	}{{"Replacing began", st.Began}, {"Nodes switched", st.Switched}, {"Old secret ended", st.Ended}, {"Old sessions until", st.Sessions}} {
		if !row.at.IsZero() {
			rows = append(rows, []string{row.what, row.at.Local().Format(time.DateTime)})
		}
	}
	if st.Canceled != "" {
		rows = append(rows, []string{"Last one canceled", st.Canceled})
	}
	if len(st.KnownTo) > 0 {
		rows = append(rows, []string{"Known to", strings.Join(st.KnownTo, ", ") + ": removed since, run malla secret rotate"})
	}
	return table(env.Stdout, rows)
}

// secretLine says how far the nodes are.
func secretLine(st httpapi.SecretStatus) string {
	if st.Phase == "settled" {
		return "one is in use, and no other is accepted"
	}
	prepared, switched, all := 0, 0, 0
	var waiting []string
	for _, n := range st.Nodes {
		if n.Prepared {
			prepared++
		}
		if n.Switched {
			switched++
		}
		if n.Excused {
			continue
		}
		all++
		if st.Phase == "preparing" && !n.Prepared || st.Phase == "switching" && !n.Switched {
			waiting = append(waiting, n.Name)
		}
	}
	line := fmt.Sprintf("prepared %d of %d, switched %d of %d", prepared, all, switched, all)
	switch {
	case len(waiting) > 0:
		line += ", waiting for " + strings.Join(waiting, ", ")
	case st.Phase == "switching":
		line += ", the old one ends in a moment"
	}
	return plain(line)
}
