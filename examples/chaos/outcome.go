package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"malla/examples/internal/footage"
	"malla/examples/internal/mesh"
	"malla/httpapi"
)

// source is the film that is converted, and what must come out.
type source struct {
	path     string
	seconds  float64
	pictures []float64 // when each is shown
	format   string
}

func newSource(ctx context.Context, path, format string, scene footage.Scene) (source, error) {
	if err := footage.Cached(ctx, path, scene.Write); err != nil {
		return source{}, err
	}
	pictures, err := footage.Pictures(ctx, path)
	return source{path, scene.Seconds, pictures, format}, err
}

// examine returns what is wrong with a job that has ended, seen from the node.
func (s source) examine(ctx context.Context, node *httpapi.Client, job httpapi.Job, dir string) error {
	if job.Status != httpapi.Completed {
		return fmt.Errorf("the job is %s: %s", job.Status, job.Error)
	}
	if job.Redone != "" {
		return fmt.Errorf("all was done again: %s", job.Redone)
	}
	library, err := node.Media(ctx, httpapi.MediaQuery{})
	if err != nil {
		return err
	}
	var outputs []string
	for _, m := range library.Items {
		if m.JobID == job.ID {
			outputs = append(outputs, m.ID)
		}
	}
	if len(outputs) != 1 || outputs[0] != job.OutputID {
		return fmt.Errorf("the job made %v, its own is %s", outputs, job.OutputID)
	}
	path := filepath.Join(dir, job.ID+"."+s.format)
	defer os.Remove(path)
	if err := fetch(ctx, node, job.OutputID, path); err != nil {
		return err
	}
	facts, err := footage.Probe(ctx, path)
	if err != nil {
		return err
	}
	pictures, err := footage.Pictures(ctx, path)
	if err != nil {
		return err
	}
	return errors.Join(facts.Check(s.format, s.seconds), footage.SameTimes(pictures, s.pictures))
}

// agree returns an error unless every node tells the same of the job.
func agree(ctx context.Context, m *mesh.Mesh, user *httpapi.Client, want httpapi.Job) error {
	for i := range m.Len() {
		got, err := user.At(m.URL(i)).Job(ctx, want.ID)
		if err != nil {
			return fmt.Errorf("%s: %w", m.Name(i), err)
		}
		if got.Status != want.Status || got.OutputID != want.OutputID {
			return fmt.Errorf("%s says %s with output %s, others %s with %s", m.Name(i), got.Status, got.OutputID, want.Status, want.OutputID)
		}
	}
	return nil
}

// repeated is how many tries at tasks of the job did not work out, and what they
// say of it.
func repeated(job httpapi.Job) (n int, why []string) {
	for _, t := range job.Tasks {
		n += len(t.Attempts)
		for _, a := range t.Attempts {
			why = append(why, fmt.Sprintf("%s on %s: %s, %s", t.Kind, a.Node, a.Cause, a.Reason))
		}
	}
	return n, why
}
