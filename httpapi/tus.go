package httpapi

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/tus/tusd/v2/pkg/handler"
	xslog "golang.org/x/exp/slog"

	"malla/blobs/upload"
	"malla/cluster/state"
)

const filesPath = "/files/"

// Headers that tell which item a finished resumable upload became.
const (
	mediaIDHeader   = "Malla-Media-Id"
	mediaNameHeader = "Malla-Media-Name" // percent-encoded
)

// callKey is under which a request of tusd carries its call.
type callKey struct{}

func callOf(ctx context.Context) *call {
	c, _ := ctx.Value(callKey{}).(*call)
	return c
}

// newTus returns the handler of resumable uploads (tus 1.0.0): tusd speaks the
// protocol, package upload keeps the bytes, and what is finished is imported.
func (a *API) newTus() (http.Handler, error) {
	composer := handler.NewStoreComposer()
	upload.NewTus(a.cfg.Uploads, func(ctx context.Context) string {
		if c := callOf(ctx); c != nil {
			return string(c.user())
		}
		return ""
	}).UseIn(composer)
	h, err := handler.NewUnroutedHandler(handler.Config{
		StoreComposer: composer, BasePath: filesPath, MaxSize: a.cfg.MaxUpload, DisableDownload: true,
		Cors:                      &handler.CorsConfig{Disable: true}, // we have our own
		Logger:                    xslog.New(xslog.NewTextHandler(io.Discard, nil)),
		NetworkTimeout:            readStall,
		PreUploadCreateCallback:   beginUpload,
		PreFinishResponseCallback: finishUpload,
	})
	if err != nil {
		return nil, err
	}
	methods := map[string]http.HandlerFunc{"POST": h.PostFile, "HEAD": h.HeadFile, "PATCH": h.PatchFile, "DELETE": h.DelFile}
	return http.StripPrefix(filesPath, h.Middleware(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if serve := methods[r.Method]; serve != nil {
			serve(w, r)
			return
		}
		w.WriteHeader(http.StatusMethodNotAllowed)
	}))), nil
}

// resumable answers one request of the tus protocol: here, or at the node that
// goes on with the upload.
func (c *call) resumable() error {
	id := c.param("id")
	if id != "" {
		if answered, err := c.resumeElsewhere(id); answered || err != nil {
			return err
		}
	}
	r := c.r.WithContext(context.WithValue(c.r.Context(), callKey{}, c))
	w := &tusWriter{ResponseWriter: c.w, call: c, id: id}
	c.api.tus.ServeHTTP(w, r)
	conn := http.NewResponseController(c.w)
	conn.SetReadDeadline(time.Time{}) // tusd set them; the connection goes on
	conn.SetWriteDeadline(time.Time{})
	return nil
}

// resumeElsewhere answers for an upload that is not only to be gone on with here:
// another node does, or every byte came and its sender missed the last answer.
// It returns whether the request is answered.
func (c *call) resumeElsewhere(id string) (bool, error) {
	ctx := c.r.Context()
	find := c.api.cfg.Uploads.Find
	if c.api.imports() != nil {
		find = c.api.cfg.Uploads.FindOnly // to take it over would trap it here
	}
	info, node, err := find(ctx, id, string(c.user()))
	switch {
	case errors.Is(err, upload.ErrNotFound):
		return true, statusProblem(http.StatusNotFound, "%s", tusDetails[http.StatusNotFound])
	case errors.Is(err, upload.ErrBusy), errors.Is(err, upload.ErrMoved):
		return true, unavailable.refusal("another node takes over this upload: try again in a moment")
	case err != nil:
		return true, err
	case node != "":
		return true, c.passOn(node)
	case info.Named != upload.Named{} && c.r.Method != http.MethodDelete:
		return true, c.sendImported(info.Named, info.Size)
	case c.r.Method != http.MethodPatch || info.Concat == upload.Partial || !info.Complete():
		return false, nil
	}
	// All bytes came, but the mesh could not agree on a name then: it can now.
	done, index, err := c.api.importUpload(ctx, id)
	if err != nil {
		return true, err
	}
	c.agreed(index)
	return true, c.sendImported(done, info.Size)
}

