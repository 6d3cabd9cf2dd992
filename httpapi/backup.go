package httpapi

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"time"

	"malla/cluster/state"
)

// backup sends the agreed state as package backup writes it, with ?files=true
// also all files. An answer that fails on the way is cut off.
func (c *call) backup() error {
	files := false
	switch text := c.query("files"); text {
	case "", "false":
	case "true":
		files = true
	default:
		return state.InvalidField("files", "%q: want true or false", text)
	}
	if c.api.cfg.Backup == nil {
		return state.Errorf(state.NotFound, "this node makes no backups")
	}
	h := c.w.Header()
	h.Set("Content-Type", "application/x-tar")
	h.Set("Content-Disposition", contentDisposition("attachment", fmt.Sprintf("malla-%s-%s.tar", c.api.cfg.MeshID, c.api.cfg.Now().UTC().Format("20060102-150405"))))
	h.Set("Cache-Control", "no-store")
	who := c.caller.User
	dst := &pacedWriter{ResponseWriter: c.w, call: c, allowed: func(view *state.View) bool {
		u, ok := view.User(who.ID)
		return ok && u.Role == state.Admin && u.Session == who.Session
	}}
	defer dst.release()
	began := time.Now()
	log := c.api.cfg.Logger.With("req", c.w.id, "user", who.Name, "files", files)
	log.Info("a backup begins")
	if err := c.api.cfg.Backup(c.r.Context(), justWriter{dst}, files); err != nil {
		log.Warn("a backup failed", "bytes", c.w.bytes, "err", err)
		h.Del("Content-Disposition")
		return err
	}
	log.Info("a backup is complete", "bytes", c.w.bytes, "took", time.Since(began))
	return nil
}

// Backup asks for a backup of the mesh, with all files if wanted, for
// [malla/httpapi/backup.Read]. Whoever gets it closes it. It must be read to the
// end: one that was cut off ends with an error, and without its trailer.
func (c *Client) Backup(ctx context.Context, files bool) (io.ReadCloser, error) {
	res, err := c.send(ctx, ask{method: http.MethodGet, path: fmt.Sprintf("/cluster/backup?files=%t", files)})
	if err != nil {
		return nil, err
	}
	return res.Body, nil
}
