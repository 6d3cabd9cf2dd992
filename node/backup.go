package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"malla/blobs"
	"malla/httpapi/backup"
)

// backup writes the state as it is now and, if wanted, all chunks that it names,
// from whichever nodes have them. What no node can give is noted in it.
func (n *Node) backup(ctx context.Context, w io.Writer, files bool) error {
	if files {
		defer n.replica.Hold(ctx)()
	}
	view := n.state.View() // after the hold: what it names stays
	b, err := backup.NewWriter(w, backup.Header{
		Version: n.cfg.Version, Mesh: n.secrets.MeshID(), Node: n.name, Index: view.Index(), At: time.Now().UTC().Truncate(time.Second), Files: files,
	})
	if err != nil {
		return err
	}
	if err := b.State(view.Snapshot().Write); err != nil {
		return err
	}
	if files {
		c := copying{n: n, to: b, done: map[blobs.Ref]struct{}{}, patience: 2 * time.Minute}
		for ref := range view.Blobs() {
			if err := c.blob(ctx, ref); err != nil {
				return err
			}
		}
	}
	return b.Close()
}

// A copying puts blobs into a backup.
type copying struct {
	n        *Node
	to       *backup.Writer
	done     map[blobs.Ref]struct{} // 60 bytes a chunk or so: half a gigabyte for 64 TB
	patience time.Duration          // left to wait for nodes that cannot be reached
}

// blob takes a manifest, then its chunks.
func (c *copying) blob(ctx context.Context, ref blobs.Ref) error {
	var text bytes.Buffer
	if new, err := c.chunk(ctx, ref, &text); err != nil || !new {
		return err
	}
	if text.Len() == 0 {
		return nil // it is missing, and nobody knows its chunks
	}
	m, err := blobs.DecodeManifest(text.Bytes())
	if err != nil {
		return fmt.Errorf("manifest %s: %w", ref, err)
	}
	for _, chunk := range m.Chunks {
		if _, err := c.chunk(ctx, chunk, io.Discard); err != nil {
			return err
		}
	}
	return nil
}

// chunk takes one chunk, once, and shows it to w.
func (c *copying) chunk(ctx context.Context, ref blobs.Ref, w io.Writer) (new bool, err error) {
	if _, done := c.done[ref]; done {
		return false, nil
	}
	c.done[ref] = struct{}{}
	chunk, err := c.open(ctx, ref)
	if err != nil {
		if ctx.Err() != nil {
			return false, ctx.Err()
		}
		c.n.log.Error("a chunk is missing in a backup", "ref", ref.String(), "err", err)
		c.to.Missing(ref)
		return true, nil
	}
	defer chunk.Close()
	return true, c.to.Chunk(ref, chunk.Size(), io.TeeReader(chunk, w))
}

// open waits a little for nodes that cannot be reached, which may be restarting.
func (c *copying) open(ctx context.Context, ref blobs.Ref) (blobs.Chunk, error) {
	const pause = 2 * time.Second
	for {
		chunk, err := c.n.replica.OpenChunk(ctx, ref)
		if !errors.Is(err, blobs.ErrUnavailable) || c.patience <= 0 {
			return chunk, err
		}
		c.patience -= pause
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}
