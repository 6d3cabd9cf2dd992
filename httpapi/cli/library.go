package cli

import (
	"errors"
	"fmt"
	"time"

	"malla/httpapi"
)

// LsCmd lists the library.
type LsCmd struct {
	Remote
	Query string `arg:"" optional:"" help:"Only what has these words in its name or its tags."`
	Kind  string `enum:"audio,video," default:"" help:"Only audio, or only video."`
	Names bool   `short:"1" help:"Print only the names, one a line."`
}

// Help is shown by --help.
func (LsCmd) Help() string {
	return `    malla ls
    malla ls holiday --kind video
    malla ls --json | jq -r '.[] | select(.size > 1e9) | .name'`
}

// Run prints the list.
func (c LsCmd) Run(env *Env) error {
	s, err := c.signedIn(env)
	if err != nil {
		return err
	}
	list, err := s.Media(env.ctx, httpapi.MediaQuery{Query: c.Query, Kind: c.Kind})
	if err != nil {
		return err
	}
	items := list.Items
	switch {
	case c.JSON:
		return env.printJSON(items)
	case c.Names:
		for _, m := range items {
			fmt.Fprintln(env.Stdout, plain(m.Name))
		}
		return nil
	}
	rows := [][]string{{"NAME", "KIND", "SIZE", "LENGTH", "ADDED"}}
	var total int64
	for _, m := range items {
		rows = append(rows, []string{m.Name, m.Kind, size(m.Size), clock(m.Duration), when(m.CreatedAt)})
		total += m.Size
	}
	if len(items) == 0 {
		fmt.Fprintln(env.Stderr, "Nothing there.")
		return nil
	}
	if err := table(env.Stdout, rows); err != nil {
		return err
	}
	_, err = fmt.Fprintf(env.Stderr, "%s, %s\n", files(len(items)), size(total))
	return err
}

// RmCmd deletes items.
type RmCmd struct {
	Remote
	Names []string `arg:"" help:"Names or ids of files in your library."`
	Yes   bool     `short:"y" help:"Do not ask."`
}

// Help is shown by --help.
func (RmCmd) Help() string {
	return `Moves files from your library into the trash; the links to them stop working. Asks
before, unless told not to. Until their time in the trash is over they come back
with malla trash restore. A mesh that keeps no trash (malla serve --trash-keep 0)
deletes them for good.

    malla rm song.wav
    malla rm --yes *.tmp.mp3`
}

// Run deletes them, all that can be even if one cannot.
func (c RmCmd) Run(env *Env) error {
	s, err := c.signedIn(env)
	if err != nil {
		return err
	}
	if !c.Yes {
		what := plain(c.Names[0])
		if len(c.Names) > 1 {
			what = fmt.Sprintf("%d files", len(c.Names))
		}
		if yes, err := sure(env, false, "Delete "+what+"?"); err != nil || !yes {
			return err
		}
	}
	gone := []string{}
	var until time.Time // the last of them is in the trash
	var errs []error
	for _, name := range c.Names {
		was, err := s.Delete(env.ctx, name)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", plain(name), err))
			continue
		}
		gone = append(gone, name)
		if !c.JSON {
			fmt.Fprintf(env.Stdout, "deleted %s\n", plain(name))
		}
		if !was.GoesAt.IsZero() {
			until = was.GoesAt
		}
	}
	if !c.JSON && !until.IsZero() {
		fmt.Fprintf(env.Stderr, "In the trash until %s: malla trash restore NAME brings it back.\n", when(until))
	}
	if c.JSON {
		errs = append(errs, env.printJSON(map[string][]string{"deleted": gone}))
	}
	return errors.Join(errs...)
}

// ShareCmd makes a link.
type ShareCmd struct {
	Remote
	Name    string `arg:"" help:"Name or id of a file in your library."`
	Minutes int    `short:"m" default:"60" help:"How long the link lives, at most 10080 (a week)."`
}

// Help is shown by --help.
func (ShareCmd) Help() string {
	return `Prints a link under which anybody can play and download the file, without an
account, until it expires.

    malla share song.mp3
    malla share film.mp4 --minutes 1440 | xclip`
}

// Run makes the share and prints its link.
func (c ShareCmd) Run(env *Env) error {
	s, err := c.signedIn(env)
	if err != nil {
		return err
	}
	shared, err := s.Share(env.ctx, c.Name, c.Minutes)
	if err != nil {
		return err
	}
	if c.JSON {
		return env.printJSON(shared)
	}
	fmt.Fprintln(env.Stdout, shared.URL)
	_, err = fmt.Fprintf(env.Stderr, "It works for %d minutes, until %s.\n", shared.ExpiresIn, when(shared.ExpiresAt))
	return err
}
