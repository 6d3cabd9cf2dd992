package upload

import (
	"context"
	"fmt"
	"io"

	"malla/blobs"
)

// Concat fills the final upload with the bytes of its parts, in order. All are
// read, since the whole has a hash of its own, but they are stored again only
// where a part does not begin at the border of a chunk. The parts stay until
// they are terminated or expire. ErrIncomplete where one lacks bytes,
// ErrNotPartial where one is no partial upload.
func (s *Store) Concat(ctx context.Context, id string) error {
	return s.work(id, func(u *upload) error {
		final := u.info()
		if final.Concat != Final || final.Offset > 0 {
			return ErrFinished
		}
		var parts []blobs.Blob
		for _, part := range final.Parts {
			i, err := s.Lookup(ctx, part, final.Owner)
			switch {
			case err != nil:
				return err
			case i.Concat != Partial:
				return fmt.Errorf("%w: %s", ErrNotPartial, part)
			case !i.Finished:
				return fmt.Errorf("%w: %s", ErrIncomplete, part)
			}
			parts = append(parts, i.Blob)
		}
		c, err := s.cutter(u)
		if err != nil {
			return err
		}
		for i, part := range parts {
			if err := s.join(ctx, c, part, i == len(parts)-1); err != nil {
				c.stop()
				return s.stepBack(u, err)
			}
		}
		if err := c.rest(); err != nil {
			return s.stepBack(u, err)
		}
		p := partOnDisk{Chunk: len(c.chunks), Len: c.partLen, Sum: blobs.Ref(c.chunk.Sum(nil))}
		return s.step(u, entry{Part: &p})
	})
}

// join adds the bytes of a part, which may be the last.
func (s *Store) join(ctx context.Context, c *cutter, part blobs.Blob, last bool) error {
	r, err := s.cfg.Dest.Open(ctx, part.Ref)
	if err != nil {
		return err
	}
	defer r.Close()
	aligned := c.partLen == 0 // its chunks are those of the whole, but for a short last one
	for left := part.Size; left > 0; {
		n := min(left, blobs.ChunkSize-c.partLen)
		if aligned && (n == blobs.ChunkSize || last) {
			err = c.reuse(ctx, r, n)
		} else {
			err = c.fill(ctx, io.LimitReader(r, n), n)
		}
		if err != nil {
			return err
		}
		left -= n
	}
	return nil
}
