// Command demo shows a mesh at work: it starts three nodes as processes of this
// machine, uploads a song and a film to the first, has them converted to every
// format, shares one, and fetches all results from the third. It prints what
// happened, stays up for a look until Ctrl-C, and leaves nothing behind.
//
// It ends with 0 only if every check held.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"syscall"
	"time"

	"malla/examples/internal/mesh"
)

func main() {
	program := flag.String("program", "bin/malla", "the malla binary to run")
	seconds := flag.Float64("seconds", 10, "length of the song and the film")
	exit := flag.Bool("exit", false, "end after the checks instead of staying up")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *program, *seconds, *exit); err != nil {
		fmt.Fprintf(os.Stderr, "demo: %v\n", err)
		stop()
		os.Exit(1)
	}
}

// run starts the mesh, plays the scenes, and cleans up whatever happened.
func run(ctx context.Context, program string, seconds float64, exit bool) (err error) {
	program, err = filepath.Abs(program)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "malla-demo-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()

	began := time.Now()
	say("starting three nodes")
	starting, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	m, err := mesh.Start(starting, mesh.Config{Program: program, Nodes: 3, Dir: filepath.Join(dir, "mesh")})
	if err != nil {
		return errors.Join(err, tail(filepath.Join(dir, "mesh", "node1.log")))
	}
	defer func() { err = errors.Join(err, m.Close()) }()
	say("one mesh of three after %.1f s", time.Since(began).Seconds())

	s := &scene{mesh: m, dir: dir, seconds: seconds}
	if err := s.play(ctx); err != nil {
		return err
	}
	s.epilogue()
	if exit {
		return nil
	}
	say("\nCtrl-C ends it and removes everything.")
	<-ctx.Done()
	say("\nstopping")
	return nil
}

func say(format string, args ...any) { fmt.Printf(format+"\n", args...) }

// tail is the end of a log as an error, for who wonders why a node did not start.
func tail(log string) error {
	text, err := os.ReadFile(log)
	if err != nil {
		return err
	}
	const most = 2000
	return fmt.Errorf("the end of its log:\n%s", text[max(0, len(text)-most):])
}

var setupLink = regexp.MustCompile(`https?://\S*setup\S*`)

// epilogue says where to look, and as whom.
func (s *scene) epilogue() {
	say("\nLook for yourself, at any of the nodes:")
	for i := range s.mesh.Len() {
		say("  %s  %s", s.mesh.Name(i), s.mesh.URL(i))
	}
	say("  sign in as %s with the password %s", s.user, s.password)
	for i := range s.mesh.Len() {
		text, err := os.ReadFile(s.mesh.LogFile(i))
		if link := setupLink.Find(text); err == nil && link != nil {
			say("  or make the first administrator: %s", link)
			return
		}
	}
}
