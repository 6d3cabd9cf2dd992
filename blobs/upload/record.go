package upload

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"malla/blobs"
)

// A feed is what a keeper has of an upload's record. Fields are guarded by the
// upload's mu.
type feed struct {
	have int   // lines
	busy bool  // somebody is sending more
	err  error // why the last sending ended early
}

// share returns when enough keepers have all steps, and leaves the others to
// be told behind. Who calls has the turn.
func (s *Store) share(u *upload) error {
	want, need, err := s.feedAll(u)
	if err != nil || need <= 0 {
		return err
	}
	late := time.NewTimer(2 * s.cfg.Patience)
	defer late.Stop()
	for {
		have, more, changed, err := u.shared(want)
		switch {
		case err != nil && !u.isMine():
			return ErrMoved
		case have >= need:
			return nil
		case have+more < need:
			return fmt.Errorf("%w: %d of %d nodes have the record of an upload: %v", blobs.ErrUnavailable, have+1, need+1, err)
		}
		select {
		case <-changed:
		case <-late.C:
			return fmt.Errorf("%w: the nodes that keep the record of an upload are slow", blobs.ErrUnavailable)
		case <-s.ctx.Done():
			return fmt.Errorf("%w: this node is closing", blobs.ErrUnavailable)
		}
	}
}

// feedAll makes sure that every keeper is being told what it lacks, and every
// living one of before, which do not count. It returns
// how many lines there are, and how many others have to have them.
func (s *Store) feedAll(u *upload) (lines, need int, err error) {
	m := s.members()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return 0, 0, fmt.Errorf("%w: this node is closing", blobs.ErrUnavailable)
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.stop == nil && len(u.state.taken.Keepers)+len(u.state.former) > 1 {
		u.feedCtx, u.stop = context.WithCancel(s.ctx)
	}
	// Who kept it before has to hear that it goes on here, and what became of it.
	told := slices.Clone(u.state.taken.Keepers)
	for _, id := range u.state.former {
		if !m.dead(id) {
			told = append(told, id)
		}
	}
	for _, id := range told {
		if id == s.cfg.Self {
			continue
		}
		f := u.feeds[id]
		if f == nil {
			f = &feed{}
			u.feeds[id] = f
		}
		if f.busy || f.have >= u.state.lines {
			continue
		}
		f.busy, f.err = true, nil
		ctx := u.feedCtx
		s.wg.Go(func() { s.feed(ctx, u, id, f) })
	}
	return u.state.lines, u.state.taken.Need - 1, nil
}

// shared counts the keepers that have the lines and those that are being told,
// and returns what to wait for.
func (u *upload) shared(lines int) (have, more int, changed <-chan struct{}, err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	var errs []error
	for id, f := range u.feeds {
		switch {
		case !slices.Contains(u.state.taken.Keepers, id):
		case f.have >= lines:
			have++
		case f.busy:
			more++
		}
		errs = append(errs, f.err)
	}
	if !u.mine {
		errs = append(errs, ErrMoved)
	}
	return have, more, u.changed, errors.Join(errs...)
}

// feed tells one keeper the lines that it lacks until it has all.
func (s *Store) feed(ctx context.Context, u *upload, node string, f *feed) {
	for {
		b, ok := u.nextBatch(f)
		if !ok {
			return
		}
		have, err := s.putLines(ctx, node, u, b)
		u.mu.Lock()
		switch {
		case err == nil:
			f.have = b.from + b.count
		case errors.Is(err, errBehind) && have != b.from:
			f.have = have
		default:
			if errors.Is(err, ErrMoved) {
				u.mine = false
			}
			f.err, f.busy = err, false
		}
		u.tell()
		more := f.busy
		u.mu.Unlock()
		if !more {
			if ctx.Err() == nil {
				s.cfg.Logger.Warn("record of an upload not kept", "node", node, "upload", u.id, "err", err)
			}
			return
		}
	}
}

// A batch is some lines of a record for one keeper.
type batch struct {
	token       token
	from, count int
	at          int64 // where in the file to look for them
	skip        int   // lines from there
}

// maxBatch is how many lines a keeper that has some gets at once. One that has
// none gets all: half a record in the place of an older one would be a loss.
const maxBatch = 4096

// nextBatch returns what the keeper is told next. Where it has everything its
// feeding ends.
func (u *upload) nextBatch(f *feed) (batch, bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	st := &u.state
	if f.have >= st.lines || !u.mine {
		f.busy = false
		u.tell()
		return batch{}, false
	}
	b := batch{token: st.taken.token, from: f.have, count: st.lines - f.have, skip: f.have}
	if b.from > 0 {
		b.count = min(b.count, maxBatch)
	}
	if b.from == st.lines-1 {
		b.at, b.skip = st.last, 0
	}
	return b, true
}

// tell wakes those that wait for a feed; u.mu is held.
func (u *upload) tell() {
	close(u.changed)
	u.changed = make(chan struct{})
}

// endFeeds stops the feeds, and waits until none sends any more.
func (u *upload) endFeeds() {
	u.mu.Lock()
	if u.stop != nil {
		u.stop()
		u.stop = nil
	}
	u.mu.Unlock()
	for {
		u.mu.Lock()
		busy := slices.ContainsFunc(u.allFeeds(), func(f *feed) bool { return f.busy })
		changed := u.changed
		u.mu.Unlock()
		if !busy {
			return
		}
		<-changed
	}
}

func (u *upload) allFeeds() []*feed {
	var all []*feed
	for _, f := range u.feeds {
		all = append(all, f)
	}
	return all
}

// dropEverywhere makes all living nodes forget the upload: who kept it under an
// earlier token is not known for sure. One that cannot be reached forgets it when
// its time is over.
func (s *Store) dropEverywhere(ctx context.Context, u *upload) {
	u.endFeeds()
	u.mu.Lock()
	by := u.state.taken
	mine := u.mine
	u.mu.Unlock()
	if !mine || by.Node == "" {
		return // another node does it, or there is no record
	}
	nodes := s.members().order(u.id, 0, func(Peer) bool { return true })
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.cfg.Patience)
	defer cancel()
	var wg sync.WaitGroup
	for _, node := range nodes {
		wg.Go(func() {
			if err := s.drops(ctx, node, u.id, by.token); err != nil {
				s.cfg.Logger.Warn("record of an upload stays until it expires", "node", node, "upload", u.id, "err", err)
			}
		})
	}
	wg.Wait()
}
