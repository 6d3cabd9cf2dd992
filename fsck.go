package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/dustin/go-humanize"
	"golang.org/x/term"

	"malla/httpapi/cli"
	"malla/node"
)

// fsckCmd checks a data directory while no node uses it.
type fsckCmd struct {
	Data   string `default:"data" env:"MALLA_DATA" placeholder:"DIR" help:"Data directory of a node that does not run."`
	Repair bool   `help:"Move damaged chunks to DIR/blobs/quarantine and remove half-made files. Nothing else is changed."`
	JSON   bool   `name:"json" help:"Print the report as JSON."`
}

// Exit codes of malla fsck, as those of fsck(8) and cmp(1): clean is 0.
const (
	exitDamaged   = 1
	exitUnchecked = 2
)

// Help is shown by malla fsck --help.
func (fsckCmd) Help() string {
	return `Every chunk is read and hashed, manifests are decoded, and the records of
unfinished uploads are read. The node must be stopped. With --repair damaged
chunks are moved away, so that the node fetches them from others when it runs.

It looks at one disk: it cannot tell which chunks should be there and are not.
A running node knows that, fetches them, and says so on the dashboard.

Exit codes: 0 clean, 1 damage found (repaired or not), 2 could not check.

    malla fsck --data /var/lib/malla
    malla fsck --data /var/lib/malla --json | jq '.findings[] | select(.kind == "damaged")'`
}

// Run checks and prints the report.
func (c fsckCmd) Run(ctx context.Context) error {
	progress := progressTo(os.Stderr)
	report, err := node.Fsck{Data: c.Data, Repair: c.Repair, Progress: progress.show}.Run(ctx)
	progress.end()
	if err != nil {
		return cli.WithCode(exitUnchecked, err)
	}
	if c.JSON {
		err = json.NewEncoder(os.Stdout).Encode(report)
	} else {
		err = printReport(os.Stdout, report)
	}
	if err != nil {
		return cli.WithCode(exitUnchecked, err)
	}
	if report.Damaged > 0 {
		return cli.WithCode(exitDamaged, fmt.Errorf("damaged files: %d", report.Damaged))
	}
	return nil
}

func printReport(w io.Writer, r *node.FsckReport) error {
	for _, f := range r.Findings {
		done := ""
		if f.Fixed != "" {
			done = " (" + f.Fixed + ")"
		}
		if _, err := fmt.Fprintf(w, "%-11s %s: %s%s\n", f.Kind, f.File, f.Text, done); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(w, "%s: %s chunks are whole, %s; %s manifests, of %s of which every chunk is here; %s uploads on record; %s damaged\n",
		r.Data, humanize.Comma(r.Chunks), humanize.Bytes(uint64(r.Bytes)), humanize.Comma(r.Manifests), humanize.Comma(r.Complete),
		humanize.Comma(r.Uploads), humanize.Comma(r.Damaged))
	return err
}

// A progress tells how far something is: on a terminal in one line that changes,
// elsewhere by a line now and then.
type progress struct {
	w        io.Writer
	terminal bool
	every    time.Duration
	start    time.Time
	told     time.Time
}

func progressTo(f *os.File) *progress {
	p := &progress{w: f, terminal: term.IsTerminal(int(f.Fd())), every: 10 * time.Second, start: time.Now(), told: time.Now()}
	if p.terminal {
		p.every = 200 * time.Millisecond
	}
	return p
}

func (p *progress) show(done, of int64, bytes int64) {
	p.tell("%s of %s chunks, %s, %s/s", humanize.Comma(done), humanize.Comma(of), humanize.Bytes(uint64(bytes)),
		humanize.Bytes(uint64(float64(bytes)/time.Since(p.start).Seconds())))
}

func (p *progress) tell(format string, args ...any) {
	now := time.Now()
	if now.Sub(p.told) < p.every {
		return
	}
	p.told = now
	text := fmt.Sprintf(format, args...)
	if p.terminal {
		fmt.Fprintf(p.w, "\r\033[K%s", text)
	} else {
		fmt.Fprintln(p.w, text)
	}
}

func (p *progress) end() {
	if p.terminal {
		fmt.Fprint(p.w, "\r\033[K")
	}
}
