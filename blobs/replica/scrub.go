package replica

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"time"

	"malla/blobs"
)

const (
	noteEvery = time.Minute // at least this often it is written down how far scrubbing is
	sickPause = time.Minute // before a disk that does not work is tried again
	slack     = 10          // percent of ScrubEvery that a pass leaves for being late
)

// A scrub reads every chunk of this disk again, pass after pass. When a chunk
// has its turn follows from its ref alone: refs are spread evenly, so going
// through them in order at a steady pace spreads the reading over the whole
// time, however much there is, and needs no list. Where that is late, because
// the node was off or the disk is large, ScrubRate is the limit.
type scrub struct {
	r *Replica

	mu     sync.Mutex // guards the fields below
	at     cursor
	status ScrubStatus

	noted time.Time // when at was written down; only Scrub touches it
}

// A cursor is where scrubbing stands, as the ScrubFile has it in JSON.
type cursor struct {
	Started  time.Time `json:"started"`           // the pass under way
	After    blobs.Ref `json:"after"`             // all before it, and itself, are done; zero at the beginning
	Finished time.Time `json:"finished,omitzero"` // the pass before
}

// A ScrubStatus is how far scrubbing is, and what it has done since this node
// started.
type ScrubStatus struct {
	Off      bool
	Started  time.Time // the pass under way; zero before the first
	Done     float64   // of that pass, 0 to 1
	Finished time.Time // the last whole pass; zero before it
	Chunks   int64     // read
	Bytes    int64     // of those
	Damaged  int64     // of those chunks
	Late     bool      // the limit of the rate is what holds it back
}

func newScrub(r *Replica) *scrub { return &scrub{r: r} }

func (s *scrub) told() ScrubStatus {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.status
	st.Off = s.r.cfg.ScrubEvery < 0
	st.Started, st.Finished, st.Done = s.at.Started, s.at.Finished, position(s.at.After)
	return st
}

func (s *scrub) change(f func(at *cursor, st *ScrubStatus)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f(&s.at, &s.status)
}

// Scrub reads and hashes every chunk of this disk again within ScrubEvery,
// until ctx ends, whose error it returns. Damaged ones are made again from
// another node by Run at once.
func (r *Replica) Scrub(ctx context.Context) error {
	s := r.scrub
	if r.cfg.ScrubEvery < 0 {
		<-ctx.Done()
		return ctx.Err()
	}
	s.load()
	defer s.save()
	for {
		if err := s.pass(ctx); err != nil {
			return err
		}
	}
}

// pass goes on with the pass under way to its end and begins the next one.
func (s *scrub) pass(ctx context.Context) error {
	at := s.at // only this goroutine changes it
	for first := int(at.After[0]); first < 256; first++ {
		if err := s.wait(ctx, blobs.Ref{byte(first)}); err != nil {
			return err
		}
		var refs []blobs.Ref
		err := s.r.cfg.Local.In(ctx, byte(first), func(ref blobs.Ref, _ int64, _ time.Time) error {
			if compareRefs(ref, at.After) > 0 {
				refs = append(refs, ref)
			}
			return nil
		})
		if err != nil && ctx.Err() == nil {
			s.r.cfg.Logger.Warn("scrub cannot list chunks, tries again later", "err", err)
			if err := rest(ctx, sickPause); err != nil {
				return err
			}
			first--
			continue
		}
		for _, ref := range refs {
			if err := s.one(ctx, ref); err != nil {
				return err
			}
		}
		s.change(func(at *cursor, _ *ScrubStatus) { at.After = lastOf(byte(first)) })
	}
	s.change(func(at *cursor, st *ScrubStatus) {
		*at = cursor{Started: time.Now(), Finished: time.Now()}
		st.Late = false
	})
	s.save()
	st := s.told()
	s.r.cfg.Logger.Info("every chunk of this disk was read again", "began", at.Started, "chunks", st.Chunks, "damaged", st.Damaged)
	return ctx.Err()
}

