// Command bench measures malla beside what it stands in for: the same work done
// by the ffmpeg, the disk, the hash and the nginx of this machine, and the same
// mesh with fewer nodes. It starts
// nodes as processes of this machine, prints tables in Markdown with a verdict
// for each limit, and leaves nothing behind but the films and songs it made.
//
//	bench [flags] [part...]
//
// The parts are named in [parts]; those that take long are run only when named.
// A run ends with 0 unless it breaks, or with -strict also when a limit is
// missed.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// settings are the flags.
type settings struct {
	program string
	cache   string
	dir     string // for what is removed in the end
	formats []string
	runs    int
	seconds float64
	count   int
	films   int
	cores   float64
	film    string
	strict  bool
	size    int // MB
	ranges  int
	items   int
	rounds  int
	timing  string
}

// part is one measurement.
type part struct {
	name  string
	what  string
	named bool          // is run only when it is named
	limit time.Duration // of a run that does not get on
	run   func(context.Context, settings, *report) error
}

var parts = []part{
	{"single", "one job on one node beside the ffmpeg command that a user would type", false, 2 * time.Hour, single},
	{"dispatch", "from POST /convert to ffmpeg running, on three idle nodes", false, 10 * time.Minute, dispatch},
	{"queue", "a thousand short songs at once beside a shell loop of ffmpeg", false, 20 * time.Minute, queue},
	{"fairness", "one user's song behind another user's films", false, 20 * time.Minute, fairness},
	{"blobs", "uploads beside dd and SHA-256, downloads beside nginx (needs four times -size of disk)", false, 20 * time.Minute, blobsPart},
	{"state", "a million items and finished jobs: start, lists, searches, and writes while a snapshot is written (some minutes, 10 GB of memory)", true, 2 * time.Hour, statePart},
	{"proposals", "writes a second through a follower of three nodes, beside three members of etcd (needs etcd)", true, 20 * time.Minute, proposals},
	{"failover", "kill -9 of the leader of three nodes until a write through each survivor (some minutes)", true, time.Hour, failover},
	{"speedup", "a film of 40 segments on one, two and four slow nodes (some minutes)", true, time.Hour, speedup},
}

func main() {
	var s settings
	var formats string
	flag.StringVar(&s.program, "program", "bin/malla", "the malla binary to run")
	flag.StringVar(&s.cache, "cache", ".cache/bench", "folder in which films and songs stay for the next run")
	flag.StringVar(&formats, "formats", strings.Join(everyFormat(), ","), "single: which formats")
	flag.IntVar(&s.runs, "runs", 3, "single, blobs, proposals: runs of each, of which the median counts")
	flag.Float64Var(&s.seconds, "seconds", 60, "single: length of the film; the song is five times as long")
	flag.IntVar(&s.count, "count", 1000, "queue: how many songs")
	flag.IntVar(&s.films, "films", 20, "fairness: how many films")
	flag.Float64Var(&s.cores, "cores", 0.4, "speedup: of each node")
	flag.StringVar(&s.film, "film", "light", "speedup: light, for a film of little work a segment, or full")
	flag.IntVar(&s.size, "size", 2000, "blobs: MB of the file")
	flag.IntVar(&s.ranges, "ranges", 1000, "blobs: how many random ranges of 1 MB")
	flag.IntVar(&s.items, "items", 1_000_000, "state: how many items, and as many finished jobs")
	flag.IntVar(&s.rounds, "rounds", 50, "failover: how many leaders are killed")
	flag.StringVar(&s.timing, "timing", "lan", "failover: --raft-timing of the nodes")
	flag.BoolVar(&s.strict, "strict", false, "end with 1 where a limit is missed")
	flag.Usage = usage
	flag.Parse()
	s.formats = strings.Split(formats, ",")
	chosen, err := choose(flag.Args())
	if err != nil || usageOf(s) != nil {
		fmt.Fprintln(os.Stderr, "bench:", errors.Join(err, usageOf(s)))
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	out := &report{to: os.Stdout}
	if err := run(ctx, s, chosen, out); err != nil {
		fmt.Fprintf(os.Stderr, "bench: %v\n", err)
		stop()
		os.Exit(1)
	}
	if out.missed > 0 && s.strict {
		fmt.Fprintf(os.Stderr, "bench: %d limits missed\n", out.missed)
		stop()
		os.Exit(1)
	}
}

func usage() {
	w := flag.CommandLine.Output()
	fmt.Fprintln(w, "bench [flags] [part...]\n\nParts:")
	for _, p := range parts {
		when := ""
		if p.named {
			when = "; only when named"
		}
		fmt.Fprintf(w, "  %-9s %s%s\n", p.name, p.what, when)
	}
	fmt.Fprintln(w, "\nFlags:")
	flag.PrintDefaults()
}

func usageOf(s settings) error {
	if s.runs < 1 {
		return errors.New("-runs must be at least 1")
	}
	if s.rounds < 1 {
		return errors.New("-rounds must be at least 1")
	}
	if s.size < 16 || s.size > 4000 || s.ranges < 1 {
		return errors.New("-size must be 16 to 4000, what a WAV file holds, and -ranges at least 1")
	}
	if s.items < 1000 {
		return errors.New("-items must be at least 1000")
	}
	return nil
}

// choose returns the parts of those names, or those that need no naming.
func choose(names []string) ([]part, error) {
	var chosen []part
	for _, p := range parts {
		if slices.Contains(names, p.name) || len(names) == 0 && !p.named {
			chosen = append(chosen, p)
		}
	}
	for _, name := range names {
		if !slices.ContainsFunc(parts, func(p part) bool { return p.name == name }) {
			return nil, fmt.Errorf("there is no part %q: see -help", name)
		}
	}
	return chosen, nil
}

// run measures the parts one after another.
func run(ctx context.Context, s settings, chosen []part, out *report) (err error) {
	if s.program, err = filepath.Abs(s.program); err != nil {
		return err
	}
	if s.cache, err = filepath.Abs(s.cache); err != nil {
		return err
	}
	if err := os.MkdirAll(s.cache, 0o755); err != nil {
		return err
	}
	if s.dir, err = os.MkdirTemp("", "malla-bench-"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(s.dir)) }()
	out.machine()
	for _, p := range chosen {
		began := time.Now()
		say("%s: %s", p.name, p.what)
		limited, cancel := context.WithTimeout(ctx, p.limit)
		err := p.run(limited, s, out)
		cancel()
		if err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
		say("%s took %.0f s", p.name, time.Since(began).Seconds())
	}
	return nil
}

// say tells how far it is; results go to standard output.
func say(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }
