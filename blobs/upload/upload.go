package upload

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"sync"
	"time"

	"malla/blobs"
)

// New is what a resumable upload begins with.
type New struct {
	ID    string // chosen by NewID where it is empty
	Owner string
	Size  int64             // in bytes; negative while it is not known
	Meta  map[string]string // the client's; kept as it is

	Concat Concat
	Parts  []string // of a final one: the uploads that it is made of
}

// Info is how an upload stands.
type Info struct {
	ID       string
	Owner    string
	Size     int64 // in bytes; -1 while it is not known
	Offset   int64 // where the next byte belongs
	Meta     map[string]string
	Created  time.Time
	Expires  time.Time  // when it is given up unless it goes on
	Finished bool       // whether all bytes are safe
	Blob     blobs.Blob // what they are; only where Finished
	Named    Named      // what they became in the library; zero until then
	Concat   Concat
	Parts    []string // of a final one
}

// Complete tells whether every byte came.
func (i Info) Complete() bool { return i.Size >= 0 && i.Offset == i.Size }

// An upload is one upload's memory.
type upload struct {
	id   string
	turn turn    // who has it works on the upload: files and cut
	cut  *cutter // nil until it is needed, and after an error

	file sync.Mutex // serialises changes of the journal, and is held over their I/O

	mu      sync.Mutex // guards the fields below
	state   state
	mine    bool               // this node goes on with it, as far as it knows
	feeds   map[string]*feed   // keeper -> what it has
	feedCtx context.Context    // of the feeds
	stop    context.CancelFunc // ends it; nil where there is none
	changed chan struct{}      // closed, and another one made, when a feed gets on
}

// A turn is a lock that can be refused.
type turn chan struct{}

func newTurn() turn { return make(turn, 1) }

func (t turn) take() bool {
	select {
	case t <- struct{}{}:
		return true
	default:
		return false
	}
}

func (t turn) give() { <-t }

func (u *upload) info() Info {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.state.info(u.id)
}

// refs returns the chunks that are safe so far, the manifest too; none where a
// record of the library names them by now.
func (u *upload) refs() []blobs.Ref {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.state.named != (Named{}) {
		return nil
	}
	refs := slices.Clone(u.state.chunks)
	if u.state.finished {
		refs = append(refs, u.state.blob.Ref)
	}
	return refs
}

func (u *upload) addChunk(sc spreadChunk) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.state.addChunk(sc)
}

func (u *upload) finish(blob blobs.Blob) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.state.blob, u.state.finished = blob, true
}

func (s *Store) journal(id string) string { return filepath.Join(s.cfg.Dir, id+journalSuffix) }

func (s *Store) part(id string, chunk int) string {
	return filepath.Join(s.cfg.Dir, fmt.Sprintf("%s.%d.part", id, chunk))
}

// step makes e durable, here and at the keepers, and then true. Where too few
// keepers have it, it is true here, and [blobs.ErrUnavailable].
func (s *Store) step(u *upload, e entry) error {
	if err := s.note(u, e); err != nil || e.local() {
		return err
	}
	return s.share(u)
}

// note makes e durable and true here.
func (s *Store) note(u *upload, e entry) error {
	u.file.Lock()
	defer u.file.Unlock()
	if !u.isMine() {
		return ErrMoved
	}
	return s.write(u, e)
}

// write appends e; u.file is held.
func (s *Store) write(u *upload, e entry) error {
	e.At = time.Now()
	line, err := e.encode()
	if err != nil {
		return err
	}
	at, err := appendLines(s.journal(u.id), line)
	if err != nil {
		return err
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.state.apply(e, at, s.cfg.Expire)
	return nil
}

func (u *upload) isMine() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.mine
}

func newUpload(id string) *upload {
	return &upload{id: id, turn: newTurn(), feeds: map[string]*feed{}, changed: make(chan struct{})}
}

var validID = regexp.MustCompile(`^[0-9a-zA-Z_-]{1,64}$`) // it becomes a file's name

// Create begins a resumable upload.
func (s *Store) Create(ctx context.Context, n New) (Info, error) {
	if n.ID == "" {
		n.ID = NewID()
	}
	if !validID.MatchString(n.ID) {
		return Info{}, fmt.Errorf("upload: %q is no id", n.ID)
	}
	n.Size = max(n.Size, -1)
	if n.Size > blobs.MaxBlobSize {
		return Info{}, fmt.Errorf("%w: %d bytes", blobs.ErrTooLarge, n.Size)
	}
	// A disk without room says so before the client begins to send.
	release, err := s.cfg.Dest.Reserve(min(max(n.Size, 0), blobs.ChunkSize))
	if err != nil {
		return Info{}, err
	}
	release()
	by := s.members().keepers(n.ID, s.cfg.Copies)
	by.token = token{Gen: 1, Node: s.cfg.Self}
	if len(by.Keepers) < by.Need {
		return Info{}, fmt.Errorf("%w: %d can keep the record of an upload, %d are needed", blobs.ErrUnavailable, len(by.Keepers), by.Need)
	}
	u := newUpload(n.ID)
	u.mine = true
	u.turn.take() // not to be worked on before others know of it
	defer u.turn.give()
	if !s.addNew(u) {
		return Info{}, fmt.Errorf("upload: there is an upload %q", n.ID)
	}
	if err := s.begin(u, n, by); err != nil {
		s.dropEverywhere(ctx, u)
		return Info{}, errors.Join(err, s.drop(u))
	}
	return u.info(), nil
}

