package disk

import (
	"context"
	"errors"
	"fmt"
	"os"

	"malla/blobs"
)

// Scrub reads the chunk from the disk, not from the page cache, hashes it
// again whenever that was done last, and returns its size. A damaged one goes
// to quarantine and is [blobs.ErrCorrupt]; while the disk does not work the
// error is [blobs.ErrBroken] and tells nothing of the chunk. After each read
// paced is called with its number of bytes: it may wait, and its error ends
// the reading.
func (s *Store) Scrub(ctx context.Context, ref blobs.Ref, paced func(n int) error) (size int64, err error) {
	if err := s.works(); err != nil {
		return 0, err
	}
	f, err := os.Open(s.path(ref))
	if err != nil {
		return 0, s.unopened(notFound(ref, err))
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	info, err := f.Stat()
	if err != nil {
		return 0, s.unopened(err)
	}
	// What the page cache has may be whole where the disk is not. And of what
	// is read now nothing is needed again soon: it must not push out what is.
	forget(f)
	defer forget(f)
	if err := s.rehash(ctx, ref, f, info, paced); err != nil {
		return info.Size(), fmt.Errorf("scrub chunk %s: %w", ref.Short(), err)
	}
	return info.Size(), nil
}

// unopened is why one chunk cannot be opened: [blobs.ErrBroken] only where the
// whole disk does not work. Else the other chunks would wait for this one.
func (s *Store) unopened(err error) error {
	if errors.Is(blobs.OfDisk(err), blobs.ErrBroken) {
		return errors.Join(err, s.Probe())
	}
	return err
}
