// Package upload takes bytes on their way in: it cuts them into chunks as they
// arrive, hands each finished chunk on to be spread, and stores the manifest in
// the end, so that one Ref names what was uploaded.
//
// [Store.Write] does it in one go. A resumable upload is created, appended to
// as often as the network breaks, and finished; what was acknowledged of it is
// on this node's disk and survives the process.
//
// # Invariants
//
//   - Bytes are hashed once, as they arrive, and written once: a finished chunk's
//     file becomes the chunk.
//   - The offset that is told covers only what is fsynced here or spread.
//   - At most one chunk of an upload is being filled while another is spread;
//     memory does not grow with the size of what is uploaded.
//   - Discarding never removes what anybody else may want.
//
// # Concurrency
//
// All methods may be called at once. An upload takes one Append, Finish or
// Terminate at a time; another one meanwhile is [ErrBusy].
//
// # In a mesh
//
// One node goes on with an upload; its journal is kept by as many nodes as there
// are copies of a chunk, and a step counts when a majority of them has it. Another
// node takes over when that one does not answer. In a mesh in two parts both may
// go on for a while: see takeover.go.
package upload

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"malla/blobs"
)

var (
	// ErrNotFound tells that there is no such upload on this node.
	ErrNotFound = errors.New("upload not found")
	// ErrBusy tells that the upload is being worked on by somebody else.
	ErrBusy = errors.New("the upload is in use")
	// ErrOffset tells that bytes were sent for another offset than the next one.
	ErrOffset = errors.New("the upload continues at another offset")
	// ErrIncomplete tells that bytes of the upload are still missing.
	ErrIncomplete = errors.New("the upload is not complete")
	// ErrMoved tells that another node goes on with the upload.
	ErrMoved = errors.New("the upload goes on at another node")
	// ErrNotPartial tells that an upload was not announced as a piece of a file.
	ErrNotPartial = errors.New("the upload is no partial one")
	// ErrFinished tells that the upload takes no more bytes.
	ErrFinished = errors.New("the upload is finished")
)

// A Dest is where chunks go, as package replica implements it.
type Dest interface {
	// Reserve sets room for n bytes aside on this disk until release is
	// called, or returns [blobs.ErrFull].
	Reserve(n int64) (release func(), err error)
	// Spread takes over the file at path, which lies on the disk of the
	// chunks, as the chunk named ref, and returns when enough nodes have it.
	Spread(ctx context.Context, upload string, ref blobs.Ref, path string) error
	// Confirm makes sure that enough nodes still have each chunk, and that
	// no collector is about to take it.
	Confirm(ctx context.Context, upload string, refs []blobs.Ref) error
	// Open reads a blob that was spread before.
	Open(ctx context.Context, blob blobs.Ref) (blobs.Reader, error)
	// Discard removes the chunks that only this upload ever wanted.
	Discard(ctx context.Context, upload string, refs []blobs.Ref) error
}

// A Config says where unfinished uploads lie. Zero times mean their defaults.
type Config struct {
	Dir    string // made where it is missing; on the same file system as the chunks, else they are copied
	Dest   Dest
	Logger *slog.Logger // nil discards

	Self   string // id of this node
	Peers  Peers  // who else keeps records, this node as well
	Copies int    // of each record that should be; default 3
	// Patience is how long another node may take to answer. Default 3 seconds.
	Patience time.Duration

	Expire time.Duration // how long an upload may rest before it is forgotten; default 24 hours
	// ConfirmAfter is the age from which the chunks of an upload are
	// confirmed before it is finished. It must stay well under the grace time
	// of the collector. Default 12 hours.
	ConfirmAfter time.Duration
}

// A Store keeps the uploads that came to this node.
type Store struct {
	cfg Config

	ctx   context.Context // of the feeds
	close context.CancelFunc

	mu      sync.Mutex         // guards the fields below
	uploads map[string]*upload // id -> upload, resumable ones and what Write has finished
	closed  bool               // no feed begins any more
	wg      sync.WaitGroup     // of the feeds
}

// Open returns the store in cfg.Dir with the unfinished uploads of before.
// Close it.
func Open(cfg Config) (*Store, error) {
	if cfg.Self == "" || cfg.Peers == nil {
		return nil, errors.New("open uploads: Self and Peers must be set, on a node alone too")
	}
	if cfg.Expire == 0 {
		cfg.Expire = 24 * time.Hour
	}
	if cfg.ConfirmAfter == 0 {
		cfg.ConfirmAfter = 12 * time.Hour
	}
	if cfg.Copies == 0 {
		cfg.Copies = 3
	}
	if cfg.Patience == 0 {
		cfg.Patience = 3 * time.Second
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Store{cfg: cfg, uploads: map[string]*upload{}}
	s.ctx, s.close = context.WithCancel(context.Background())
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("open uploads: %w", err)
	}
	if err := s.load(); err != nil {
		return nil, fmt.Errorf("open uploads: %w", err)
	}
	return s, nil
}