// one reads the chunk when its turn comes. Its error is that of ctx.
func (s *scrub) one(ctx context.Context, ref blobs.Ref) error {
	if err := s.wait(ctx, ref); err != nil {
		return err
	}
	for {
		start, read := time.Now(), int64(0)
		size, err := s.r.cfg.Local.Scrub(ctx, ref, func(n int) error {
			read += int64(n)
			due := time.Duration(float64(read) / float64(s.r.cfg.ScrubRate) * float64(time.Second))
			if ahead := due - time.Since(start); ahead > 10*time.Millisecond {
				return rest(ctx, ahead)
			}
			return nil
		})
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, blobs.ErrBroken):
			// It tells nothing of the chunk. The disk said so in the log.
			if err := rest(ctx, sickPause); err != nil {
				return err
			}
			continue
		case errors.Is(err, blobs.ErrCorrupt):
			s.r.noteDamage(ref, err)
			s.change(func(_ *cursor, st *ScrubStatus) { st.Damaged++ })
		case err != nil && !errors.Is(err, blobs.ErrNotFound):
			s.r.cfg.Logger.Warn("chunk not scrubbed", "ref", ref.String(), "err", err)
		}
		s.change(func(at *cursor, st *ScrubStatus) {
			at.After = ref
			if !errors.Is(err, blobs.ErrNotFound) {
				st.Chunks++
				st.Bytes += size
			}
		})
		if time.Since(s.noted) > noteEvery {
			s.save()
		}
		return nil
	}
}

// wait waits until ref has its turn.
func (s *scrub) wait(ctx context.Context, ref blobs.Ref) error {
	pass := float64(s.r.cfg.ScrubEvery) * (100 - slack) / 100
	if now := time.Now(); s.at.Started.After(now) { // the clock was set back: that must not put it off for years
		s.change(func(at *cursor, _ *ScrubStatus) { at.Started = now })
	}
	early := time.Until(s.at.Started.Add(time.Duration(position(ref) * pass)))
	s.change(func(_ *cursor, st *ScrubStatus) { st.Late = early < -time.Duration(pass/100) })
	return rest(ctx, early)
}

// lastOf is the last of all refs that begin with that byte.
func lastOf(first byte) (ref blobs.Ref) {
	for i := range ref {
		ref[i] = 0xff
	}
	ref[0] = first
	return ref
}

// position is where among all refs this one stands, 0 to 1.
func position(ref blobs.Ref) float64 {
	return float64(binary.BigEndian.Uint64(ref[:8])) / (1 << 64)
}

func rest(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// load finds out how far an earlier process came. What cannot be read costs
// one more pass, no more.
func (s *scrub) load() {
	var at cursor
	data, err := os.ReadFile(s.r.cfg.ScrubFile)
	if err == nil {
		err = json.Unmarshal(data, &at)
	}
	if err != nil && s.r.cfg.ScrubFile != "" && !errors.Is(err, fs.ErrNotExist) {
		s.r.cfg.Logger.Warn("where scrubbing stood is not known: it begins anew", "err", err)
	}
	if err != nil || at.Started.IsZero() {
		at.Started, at.After = time.Now(), blobs.Ref{}
	}
	s.change(func(to *cursor, _ *ScrubStatus) { *to = at })
	s.noted = time.Now()
}

// save writes down how far it is.
func (s *scrub) save() {
	s.noted = time.Now()
	if s.r.cfg.ScrubFile == "" {
		return
	}
	if err := s.write(); err != nil {
		s.r.cfg.Logger.Warn("where scrubbing stands is not on the disk", "err", err)
	}
}

func (s *scrub) write() error {
	s.mu.Lock()
	data, err := json.Marshal(s.at)
	s.mu.Unlock()
	if err != nil {
		return err
	}
	fresh := s.r.cfg.ScrubFile + ".new"
	f, err := os.OpenFile(fresh, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("write %s: %w", fresh, err)
	}
	return os.Rename(fresh, s.r.cfg.ScrubFile)
}
