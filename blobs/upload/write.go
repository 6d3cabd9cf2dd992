package upload

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"time"

	"malla/blobs"
)

// Write reads r to its end, at most limit bytes, and returns when the blob is
// safe. On an error nothing of it is left. Until Forget(id), Discard(id) takes
// back what was written; an empty id means that nobody will.
func (s *Store) Write(ctx context.Context, id string, r io.Reader, limit int64) (blobs.Blob, error) {
	work := NewID() // two writes under one id must not share files
	if id == "" {
		id = work
		defer s.Forget(id)
	}
	path := func(chunk int) string { return filepath.Join(s.cfg.Dir, fmt.Sprintf("%s.%d.part", work, chunk)) }
	u := newUpload(id)
	u.mine = true
	u.turn.take() // not to be discarded before it is written
	defer u.turn.give()
	u.state.expires = time.Now().Add(s.cfg.Expire)
	s.add(u)
	c := newCutter(s.cfg.Dest, id, path, func(sc spreadChunk) error {
		u.addChunk(sc)
		return nil
	})
	err := c.fill(ctx, r, min(limit, blobs.MaxBlobSize))
	var blob blobs.Blob
	if err == nil {
		blob, err = c.finish(ctx)
	}
	if err != nil {
		s.remove(id)
		c.stop()
		s.discard(ctx, id, c.tried)
		return blobs.Blob{}, err
	}
	u.finish(blob)
	return blob, nil
}

// Discard forgets the upload, which may be finished, and removes the chunks
// that only it ever wanted, unless another node may go on with it. The caller must know that no record names its blob
// and that none will.
func (s *Store) Discard(ctx context.Context, id string) error {
	u, err := s.get(id)
	if err != nil {
		return err
	}
	if !u.turn.take() {
		return ErrBusy
	}
	defer u.turn.give()
	var refs []blobs.Ref
	if err := s.verify(ctx, u, s.claim(u)); err == nil {
		refs = u.refs() // else another node may have made a file of them
	}
	s.dropEverywhere(ctx, u)
	if err := s.drop(u); err != nil {
		return err
	}
	s.discard(ctx, id, refs)
	return nil
}

// discard removes chunks even when ctx has ended, which is often why. What it
// cannot reach, the collector takes later.
func (s *Store) discard(ctx context.Context, id string, refs []blobs.Ref) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
	defer cancel()
	if err := s.cfg.Dest.Discard(ctx, id, slices.Clone(refs)); err != nil {
		s.cfg.Logger.Warn("refused upload left chunks to the collector", "upload", id, "err", err)
	}
}
