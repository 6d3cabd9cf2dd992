package cli

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/dustin/go-humanize"
	"github.com/schollz/progressbar/v3"
)

// plain makes a text from the server safe for a terminal: names and tags may
// hold control characters, which would move the cursor or worse.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '\uFFFD'
	}, s)
}

func files(n int) string {
	if n == 1 {
		return "1 file"
	}
	return fmt.Sprintf("%d files", n)
}

// table prints rows in aligned columns, the first row being their names. Cells
// are made plain.
func table(w io.Writer, rows [][]string) error {
	out := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	for _, row := range rows {
		for i, cell := range row {
			if i > 0 {
				fmt.Fprint(out, "\t")
			}
			if cell = plain(cell); cell == "" {
				cell = "-"
			}
			fmt.Fprint(out, cell)
		}
		fmt.Fprintln(out)
	}
	return out.Flush()
}

// size prints bytes as people read them: 4.2 MB.
func size(n int64) string {
	if n < 0 {
		return "-"
	}
	return humanize.Bytes(uint64(n))
}

// clock prints seconds as a player does: 3:07, 1:02:33.
func clock(seconds float64) string {
	if seconds <= 0 {
		return "-"
	}
	n := int(seconds + 0.5)
	if n < 3600 {
		return fmt.Sprintf("%d:%02d", n/60, n%60)
	}
	return fmt.Sprintf("%d:%02d:%02d", n/3600, n/60%60, n%60)
}

// when prints a time in the reader's own zone.
func when(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.Local().Format("2006-01-02 15:04")
}

// bytesBar is a progress bar over bytes on the standard error. It is silent
// where nobody watches, and with quiet.
func (e *Env) bytesBar(total int64, what string, quiet bool) *progressbar.ProgressBar {
	return e.bar(total, what, quiet, progressbar.OptionShowBytes(true))
}

// percentBar is a progress bar from 0 to 100.
func (e *Env) percentBar(what string, quiet bool) *progressbar.ProgressBar {
	return e.bar(100, what, quiet, progressbar.OptionSetPredictTime(false), progressbar.OptionSetElapsedTime(false))
}

func (e *Env) bar(total int64, what string, quiet bool, options ...progressbar.Option) *progressbar.ProgressBar {
	visible := !quiet && interactive(e.Stderr)
	return progressbar.NewOptions64(total, append(options,
		progressbar.OptionSetWriter(e.Stderr), progressbar.OptionSetVisibility(visible),
		progressbar.OptionSetDescription(plain(what)), progressbar.OptionSetWidth(30),
		progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionClearOnFinish(),
	)...)
}
