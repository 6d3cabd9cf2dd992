package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"malla/examples/internal/mesh"
	"malla/httpapi"
)

// A blow is a fault that hit a node while it worked on a job.
type blow struct {
	fault
	role
	victim int
	inHand int           // tasks that the victim had at that moment, at least its slots
	after  time.Duration // from the request for the job on
}

// strike waits until a quarter of the job's segments is done and a node of that
// role has one in hand, and strikes it.
func strike(ctx context.Context, m *mesh.Mesh, user *httpapi.Client, id string, asked time.Time, f fault, r role) (blow, error) {
	for {
		job, err := user.Job(ctx, id)
		switch {
		case err != nil && !httpapi.Transient(err):
			return blow{}, err
		case err == nil && job.Ended():
			return blow{}, fmt.Errorf("job %s has ended (%s %s) before it could be struck", id, job.Status, job.Error)
		case err == nil && job.Whole != "":
			return blow{}, fmt.Errorf("the film is not cut: %s", job.Whole)
		case err == nil && job.SegmentsDone > 0 && job.SegmentsDone >= job.Segments/4:
			b, err := aim(ctx, m, user, job, r)
			if err == nil {
				b.fault, b.after = f, time.Since(asked)
				return b, f.strike(m, b.victim)
			}
			if !errors.Is(err, errNoVictim) {
				return blow{}, err
			}
		}
		if !pause(ctx, 50*time.Millisecond) {
			return blow{}, ctx.Err()
		}
	}
}

// aim chooses the victim.
func aim(ctx context.Context, m *mesh.Mesh, user *httpapi.Client, job httpapi.Job, r role) (blow, error) {
	leads, err := leading(ctx, m, user)
	if err != nil {
		return blow{}, err
	}
	hands := map[string]int{} // node -> tasks in hand
	for _, t := range job.Tasks {
		if t.State == "assigned" {
			hands[t.Node]++
		}
	}
	for i := range m.Len() {
		if (i == leads) == (r == leader) && hands[m.Name(i)] > 0 {
			return blow{role: r, victim: i, inHand: hands[m.Name(i)]}, nil
		}
	}
	return blow{}, errNoVictim
}

// leading returns which node leads.
func leading(ctx context.Context, m *mesh.Mesh, user *httpapi.Client) (int, error) {
	nodes, err := user.Nodes(ctx)
	if err != nil {
		return 0, err
	}
	for _, n := range nodes {
		for i := range m.Len() {
			if n.Role == "leader" && n.Name == m.Name(i) {
				return i, nil
			}
		}
	}
	return 0, errNoVictim // it is being elected
}

// recover brings the victim back, and returns when it is ready.
func (b blow) recover(ctx context.Context, m *mesh.Mesh) error {
	if err := b.undo(m, b.victim); err != nil {
		return err
	}
	ready, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	return m.Ready(ready, b.victim)
}

// survivors is a client that does not ask the victim.
func (b blow) survivors(m *mesh.Mesh, token string) *httpapi.Client {
	c := &httpapi.Client{Token: token}
	for i := range m.Len() {
		switch {
		case i == b.victim:
		case c.Base == "":
			c.Base = m.URL(i)
		default:
			c.Others = append(c.Others, m.URL(i))
		}
	}
	return c
}
