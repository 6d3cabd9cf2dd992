// Package library turns what users intend (import, convert) into commands for
// the replicated log. It looks at the bytes first: a name is proposed only for
// bytes that are stored and that are media.
package library

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"time"

	"malla/blobs"
	"malla/cluster/state"
	"malla/node/ffmpeg"
)

// Config is what a library needs.
type Config struct {
	State    States
	Proposer Proposer
	Blobs    Blobs
	FFmpeg   Prober // nil where this node has no FFmpeg
	Scratch  string // directory for files under way; emptied at start
	Logger   *slog.Logger
}

// States gives the agreed state.
type States interface {
	View() *state.View
}

// Proposer puts commands into the log.
type Proposer interface {
	Propose(ctx context.Context, cmd state.Command) (state.Result, error)
}

// Blobs reads stored bytes.
type Blobs interface {
	Open(ctx context.Context, ref blobs.Ref) (blobs.Reader, error)
}

// Prober tells what a file is.
type Prober interface {
	Probe(ctx context.Context, path string) (ffmpeg.Info, error)
}

// Library carries out what users intend.
type Library struct {
	cfg Config
}

// New returns a library with an empty scratch folder.
func New(cfg Config) (*Library, error) {
	if err := os.RemoveAll(cfg.Scratch); err != nil {
		return nil, fmt.Errorf("empty scratch folder: %w", err)
	}
	if err := os.MkdirAll(cfg.Scratch, 0o700); err != nil {
		return nil, fmt.Errorf("make scratch folder: %w", err)
	}
	return &Library{cfg: cfg}, nil
}

// Imports returns why this node cannot take uploads, or nil.
func (l *Library) Imports() error {
	if l.cfg.FFmpeg == nil {
		return errNoFFmpeg
	}
	return nil
}

var errNoFFmpeg = state.Errorf(state.NoLeader, "this node has no FFmpeg and cannot check uploads: use another node, or install FFmpeg here")

// Import names stored bytes in the owner's library, after a probe. Bytes that
// are not media are refused as state.NotMedia, and nothing is agreed. It returns
// the item, and the index of a state that has it; where the owner has the same
// bytes under that name already, the item that is there.
func (l *Library) Import(ctx context.Context, owner state.UserID, name string, blob blobs.Blob, replace bool) (state.Media, uint64, error) {
	if err := state.CheckMediaName(name); err != nil {
		return state.Media{}, 0, err
	}
	info, err := l.probe(ctx, blob)
	if err != nil {
		return state.Media{}, 0, err
	}
	made, err := l.cfg.Proposer.Propose(ctx, state.AddMedia{
		ID: state.MediaID(rand.Text()), Owner: owner, Name: name, Content: Describe(blob, info), Replace: replace, At: time.Now().UTC(),
	})
	if err != nil {
		return state.Media{}, 0, err
	}
	item, ok := l.cfg.State.View().Media(state.MediaID(made.ID))
	if !ok {
		return state.Media{}, 0, state.Errorf(state.NotFound, "the item was removed while it was added")
	}
	return item, made.Index, nil
}

// Convert queues a conversion of the item. A format, an option or an input that
// cannot work is refused now, with the field that is wrong. It returns the job,
// and the index of a state that has it.
func (l *Library) Convert(ctx context.Context, item state.Media, ask state.Conversion) (state.Job, uint64, error) {
	format := strings.ToLower(ask.Format)
	parsed, err := ffmpeg.ParseOptions(format, ask.Options)
	if err != nil {
		return state.Job{}, 0, refusal(err)
	}
	known := outline(item.Content)
	if err := ffmpeg.CheckFit(known, format); err != nil {
		return state.Job{}, 0, refusal(err)
	}
	if err := ffmpeg.CheckOptions(known, format, parsed); err != nil {
		return state.Job{}, 0, refusal(err)
	}
	recipe, err := ffmpeg.Recipe(format, parsed)
	if err != nil {
		return state.Job{}, 0, refusal(err)
	}
	canonical, err := json.Marshal(parsed)
	if err != nil {
		return state.Job{}, 0, fmt.Errorf("write options: %w", err)
	}
	made, err := l.cfg.Proposer.Propose(ctx, state.AddJob{
		ID: state.JobID(rand.Text()), Owner: item.Owner, Media: item.ID, Format: format, Options: canonical,
		Recipe: recipe, At: time.Now().UTC(),
		Tasks: []state.NewTask{{ID: state.TaskID(rand.Text()), Kind: state.Convert}},
	})
	if err != nil {
		return state.Job{}, 0, err
	}
	job, ok := l.cfg.State.View().Job(state.JobID(made.ID))
	if !ok {
		return state.Job{}, 0, state.Errorf(state.NotFound, "the job was removed while it was added")
	}
	return job, made.Index, nil
}

// edge is how much of each end of a blob a probe gets to see at first: headers
// and indexes stand there.
const edge = 2 << 20

// indexed are the containers whose header or index tells everything, so that
// their middle need not be read.
var indexed = map[ffmpeg.Container]bool{ffmpeg.MOV: true, ffmpeg.Matroska: true, ffmpeg.WebM: true, ffmpeg.AVI: true, ffmpeg.ASF: true, ffmpeg.WAV: true, ffmpeg.FLAC: true}

// probe asks FFmpeg about a blob. A large one with an index is not copied for
// that: a sparse file of its size has its two ends filled. Only where those are
// not enough the whole is.
func (l *Library) probe(ctx context.Context, blob blobs.Blob) (ffmpeg.Info, error) {
	if l.cfg.FFmpeg == nil {
		return ffmpeg.Info{}, errNoFFmpeg
	}
	src, err := l.cfg.Blobs.Open(ctx, blob.Ref)
	if err != nil {
		return ffmpeg.Info{}, fmt.Errorf("probe %s: %w", blob.Ref.Short(), err)
	}
	defer src.Close()
	f, err := os.CreateTemp(l.cfg.Scratch, "probe-")
	if err != nil {
		return ffmpeg.Info{}, fmt.Errorf("probe %s: %w", blob.Ref.Short(), err)
	}
	defer os.Remove(f.Name())
	defer f.Close()
	if err := fillEnds(f, src, blob.Size); err != nil {
		return ffmpeg.Info{}, fmt.Errorf("probe %s: %w", blob.Ref.Short(), err)
	}
	whole := blob.Size <= 2*edge
	if !whole && endsTell(f) {
		info, err := l.cfg.FFmpeg.Probe(ctx, f.Name())
		if err == nil && !info.Measured || ctx.Err() != nil {
			return info, err
		}
	}
	if !whole {
		if err := fillRange(f, src, 0, blob.Size); err != nil {
			return ffmpeg.Info{}, fmt.Errorf("probe %s: %w", blob.Ref.Short(), err)
		}
	}
	info, err := l.cfg.FFmpeg.Probe(ctx, f.Name())
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

// refusal turns what FFmpeg's package says into what users are told.
func refusal(err error) error {
	var option *ffmpeg.OptionError
	var told *ffmpeg.Error
	switch {
	case errors.As(err, &option):
		return state.InvalidField(option.Field, "%s", option.Reason)
	case errors.Is(err, ffmpeg.ErrUnfit):
		return state.InvalidField("output_format", "%s", err)
	case errors.As(err, &told) && told.Permanent():
		return state.Errorf(state.NotMedia, "%s", told.Error())
	}
	return err
}