// importUpload makes an upload of which every byte is here a file of its owner.
// It is [upload.ErrBusy] while that is being done already.
func (a *API) importUpload(ctx context.Context, id string) (upload.Named, uint64, error) {
	if _, busy := a.importing.LoadOrStore(id, struct{}{}); busy {
		return upload.Named{}, 0, upload.ErrBusy
	}
	defer a.importing.Delete(id)
	info, err := a.cfg.Uploads.Get(id)
	if err != nil {
		return upload.Named{}, 0, err
	}
	if info.Named != (upload.Named{}) {
		return info.Named, a.cfg.State.View().Index(), nil // another request was faster
	}
	blob, err := a.cfg.Uploads.Finish(ctx, id)
	if err != nil {
		return upload.Named{}, 0, err
	}
	m, index, err := a.importBlob(ctx, state.UserID(info.Owner), id, uploadName(info.Meta), blob, info.Meta["replace"] == "true")
	if err != nil {
		return upload.Named{}, 0, err
	}
	done := upload.Named{Media: string(m.ID), Name: m.Name}
	a.settled(id, a.cfg.Uploads.SetNamed(ctx, id, done))
	return done, index, nil
}

// importAfter is how long an upload rests, complete but without a name, before
// this node names it without being asked: its sender may believe that all is
// done, or be gone.
const importAfter = 5 * time.Second

// Run names uploads whose bytes all came while the mesh could not agree, or
// whose node died or restarted then, until ctx ends, whose error it returns.
func (a *API) Run(ctx context.Context) error {
	tick := time.NewTicker(importAfter)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
			a.importComplete(ctx, importAfter)
		}
	}
}

func (a *API) importComplete(ctx context.Context, rested time.Duration) {
	if a.imports() != nil {
		return
	}
	for _, i := range a.cfg.Uploads.Complete(rested) {
		if err := a.importHere(ctx, i); err != nil && ctx.Err() == nil {
			a.cfg.Logger.Info("complete upload not imported yet", "upload", i.ID, "err", err)
		}
	}
}

// importHere names a complete upload unless another node goes on with it.
func (a *API) importHere(ctx context.Context, i upload.Info) error {
	i, node, err := a.cfg.Uploads.Find(ctx, i.ID, i.Owner)
	if err != nil || node != "" || i.Named != (upload.Named{}) || !i.Complete() {
		return err
	}
	_, _, err = a.importUpload(ctx, i.ID)
	return err
}

// sendImported answers for an upload that is in the library.
func (c *call) sendImported(m upload.Named, size int64) error {
	h := c.w.Header()
	for name, value := range namedHeaders(m) {
		h.Set(name, value)
	}
	h.Set("Tus-Resumable", "1.0.0")
	h.Set("Upload-Offset", strconv.FormatInt(size, 10))
	h.Set("Cache-Control", "no-store")
	if c.r.Method == http.MethodHead {
		h.Set("Upload-Length", strconv.FormatInt(size, 10))
		c.w.WriteHeader(http.StatusOK)
		return nil
	}
	c.w.WriteHeader(http.StatusNoContent)
	return nil
}

// uploadName is the name that the client gave in the metadata of an upload.
func uploadName(meta map[string]string) string {
	name := meta["filename"]
	if name == "" {
		name = meta["name"]
	}
	return cleanFileName(name)
}

// beginUpload refuses what could never become a file, before a byte is sent.
func beginUpload(hook handler.HookEvent) (handler.HTTPResponse, handler.FileInfoChanges, error) {
	c := callOf(hook.Context)
	if err := c.api.imports(); err != nil {
		return refuseTus(c, err)
	}
	if hook.Upload.IsFinal {
		// Its parts are read and hashed before it is answered.
		http.NewResponseController(c.w).SetWriteDeadline(time.Time{}) // not on every kind of connection
	}
	switch {
	case hook.Upload.IsPartial: // is no file, and needs no name
	case state.CheckMediaName(uploadName(hook.Upload.MetaData)) != nil:
		return refuseTus(c, state.InvalidField("Upload-Metadata", "must name the file: filename, in base64"))
	case hook.Upload.Size == 0 && !hook.Upload.SizeIsDeferred:
		return refuseTus(c, state.InvalidField("Upload-Length", "is 0: there is nothing in the file"))
	}
	return handler.HTTPResponse{}, handler.FileInfoChanges{}, nil
}

