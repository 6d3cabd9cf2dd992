package main

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/dustin/go-humanize"
	"golang.org/x/term"

	"malla/httpapi/cli"
	"malla/node"
)

// restoreCmd makes a new mesh of a backup.
type restoreCmd struct {
	File string `arg:"" help:"Backup, as malla backup makes it; - is the standard input."`
	Data string `required:"" env:"MALLA_DATA" placeholder:"DIR" help:"Data directory of the new mesh's first node: empty, or not there yet."`
}

// Help is shown by malla restore --help.
func (restoreCmd) Help() string {
	return `A backup becomes a new mesh of one node; start that one, and the others join it
with empty data directories as always. Nothing is restored into a mesh that runs:
stop it, or restore beside it under another secret. A single file comes back from
the trash, or out of a mesh restored elsewhere.

Accounts, libraries, trash, links and conversions are as they were; conversions
that were running begin anew. The nodes of the old mesh are forgotten. Everybody
has to log in again: the backup cannot know who was locked out since.

The secret of the mesh is not in the backup. Without --secret-file or MALLA_SECRET
the new mesh makes one in DIR/secret when it is started, for the nodes that join.
With the old one links into it that were signed go on working, but there must be
no node of the old mesh any more: where one meets the new mesh it stops, and says
that it wants --rejoin.

A backup that was made without --with-files has no bytes. The files are listed and
cannot be read, until nodes that have their chunks come back: start those once
with malla serve --rejoin --join ADDRESS and the old secret. What is nowhere any
more is uploaded again: the same bytes are the file that is listed.

    malla restore monday.tar --data /var/lib/malla
    age -d monday.tar.zst.age | zstd -d | malla restore - --data /var/lib/malla`
}

// Run restores.
func (c restoreCmd) Run(ctx context.Context) error {
	from := os.Stdin
	if c.File != "-" {
		f, err := os.Open(c.File)
		if err != nil {
			return err
		}
		defer f.Close()
		from = f
	} else if term.IsTerminal(int(from.Fd())) {
		return cli.WithCode(exitUnchecked, fmt.Errorf("-: a backup is expected at the standard input"))
	}
	p := progressTo(os.Stderr)
	done, err := node.Restore{
		From: bufio.NewReaderSize(from, 1<<20), Data: c.Data, Logger: slog.New(slog.NewTextHandler(os.Stderr, nil)),
		Progress: func(chunks, bytes int64) {
			p.tell("%s chunks, %s", humanize.Comma(chunks), humanize.Bytes(uint64(bytes)))
		},
	}.Run(ctx)
	p.end()
	if err != nil {
		return err
	}
	fmt.Printf("%s: a mesh of one node, as mesh %s was at %s; users: %s; files: %s, of which %s have all their bytes here\n", c.Data, done.Header.Mesh,
		done.Header.At.Local().Format(time.DateTime), humanize.Comma(int64(done.Users)), humanize.Comma(int64(done.Blobs)), humanize.Comma(int64(done.Whole)))
	if done.Whole < done.Blobs {
		fmt.Println("The others can be read once nodes that have their chunks come back, or they are uploaded again: see malla restore --help")
	}
	return nil
}
