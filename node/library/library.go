// Package library turns what users intend (import, convert) into commands for
// the replicated log. It looks at the bytes first: a name is proposed only for
// bytes that are stored and that are media.
package library

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
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
	Intake   Intake
	FFmpeg   Prober          // nil where this node has no FFmpeg
	Encoders func() []uint64 // of each node that converts, as bits, 0 where it does not tell; nil: nobody can tell
	Scratch  string          // directory for files under way; emptied at start
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
	// Reserve sets room for n bytes aside on this node's disk until release is
	// called, or returns blobs.ErrFull.
	Reserve(n int64) (release func(), err error)
	Open(ctx context.Context, ref blobs.Ref) (blobs.Reader, error)
}

// Intake takes what the library makes of uploads.
type Intake interface {
	// Write stores the bytes on enough nodes, under an id of the writer.
	Write(ctx context.Context, id string, r io.Reader, limit int64) (blobs.Blob, error)
	// Forget ends that id: a record names the bytes now, or nobody wants them.
	Forget(id string) error
}

// Prober tells what a file is.
type Prober interface {
	Probe(ctx context.Context, path string) (ffmpeg.Info, error)
	Index(ctx context.Context, path string, info ffmpeg.Info) (ffmpeg.Index, error)
}

// Library carries out what users intend.
type Library struct {
	cfg      Config
	indexing chan struct{} // holds a token for each index that is being made
}

// indexers is how many indexes are made at once: one of two million pictures
// takes some hundred megabytes while it is made.
const indexers = 4

// New returns a library with an empty scratch folder.
func New(cfg Config) (*Library, error) {
	if err := os.RemoveAll(cfg.Scratch); err != nil {
		return nil, fmt.Errorf("empty scratch folder: %w", err)
	}
	if err := os.MkdirAll(cfg.Scratch, 0o700); err != nil {
		return nil, fmt.Errorf("make scratch folder: %w", err)
	}
	return &Library{cfg: cfg, indexing: make(chan struct{}, indexers)}, nil
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
	content, id, err := l.examine(ctx, blob)
	if err != nil {
		return state.Media{}, 0, err
	}
	made, err := l.cfg.Proposer.Propose(ctx, state.AddMedia{
		ID: state.MediaID(rand.Text()), Owner: owner, Name: name, Content: content, Replace: replace, At: time.Now().UTC(),
	})
	l.forget(id)
	if err != nil {
		return state.Media{}, 0, err
	}
	item, ok := l.cfg.State.View().Media(state.MediaID(made.ID))
	if !ok {
		return state.Media{}, 0, state.Errorf(state.NotFound, "the item was removed while it was added")
	}
	return item, made.Index, nil
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
