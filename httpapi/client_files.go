package httpapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"strconv"
	"strings"
)

// Upload sends a file in one go. Size is that of r in bytes, or negative where
// it is not known. Progress, which may be nil, hears how much was sent.
func (c *Client) Upload(ctx context.Context, name string, r io.Reader, size int64, progress func(sent int64)) (Uploaded, error) {
	var form bytes.Buffer
	w := multipart.NewWriter(&form)
	if _, err := w.CreateFormFile(filePart, name); err != nil {
		return Uploaded{}, err
	}
	head := bytes.Clone(form.Bytes())
	form.Reset()
	if err := w.Close(); err != nil {
		return Uploaded{}, err
	}
	whole := int64(-1)
	if size >= 0 {
		whole = int64(len(head)) + size + int64(form.Len())
	}
	res, err := c.send(ctx, ask{
		method: http.MethodPost, path: "/upload", header: http.Header{"Content-Type": {w.FormDataContentType()}},
		stream: io.MultiReader(bytes.NewReader(head), &countingReader{src: r, tell: progress}, &form), size: whole,
	})
	if err != nil {
		return Uploaded{}, err
	}
	defer res.Body.Close()
	var done Uploaded
	if err := json.NewDecoder(res.Body).Decode(&done); err != nil {
		return done, fmt.Errorf("upload %q: read the answer: %w", name, err)
	}
	return done, nil
}

// Content is an open item. Who opened it closes its Body.
type Content struct {
	Body io.ReadCloser // from the byte that was asked for to the end
	Size int64         // of the whole item, in bytes
	Type string        // MIME type
	ETag string        // of the whole item: the same bytes have the same
}

// ErrChanged tells that an item has other bytes than when its download began.
var ErrChanged = errors.New("the file was replaced while it was downloaded: begin again")

// Open opens an item at the byte from.
func (c *Client) Open(ctx context.Context, ref string, from int64) (*Content, error) {
	return c.open(ctx, ref, from, "")
}

// open opens an item, only if it has that tag where one is given.
func (c *Client) open(ctx context.Context, ref string, from int64, etag string) (*Content, error) {
	a := ask{method: http.MethodGet, path: mediaPath(ref), header: http.Header{}}
	if from > 0 {
		a.header.Set("Range", fmt.Sprintf("bytes=%d-", from))
		if etag != "" {
			a.header.Set("If-Range", etag)
		}
	}
	res, err := c.send(ctx, a)
	if err != nil {
		return nil, err
	}
	content := &Content{Body: res.Body, Size: res.ContentLength, Type: res.Header.Get("Content-Type"), ETag: res.Header.Get("ETag")}
	if from > 0 {
		if res.StatusCode != http.StatusPartialContent {
			res.Body.Close()
			return nil, ErrChanged
		}
		_, whole, _ := strings.Cut(res.Header.Get("Content-Range"), "/")
		if content.Size, err = strconv.ParseInt(whole, 10, 64); err != nil {
			res.Body.Close()
			return nil, fmt.Errorf("download %q: no size in %q", ref, res.Header.Get("Content-Range"))
		}
	}
	return content, nil
}

// Download writes an item to dst, beginning at the byte from. Where a connection
// breaks it goes on, on another node if there is one. Progress, which may be nil,
// hears how far it is and how far it goes. It returns where it stopped: the size
// of the item where there is no error.
func (c *Client) Download(ctx context.Context, ref string, dst io.Writer, from int64, progress func(at, size int64)) (int64, error) {
	at, etag := from, ""
	var tries patience
	for {
		n, err := c.downloadPart(ctx, ref, dst, at, &etag, progress)
		if at += n; n > 0 {
			tries.failures = 0
		}
		if err == nil {
			return at, nil
		}
		var local *writeError
		if errors.As(err, &local) {
			return at, local.error
		}
		if err := tries.wait(ctx, err); err != nil {
			return at, err
		}
	}
}

// writeError tells that dst failed, not the network.
type writeError struct{ error }

func (c *Client) downloadPart(ctx context.Context, ref string, dst io.Writer, at int64, etag *string, progress func(at, size int64)) (int64, error) {
	content, err := c.open(ctx, ref, at, *etag)
	var p *Problem
	if errors.As(err, &p) && p.Status == http.StatusRequestedRangeNotSatisfiable {
		if m, infoErr := c.Info(ctx, ref); infoErr == nil && m.Size == at {
			return 0, nil // it was complete already
		}
	}
	if err != nil {
		return 0, err
	}
	defer content.Body.Close()
	if *etag != "" && content.ETag != *etag {
		return 0, ErrChanged
	}
	*etag = content.ETag
	var n int64
	buf := make([]byte, 128<<10)
	for {
		read, err := content.Body.Read(buf)
		if read > 0 {
			if _, err := dst.Write(buf[:read]); err != nil {
				return n, &writeError{err}
			}
			n += int64(read)
			if progress != nil {
				progress(at+n, content.Size)
			}
		}
		switch {
		case err == io.EOF && at+n < content.Size:
			return n, io.ErrUnexpectedEOF
		case err == io.EOF:
			return n, nil
		case err != nil && ctx.Err() != nil:
			return n, ctx.Err()
		case err != nil:
			return n, fmt.Errorf("%w: %w", io.ErrUnexpectedEOF, err)
		}
	}
}