// begin writes the first line, durably, here and at the keepers.
func (s *Store) begin(u *upload, n New, by taken) error {
	e := entry{At: time.Now(), Create: &created{Owner: n.Owner, Size: n.Size, Meta: n.Meta, Concat: n.Concat, Parts: n.Parts, Take: by}}
	line, err := e.encode()
	if err != nil {
		return err
	}
	if len(line) > maxLine {
		return fmt.Errorf("%w: the metadata of an upload", blobs.ErrTooLarge)
	}
	u.file.Lock()
	err = writeJournal(s.journal(u.id), func(w io.Writer) error { _, err := w.Write(line); return err })
	u.file.Unlock()
	if err != nil {
		return err
	}
	u.mu.Lock()
	u.state.apply(e, 0, s.cfg.Expire)
	u.mu.Unlock()
	return s.share(u)
}

// Get returns how the upload stands.
func (s *Store) Get(id string) (Info, error) {
	u, err := s.get(id)
	if err != nil {
		return Info{}, err
	}
	return u.info(), nil
}

// Complete returns the uploads of which every byte came that long ago, which
// nobody named in the library, and which this node may have to name: it went on
// with them last, or keeps the record of who did and died. Find tells whether
// another node does by now.
func (s *Store) Complete(rested time.Duration) []Info {
	m := s.members()
	var infos []Info
	for _, u := range s.all() {
		c := s.claim(u)
		i, by := c.Info, c.Taken.Node
		last := i.Expires.Add(-s.cfg.Expire)
		if by != "" && (by == s.cfg.Self || m.dead(by)) && i.Complete() && i.Concat != Partial && i.Named == (Named{}) && time.Since(last) > rested {
			infos = append(infos, i)
		}
	}
	return infos
}

// work gives f the upload for itself.
func (s *Store) work(id string, f func(u *upload) error) error {
	u, err := s.get(id)
	if err != nil {
		return err
	}
	if !u.turn.take() {
		return ErrBusy
	}
	defer u.turn.give()
	if !s.knows(u) {
		return ErrNotFound // terminated meanwhile
	}
	defer s.tidy(u)
	if !u.isMine() {
		return ErrMoved
	}
	// A step that too few nodes have comes first.
	if err := s.share(u); err != nil {
		return err
	}
	return f(u)
}

// tidy removes what this node has of an upload that others go on with, but the
// record. Who calls has the turn.
func (s *Store) tidy(u *upload) {
	if u.isMine() {
		return
	}
	if u.cut != nil {
		u.cut.stop()
		u.cut = nil
	}
	parts, _ := filepath.Glob(filepath.Join(s.cfg.Dir, u.id+".*.part"))
	for _, p := range parts {
		os.Remove(p) // what stays goes with the record
	}
}

// cutter returns u's cutter; who calls has the turn.
func (s *Store) cutter(u *upload) (*cutter, error) {
	if u.cut != nil {
		return u.cut, nil
	}
	c, err := s.resume(u)
	u.cut = c
	return c, err
}

// Append takes the bytes of r, which belong at the offset, and returns how far
// the upload got; of this r, what was on its way may have to be sent again. What
// came before stays, and a broken r is no loss: what came is kept. Where it was the last byte, Finish is next.
func (s *Store) Append(ctx context.Context, id string, offset int64, r io.Reader) (n int64, err error) {
	err = s.work(id, func(u *upload) error {
		before := u.info()
		if before.Finished {
			return ErrFinished
		}
		if offset != before.Offset {
			return fmt.Errorf("%w: %d", ErrOffset, before.Offset)
		}
		limit := before.Size - offset
		if before.Size < 0 {
			limit = blobs.MaxBlobSize - offset
		}
		err := s.append(ctx, u, r, limit)
		n = max(0, u.info().Offset-offset)
		return err
	})
	return n, err
}

func (s *Store) append(ctx context.Context, u *upload, r io.Reader, limit int64) error {
	c, err := s.cutter(u)
	if err != nil {
		return err
	}
	// Who reads on a broken line has an ended context: the chunk that came
	// before is still spread, and what came since kept.
	line := &line{ctx: ctx, r: r}
	err = c.fill(context.WithoutCancel(ctx), line, limit)
	restErr := c.rest()
	if restErr != nil || err != nil && err != line.err {
		return s.stepBack(u, errors.Join(err, restErr))
	}
	part := partOnDisk{Chunk: len(c.chunks), Len: c.partLen, Sum: blobs.Ref(c.chunk.Sum(nil))}
	if stepErr := s.step(u, entry{Part: &part}); stepErr != nil {
		return s.stepBack(u, errors.Join(err, stepErr))
	}
	return err
}

