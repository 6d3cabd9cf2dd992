package httpapi

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// File is a file to be uploaded resumably.
type File struct {
	Name string
	Body io.ReadSeeker
	Size int64 // bytes

	Location string                // where an earlier try goes on; "": from the beginning
	Started  func(location string) // hears where this try can be gone on with; nil: nobody
	Progress func(sent int64)      // hears how much is there; nil: nobody
	Moved    func(node string)     // hears at which node it goes on, when that is another one; nil: nobody
}

// mostUploadFailures in a row, without a byte that got through, end an upload:
// a mesh that has lost a node is asked for more than half a minute.
const mostUploadFailures = 10

// mostLocked is how often a node may say that it is at work on the
// upload: a film that has no index at its ends is read as a whole before it is
// named.
const mostLocked = 90

// UploadFile uploads a file so that nothing is sent twice when the network
// breaks or the node dies (tus 1.0.0): it goes on by itself, at the next node
// where one does not answer. Where it gave up, a second call with the Location
// of the first goes on.
func (c *Client) UploadFile(ctx context.Context, f File) (Media, error) {
	location := f.Location
	tries, locked := patience{most: mostUploadFailures}, patience{most: mostLocked}
	for {
		m, err := c.resume(ctx, f, &location, &tries)
		if err == nil {
			return m, nil
		}
		if isGone(err) && location != "" {
			location = "" // it has expired, or was given up
			continue
		}
		if hasStatus(err, http.StatusConflict) && tries.failures < mostUploadFailures {
			tries.failures++ // a node took it over meanwhile, from the last chunk that is safe
			continue
		}
		if hasStatus(err, http.StatusLocked) {
			if err := locked.wait(ctx, err); err != nil {
				return Media{}, err
			}
			continue
		}
		next := c.elsewhere(location)
		if Transient(err) && next != location {
			location = next
			if f.Moved != nil {
				f.Moved(hostOf(next))
			}
		}
		if err := tries.wait(ctx, err); err != nil {
			return Media{}, err
		}
	}
}

// elsewhere returns where the upload is asked for after its location failed: the
// same path at the next node, which passes it on or takes it over.
func (c *Client) elsewhere(location string) string {
	u, err := url.Parse(location)
	if err != nil || location == "" {
		return location
	}
	nodes, _ := c.nodes()
	at := slices.Index(nodes, hostOf(location)) // -1: it was begun at a node that is not known
	next, err := url.Parse(nodes[(at+1)%len(nodes)])
	if err != nil {
		return location
	}
	u.Scheme, u.Host = next.Scheme, next.Host
	return u.String()
}

// hostOf is the node of a location, as clients name it.
func hostOf(location string) string {
	u, err := url.Parse(location)
	if err != nil {
		return ""
	}
	return u.Scheme + "://" + u.Host
}

// isGone tells whether a node does not know an upload any more.
func isGone(err error) bool {
	return hasStatus(err, http.StatusNotFound) || hasStatus(err, http.StatusGone)
}

func hasStatus(err error, status int) bool {
	var p *Problem
	return errors.As(err, &p) && p.Status == status
}

// resume begins or goes on with the upload at *location, to its end.
func (c *Client) resume(ctx context.Context, f File, location *string, tries *patience) (Media, error) {
	offset := int64(0)
	if *location == "" {
		at, err := c.begin(ctx, f)
		if err != nil {
			return Media{}, err
		}
		*location = at
		if f.Started != nil {
			f.Started(at)
		}
	} else {
		res, err := c.tus(ctx, http.MethodHead, *location, nil, nil, 0)
		if err != nil {
			return Media{}, err
		}
		res.Body.Close()
		if id := res.Header.Get(mediaIDHeader); id != "" {
			return c.Info(ctx, id) // the last answer was lost
		}
		if offset, err = strconv.ParseInt(res.Header.Get("Upload-Offset"), 10, 64); err != nil || offset > f.Size {
			return Media{}, fmt.Errorf("upload %q: the node is at an impossible offset %q", f.Name, res.Header.Get("Upload-Offset"))
		}
	}
	if _, err := f.Body.Seek(offset, io.SeekStart); err != nil {
		return Media{}, err
	}
	body := &countingReader{src: io.LimitReader(f.Body, f.Size-offset), tell: func(n int64) {
		tries.failures = 0
		if f.Progress != nil {
			f.Progress(offset + n)
		}
	}}
	res, err := c.tus(ctx, http.MethodPatch, *location, http.Header{
		"Content-Type": {"application/offset+octet-stream"}, "Upload-Offset": {strconv.FormatInt(offset, 10)},
	}, body, f.Size-offset)
	if err != nil {
		return Media{}, err
	}
	res.Body.Close()
	id := res.Header.Get(mediaIDHeader)
	if id == "" {
		return Media{}, fmt.Errorf("upload %q: the file is shorter than %d bytes", f.Name, f.Size)
	}
	return c.Info(ctx, id)
}

// begin announces an upload and returns where it is, as a whole URL.
func (c *Client) begin(ctx context.Context, f File) (string, error) {
	res, err := c.send(ctx, ask{method: http.MethodPost, path: filesPath, header: http.Header{
		"Tus-Resumable": {"1.0.0"}, "Upload-Length": {strconv.FormatInt(f.Size, 10)},
		"Upload-Metadata": {"filename " + base64.StdEncoding.EncodeToString([]byte(f.Name))},
	}})
	if err != nil {
		return "", err
	}
	res.Body.Close()
	at, err := res.Request.URL.Parse(res.Header.Get("Location"))
	if err != nil || res.Header.Get("Location") == "" {
		return "", fmt.Errorf("upload %q: the node did not say where to send it", f.Name)
	}
	return at.String(), nil
}

// tus sends one request about an upload to the node that has it.
func (c *Client) tus(ctx context.Context, method, location string, header http.Header, body *countingReader, size int64) (*http.Response, error) {
	u, err := url.Parse(location)
	if err != nil || !strings.HasPrefix(u.Path, filesPath) {
		return nil, fmt.Errorf("%q is no upload", location)
	}
	a := ask{method: method, path: u.EscapedPath(), header: header, size: size}
	if a.header == nil {
		a.header = http.Header{}
	}
	a.header.Set("Tus-Resumable", "1.0.0")
	sent := &countingReader{}
	if body != nil {
		a.stream, sent = body, body
	}
	res, err := c.sendTo(ctx, u.Scheme+"://"+u.Host, a, sent)
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, err
	}
	if res.StatusCode >= 400 {
		return nil, readProblem(res)
	}
	c.sawIndex(res)
	return res, nil
}
