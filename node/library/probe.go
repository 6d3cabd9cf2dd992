package library

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"malla/blobs"
	"malla/cluster/state"
	"malla/node/ffmpeg"
)

// edge is how much of each end of a blob a probe gets to see at first: headers
// and indexes stand there.
const edge = 2 << 20

// indexed are the containers whose header or index tells everything, so that
// their middle need not be read.
var indexed = map[ffmpeg.Container]bool{ffmpeg.MOV: true, ffmpeg.Matroska: true, ffmpeg.WebM: true, ffmpeg.AVI: true, ffmpeg.ASF: true, ffmpeg.WAV: true, ffmpeg.FLAC: true}

// shortest is the duration of a film in seconds below which it is never cut.
const shortest = 5

// A specimen is a file of a blob, or of its two ends, for FFmpeg to look at.
type specimen struct {
	*os.File
	src     blobs.Reader
	from    Blobs
	whole   bool   // all of it is there
	release func() // gives back the room for it; nil: none is taken
}

// open makes a specimen of the two ends of a blob. Close it with [specimen.drop].
func (l *Library) open(ctx context.Context, blob blobs.Blob) (*specimen, error) {
	src, err := l.cfg.Blobs.Open(ctx, blob.Ref)
	if err != nil {
		return nil, err
	}
	f, err := os.CreateTemp(l.cfg.Scratch, "probe-")
	if err != nil {
		return nil, errors.Join(err, src.Close())
	}
	s := &specimen{File: f, src: src, from: l.cfg.Blobs, whole: blob.Size <= 2*edge}
	if err := fillEnds(f, src, blob.Size); err != nil {
		s.drop()
		return nil, err
	}
	return s, nil
}

// complete fills in what is missing. It is blobs.ErrFull where that would take
// the room that the node needs for itself.
func (s *specimen) complete() (err error) {
	if s.whole {
		return nil
	}
	if s.release, err = s.from.Reserve(s.src.Size()); err != nil {
		return err
	}
	s.whole = true
	return fillRange(s.File, s.src, 0, s.src.Size())
}

func (s *specimen) drop() {
	s.src.Close()
	s.Close()
	os.Remove(s.Name())
	if s.release != nil {
		s.release()
	}
}

// examine says what a blob is. Of a film it makes the index too, where what the
// probe read is enough for that; it is stored under the id that is returned
// until the caller's record names it.
func (l *Library) examine(ctx context.Context, blob blobs.Blob) (state.Content, string, error) {
	if l.cfg.FFmpeg == nil {
		return state.Content{}, "", errNoFFmpeg
	}
	s, err := l.open(ctx, blob)
	if err != nil {
		return state.Content{}, "", fmt.Errorf("probe %s: %w", blob.Ref.Short(), err)
	}
	defer s.drop()
	info, err := l.probe(ctx, s, blob)
	if err != nil {
		return state.Content{}, "", err
	}
	content := Describe(blob, info)
	if info.Kind != ffmpeg.Video || info.Duration < shortest || !s.whole && info.Container != ffmpeg.MOV {
		return content, "", nil
	}
	index, id, err := l.index(ctx, s, info)
	if err != nil {
		l.cfg.Logger.Warn("a film has no index yet", "blob", blob.Ref.Short(), "err", err)
		return content, "", nil
	}
	content.Index = index
	return content, id, nil
}

// probe asks FFmpeg about a blob. A large one with an index is not copied for
// that: a sparse file of its size has its two ends filled. Only where those are
// not enough the whole is.
func (l *Library) probe(ctx context.Context, s *specimen, blob blobs.Blob) (ffmpeg.Info, error) {
	if !s.whole && endsTell(s.File) {
		info, err := l.cfg.FFmpeg.Probe(ctx, s.Name())
		if err == nil && !info.Measured || ctx.Err() != nil {
			return info, err
		}
	}
	if err := s.complete(); err != nil {
		return ffmpeg.Info{}, fmt.Errorf("probe %s: %w", blob.Ref.Short(), err)
	}
	info, err := l.cfg.FFmpeg.Probe(ctx, s.Name())
	if err != nil {
		l.cfg.Logger.Debug("probe refused an upload", "blob", blob.Ref.Short(), "err", err)
		return ffmpeg.Info{}, refusal(err)
	}
	return info, nil
}

// endsTell tells whether the two ends in f are enough for a probe.
func endsTell(f *os.File) bool {
	head := make([]byte, 64<<10)
	n, err := f.ReadAt(head, 0)
	if err != nil {
		return false
	}
	container, known := ffmpeg.Sniff(head[:n])
	return known && indexed[container]
}

// fillEnds makes f as long as src and copies its two ends.
func fillEnds(f *os.File, src io.ReadSeeker, size int64) error {
	if err := f.Truncate(size); err != nil {
		return err
	}
	if size <= 2*edge {
		return fillRange(f, src, 0, size)
	}
	return errors.Join(fillRange(f, src, 0, edge), fillRange(f, src, size-edge, edge))
}

// fillRange copies n bytes at off to the same place in f.
func fillRange(f *os.File, src io.ReadSeeker, off, n int64) error {
	if _, err := src.Seek(off, io.SeekStart); err != nil {
		return err
	}
	_, err := io.CopyN(io.NewOffsetWriter(f, off), src, n)
	return err
}
