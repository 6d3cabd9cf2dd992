package cli

import (
	"bufio"
	"errors"
	"fmt"
	"strings"

	"malla/httpapi"
)

// TrashCmd shows and changes the trash.
type TrashCmd struct {
	List    TrashListCmd    `cmd:"" default:"withargs" help:"List what is in the trash."`
	Restore TrashRestoreCmd `cmd:"" help:"Put files back into your library."`
	Rm      TrashRmCmd      `cmd:"" help:"Delete files in the trash for good."`
	Empty   TrashEmptyCmd   `cmd:"" help:"Delete all that is in the trash for good."`
}

// Help is shown by --help.
func (TrashCmd) Help() string {
	return `What malla rm deletes stays in the trash for a week, unless the mesh was told
otherwise (malla serve --trash-keep; with 0 there is no trash). Then it goes by
itself.

    malla trash
    malla trash restore song.mp3
    malla trash empty`
}

// TrashListCmd lists the trash.
type TrashListCmd struct{ Remote }

// Run prints the list.
func (c TrashListCmd) Run(env *Env) error {
	_, list, err := c.inTrash(env, 0)
	if err != nil {
		return err
	}
	if c.JSON {
		return env.printJSON(list.Items)
	}
	if len(list.Items) == 0 {
		fmt.Fprintln(env.Stderr, "The trash is empty.")
		return nil
	}
	rows := [][]string{{"NAME", "SIZE", "DELETED", "GOES", "ID"}}
	for _, m := range list.Items {
		rows = append(rows, []string{m.Name, size(m.Size), when(m.DeletedAt), when(m.GoesAt), m.ID})
	}
	return table(env.Stdout, rows)
}

// inTrash signs in, and fetches the first items of the trash; 0: all.
func (c Remote) inTrash(env *Env, limit int) (*session, httpapi.TrashList, error) {
	s, err := c.signedIn(env)
	if err != nil {
		return nil, httpapi.TrashList{}, err
	}
	list, err := s.Trash(env.ctx, httpapi.TrashQuery{Limit: limit})
	return s, list, err
}

// trashed finds an item of the trash by its id, or by its name where only one
// has it.
func trashed(list httpapi.TrashList, ref string) (httpapi.Trashed, error) {
	var found []httpapi.Trashed
	for _, m := range list.Items {
		if m.ID == ref {
			return m, nil
		}
		if m.Name == ref {
			found = append(found, m)
		}
	}
	switch len(found) {
	case 0:
		return httpapi.Trashed{}, &exitError{exitNotFound, fmt.Errorf("%s: there is no such file in the trash", plain(ref))}
	case 1:
		return found[0], nil
	}
	var ids []string
	for _, m := range found {
		ids = append(ids, fmt.Sprintf("%s (deleted %s)", m.ID, when(m.DeletedAt)))
	}
	return httpapi.Trashed{}, usage("%s: %d files of that name are in the trash: give the id of one: %s", plain(ref), len(found), strings.Join(ids, ", "))
}

// TrashRestoreCmd puts items back.
type TrashRestoreCmd struct {
	Remote
	Names []string `arg:"" help:"Names or ids of files in the trash."`
}

// Help is shown by --help.
func (TrashRestoreCmd) Help() string {
	return `Puts files back into your library, and with them the links to them that have not
expired. Where the name is taken by now, the file gets a number behind it: the
name that it got is printed.

    malla trash restore song.mp3`
}

// Run restores them, all that can be even if one cannot.
func (c TrashRestoreCmd) Run(env *Env) error {
	s, list, err := c.inTrash(env, 0)
	if err != nil {
		return err
	}
	back := []httpapi.Media{}
	var errs []error
	for _, ref := range c.Names {
		m, err := trashed(list, ref)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		done, err := s.Restore(env.ctx, m.ID)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", plain(ref), err))
			continue
		}
		back = append(back, done.Item)
		if !c.JSON {
			fmt.Fprintf(env.Stdout, "restored %s\n", plain(done.Name))
		}
	}
	if c.JSON {
		errs = append(errs, env.printJSON(back))
	}
	return errors.Join(errs...)
}

// TrashRmCmd deletes items for good.
type TrashRmCmd struct {
	Remote
	Names []string `arg:"" help:"Names or ids of files in the trash."`
	Yes   bool     `short:"y" help:"Do not ask."`
}

// Run deletes them, all that can be even if one cannot.
func (c TrashRmCmd) Run(env *Env) error {
	s, list, err := c.inTrash(env, 0)
	if err != nil {
		return err
	}
	what := plain(c.Names[0])
	if len(c.Names) > 1 {
		what = files(len(c.Names))
	}
	if yes, err := sure(env, c.Yes, "Delete "+what+" for good?"); err != nil || !yes {
		return err
	}
	gone := []string{}
	var errs []error
	for _, ref := range c.Names {
		m, err := trashed(list, ref)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if err := s.Purge(env.ctx, m.ID); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", plain(ref), err))
			continue
		}
		gone = append(gone, m.Name)
		if !c.JSON {
			fmt.Fprintf(env.Stdout, "deleted %s for good\n", plain(m.Name))
		}
	}
	if c.JSON {
		errs = append(errs, env.printJSON(map[string][]string{"deleted": gone}))
	}
	return errors.Join(errs...)
}

// TrashEmptyCmd empties the trash.
type TrashEmptyCmd struct {
	Remote
	Yes bool `short:"y" help:"Do not ask."`
}

// Run deletes all that was there when it asked.
func (c TrashEmptyCmd) Run(env *Env) error {
	s, list, err := c.inTrash(env, 1)
	if err != nil {
		return err
	}
	n := list.Total
	if n > 0 {
		if yes, err := sure(env, c.Yes, fmt.Sprintf("Delete %s in the trash for good?", files(n))); err != nil || !yes {
			return err
		}
		if n, err = s.EmptyTrash(env.ctx, list.Index); err != nil {
			return err
		}
	}
	if c.JSON {
		return env.printJSON(map[string]int{"deleted": n})
	}
	_, err = fmt.Fprintf(env.Stdout, "deleted %s for good\n", files(n))
	return err
}

// sure asks before something that cannot be undone, unless told not to.
func sure(env *Env, yes bool, question string) (bool, error) {
	if yes {
		return true, nil
	}
	in := &questions{env: env, lines: bufio.NewReader(env.Stdin)}
	yes, err := in.confirm(question)
	if err == nil && !yes {
		fmt.Fprintln(env.Stderr, "Nothing was deleted.")
	}
	return yes, err
}
