package httpapi

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"path"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"malla/blobs"
	"malla/blobs/upload"
	"malla/cluster/state"
)

const (
	filePart     = "file"    // name of the part that is the file
	maxParts     = 16        // before the file
	maxFieldSize = 64 << 10  // bytes of a part that is not the file
	formBuffer   = 128 << 10 // bytes of a form that are read at once
	formOverhead = 256 << 10 // bytes of a form around its file, at most
)

// upload takes one file as a form: part `file`, with a name. It streams: nothing
// is kept in memory or named before the last byte is safe.
func (c *call) upload() error {
	if err := c.api.imports(); err != nil {
		return err
	}
	replace := false
	if text := c.query("replace"); text != "" {
		var err error
		if replace, err = strconv.ParseBool(text); err != nil {
			return state.InvalidField("replace", "must be true or false")
		}
	}
	if c.r.ContentLength > c.api.cfg.MaxUpload+formOverhead {
		return c.tooLarge()
	}
	paced := &pacedReader{src: c.r.Body, conn: http.NewResponseController(c.w)}
	c.r.Body = paced
	defer func() {
		c.r.Body = paced.src
		paced.release()
	}()
	file, name, err := c.openFile()
	if err != nil {
		return err
	}
	var first [1]byte
	if n, err := io.ReadFull(file, first[:]); n == 0 && errors.Is(err, io.EOF) {
		return state.InvalidField(filePart, "is empty: there is nothing in %q", name)
	} else if err != nil {
		return c.cutOff(err)
	}
	return c.take(name, replace, io.MultiReader(bytes.NewReader(first[:]), file))
}

// openFile finds the file in the form, and its name.
func (c *call) openFile() (io.Reader, string, error) {
	kind, params, _ := mime.ParseMediaType(c.r.Header.Get("Content-Type"))
	switch {
	case kind != "multipart/form-data":
		return nil, "", statusProblem(http.StatusUnsupportedMediaType, "send the file as multipart/form-data, in a part named %q", filePart)
	case params["boundary"] == "":
		return nil, "", state.InvalidField("Content-Type", "names no boundary for multipart/form-data")
	case c.r.Header.Get("Content-Encoding") != "":
		return nil, "", statusProblem(http.StatusUnsupportedMediaType, "compressed requests are not taken")
	}
	// It reads 4 KiB at a time, which the connection should not.
	parts := multipart.NewReader(bufio.NewReaderSize(c.r.Body, formBuffer), params["boundary"])
	for range maxParts {
		part, err := parts.NextRawPart()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, "", c.cutOff(err)
		}
		if part.FormName() != filePart {
			if err := c.skip(part); err != nil {
				return nil, "", err
			}
			continue
		}
		name := cleanName(part)
		if err := state.CheckMediaName(name); err != nil {
			return nil, "", state.InvalidField(filePart, "needs a filename")
		}
		return bodyReader{part}, name, nil
	}
	return nil, "", state.InvalidField(filePart, "is missing: send the file in a part of that name")
}

// skip reads a part that is not the file.
func (c *call) skip(part *multipart.Part) error {
	n, err := io.Copy(io.Discard, io.LimitReader(part, maxFieldSize+1))
	if err != nil {
		return c.cutOff(err)
	}
	if n > maxFieldSize {
		return state.InvalidField(shorten(part.FormName()), "is too long: the file belongs into a part named %q", filePart)
	}
	return nil
}

// imports returns why this node cannot take uploads.
func (a *API) imports() error {
	if a.cfg.Imports == nil {
		return nil
	}
	return a.cfg.Imports()
}

// take stores the bytes of src and names them in the caller's library. What is
// refused leaves nothing behind.
func (c *call) take(name string, replace bool, src io.Reader) error {
	id := upload.NewID()
	blob, err := c.api.cfg.Uploads.Write(c.r.Context(), id, src, c.api.cfg.MaxUpload)
	switch {
	case errors.Is(err, blobs.ErrTooLarge):
		return c.tooLarge()
	case errors.Is(err, errBody):
		return c.cutOff(err)
	case err != nil:
		return fmt.Errorf("store an upload: %w", err)
	}
	m, index, err := c.api.importBlob(c.r.Context(), c.user(), id, name, blob, replace)
	if err != nil {
		return err
	}
	c.api.settled(id, c.api.cfg.Uploads.Forget(id))
	c.agreed(index)
	return c.send(Uploaded{OK: true, Name: m.Name, ID: string(m.ID), Item: mediaOf(&m)})
}

