package library

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"

	"malla/blobs"
	"malla/cluster/state"
	"malla/node/ffmpeg"
)

// maxIndex bounds the bytes of a film's index.
const maxIndex = 32 << 20

// index makes the index of a film and stores it, under the id that is returned.
func (l *Library) index(ctx context.Context, s *specimen, info ffmpeg.Info) (blobs.Blob, string, error) {
	select {
	case l.indexing <- struct{}{}:
		defer func() { <-l.indexing }()
	case <-ctx.Done():
		return blobs.Blob{}, "", ctx.Err()
	}
	x, err := l.cfg.FFmpeg.Index(ctx, s.Name(), info)
	if err != nil {
		return blobs.Blob{}, "", err
	}
	data, err := x.MarshalBinary()
	if err != nil {
		return blobs.Blob{}, "", fmt.Errorf("write index: %w", err)
	}
	id := rand.Text()
	blob, err := l.cfg.Intake.Write(ctx, id, bytes.NewReader(data), maxIndex)
	if err != nil {
		return blobs.Blob{}, "", fmt.Errorf("store index: %w", err)
	}
	return blob, id, nil
}

// forget lets go of what was stored under id: a record names it, or nothing does.
func (l *Library) forget(id string) {
	if id == "" {
		return
	}
	if err := l.cfg.Intake.Forget(id); err != nil {
		l.cfg.Logger.Warn("an index is still held", "err", err)
	}
}

// indexOf reads the index of the item's film. One that was not made when the
// film came in is made now, and noted for the next time.
func (l *Library) indexOf(ctx context.Context, item *state.Media) (ffmpeg.Index, error) {
	if item.Content.Index.Ref.IsZero() {
		if err := l.addIndex(ctx, item); err != nil {
			return ffmpeg.Index{}, err
		}
	}
	r, err := l.cfg.Blobs.Open(ctx, item.Content.Index.Ref)
	if err != nil {
		return ffmpeg.Index{}, fmt.Errorf("read index: %w", err)
	}
	defer r.Close()
	return ffmpeg.ReadIndex(r)
}

// addIndex makes the index of an item that has none.
func (l *Library) addIndex(ctx context.Context, item *state.Media) error {
	if l.cfg.FFmpeg == nil {
		return errNoFFmpeg
	}
	s, err := l.open(ctx, item.Content.Blob)
	if err != nil {
		return fmt.Errorf("make index: %w", err)
	}
	defer s.drop()
	info := Recall(item.Content)
	if info.Container != ffmpeg.MOV { // whose index of samples is read in any case
		if err := s.complete(); err != nil {
			return fmt.Errorf("make index: %w", err)
		}
	}
	blob, id, err := l.index(ctx, s, info)
	if err != nil {
		return fmt.Errorf("make index: %w", err)
	}
	_, err = l.cfg.Proposer.Propose(ctx, state.SetIndex{ID: item.ID, Blob: item.Content.Blob.Ref, Index: blob})
	if err != nil && !errors.Is(err, state.ErrStale) {
		return err
	}
	l.forget(id)
	item.Content.Index = blob
	return nil
}
