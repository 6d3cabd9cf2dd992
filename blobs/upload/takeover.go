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
// A keeper that the mesh has given up counts as if it had promised, once every
// living one has answered: an upload would rather go on at two nodes of a mesh in
// two parts than at none. Chunks are named by their hash and importing twice names
// one file; but one of the two does not know what became of the other's, so nobody
// removes chunks before the keepers agreed ([Store.verify]), and who kept the
// record before is told by whoever goes on.

// Find returns how the owner's upload stands and which node goes on with it; ""
// is this one, which took it if nobody else answered that it does. What was
// named in the library is told by any node. ErrNotFound where no living node
// knows of it, [blobs.ErrUnavailable] where too few answer.
func (s *Store) Find(ctx context.Context, id, owner string) (info Info, node string, err error) {
	best, node, known, err := s.find(ctx, id, owner)
	if known || err != nil {
		return best.Info, node, err
	}
	info, err = s.take(ctx, id, best)
	return info, "", err
}

// FindOnly is Find at a node that must not take an upload over, since it could
// not import it: where nobody goes on with it, it is [blobs.ErrUnavailable].
func (s *Store) FindOnly(ctx context.Context, id, owner string) (info Info, node string, err error) {
	best, node, known, err := s.find(ctx, id, owner)
	if err == nil && !known {
		err = fmt.Errorf("%w: no living node goes on with the upload, and this one does not take it", blobs.ErrUnavailable)
	}
	return best.Info, node, err
}

// find returns the newest of the owner's upload, and which node answers for it.
// It is known unless a node has to take the upload first.
func (s *Store) find(ctx context.Context, id, owner string) (best claim, node string, known bool, err error) {
	if !validID.MatchString(id) {
		return claim{}, "", false, ErrNotFound
	}
	if u, err := s.get(id); err == nil && u.isMine() {
		if u.info().Owner != owner {
			return claim{}, "", false, ErrNotFound
		}
		if err := s.settle(ctx, u); !errors.Is(err, ErrMoved) {
			return s.claim(u), "", true, err
		}
	}
	best, err = s.locate(ctx, id)
	switch {
	case err != nil:
		return claim{}, "", false, err
	case best.Info.Owner != owner:
		return claim{}, "", false, ErrNotFound
	case best.Info.Named != Named{}:
		return best, "", true, nil
	case best.Mine && best.from != s.cfg.Self:
		return best, best.from, true, nil
	}
	return best, "", false, nil
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
		if errors.Is(err, ErrNotFound) && u.turn.take() {
			defer u.turn.give()
			err = errors.Join(err, s.drop(u))
		}
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
// node had taken the upload. Then it is ErrMoved. ErrNotFound tells that so many
// have forgotten what they had that no step could count any more: another node
// took the upload and ended it.
func (s *Store) verify(ctx context.Context, u *upload, c claim) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	m := s.members()
	var living []string
	for _, node := range c.Taken.Keepers {
		if node != s.cfg.Self && !m.dead(node) {
			living = append(living, node)
		}
	}
	answers := make(chan error, len(living))
	for _, node := range living {
		had := u.has(node)
		go func() {
			theirs, err := s.asks(ctx, node, "GET", u.id, c.Taken.token)
			switch {
			case errors.Is(err, ErrNotFound) && !had:
				err = nil // it missed the beginning
			case err == nil && theirs.Promised.compare(c.Taken.token) > 0:
				err = ErrMoved
			}
			answers <- err
		}()
	}
	agreed, forgot := 1, 0
	for left := len(living); agreed < c.Taken.Need && left > 0; left-- {
		err := <-answers
		switch {
		case errors.Is(err, ErrMoved):
			u.mu.Lock()
			u.mine = u.mine && u.state.taken.token != c.Taken.token
			u.mu.Unlock()
			return err
		case errors.Is(err, ErrNotFound):
			forgot++
		case err == nil:
			agreed++
		}
	}
	switch {
	case agreed >= c.Taken.Need:
		return nil
	case forgot >= c.Taken.fence():
		return ErrNotFound
	case agreed == 1+len(living) && len(living)+1 < len(c.Taken.Keepers):
		return nil // the others died; they are replaced next
	}
	return fmt.Errorf("%w: %d of %d nodes that keep the record of an upload answer", blobs.ErrUnavailable, agreed, c.Taken.Need)
}

// has tells whether the keeper was told lines of this upload.
func (u *upload) has(node string) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	f := u.feeds[node]
	return f != nil && f.have > 0
}

// locate returns the newest that any living node knows of the upload. It is
// ErrNotFound only where a node would have answered that knows of it, else
// [blobs.ErrUnavailable]: a client gives up what is not found.
func (s *Store) locate(ctx context.Context, id string) (best claim, err error) {
	found, elsewhere := false, false
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
	own, err := s.get(id)
	if err == nil {
		if c := s.claim(own); c.Lines > 0 {
			consider(c)
		}
	}
	m := s.members()
	order := m.order(id, s.cfg.Copies+2, func(Peer) bool { return true })
	// Who was told last, then those that should keep it, then everybody.
	first := min(s.cfg.Copies+2, len(order))
	waves := [][]string{order[:first], order[first:]}
	if found && best.Taken.Node != s.cfg.Self {
		waves = append([][]string{{best.Taken.Node}}, waves...)
	}
	failed := 0
	for _, wave := range waves {
		claims, silent := s.askAll(ctx, id, wave)
		failed += silent
		for _, c := range claims {
			consider(c)
			elsewhere = true
		}
		if found && best.Mine || found && best.Info.Named != (Named{}) {
			return best, nil
		}
		if err := ctx.Err(); err != nil {
			return best, err
		}
	}
	dead := len(m.nodes) - len(order)
	switch {
	case !found && (failed > 0 || dead >= majority(min(s.cfg.Copies, m.takes))):
		return best, fmt.Errorf("%w: %d nodes that may know of an upload do not answer", blobs.ErrUnavailable, failed+dead)
	case !found:
		return best, ErrNotFound
	case !elsewhere && best.Taken.Need > 1 && failed == 0 && !slices.ContainsFunc(best.Taken.Keepers, m.dead):
		// Nobody has what a majority had, or nobody was ever told: another node
		// took the upload and ended it, or it never began.
		return best, s.endedElsewhere(own)
	}
	return best, nil
}

// endedElsewhere drops the record that only this node still has.
func (s *Store) endedElsewhere(u *upload) error {
	if !u.turn.take() {
		return ErrBusy
	}
	defer u.turn.give()
	return errors.Join(ErrNotFound, s.drop(u))
}

// askAll returns what the nodes know, and how many could not say.
func (s *Store) askAll(ctx context.Context, id string, nodes []string) (all []claim, silent int) {
	var mu sync.Mutex // guards all and silent
	var wg sync.WaitGroup
	for _, node := range nodes {
		if node == s.cfg.Self || node == "" {
			continue
		}
		wg.Go(func() {
			c, err := s.asks(ctx, node, "GET", id, token{Node: s.cfg.Self})
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil && c.Lines > 0:
				all = append(all, c)
			case err != nil && !errors.Is(err, ErrNotFound):
				silent++
			}
		})
	}
	wg.Wait()
	return all, silent
}

// take makes this node the one that goes on with the upload, of which best is
// the newest that is known.
func (s *Store) take(ctx context.Context, id string, best claim) (Info, error) {
	u, err := s.turnOf(ctx, id)
	if err != nil {
		return Info{}, err
	}
	defer func() {
		u.file.Lock()
		s.removeEmpty(u)
		u.file.Unlock()
		u.turn.give()
	}()
	if before := s.claim(u); before.Mine && before.Taken.compare(best.Taken.token) > 0 {
		return u.info(), nil // another request was faster
	}
	err = s.takeNow(ctx, u, best)
	return u.info(), err
}

// turnOf waits for the turn of the id's upload, of which nothing may be known
// here yet.
func (s *Store) turnOf(ctx context.Context, id string) (*upload, error) {
	for {
		u := s.getOrAdd(id)
		select {
		case u.turn <- struct{}{}:
		case <-ctx.Done():
			return nil, ErrBusy
		}
		if s.knows(u) {
			return u, nil
		}
		u.turn.give() // dropped meanwhile: what is written to it would belong to nobody
	}
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
	need := by.fence()
	m := s.members()
	dead := 0
	var mu sync.Mutex // guards best and the three below
	var promised, silent int
	var refused error
	var wg sync.WaitGroup
	for _, node := range by.Keepers {
		if m.dead(node) {
			dead++
			continue
		}
		wg.Go(func() {
			c, err := s.promisedBy(ctx, node, u, mine)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case errors.Is(err, ErrMoved):
				refused = err
			case errors.Is(err, ErrNotFound): // it has no step that could be missed
			case err != nil:
				silent++
			default:
				promised++
				if c.newer(best) || node == s.cfg.Self && best.from == node {
					best = c
				}
			}
		})
	}
	wg.Wait()
	if silent == 0 {
		promised += dead // who is silent may have what only the dead had besides
	}
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

// promisedBy makes one keeper promise, which may be this node.
func (s *Store) promisedBy(ctx context.Context, node string, u *upload, mine token) (claim, error) {
	if node == s.cfg.Self {
		return s.promise(u, mine)
	}
	return s.asks(ctx, node, "POST", u.id+"/promise", mine)
}

// fetch makes the record of another node this one's.
func (s *Store) fetch(ctx context.Context, u *upload, mine token, best claim) error {
	ctx, cancel := context.WithTimeout(ctx, s.forLines(best.Lines))
	defer cancel()
	resp, err := s.call(ctx, best.from, "GET", u.id+"/record", token{Node: s.cfg.Self}, nil)
	if err != nil {
		return fmt.Errorf("fetch record of an upload from %s: %w", best.from, err)
	}
	defer resp.Body.Close()
	u.file.Lock()
	defer u.file.Unlock()
	if !s.knows(u) {
		return ErrMoved
	}
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
	if c := s.claim(u); c.Promised.compare(mine) > 0 || !s.knows(u) {
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