// stepBack makes the upload stand at what the journal and the disk agree on.
func (s *Store) stepBack(u *upload, cause error) error {
	if !u.isMine() {
		return cause
	}
	u.cut = nil
	_, err := s.cutter(u)
	return errors.Join(cause, err)
}

// A line is a reader that ends with its context and remembers its own error.
type line struct {
	ctx context.Context
	r   io.Reader
	err error
}

func (l *line) Read(p []byte) (n int, err error) {
	if l.err = l.ctx.Err(); l.err == nil {
		n, l.err = l.r.Read(p)
	}
	return n, l.err
}

// DeclareLength says how large an upload is whose size was not known.
func (s *Store) DeclareLength(ctx context.Context, id string, size int64) error {
	return s.work(id, func(u *upload) error {
		i := u.info()
		if i.Size >= 0 || size < i.Offset || size > blobs.MaxBlobSize {
			return fmt.Errorf("%w: length %d", ErrOffset, size)
		}
		return s.step(u, entry{Length: &size})
	})
}

// Finish makes the whole upload a blob and returns it, again where it is
// finished already. The upload stays known until Forget or its expiry.
func (s *Store) Finish(ctx context.Context, id string) (blob blobs.Blob, err error) {
	err = s.work(id, func(u *upload) error {
		i := u.info()
		if i.Finished {
			blob = i.Blob
			return nil
		}
		if i.Size < 0 || i.Offset != i.Size {
			return fmt.Errorf("%w: %d of %d bytes", ErrIncomplete, i.Offset, i.Size)
		}
		if refs := u.unsure(s.cfg.ConfirmAfter); len(refs) > 0 {
			if err := s.cfg.Dest.Confirm(ctx, id, refs); err != nil {
				return err
			}
		}
		c, err := s.cutter(u)
		if err != nil {
			return err
		}
		// Its sender may be gone, but every byte came.
		if blob, err = c.finish(context.WithoutCancel(ctx)); err != nil {
			return s.stepBack(u, err)
		}
		u.cut = nil
		return s.step(u, entry{Done: &blob})
	})
	return blob, err
}

// unsure returns the chunks of which there may be too few copies by now: those
// of an old upload, and those that a node took that is gone.
func (u *upload) unsure(confirmAfter time.Duration) []blobs.Ref {
	u.mu.Lock()
	defer u.mu.Unlock()
	if time.Since(u.state.at) > confirmAfter {
		return slices.Clone(u.state.chunks)
	}
	return slices.Clone(u.state.chunks[:u.state.inherited])
}

// SetNamed notes what the finished upload became: for an hour whoever asks for
// it hears that, at any node.
func (s *Store) SetNamed(ctx context.Context, id string, n Named) error {
	return s.work(id, func(u *upload) error {
		if !u.info().Finished {
			return ErrIncomplete
		}
		return s.step(u, entry{Named: &n})
	})
}

// Terminate gives up an upload that is not finished, with all its bytes. One
// that is finished is [ErrFinished] and stays: a record may name its blob. So
// that no other node finished it either, enough keepers have to agree first.
func (s *Store) Terminate(ctx context.Context, id string) error {
	var refs []blobs.Ref
	err := s.work(id, func(u *upload) error {
		if i := u.info(); i.Finished && i.Concat != Partial {
			return ErrFinished
		}
		if err := s.verify(ctx, u, s.claim(u)); errors.Is(err, ErrNotFound) {
			return errors.Join(err, s.drop(u))
		} else if err != nil {
			return err
		}
		refs = u.refs()
		s.dropEverywhere(ctx, u)
		return s.drop(u)
	})
	if err == nil {
		s.discard(ctx, id, refs)
	}
	return err
}

// Forget drops what is known of a finished upload: a record names its blob now.
func (s *Store) Forget(id string) error {
	u, err := s.get(id)
	if err != nil {
		return err
	}
	s.dropEverywhere(context.Background(), u)
	return s.drop(u)
}

// drop removes the upload's files and then its memory: another one of the same id
// must not begin before.
func (s *Store) drop(u *upload) error {
	u.file.Lock()
	defer u.file.Unlock()
	if !s.knows(u) {
		return nil
	}
	defer s.remove(u.id)
	u.mu.Lock()
	u.mine = false
	u.mu.Unlock()
	parts, err := filepath.Glob(filepath.Join(s.cfg.Dir, u.id+".*"))
	if err != nil {
		return err
	}
	var errs []error
	for _, p := range parts {
		if err := os.Remove(p); !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
