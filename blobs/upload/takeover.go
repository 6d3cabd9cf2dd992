package upload

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	"malla/blobs"
)

// How another node goes on with an upload (one round of Paxos for each time):
//
//  1. It asks the others what they know. Who goes on with the upload answers so,
//     and the request is passed on there; else this node takes it.
//  2. It asks the keepers to promise that they take no more steps of smaller
//     tokens than its own. Enough of them are at least one of every majority:
//     what they tell together is every step that counted.
//  3. It fetches the longest record of the greatest token among theirs, adds the
//     line that takes the upload, and spreads it to keepers of its own choice.
//
// The one before, slow or cut off, is refused by those keepers at its next step,
// and one that restarts takes its own uploads in the same way before it goes on.
//
// A keeper that the mesh has given up counts as if it had promised: an upload
// would rather go on at two nodes of a mesh in two parts than at none. Chunks are
// named by their hash and importing twice names one file, so nothing is at stake.

// Find returns how the owner's upload stands and which node goes on with it; ""
// is this one, which took it if nobody else answered that it does. What was
// named in the library is told by any node. ErrNotFound where no living node
// knows of it, [blobs.ErrUnavailable] where too few answer.
func (s *Store) Find(ctx context.Context, id, owner string) (info Info, node string, err error) {
	if !validID.MatchString(id) {
		return Info{}, "", ErrNotFound
	}
	if u, err := s.get(id); err == nil && u.isMine() {
		if u.info().Owner != owner {
			return Info{}, "", ErrNotFound
		}
		if err := s.settle(ctx, u); !errors.Is(err, ErrMoved) {
			return u.info(), "", err
		}
	}
	best, err := s.locate(ctx, id)
	switch {
	case err != nil:
		return Info{}, "", err
	case best.Info.Owner != owner:
		return Info{}, "", ErrNotFound
	case best.Info.Named != Named{}:
		return best.Info, "", nil
	case best.Mine && best.from != s.cfg.Self:
		return best.Info, best.from, nil
	}
	info, err = s.take(ctx, id, best)
	return info, "", err
}

// Lookup is Find that takes nothing over.
func (s *Store) Lookup(ctx context.Context, id, owner string) (Info, error) {
	if !validID.MatchString(id) {
		return Info{}, ErrNotFound
	}
	if u, err := s.get(id); err == nil && u.isMine() {
		if info := u.info(); info.Owner == owner {
			return info, nil
		}
		return Info{}, ErrNotFound
	}
	best, err := s.locate(ctx, id)
	if err == nil && best.Info.Owner != owner {
		err = ErrNotFound
	}
	return best.Info, err
}

// settle makes sure that what is about to be told of u is true: that no other
// node took it while this one was cut off, and that enough others know as much,
// since an answer counts as an acknowledgement. Keepers that died are replaced.
func (s *Store) settle(ctx context.Context, u *upload) error {
	c := s.claim(u)
	if c.Lines == 0 || len(c.Taken.Keepers) == 0 {
		return nil
	}
	m := s.members()
	fit := m.keepers(u.id, s.cfg.Copies)
	if err := s.verify(ctx, u, c); err != nil {
		return err
	}
	if !u.turn.take() {
		return nil // steps are being told right now, to the keepers that are left
	}
	defer u.turn.give()
	if lost := slices.ContainsFunc(c.Taken.Keepers, m.dead); lost && len(fit.Keepers) >= len(c.Taken.Keepers) {
		return s.takeNow(ctx, u, c)
	}
	return s.share(u)
}