// Close ends what tells other nodes of steps, and waits for it. It may be
// called twice. The uploads go on when the folder is opened again.
func (s *Store) Close() error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.close()
	s.wg.Wait()
	return nil
}

// load reads the journals and removes files that belong to none.
func (s *Store) load() error {
	entries, err := os.ReadDir(s.cfg.Dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		id, isJournal := strings.CutSuffix(e.Name(), journalSuffix)
		if !isJournal {
			continue
		}
		u, err := s.loadUpload(id)
		if err != nil {
			s.cfg.Logger.Warn("unreadable upload removed", "upload", id, "err", err)
			os.Remove(filepath.Join(s.cfg.Dir, e.Name()))
			continue
		}
		s.uploads[id] = u
	}
	for _, e := range entries {
		id, _, _ := strings.Cut(e.Name(), ".")
		if s.uploads[id] == nil || strings.HasSuffix(e.Name(), newSuffix) {
			os.Remove(filepath.Join(s.cfg.Dir, e.Name()))
		}
	}
	return nil
}

// NewID returns a new upload's id: 32 hex digits that nobody can guess.
func NewID() string {
	var id [16]byte
	rand.Read(id[:])
	return hex.EncodeToString(id[:])
}

func (s *Store) get(id string) (*upload, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	u := s.uploads[id]
	if u == nil {
		return nil, ErrNotFound
	}
	return u, nil
}

func (s *Store) add(u *upload) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.uploads[u.id] = u
}

// addNew adds u unless there is one of its id.
func (s *Store) addNew(u *upload) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.uploads[u.id] != nil {
		return false
	}
	s.uploads[u.id] = u
	return true
}

// getOrAdd returns the upload of the id, or one of which nothing is known yet,
// for removeEmpty.
func (s *Store) getOrAdd(id string) *upload {
	s.mu.Lock()
	defer s.mu.Unlock()
	u := s.uploads[id]
	if u == nil {
		u = newUpload(id)
		s.uploads[id] = u
	}
	return u
}

// knows tells whether u is still the upload of its id here: one that was dropped
// takes no more lines.
func (s *Store) knows(u *upload) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.uploads[u.id] == u
}

// removeEmpty forgets u where still nothing is known of it; u.file is held, so
// that nobody is writing its first line.
func (s *Store) removeEmpty(u *upload) {
	s.mu.Lock()
	defer s.mu.Unlock()
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.state.lines == 0 && s.uploads[u.id] == u {
		delete(s.uploads, u.id)
	}
}

func (s *Store) remove(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.uploads, id)
}

func (s *Store) all() []*upload {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]*upload, 0, len(s.uploads))
	for _, u := range s.uploads {
		all = append(all, u)
	}
	return all
}

// Held yields the chunks of all uploads here that may not be named by a record
// yet: the collector must not take them.
func (s *Store) Held(yield func(blobs.Ref) bool) {
	for _, u := range s.all() {
		for _, ref := range u.refs() {
			if !yield(ref) {
				return
			}
		}
	}
}

// Run forgets uploads that nobody continues until ctx ends, whose error it
// returns.
func (s *Store) Run(ctx context.Context) error {
	tick := time.NewTicker(min(10*time.Minute, s.cfg.Expire))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case now := <-tick.C:
			if n := s.Expire(ctx, now); n > 0 {
				s.cfg.Logger.Info("uploads expired", "count", n)
			}
		}
	}
}

// Expire forgets the uploads whose time was over at now and returns how many.
// Their records and parts go, but no chunk: another node may have finished the
// upload without this one hearing of it, and a film be made of them. What nothing
// names the collector takes when its grace time is over.
func (s *Store) Expire(ctx context.Context, now time.Time) int {
	n := 0
	for _, u := range s.all() {
		if at := u.info().Expires; at.IsZero() || !at.Before(now) {
			continue
		}
		if err := s.expire(ctx, u); err != nil {
			s.cfg.Logger.Warn("upload not expired", "upload", u.id, "err", err)
			continue
		}
		n++
	}
	return n
}

func (s *Store) expire(ctx context.Context, u *upload) error {
	if !u.isMine() {
		return s.drop(u) // the others have clocks of their own
	}
	if !u.turn.take() {
		return ErrBusy
	}
	defer u.turn.give()
	s.dropEverywhere(ctx, u)
	return s.drop(u)
}
