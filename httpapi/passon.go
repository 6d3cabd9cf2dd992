package httpapi

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"malla/blobs"
	"malla/httpapi/auth"
)

// Peers is the link to the other nodes.
type Peers interface {
	// Do sends the request, whose URL is only a path, to that node and to no
	// other.
	Do(ctx context.Context, node string, req *http.Request) (*http.Response, error)
}

// passedKey is under which a request tells that another node passed it on.
type passedKey struct{}

// PeerHandler answers requests of users that other nodes passed on, under
// /files/. It belongs on the mutually authenticated link between nodes.
func (a *API) PeerHandler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), passedKey{}, true)))
	})
}

// passedBack are the headers of another node's answer that the sender gets.
var passedBack = []string{
	"Cache-Control", "Content-Type", indexHeader, mediaIDHeader, mediaNameHeader, "Retry-After", "Tus-Resumable", "Tus-Version",
	"Upload-Concat", "Upload-Defer-Length", "Upload-Expires", "Upload-Length", "Upload-Metadata", "Upload-Offset",
}

// passOn lets the node that goes on with an upload answer the request. Who asks
// and whether they may was found out here; there it is looked at again.
func (c *call) passOn(node string) error {
	if c.r.Context().Value(passedKey{}) != nil || c.api.cfg.Peers == nil {
		return unavailable.refusal("another node takes over this upload: try again in a moment")
	}
	stalling := &stallReader{src: c.r.Body, conn: http.NewResponseController(c.w)}
	defer stalling.release()
	req, err := http.NewRequestWithContext(c.r.Context(), c.r.Method, c.r.URL.Path, stalling)
	if err != nil {
		return err
	}
	if req.ContentLength = c.r.ContentLength; req.ContentLength == 0 {
		req.Body = http.NoBody // else the length counts as unknown
	}
	for name, values := range c.r.Header {
		if strings.HasPrefix(name, "Upload-") || strings.HasPrefix(name, "Tus-") || name == "Content-Type" || name == "Expect" {
			req.Header[name] = values
		}
	}
	token, given := auth.Bearer(c.r)
	if !given {
		token = c.api.cookies.Token(c.r)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set(idHeader, c.w.id)
	req.Header.Set(indexHeader, strconv.FormatUint(c.view.Index(), 10)) // so that it knows whom this one knows
	res, err := c.api.cfg.Peers.Do(c.r.Context(), node, req)
	switch {
	case err != nil && stalling.err != nil:
		return errors.Join(blobs.ErrUnavailable, err) // the sender is gone
	case err != nil:
		c.api.cfg.Logger.Warn("upload not passed on", "req", c.w.id, "to", node, "err", err)
		return unavailable.refusal("the node that has this upload does not answer: try again in a moment")
	}
	defer res.Body.Close()
	h := c.w.Header()
	for _, name := range passedBack {
		if values := res.Header.Values(name); len(values) > 0 {
			h[http.CanonicalHeaderKey(name)] = values
		}
	}
	c.w.WriteHeader(res.StatusCode)
	if _, err := io.Copy(c.w, io.LimitReader(res.Body, maxJSON)); err != nil {
		return errAborted
	}
	return nil
}

// stallReader gives a body up when not a byte of it comes for too long.
type stallReader struct {
	src  io.ReadCloser
	conn *http.ResponseController
	err  error
}

func (s *stallReader) Read(p []byte) (int, error) {
	s.conn.SetReadDeadline(time.Now().Add(readStall)) // not on every kind of connection
	n, err := s.src.Read(p)
	if err != nil && err != io.EOF {
		s.err = err
	}
	return n, err
}

func (s *stallReader) Close() error { return s.src.Close() }

// release lifts the deadline for the next request of the connection.
func (s *stallReader) release() { s.conn.SetReadDeadline(time.Time{}) }