// verify asks as many keepers as a step needs, one of which would know if another
// node had taken the upload. Then it is ErrMoved.
func (s *Store) verify(ctx context.Context, u *upload, c claim) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	others := slices.DeleteFunc(slices.Clone(c.Taken.Keepers), func(id string) bool { return id == s.cfg.Self })
	answers := make(chan error, len(others))
	for _, node := range others {
		go func() {
			theirs, err := s.asks(ctx, node, "GET", u.id, c.Taken.token)
			switch {
			case errors.Is(err, ErrNotFound):
				err = nil // it missed the beginning, or its disk is new
			case err == nil && theirs.Promised.compare(c.Taken.token) > 0:
				err = ErrMoved
			}
			answers <- err
		}()
	}
	agreed, left := 1, len(others)
	for agreed < c.Taken.Need && left > 0 {
		err := <-answers
		left--
		switch {
		case errors.Is(err, ErrMoved):
			u.mu.Lock()
			u.mine = u.mine && u.state.taken.token != c.Taken.token
			u.mu.Unlock()
			return err
		case err == nil:
			agreed++
		}
	}
	if dead := s.members(); agreed < c.Taken.Need && !slices.ContainsFunc(others, dead.dead) {
		return fmt.Errorf("%w: %d of %d nodes that keep the record of an upload answer", blobs.ErrUnavailable, agreed, c.Taken.Need)
	}
	return nil // what died is replaced next
}

// locate returns the newest that any living node knows of the upload.
func (s *Store) locate(ctx context.Context, id string) (best claim, err error) {
	found := false
	consider := func(c claim) {
		promised := best.Promised
		if !found || c.newer(best) {
			best, found = c, true
		}
		if promised.compare(c.Promised) < 0 {
			promised = c.Promised
		}
		best.Promised = promised // the greatest that anybody made
	}
	if u, err := s.get(id); err == nil {
		if c := s.claim(u); c.Lines > 0 {
			consider(c)
		}
	}
	m := s.members()
	if s.cfg.Peers == nil {
		if !found {
			return best, ErrNotFound
		}
		return best, nil
	}
	order := m.order(id, s.cfg.Copies+2, func(Peer) bool { return true })
	// Who was told last, then those that should keep it, then everybody.
	first := min(s.cfg.Copies+2, len(order))
	waves := [][]string{order[:first], order[first:]}
	if found && best.Taken.Node != s.cfg.Self {
		waves = append([][]string{{best.Taken.Node}}, waves...)
	}
	for _, wave := range waves {
		for _, c := range s.askAll(ctx, id, wave) {
			consider(c)
		}
		if found && best.Mine || found && best.Info.Named != (Named{}) {
			return best, nil
		}
		if err := ctx.Err(); err != nil {
			return best, err
		}
	}
	if !found {
		return best, ErrNotFound
	}
	return best, nil
}

func (s *Store) askAll(ctx context.Context, id string, nodes []string) []claim {
	var mu sync.Mutex // guards all
	var all []claim
	var wg sync.WaitGroup
	for _, node := range nodes {
		if node == s.cfg.Self || node == "" {
			continue
		}
		wg.Go(func() {
			c, err := s.asks(ctx, node, "GET", id, token{Node: s.cfg.Self})
			if err != nil || c.Lines <= 0 {
				return // it does not know, or cannot say
			}
			mu.Lock()
			defer mu.Unlock()
			all = append(all, c)
		})
	}
	wg.Wait()
	return all
}

// take makes this node the one that goes on with the upload, of which best is
// the newest that is known.
func (s *Store) take(ctx context.Context, id string, best claim) (Info, error) {
	u := s.getOrAdd(id)
	defer s.removeEmpty(u)
	select {
	case u.turn <- struct{}{}:
	case <-ctx.Done():
		return Info{}, ErrBusy
	}
	defer u.turn.give()
	if before := s.claim(u); before.Mine && before.Taken.compare(best.Taken.token) > 0 {
		return u.info(), nil // another request was faster
	}
	err := s.takeNow(ctx, u, best)
	return u.info(), err
}

