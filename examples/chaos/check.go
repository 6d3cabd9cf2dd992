package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
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

// patience is how long the mesh may take to end the jobs that were running.
const patience = 5 * time.Minute

// check looks at everything in the ledger on every node, and prints the table.
func check(ctx context.Context, m *mesh.Mesh, book *ledger, token, dir string) error {
	files, jobs, wrong := book.content()
	fmt.Printf("\nchecking %d files and %d jobs on every node\n", len(files), len(jobs))
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var nodes []*httpapi.Client
	for i := range m.Len() {
		nodes = append(nodes, &httpapi.Client{Base: m.URL(i), Token: token}) // this node alone
	}
	ended, err := wait(ctx, nodes, jobs)
	if err != nil {
		return err
	}
	var rows [][]string
	for i, node := range nodes {
		goodFiles, badFiles := checkFiles(ctx, node, files)
		goodJobs, badJobs := checkJobs(ctx, node, jobs, ended)
		rows = append(rows, []string{m.Name(i), fmt.Sprintf("%d of %d", goodFiles, len(files)), fmt.Sprintf("%d of %d", goodJobs, len(jobs))})
		for _, bad := range append(badFiles, badJobs...) {
			wrong = append(wrong, m.Name(i)+": "+bad)
		}
	}
	wrong = append(wrong, checkOutputs(ctx, nodes, jobs, ended, dir)...)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	show(book, rows)
	for _, w := range wrong {
		fmt.Println("WRONG:", w)
	}
	switch {
	case len(wrong) > 0:
		return fmt.Errorf("%d checks failed", len(wrong))
	case len(files) == 0 || len(jobs) == 0:
		return errors.New("nothing was acknowledged, so nothing was checked")
	}
	fmt.Println("everything that was acknowledged is there, and right")
	return nil
}

// wait returns the jobs as the first node tells them once they have ended.
func wait(ctx context.Context, nodes []*httpapi.Client, jobs []job) ([]httpapi.Job, error) {
	ended := make([]httpapi.Job, len(jobs))
	for i, j := range jobs {
		var err error
		if ended[i], err = nodes[i%len(nodes)].WaitJob(ctx, j.id, nil); err != nil {
			return nil, fmt.Errorf("job %s (%s to %s), which was acknowledged, has not ended: %w", j.id, j.input.name, j.format, err)
		}
	}
	return ended, nil
}

// checkFiles reads every file from the node.
func checkFiles(ctx context.Context, node *httpapi.Client, files []file) (good int, bad []string) {
	for _, f := range files {
		sum := sha256.New()
		_, err := node.Download(ctx, f.id, sum, 0, nil)
		switch {
		case err != nil:
			bad = append(bad, fmt.Sprintf("%s cannot be read: %v", f.name, err))
		case hex.EncodeToString(sum.Sum(nil)) != f.sha256:
			bad = append(bad, f.name+" has other bytes")
		default:
			good++
		}
	}
	return good, bad
}

// checkJobs compares what the node says of the jobs with what another one said,
// and counts the outputs of each.
func checkJobs(ctx context.Context, node *httpapi.Client, jobs []job, ended []httpapi.Job) (good int, bad []string) {
	library, err := node.Media(ctx, httpapi.MediaQuery{})
	if err != nil {
		return 0, []string{"the library cannot be listed: " + err.Error()}
	}
	outputs := map[string][]string{} // job -> ids of the items that it made
	for _, m := range library.Items {
		if m.JobID != "" {
			outputs[m.JobID] = append(outputs[m.JobID], m.ID)
		}
	}
	for i, j := range jobs {
		what := fmt.Sprintf("job %s (%s to %s)", j.id, j.input.name, j.format)
		told, err := node.Job(ctx, j.id)
		switch made := outputs[j.id]; {
		case err != nil:
			bad = append(bad, fmt.Sprintf("%s: %v", what, err))
		case told.Status != httpapi.Completed:
			bad = append(bad, fmt.Sprintf("%s is %s: %s", what, told.Status, told.Error))
		case told.OutputID != ended[i].OutputID:
			bad = append(bad, fmt.Sprintf("%s has another output here: %s, elsewhere %s", what, told.OutputID, ended[i].OutputID))
		case len(made) != 1 || made[0] != told.OutputID:
			bad = append(bad, fmt.Sprintf("%s made %d outputs (%v), its own is %s", what, len(made), made, told.OutputID))
		default:
			good++
		}
	}
	return good, bad
}

// checkOutputs looks at each output with ffprobe, read from one of the nodes.
func checkOutputs(ctx context.Context, nodes []*httpapi.Client, jobs []job, ended []httpapi.Job, dir string) (bad []string) {
	for i, j := range jobs {
		if ended[i].Status != httpapi.Completed {
			continue // is told of already
		}
		err := func() error {
			path := filepath.Join(dir, "output."+j.format)
			defer os.Remove(path)
			if err := fetch(ctx, nodes[i%len(nodes)], ended[i].OutputID, path); err != nil {
				return err
			}
			facts, err := footage.Probe(ctx, path)
			if err != nil {
				return err
			}
			return facts.Check(j.format, j.input.seconds)
		}()
		if err != nil {
			bad = append(bad, fmt.Sprintf("output of job %s (%s to %s): %v", j.id, j.input.name, j.format, err))
		}
	}
	return bad
}

func fetch(ctx context.Context, node *httpapi.Client, id, path string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	_, err = node.Download(ctx, id, f, 0, nil)
	return errors.Join(err, f.Close())
}

// show prints what happened and what was found.
func show(book *ledger, rows [][]string) {
	book.mu.Lock()
	defer book.mu.Unlock()
	var bytes int64
	for _, f := range book.files {
		bytes += f.size
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, "\nWHAT\tACKNOWLEDGED\tREFUSED OR CUT OFF")
	fmt.Fprintf(w, "uploads\t%d (%.0f MB)\t%d\n", len(book.files), float64(bytes)/1e6, book.refusals("upload"))
	fmt.Fprintf(w, "conversions\t%d\t%d\n", len(book.jobs), book.refusals("conversion"))
	fmt.Fprintf(w, "reads\t%d\t%d\n", book.reads.Load(), book.refusals("read"))
	fmt.Fprintf(w, "nodes killed\t%d\t\n", book.kills.Load())
	fmt.Fprintf(w, "longest time without an acknowledged write\t%.1f s\t\n", book.longest.Seconds())
	fmt.Fprintln(w, "\nNODE\tFILES RIGHT\tJOBS RIGHT")
	for _, r := range rows {
		fmt.Fprintf(w, "%s\t%s\t%s\n", r[0], r[1], r[2])
	}
	if len(book.refused) > 0 {
		fmt.Fprintln(w, "\nREFUSED\tTIMES\tWHY")
	}
	for r, times := range book.refused {
		fmt.Fprintf(w, "%s\t%d\t%s\n", r.what, times, r.reason)
	}
	w.Flush()
}
