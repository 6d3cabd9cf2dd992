package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"

	"malla/blobs"
	"malla/blobs/disk"
	"malla/cluster"
	"malla/cluster/state"
	"malla/httpapi/backup"
)

// Restore says what to make a new mesh of.
type Restore struct {
	From     io.Reader // a backup
	Data     string    // data directory of the mesh's first node, empty or missing
	Logger   *slog.Logger
	Progress func(chunks, bytes int64) // hears of the chunks so far; nil is nobody
}

// A Restored is what came of it.
type Restored struct {
	Header  backup.Header
	Trailer backup.Trailer
	Users   int
	Blobs   int // that the state names
	Whole   int // of them, those whose manifest and chunks are all here
}

// Run makes the data directory. What is there after an error is removed; a
// process that is killed leaves a directory with which no node starts.
func (r Restore) Run(ctx context.Context) (*Restored, error) {
	if err := mustBeEmpty(r.Data); err != nil {
		return nil, err
	}
	done, err := r.fill(ctx)
	if err != nil {
		return nil, errors.Join(err, clearDir(r.Data))
	}
	return done, nil
}

// lostFound is in the root of a fresh file system.
const lostFound = "lost+found"

func mustBeEmpty(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("--data %s: %w", dir, err)
	}
	for _, e := range entries {
		if e.Name() != lostFound {
			return fmt.Errorf("--data %s: has %s in it already: a backup is restored into an empty directory, as a new mesh, never into one that is there", dir, e.Name())
		}
	}
	return nil
}

// clearDir removes what is in a directory that was empty.
func clearDir(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range entries {
		if e.Name() != lostFound {
			errs = append(errs, os.RemoveAll(filepath.Join(dir, e.Name())))
		}
	}
	return errors.Join(errs...)
}

func (r Restore) fill(ctx context.Context) (*Restored, error) {
	if err := os.MkdirAll(r.Data, 0o700); err != nil {
		return nil, fmt.Errorf("--data %s: %w", r.Data, err)
	}
	id, err := cluster.LoadOrCreateID(r.Data)
	if err != nil {
		return nil, err
	}
	founding, err := cluster.Refound(clusterDir(r.Data), id)
	if err != nil {
		return nil, err
	}
	chunks, err := disk.Open(disk.Config{Dir: filepath.Join(r.Data, "blobs"), Logger: r.Logger})
	if err != nil {
		return nil, err
	}
	done, st := &Restored{}, state.New()
	count, bytes := int64(0), int64(0)
	done.Header, done.Trailer, err = backup.Read(r.From, backup.Visitor{
		State: st.Restore,
		Chunk: func(ref blobs.Ref, size int64, content io.Reader) error {
			if err := chunks.Put(ctx, ref, content); err != nil {
				return fmt.Errorf("chunk %s: %w", ref, err)
			}
			count, bytes = count+1, bytes+size
			if r.Progress != nil {
				r.Progress(count, bytes)
			}
			return nil
		},
	})
	if err != nil {
		return nil, err
	}
	if st.Index() == 0 {
		return nil, fmt.Errorf("%w: it has no state", backup.ErrDamaged)
	}
	if err := done.count(ctx, st.View(), chunks); err != nil {
		return nil, err
	}
	return done, founding.Finish(st)
}

// count finds out which blobs have all their bytes here.
func (d *Restored) count(ctx context.Context, view *state.View, chunks *disk.Store) error {
	seen := map[blobs.Ref]bool{}
	for ref := range view.Blobs() {
		if seen[ref] {
			continue
		}
		seen[ref] = true
		whole, err := isWhole(ctx, chunks, ref)
		if err != nil {
			return err
		}
		d.Blobs++
		if whole {
			d.Whole++
		}
	}
	for range view.Users() {
		d.Users++
	}
	return nil
}

func isWhole(ctx context.Context, chunks *disk.Store, ref blobs.Ref) (bool, error) {
	c, err := chunks.Open(ctx, ref)
	if errors.Is(err, blobs.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer c.Close()
	text, err := io.ReadAll(c)
	if err != nil {
		return false, err
	}
	m, err := blobs.DecodeManifest(text)
	if err != nil {
		return false, fmt.Errorf("manifest %s: %w", ref, err)
	}
	for _, chunk := range m.Chunks {
		if _, err := chunks.Stat(ctx, chunk); errors.Is(err, blobs.ErrNotFound) {
			return false, nil
		} else if err != nil {
			return false, err
		}
	}
	return true, nil
}
