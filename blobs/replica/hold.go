package replica

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"
)

// A hold keeps every node from collecting what nobody names any more, while
// somebody reads chunks by an older state: a backup. It lapses by itself, is
// renewed in time, and lives in memory: a node that starts collects nothing
// before it has seen a chunk unnamed for an hour.
type hold struct {
	mu    sync.Mutex // guards until
	until time.Time
}

const (
	holdFor   = 10 * time.Minute
	holdEvery = 2 * time.Minute
)

func (h *hold) extend() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.until = time.Now().Add(holdFor)
}

func (h *hold) inForce() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return time.Now().Before(h.until)
}

// Hold keeps chunks from being collected on all nodes until release is called,
// and some minutes longer: also those that the state stops naming meanwhile. A
// node that cannot be told is told again later; what it collects at worst before
// the others have.
func (r *Replica) Hold(ctx context.Context) (release func()) {
	ctx, cancel := context.WithCancel(ctx)
	r.tellHold(ctx)
	done := make(chan struct{})
	go func() { // ends with release
		defer close(done)
		ticker := time.NewTicker(holdEvery)
		defer ticker.Stop()
		for {
			select {
			case <-ticker.C:
				r.tellHold(ctx)
			case <-ctx.Done():
				return
			}
		}
	}()
	return func() {
		cancel()
		<-done
	}
}

// tellHold renews the hold everywhere.
func (r *Replica) tellHold(ctx context.Context) {
	r.hold.extend()
	atOnce(r.members().others(func(Peer) bool { return true }), func(node string) {
		try, cancel := context.WithTimeout(ctx, r.cfg.Stall)
		defer cancel()
		req, err := http.NewRequestWithContext(try, http.MethodPost, chunksPath+"hold", http.NoBody)
		if err == nil {
			var resp *http.Response
			if resp, err = r.peers.send(try, node, req); err == nil {
				err = resp.Body.Close()
			}
		}
		if err != nil && !errors.Is(ctx.Err(), context.Canceled) {
			r.cfg.Logger.Warn("node not told to collect nothing", "node", node, "err", fmt.Errorf("hold: %w", err))
		}
	})
}

// serveHold answers a node that reads by an older state.
func (r *Replica) serveHold(w http.ResponseWriter, _ *http.Request) error {
	r.hold.extend()
	w.WriteHeader(http.StatusNoContent)
	return nil
}
