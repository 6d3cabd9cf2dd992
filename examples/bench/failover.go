package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"malla/examples/internal/footage"
	"malla/examples/internal/mesh"
	"malla/httpapi"
)

const (
	failoverMedian = 1.2 // seconds
	failoverWorst  = 2.5
)

// failover kills the leader of three nodes, again and again, and looks how long
// it takes until each of the other two has taken a write.
func failover(ctx context.Context, s settings, out *report) (err error) {
	nodes, err := startRig(ctx, s, mesh.Config{Nodes: 3, Flags: []string{"--raft-timing", s.timing}})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, nodes.Close()) }()
	if err := nodes.user.put(ctx, "jingle.wav", footage.Jingle(1, 1)); err != nil {
		return err
	}
	var took []float64 // seconds, of the slower of the two
	for i := range s.rounds {
		t, err := nodes.failover(ctx)
		if err != nil {
			return fmt.Errorf("round %d: %w", i+1, err)
		}
		took = append(took, t)
	}
	out.title("From kill -9 of the leader to a write through each survivor, three nodes, timing %s, %d rounds", s.timing, len(took))
	row := func(what string, got, limit float64) []string {
		return []string{what, seconds(got), seconds(limit), ratio(got / limit), out.atMost(got, limit)}
	}
	out.table([][]string{{"of the slower one", "took", "limit", "ratio", "verdict"},
		row("median", median(took), failoverMedian), row("worst", quantile(took, 1), failoverWorst)})
	out.histogram(took, 0.25)
	return nil
}

// failover kills the leader and starts it again, and returns how many seconds
// it took until both others had taken a write that was asked for at once.
func (r *rig) failover(ctx context.Context) (float64, error) {
	leader, err := r.leader(ctx)
	if err != nil {
		return 0, err
	}
	if err := r.Kill(leader); err != nil {
		return 0, err
	}
	began := time.Now()
	took := make([]float64, r.Len())
	errs := make([]error, r.Len())
	var all sync.WaitGroup
	for i := range r.Len() {
		if i == leader {
			continue
		}
		all.Go(func() {
			errs[i] = r.user.share(ctx, r.URL(i))
			took[i] = time.Since(began).Seconds()
		})
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		return 0, err
	}
	if err := r.Restart(leader); err != nil {
		return 0, err
	}
	return quantile(took, 1), r.calm(ctx)
}

// share is a small write through that node, tried until it is taken.
func (u *user) share(ctx context.Context, node string) error {
	at := u.At(node)
	for {
		_, err := at.Share(ctx, "jingle.wav", 1)
		var p *httpapi.Problem
		if !errors.As(err, &p) || p.Status != http.StatusServiceUnavailable {
			return err
		}
		select {
		case <-time.After(time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// leader is the number of the node that leads.
func (r *rig) leader(ctx context.Context) (int, error) {
	all, err := r.user.Nodes(ctx)
	for _, n := range all {
		for i := range r.Len() {
			if err == nil && n.Role == "leader" && n.Name == r.Name(i) {
				return i, nil
			}
		}
	}
	return 0, errors.Join(errors.New("no node is shown to lead"), err)
}

// calm waits until all nodes are ready and have votes.
func (r *rig) calm(ctx context.Context) error {
	for i := range r.Len() {
		if err := r.Ready(ctx, i); err != nil {
			return err
		}
	}
	for {
		all, err := r.user.Nodes(ctx)
		voters := 0
		for _, n := range all {
			if n.State == "alive" && (n.Role == "leader" || n.Role == "voter") {
				voters++
			}
		}
		if voters == r.Len() {
			return nil
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		}
	}
}