// finishUpload imports an upload whose last byte came, before its sender hears
// that it was the last.
func finishUpload(hook handler.HookEvent) (handler.HTTPResponse, error) {
	if hook.Upload.IsPartial {
		return handler.HTTPResponse{}, nil
	}
	c := callOf(hook.Context)
	done, index, err := c.api.importUpload(hook.Context, hook.Upload.ID)
	if err != nil {
		answer, _, err := refuseTus(c, err)
		return answer, err
	}
	c.agreed(index)
	return handler.HTTPResponse{Header: namedHeaders(done)}, nil
}

// refuseTus makes a refusal that tusd passes on as it is.
func refuseTus(c *call, err error) (handler.HTTPResponse, handler.FileInfoChanges, error) {
	p := problemOf(err)
	if p.Status >= 500 {
		c.api.cfg.Logger.Warn("upload failed", "req", c.w.id, "status", p.Status, "err", err)
	}
	return handler.HTTPResponse{}, handler.FileInfoChanges{}, handler.Error{
		ErrorCode: p.Type, Message: p.Detail,
		HTTPResponse: handler.HTTPResponse{StatusCode: p.Status, Body: string(p.body(instanceOf(c.w))), Header: p.headers()},
	}
}

// tusWriter makes tusd's answers ours: problems, paths in the place of absolute
// URLs (which would name whatever host the client claimed), and when an upload
// expires.
type tusWriter struct {
	http.ResponseWriter
	call    *call
	id      string // of the upload; "" until it is known
	swallow bool   // a problem was sent in the place of the body
}

// tusDetails: status of tusd's own refusals -> what to tell.
var tusDetails = map[int]string{
	http.StatusBadRequest:            "the request is not one of the tus protocol 1.0.0: a header is missing or wrong",
	http.StatusNotFound:              "there is no such upload: it was given up, expired, or its nodes cannot be reached",
	http.StatusConflict:              "the upload goes on at another offset: ask for it with HEAD",
	http.StatusPreconditionFailed:    "the header Tus-Resumable must be 1.0.0",
	http.StatusRequestEntityTooLarge: "that is more than was announced, or larger than what is accepted here",
	http.StatusLocked:                "another request is sending or finishing this upload: try again in a moment",
	http.StatusInsufficientStorage:   "the mesh has no room left for this file",
	http.StatusServiceUnavailable:    "too few nodes can be reached: try again in a moment",
}

func (w *tusWriter) WriteHeader(status int) {
	h := w.Header()
	if status < 400 {
		w.amend(h)
		w.ResponseWriter.WriteHeader(status)
		return
	}
	if h.Get("Content-Type") == "application/problem+json" {
		w.ResponseWriter.WriteHeader(status)
		return
	}
	w.swallow = true
	detail := tusDetails[status]
	if detail == "" {
		detail = http.StatusText(status)
	}
	p := statusProblem(status, "%s", detail)
	if status == http.StatusServiceUnavailable || status == http.StatusLocked {
		p.RetryAfter = unavailable.retry
	}
	p.write(w.ResponseWriter, instanceOf(w.call.w))
}

// amend completes the headers of a good answer.
func (w *tusWriter) amend(h http.Header) {
	if extensions := h.Get("Tus-Extension"); extensions != "" && !strings.Contains(extensions, "expiration") {
		h.Set("Tus-Extension", extensions+",expiration")
	}
	if u, err := url.Parse(h.Get("Location")); err == nil && strings.HasPrefix(u.Path, filesPath) {
		h.Set("Location", u.Path)
		w.id = strings.TrimPrefix(u.Path, filesPath)
	}
	if w.id == "" {
		return
	}
	if info, err := w.call.api.cfg.Uploads.Get(w.id); err == nil && !info.Finished {
		h.Set("Upload-Expires", info.Expires.UTC().Format(http.TimeFormat))
	}
}

func (w *tusWriter) Write(b []byte) (int, error) {
	if w.swallow {
		return len(b), nil
	}
	return w.ResponseWriter.Write(b)
}

// Unwrap lets [http.ResponseController] reach the connection.
func (w *tusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// namedHeaders tell what an upload became.
func namedHeaders(n upload.Named) handler.HTTPHeader {
	return handler.HTTPHeader{mediaIDHeader: n.Media, mediaNameHeader: url.PathEscape(n.Name)}
}
