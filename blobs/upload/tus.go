package upload

import (
	"context"
	"errors"
	"io"
	"net/http"

	"github.com/tus/tusd/v2/pkg/handler"

	"malla/blobs"
)

// A Tus is a [Store] behind tusd's handler: its core, termination, deferred
// length, concatenation and lock.
type Tus struct {
	store *Store
	owner func(ctx context.Context) string
	locks *locker
}

// NewTus returns s as a data store of tusd. Owner says who sent the request
// that ctx belongs to; somebody else's uploads are not found.
func NewTus(s *Store, owner func(ctx context.Context) string) *Tus {
	return &Tus{store: s, owner: owner, locks: newLocker()}
}

// UseIn makes composer use the store.
func (t *Tus) UseIn(composer *handler.StoreComposer) {
	composer.UseCore(t)
	composer.UseTerminater(t)
	composer.UseLengthDeferrer(t)
	composer.UseConcater(t)
	composer.UseLocker(t.locks)
}

// NewUpload implements [handler.DataStore].
func (t *Tus) NewUpload(ctx context.Context, info handler.FileInfo) (handler.Upload, error) {
	size := info.Size
	if info.SizeIsDeferred {
		size = -1
	}
	n := New{ID: info.ID, Owner: t.owner(ctx), Size: size, Meta: info.MetaData, Parts: info.PartialUploads}
	switch {
	case info.IsPartial:
		n.Concat = Partial
	case info.IsFinal:
		n.Concat = Final
	}
	i, err := t.store.Create(ctx, n)
	if err != nil {
		return nil, t.store.tusError(err)
	}
	return &tusUpload{t.store, t.locks, i.ID, i.Owner}, nil
}

// GetUpload implements [handler.DataStore].
func (t *Tus) GetUpload(ctx context.Context, id string) (handler.Upload, error) {
	owner := t.owner(ctx)
	if _, err := t.store.Lookup(ctx, id, owner); err != nil {
		return nil, t.store.tusError(err)
	}
	return &tusUpload{t.store, t.locks, id, owner}, nil
}

// AsConcatableUpload implements [handler.ConcaterDataStore].
func (t *Tus) AsConcatableUpload(u handler.Upload) handler.ConcatableUpload {
	return u.(*tusUpload)
}

// AsTerminatableUpload implements [handler.TerminaterDataStore].
func (t *Tus) AsTerminatableUpload(u handler.Upload) handler.TerminatableUpload {
	return u.(*tusUpload)
}

// AsLengthDeclarableUpload implements [handler.LengthDeferrerDataStore].
func (t *Tus) AsLengthDeclarableUpload(u handler.Upload) handler.LengthDeclarableUpload {
	return u.(*tusUpload)
}

type tusUpload struct {
	store *Store
	locks *locker
	id    string
	owner string
}

func (u *tusUpload) WriteChunk(ctx context.Context, offset int64, src io.Reader) (int64, error) {
	u.locks.reading(u.id)
	n, err := u.store.Append(ctx, u.id, offset, src)
	return n, u.store.tusError(err)
}

func (u *tusUpload) GetInfo(ctx context.Context) (handler.FileInfo, error) {
	i, err := u.store.Lookup(ctx, u.id, u.owner)
	if err != nil {
		return handler.FileInfo{}, u.store.tusError(err)
	}
	return handler.FileInfo{
		ID: i.ID, Size: max(i.Size, 0), SizeIsDeferred: i.Size < 0, Offset: i.Offset, MetaData: i.Meta,
		IsPartial: i.Concat == Partial, IsFinal: i.Concat == Final, PartialUploads: i.Parts,
	}, nil
}

func (u *tusUpload) GetReader(ctx context.Context) (io.ReadCloser, error) {
	return nil, handler.ErrNotImplemented
}

func (u *tusUpload) FinishUpload(ctx context.Context) error {
	_, err := u.store.Finish(ctx, u.id)
	return u.store.tusError(err)
}

// ConcatUploads implements [handler.ConcatableUpload]. What cannot be joined
// leaves nothing behind.
func (u *tusUpload) ConcatUploads(ctx context.Context, _ []handler.Upload) error {
	err := u.store.Concat(ctx, u.id)
	if err != nil {
		if termErr := u.store.Terminate(ctx, u.id); termErr != nil {
			u.store.cfg.Logger.Warn("concatenation stays until it expires", "upload", u.id, "err", termErr)
		}
	}
	return u.store.tusError(err)
}

func (u *tusUpload) Terminate(ctx context.Context) error {
	err := u.store.Terminate(ctx, u.id)
	if errors.Is(err, ErrFinished) {
		return handler.ErrNotFound // it is an item of the library by now
	}
	return u.store.tusError(err)
}

func (u *tusUpload) DeclareLength(ctx context.Context, length int64) error {
	return u.store.tusError(u.store.DeclareLength(ctx, u.id, length))
}

var (
	errTusFull        = handler.NewError("ERR_NO_ROOM", "no room left on the disk", http.StatusInsufficientStorage)
	errTusInternal    = handler.NewError("ERR_INTERNAL", "internal error", http.StatusInternalServerError)
	errTusUnavailable = handler.NewError("ERR_UNAVAILABLE", "too few nodes can be reached", http.StatusServiceUnavailable)
)

// tusError gives our errors the ones that tusd has an answer for. Others are
// logged here: tusd would tell the client.
func (s *Store) tusError(err error) error {
	var known handler.Error
	err = blobs.OfDisk(err)
	switch {
	case err == nil, errors.As(err, &known), errors.Is(err, context.Canceled):
		return err
	case errors.Is(err, ErrNotFound):
		return handler.ErrNotFound
	case errors.Is(err, ErrBusy):
		return handler.ErrFileLocked
	case errors.Is(err, ErrNotPartial):
		return handler.ErrInvalidConcat
	case errors.Is(err, ErrMoved):
		return errTusUnavailable // the next request is passed on
	case errors.Is(err, ErrOffset):
		return handler.ErrMismatchOffset
	case errors.Is(err, ErrIncomplete):
		return handler.ErrUploadNotFinished
	case errors.Is(err, blobs.ErrTooLarge):
		return handler.ErrSizeExceeded
	case errors.Is(err, blobs.ErrFull):
		return errTusFull
	case errors.Is(err, blobs.ErrUnavailable), errors.Is(err, blobs.ErrBroken):
		return errTusUnavailable
	}
	s.cfg.Logger.Error("resumable upload", "err", err)
	return errTusInternal
}
