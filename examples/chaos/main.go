// Command chaos kills nodes while people work with the mesh: it starts five as
// processes of this machine, uploads, converts and reads, and for a minute kills
// a random node every few seconds and starts it again. Then it checks that every
// file whose upload was acknowledged reads back from every node with its SHA-256,
// and that every conversion that was acknowledged ended once, with one right
// output. It prints a table and leaves nothing behind.
//
// `chaos conversion` has one film of 40 segments converted again and again
// instead, each time on a new mesh of which a node, a worker or the leader, is
// killed, halted or cut off in the middle, and comes back later. It prints how
// long that took and how much was done twice.
//
// `chaos linearizable` has clients at every node change and read accounts, jobs
// and shares while nodes are killed, stopped, restarted and cut off, also one way
// only, and asks porcupine for one order of all operations that explains what
// they were told. With `-reads stale`, which leaves the read index out, there is
// none: that a run fails then shows that it can.
//
// It ends with 0 only if every check held. A run can be repeated with its seed,
// as far as processes and networks can.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"malla/examples/internal/mesh"
	"malla/httpapi"
)

// settings are the flags.
type settings struct {
	program string
	nodes   int
	seconds int
	seed    uint64
	keep    bool
	cores   float64
	reads   string
}

func main() {
	var s settings
	flag.StringVar(&s.program, "program", "bin/malla", "the malla binary to run")
	flag.IntVar(&s.nodes, "nodes", 0, "how many nodes, at least three; 0: five, of conversions three")
	flag.Float64Var(&s.cores, "cores", 0.4, "conversion: of each node")
	flag.IntVar(&s.seconds, "seconds", 0, "how long nodes are killed; 0: 60, of linearizable 180")
	flag.StringVar(&s.reads, "reads", "strong", "linearizable: how new reads are, strong, session or stale; with the latter two the check must fail")
	flag.Uint64Var(&s.seed, "seed", 0, "of what is random; 0 picks one")
	flag.BoolVar(&s.keep, "keep", false, "leave data and logs for a look")
	flag.Parse()
	act, nodes, seconds := run, 5, 60
	switch flag.Arg(0) {
	case "":
	case "conversion":
		act, nodes = conversions, 3
	case "linearizable":
		act, seconds = linearizable, 180
	default:
		fmt.Fprintf(os.Stderr, "chaos: there is no %q: say conversion, linearizable, or nothing\n", flag.Arg(0))
		os.Exit(2)
	}
	s.nodes, s.seconds = cmp.Or(s.nodes, nodes), cmp.Or(s.seconds, seconds)
	if !slices.Contains([]string{"strong", "session", "stale"}, s.reads) {
		fmt.Fprintf(os.Stderr, "chaos: -reads %s: say strong, session or stale\n", s.reads)
		os.Exit(2)
	}
	if s.nodes < 3 {
		fmt.Fprintln(os.Stderr, "chaos: a mesh bears the loss of a node from three on")
		os.Exit(2)
	}
	if s.seed == 0 {
		s.seed = rand.Uint64N(1_000_000)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := act(ctx, s); err != nil {
		fmt.Fprintf(os.Stderr, "chaos: %v (seed %d)\n", err, s.seed)
		stop()
		os.Exit(1)
	}
}

// run starts the mesh, lets the load and the killer loose, and checks.
func run(ctx context.Context, s settings) (err error) {
	program, err := filepath.Abs(s.program)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "malla-chaos-")
	if err != nil {
		return err
	}
	defer func() {
		if s.keep {
			fmt.Println("data and logs:", dir)
			return
		}
		err = errors.Join(err, os.RemoveAll(dir))
	}()
	fmt.Printf("%d nodes for %d s, seed %d\n", s.nodes, s.seconds, s.seed)
	starting, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	m, err := mesh.Start(starting, mesh.Config{
		Program: program, Nodes: s.nodes, Dir: filepath.Join(dir, "mesh"), Flags: []string{"--slots", "1"},
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.Stop()) }()

	token, err := (&httpapi.Client{Base: m.URL(0)}).Signup(ctx, "chaos", "a password for an hour")
	if err != nil {
		return fmt.Errorf("sign up: %w", err)
	}
	book := &ledger{}
	l := &load{mesh: m, ledger: book, token: token.AccessToken, seed: s.seed, dir: dir}
	if err := disturb(ctx, m, l, s); err != nil {
		return err
	}
	return check(ctx, m, book, token.AccessToken, dir)
}

// disturb runs the load for the time while nodes are killed one after another,
// and returns when all run again and are ready.
func disturb(ctx context.Context, m *mesh.Mesh, l *load, s settings) error {
	working, stop := context.WithTimeout(ctx, time.Duration(s.seconds)*time.Second)
	defer stop()
	loaded := make(chan struct{})
	go func() {
		defer close(loaded)
		l.run(working)
	}()
	err := killer(working, ctx, m, l.ledger, rand.New(rand.NewPCG(s.seed, 0)))
	stop()
	<-loaded
	if err != nil {
		return err
	}
	return ctx.Err()
}

// killer kills a random node, starts it again after a moment, waits until it is
// ready, and goes on, until working ends. Whatever it killed runs again then;
// only ctx cuts that short.
func killer(working, ctx context.Context, m *mesh.Mesh, book *ledger, r *rand.Rand) error {
	began := time.Now()
	say := func(format string, args ...any) {
		fmt.Printf("%5.1f s  %s\n", time.Since(began).Seconds(), fmt.Sprintf(format, args...))
	}
	for pause(working, time.Duration(1500+r.IntN(2500))*time.Millisecond) {
		i := r.IntN(m.Len())
		if err := m.Kill(i); err != nil {
			return err
		}
		book.kills.Add(1)
		say("killed %s", m.Name(i))
		pause(ctx, time.Duration(500+r.IntN(3500))*time.Millisecond)
		if err := m.Restart(i); err != nil {
			return err
		}
		up := time.Now()
		ready, cancel := context.WithTimeout(ctx, 45*time.Second)
		err := m.Ready(ready, i)
		cancel()
		if err != nil {
			return err
		}
		say("%s is back, ready after %.1f s", m.Name(i), time.Since(up).Seconds())
	}
	return nil
}

// pause waits, and tells whether the context still runs.
func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}