// takeNow is take for who has the turn.
func (s *Store) takeNow(ctx context.Context, u *upload, best claim) error {
	u.endFeeds()
	mine := token{Gen: max(best.Taken.Gen, best.Promised.Gen, s.claim(u).Promised.Gen) + 1, Node: s.cfg.Self}
	best, err := s.gather(ctx, u, mine, best)
	if err != nil {
		return err
	}
	if best.from != s.cfg.Self {
		if err := s.fetch(ctx, u, mine, best); err != nil {
			return err
		}
	}
	if err := s.takeHere(u, mine); err != nil {
		return err
	}
	if err := s.share(u); err != nil {
		u.mu.Lock()
		u.mine = false
		u.mu.Unlock()
		return err
	}
	if best.Taken.Node != s.cfg.Self {
		s.cfg.Logger.Info("upload taken over", "upload", u.id, "from", best.Taken.Node, "offset", u.info().Offset)
	}
	if u.info().Finished {
		return nil
	}
	u.cut = nil
	_, err = s.cutter(u)
	return err
}

// gather lets the keepers promise to take no more steps before mine, and returns
// the newest that they and this node know.
func (s *Store) gather(ctx context.Context, u *upload, mine token, best claim) (claim, error) {
	by := best.Taken
	promised, need := 0, by.fence()
	m := s.members()
	var mu sync.Mutex // guards promised and best
	var wg sync.WaitGroup
	var refused error
	for _, node := range by.Keepers {
		switch {
		case node == s.cfg.Self:
			c, err := s.promise(u, mine)
			if err != nil && !errors.Is(err, ErrNotFound) {
				return best, err
			}
			if err == nil {
				mu.Lock()
				promised++
				if c.newer(best) || best.from == s.cfg.Self {
					best = c
				}
				mu.Unlock()
			}
		case m.dead(node):
			mu.Lock()
			promised++
			mu.Unlock()
		default:
			wg.Go(func() {
				c, err := s.asks(ctx, node, "POST", u.id+"/promise", mine)
				mu.Lock()
				defer mu.Unlock()
				switch {
				case errors.Is(err, ErrMoved):
					refused = err
				case err == nil:
					promised++
					if c.newer(best) {
						best = c
					}
				}
			})
		}
	}
	wg.Wait()
	switch {
	case refused != nil:
		return best, fmt.Errorf("%w: another node is taking the upload", blobs.ErrUnavailable)
	case len(by.Keepers) > 0 && promised < need:
		return best, fmt.Errorf("%w: %d of %d nodes that know the upload answer", blobs.ErrUnavailable, promised, need)
	case best.Taken.token != by.token:
		return best, fmt.Errorf("%w: another node took the upload", blobs.ErrUnavailable)
	}
	return best, nil
}

// fetch makes the record of another node this one's.
func (s *Store) fetch(ctx context.Context, u *upload, mine token, best claim) error {
	resp, err := s.call(ctx, best.from, "GET", u.id+"/record", token{Node: s.cfg.Self}, nil)
	if err != nil {
		return fmt.Errorf("fetch record of an upload from %s: %w", best.from, err)
	}
	defer resp.Body.Close()
	u.file.Lock()
	defer u.file.Unlock()
	if err := s.replace(u, best.Taken.token, io.LimitReader(resp.Body, maxRecord)); err != nil {
		return fmt.Errorf("fetch record of an upload from %s: %w", best.from, err)
	}
	u.mu.Lock()
	u.state.promised = mine // as this node has, before the record was replaced
	u.mu.Unlock()
	if got := s.claim(u); got.Lines < best.Lines {
		return fmt.Errorf("%w: %s has only %d of %d lines of an upload's record", blobs.ErrUnavailable, best.from, got.Lines, best.Lines)
	}
	return nil
}

// takeHere writes the line that takes the upload.
func (s *Store) takeHere(u *upload, mine token) error {
	by := s.members().keepers(u.id, s.cfg.Copies)
	by.token = mine
	if len(by.Keepers) < by.Need {
		return fmt.Errorf("%w: %d nodes can keep the record of an upload, %d are needed", blobs.ErrUnavailable, len(by.Keepers), by.Need)
	}
	u.file.Lock()
	defer u.file.Unlock()
	if c := s.claim(u); c.Promised.compare(mine) > 0 {
		return ErrMoved
	}
	if err := s.write(u, entry{Take: &by}); err != nil {
		return err
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.feeds, u.mine = map[string]*feed{}, true
	return nil
}
