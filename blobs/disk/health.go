package disk

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"

	"malla/blobs"
)

const (
	probeEvery = 30 * time.Second // while the disk works
	probeAgain = 5 * time.Second  // while it does not
)

// A health remembers whether the disk works, and which chunks it lost.
type health struct {
	mu      sync.Mutex             // guards the fields below
	cause   error                  // nil while it works
	since   time.Time              // when it failed first
	probed  time.Time              // when it was last tried since
	hurt    map[blobs.Ref]struct{} // found damaged, and not put again yet
	damaged int64
	healed  int64
}

// Broken returns since when the disk has not worked and why, and a nil error
// while it does. A disk is broken from the first write or fsync that fails, or
// that it refuses as read-only, until a probe succeeds. Where a read fails, a
// probe decides: one bad sector is not the disk.
func (s *Store) Broken() (since time.Time, cause error) {
	s.health.mu.Lock()
	defer s.health.mu.Unlock()
	return s.health.since, s.health.cause
}

// Damage returns how many chunks were found damaged since the store was opened,
// and how many of those were put again.
func (s *Store) Damage() (found, healed int64) {
	s.health.mu.Lock()
	defer s.health.mu.Unlock()
	return s.health.damaged, s.health.healed
}

func (h *health) lost(ref blobs.Ref) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, known := h.hurt[ref]; known {
		return // it could not be moved away, and was read again
	}
	h.damaged++
	h.hurt[ref] = struct{}{}
}

func (h *health) put(ref blobs.Ref) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, hurt := h.hurt[ref]; hurt {
		h.healed++
		delete(h.hurt, ref)
	}
}

// fault gives an error of the disk its name, and remembers a broken one.
func (s *Store) fault(err error) error {
	err = blobs.OfDisk(err)
	if errors.Is(err, blobs.ErrBroken) {
		s.fail(err)
	}
	return err
}

func (s *Store) fail(cause error) {
	h := &s.health
	h.mu.Lock()
	first := h.cause == nil
	if first {
		h.since, h.probed = time.Now(), time.Now()
	}
	h.cause = cause
	h.mu.Unlock()
	if first {
		s.log.Error("the disk does not work: no more chunks are put on it", "dir", s.dir, "err", cause)
	}
}

// works returns nil, or [blobs.ErrBroken] while the disk does not work. It is
// tried again first where that was not done for a while.
func (s *Store) works() error {
	h := &s.health
	h.mu.Lock()
	cause := h.cause
	try := cause != nil && time.Since(h.probed) >= probeAgain
	if try {
		h.probed = time.Now()
	}
	h.mu.Unlock()
	if try {
		s.Probe() // it tells and remembers
		_, cause = s.Broken()
	}
	return cause
}

// Probe writes a small file, makes it durable and removes it: what that says
// of the disk is what [Store.Broken] tells from now on. A full disk works. Where
// the process or the machine is short of something else, the error is not
// [blobs.ErrBroken], and what was known of the disk stays so.
func (s *Store) Probe() error {
	err := s.tryWrite()
	if errors.Is(err, blobs.ErrFull) {
		err = nil
	}
	if ofProcess(err) {
		return fmt.Errorf("probe the disk: %w", err)
	}
	if err != nil {
		err = fmt.Errorf("%w: %w", blobs.ErrBroken, err)
		s.fail(err)
		return err
	}
	h := &s.health
	h.mu.Lock()
	before, since := h.cause, h.since
	h.cause, h.since = nil, time.Time{}
	h.mu.Unlock()
	if before != nil {
		s.log.Warn("the disk works again", "dir", s.dir, "after", time.Since(since).Round(time.Second), "was", before)
	}
	return nil
}

// ofProcess tells whether err says that the process or the machine is short of
// files or memory: that is no news of the disk.
func ofProcess(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) || errors.Is(err, syscall.ENOMEM)
}

func (s *Store) tryWrite() (err error) {
	if err := s.gone(); err != nil {
		return err
	}
	f, err := os.CreateTemp(s.staging(), "probe-*")
	if err != nil {
		return blobs.OfFolder(err)
	}
	defer func() { err = blobs.OfDisk(errors.Join(err, f.Close(), os.Remove(f.Name()))) }()
	if _, err := f.WriteString("does the disk take this?\n"); err != nil {
		return err
	}
	return s.sync(f)
}

// Watch probes the disk until ctx ends, whose error it returns: a disk that
// became read-only is found before somebody needs it, and one that works again
// is used again.
func (s *Store) Watch(ctx context.Context) error {
	tick := time.NewTicker(probeAgain)
	defer tick.Stop()
	for probed := time.Now(); ; {
		select {
		case now := <-tick.C:
			if _, cause := s.Broken(); cause != nil || now.Sub(probed) >= probeEvery {
				s.Probe() // it tells and remembers
				probed = now
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
