package httpapi

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
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

// resumable answers one request of the tus protocol.
func (c *call) resumable() error {
	id := c.param("id")
	if id != "" && c.r.Method != http.MethodDelete {
		if answered, err := c.resumeFinished(id); answered || err != nil {
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

// resumeFinished answers for an upload of which every byte is here: its sender
// missed the last answer, or the mesh could not agree on its name then. It is
// imported now. It returns whether the request is answered.
func (c *call) resumeFinished(id string) (bool, error) {
	if m, ok := c.api.imported.get(id, c.user()); ok {
		return true, c.sendImported(m)
	}
	info, err := c.api.cfg.Uploads.Get(id)
	if err != nil || info.Owner != string(c.user()) || info.Size < 0 || info.Offset != info.Size {
		return false, nil
	}
	m, err := c.importUpload(c.r.Context(), id)
	if errors.Is(err, upload.ErrBusy) {
		return false, nil // its last request is still under way: tusd waits for it
	}
	if err != nil {
		return false, err
	}
	return true, c.sendImported(m)
}

// importUpload makes an upload of which every byte is here a file of its owner.
func (c *call) importUpload(ctx context.Context, id string) (importedUpload, error) {
	info, err := c.api.cfg.Uploads.Get(id)
	if err != nil {
		return importedUpload{}, err
	}
	blob, err := c.api.cfg.Uploads.Finish(ctx, id)
	if err != nil {
		return importedUpload{}, err
	}
	m, index, err := c.importBlob(ctx, id, uploadName(info.Meta), blob, info.Meta["replace"] == "true")
	if err != nil {
		return importedUpload{}, err
	}
	c.agreed(index)
	done := importedUpload{owner: c.user(), media: m.ID, name: m.Name, size: info.Size}
	c.api.imported.put(id, done)
	return done, nil
}

// sendImported answers for an upload that is in the library.
func (c *call) sendImported(m importedUpload) error {
	h := c.w.Header()
	for name, value := range m.headers() {
		h.Set(name, value)
	}
	h.Set("Tus-Resumable", "1.0.0")
	h.Set("Upload-Offset", strconv.FormatInt(m.size, 10))
	h.Set("Cache-Control", "no-store")
	if c.r.Method == http.MethodHead {
		h.Set("Upload-Length", strconv.FormatInt(m.size, 10))
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
	switch {
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
	c := callOf(hook.Context)
	m, err := c.importUpload(hook.Context, hook.Upload.ID)
	if err != nil {
		answer, _, err := refuseTus(c, err)
		return answer, err
	}
	return handler.HTTPResponse{Header: m.headers()}, nil
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
	http.StatusNotFound:              "there is no such upload: it is finished, was given up, or is on another node",
	http.StatusConflict:              "the upload goes on at another offset: ask for it with HEAD",
	http.StatusPreconditionFailed:    "the header Tus-Resumable must be 1.0.0",
	http.StatusRequestEntityTooLarge: "that is more than was announced, or larger than what is accepted here",
	http.StatusLocked:                "another request is sending this upload",
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

// importedUpload is what became of an upload.
type importedUpload struct {
	owner state.UserID
	media state.MediaID
	name  string
	size  int64
	at    time.Time
}

func (m importedUpload) headers() handler.HTTPHeader {
	return handler.HTTPHeader{mediaIDHeader: string(m.media), mediaNameHeader: url.PathEscape(m.name)}
}

const (
	keepImported = time.Hour
	maxImported  = 10_000
)

// importedUploads remembers for a while what uploads became: a sender whose
// last answer was lost asks for it.
type importedUploads struct {
	now func() time.Time

	mu   sync.Mutex // guards done
	done map[string]importedUpload
}

func newImportedUploads(now func() time.Time) *importedUploads {
	return &importedUploads{now: now, done: map[string]importedUpload{}}
}

func (u *importedUploads) put(id string, m importedUpload) {
	m.at = u.now()
	u.mu.Lock()
	defer u.mu.Unlock()
	for old, was := range u.done {
		if m.at.Sub(was.at) > keepImported || len(u.done) >= maxImported {
			delete(u.done, old)
		}
	}
	u.done[id] = m
}

func (u *importedUploads) get(id string, owner state.UserID) (importedUpload, bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	m, ok := u.done[id]
	return m, ok && m.owner == owner
}
