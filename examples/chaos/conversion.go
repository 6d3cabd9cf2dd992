package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"text/tabwriter"
	"time"

	"malla/examples/internal/footage"
	"malla/examples/internal/mesh"
	"malla/httpapi"
)

const (
	away      = 15 * time.Second
	tolerance = 1.15 // of the time that the remaining nodes would take
)

// lab is where conversions are tried: meshes of nodes that are held
// to a share of a core, so that more nodes are faster.
type lab struct {
	settings
	dir   string
	src   source
	apart bool          // nodes can be cut off
	away  time.Duration // that a node is gone
}

// conversions converts one film of 40 segments again and again, each time on a
// new mesh on which something else befalls a node, and prints what came of it.
func conversions(ctx context.Context, s settings) (err error) {
	if s.program, err = filepath.Abs(s.program); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "malla-chaos-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	can, missing := possible()
	l := lab{settings: s, dir: dir, away: away, apart: missing == nil}
	scene := footage.Scene{Width: 640, Height: 360, Seconds: 350, Seed: 3}
	if l.src, err = newSource(ctx, filepath.Join(dir, "film.mp4"), "mp4", scene); err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "reference: nobody is struck\n")
	all, err := l.reference(ctx, s.nodes)
	if err != nil {
		return fmt.Errorf("reference of %d nodes: %w", s.nodes, err)
	}
	fewer, err := l.reference(ctx, s.nodes-1)
	if err != nil {
		return fmt.Errorf("reference of %d nodes: %w", s.nodes-1, err)
	}
	fmt.Printf("%d nodes of %g of a core (%s) take %.1f s, %d take %.1f s\n\n", s.nodes, s.cores, mesh.ThrottleKind(), all.Seconds(), s.nodes-1, fewer.Seconds())
	if missing != nil {
		fmt.Println("no partitions:", missing)
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, "WHO\tWHAT\tAFTER\tTOOK\tREMAINING NODES\tRATIO\tIN HAND\tDONE AGAIN\tVERDICT")
	wrong := 0
	for _, r := range []role{worker, leader} {
		for _, f := range can {
			fmt.Fprintf(os.Stderr, "%s of a %s\n", f.name, r)
			t, err := l.ordeal(ctx, f, r)
			if ctx.Err() != nil {
				return ctx.Err()
			}
			verdict := t.verdict(err, all, fewer)
			if verdict != "ok" {
				wrong++
			}
			fmt.Fprintf(w, "%s\t%s\t%.1f s\t%.1f s\t%.1f s\t%.2f\t%d\t%d\t%s\n", r, f.name, t.blow.after.Seconds(), t.took.Seconds(),
				t.expected(all, fewer).Seconds(), t.took.Seconds()/t.expected(all, fewer).Seconds(), t.blow.inHand, t.again, verdict)
			for _, why := range t.why {
				fmt.Fprintln(os.Stderr, "  done again:", why)
			}
		}
	}
	w.Flush()
	if wrong > 0 {
		return fmt.Errorf("%d of them went wrong", wrong)
	}
	return nil
}

// start makes a mesh and asks it for the conversion.
func (l lab) start(ctx context.Context, nodes int) (m *mesh.Mesh, user *httpapi.Client, job string, asked time.Time, err error) {
	dir, err := os.MkdirTemp(l.dir, "mesh-")
	if err != nil {
		return nil, nil, "", asked, err
	}
	starting, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	m, err = mesh.Start(starting, mesh.Config{
		Program: l.program, Nodes: nodes, Dir: filepath.Join(dir, "nodes"), Flags: []string{"--slots", "1", "--reserve", "64MB"},
		Cores: l.cores, Apart: l.apart,
	})
	if err != nil {
		return nil, nil, "", asked, err
	}
	user = &httpapi.Client{Base: m.URL(0)}
	job, asked, err = l.ask(ctx, user)
	if err != nil {
		return nil, nil, "", asked, errors.Join(err, m.Close())
	}
	return m, user, job, asked, nil
}

func (l lab) ask(ctx context.Context, user *httpapi.Client) (job string, asked time.Time, err error) {
	if _, err := user.Signup(ctx, "chaos", "a password for an hour"); err != nil {
		return "", asked, err
	}
	f, err := os.Open(l.src.path)
	if err != nil {
		return "", asked, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", asked, err
	}
	item, err := user.UploadFile(ctx, httpapi.File{Name: "film.mp4", Body: f, Size: info.Size()})
	if err != nil {
		return "", asked, err
	}
	asked = time.Now()
	answer, err := user.Convert(ctx, httpapi.ConvertRequest{InputFile: item.ID, OutputFormat: l.src.format, Options: []byte(`{"copy":"never"}`)})
	return answer.JobID, asked, err
}

// reference is how long so many nodes take when nothing befalls them.
func (l lab) reference(ctx context.Context, nodes int) (took time.Duration, err error) {
	m, user, id, asked, err := l.start(ctx, nodes)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, m.Close()) }()
	job, err := user.WaitJob(ctx, id, nil)
	if err != nil {
		return 0, err
	}
	return job.CompletedAt.Sub(asked), l.src.examine(ctx, user, job, l.dir)
}

// ordeal is what came of one conversion.
type ordeal struct {
	blow  blow
	took  time.Duration
	again int // tries that did not work out
	why   []string
}

// ordeal has the fault befall a node in the middle of the conversion.
func (l lab) ordeal(ctx context.Context, f fault, r role) (t ordeal, err error) {
	m, user, id, asked, err := l.start(ctx, l.nodes)
	if err != nil {
		return t, err
	}
	defer func() { err = errors.Join(err, m.Close()) }()
	if t.blow, err = strike(ctx, m, user, id, asked, f, r); err != nil {
		return t, err
	}
	back := make(chan error, 1)
	go func() {
		pause(ctx, l.away)
		back <- t.blow.recover(ctx, m)
	}()
	others := t.blow.survivors(m, user.Token)
	job, err := others.WaitJob(ctx, id, nil)
	if err := errors.Join(err, <-back); err != nil {
		return t, err
	}
	t.took = job.CompletedAt.Sub(asked)
	t.again, t.why = repeated(job)
	return t, errors.Join(l.src.examine(ctx, others, job, l.dir), agree(ctx, m, others, job))
}

// expected is the time that the conversion takes if all nodes work until the
// blow, and all but one from then on.
func (t ordeal) expected(all, fewer time.Duration) time.Duration {
	left := max(0, 1-t.blow.after.Seconds()/all.Seconds())
	return t.blow.after + time.Duration(left*float64(fewer))
}

func (t ordeal) verdict(err error, all, fewer time.Duration) string {
	switch {
	case err != nil:
		return err.Error()
	case t.again > t.blow.inHand:
		return "more was done again than was in hand"
	case t.took.Seconds() > tolerance*t.expected(all, fewer).Seconds():
		return "too slow"
	}
	return "ok"
}