// importBlob names a stored upload. Where it is refused for good its bytes go.
// Where it is not known whether the name was agreed on, they stay: the collector
// takes them if nothing names them.
func (a *API) importBlob(ctx context.Context, owner state.UserID, id, name string, blob blobs.Blob, replace bool) (state.Media, uint64, error) {
	m, index, err := a.cfg.Library.Import(ctx, owner, name, blob, replace)
	if err == nil {
		a.metrics.uploads.Inc()
		return m, index, nil
	}
	var refused *state.Error
	if errors.As(err, &refused) {
		switch refused.Kind {
		case state.Invalid, state.NotMedia, state.Denied, state.NotFound, state.Conflict, state.Full:
			a.settled(id, a.cfg.Uploads.Discard(context.WithoutCancel(ctx), id))
		}
	}
	return m, index, err
}

// settled logs what went wrong after an upload was decided: the answer stands,
// and what is left behind expires.
func (a *API) settled(id string, err error) {
	if err != nil && !errors.Is(err, upload.ErrNotFound) {
		a.cfg.Logger.Warn("upload left something behind", "upload", id, "err", err)
	}
}

func (c *call) tooLarge() error {
	return tooLarge.refusal(fmt.Sprintf("the file is larger than the %d bytes that are accepted here", c.api.cfg.MaxUpload))
}

// cutOff is the answer to a body that ended early or cannot be read.
func (c *call) cutOff(err error) error {
	c.api.cfg.Logger.Debug("upload was cut off", "req", c.w.id, "err", err)
	return state.Errorf(state.Invalid, "the upload ended before the file did: nothing of it was kept")
}

var (
	windowsPath = regexp.MustCompile(`^[A-Za-z]:\\`)
	// Browsers write these characters of a name so (WHATWG, multipart/form-data).
	unescapeName = strings.NewReplacer("%22", `"`, "%0D", " ", "%0d", " ", "%0A", " ", "%0a", " ")
)

// cleanName is the name of the part's file without folders and without what no
// name may contain.
func cleanName(part *multipart.Part) string {
	_, params, err := mime.ParseMediaType(part.Header.Get("Content-Disposition"))
	if err != nil {
		return ""
	}
	return cleanFileName(unescapeName.Replace(params["filename"]))
}

func cleanFileName(name string) string {
	name = strings.ToValidUTF8(name, "_")
	if windowsPath.MatchString(name) {
		name = name[strings.LastIndexByte(name, '\\')+1:]
	}
	name = name[strings.LastIndexByte(name, '/')+1:]
	name = strings.TrimSpace(strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return -1
		}
		return r
	}, name))
	if len(name) <= state.MaxNameLen {
		return name
	}
	ext := path.Ext(name)
	if len(ext) > 16 {
		ext = ""
	}
	end := state.MaxNameLen - len(ext)
	for end > 0 && !utf8.RuneStart(name[end]) {
		end--
	}
	return name[:end] + ext
}

// errBody tells that a file could not be read to its end.
var errBody = errors.New("request body broke off")

// bodyReader tells the sender's failures from those of whoever stores.
type bodyReader struct{ src io.Reader }

func (b bodyReader) Read(p []byte) (int, error) {
	n, err := b.src.Read(p)
	if err != nil && err != io.EOF {
		err = fmt.Errorf("%w: %w", errBody, err)
	}
	return n, err
}

const (
	graceTime   = 30 * time.Second // before a slow sender is told apart from a fast one
	slowestRate = 16 << 10         // bytes per second, on average
	readStall   = time.Minute      // without a single byte
)

// pacedReader reads a body that comes fast enough: only the time in which the
// sender was waited for counts, not that in which the mesh stored.
type pacedReader struct {
	src    io.ReadCloser
	conn   *http.ResponseController
	got    int64
	waited time.Duration
}

func (p *pacedReader) Read(b []byte) (int, error) {
	allowed := graceTime + time.Duration(p.got)*time.Second/slowestRate - p.waited
	began := time.Now()
	p.conn.SetReadDeadline(began.Add(min(max(allowed, 0), readStall))) // not on every kind of connection
	n, err := p.src.Read(b)
	p.waited += time.Since(began)
	p.got += int64(n)
	return n, err
}

func (p *pacedReader) Close() error { return p.src.Close() }

// release lifts the deadline for the next request of the connection.
func (p *pacedReader) release() { p.conn.SetReadDeadline(time.Time{}) }
