package httpapi

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strings"
	"time"

	"malla/blobs"
	"malla/cluster/state"
)

// serving says how an item's bytes are served.
type serving struct {
	embed   bool                   // pages of any origin may show it
	allowed func(*state.View) bool // asked again while the answer lasts
}

// inline are the types that browsers may show in the place of saving them: what
// our own probe says is audio or video. Nothing else is ever shown.
var inline = map[string]bool{
	"audio/aac": true, "audio/aiff": true, "audio/flac": true, "audio/matroska": true, "audio/mp4": true, "audio/mpeg": true, "audio/ogg": true,
	"audio/wav": true, "audio/webm": true, "audio/x-aiff": true, "audio/x-flac": true, "audio/x-m4a": true, "audio/x-matroska": true,
	"audio/x-ms-wma": true, "audio/x-wav": true,
	"video/3gpp": true, "video/3gpp2": true, "video/avi": true, "video/matroska": true, "video/mp2t": true, "video/mp4": true, "video/mpeg": true,
	"video/ogg": true, "video/quicktime": true, "video/webm": true, "video/x-flv": true, "video/x-m4v": true, "video/x-matroska": true,
	"video/x-ms-asf": true, "video/x-ms-wmv": true, "video/x-msvideo": true,
}

const (
	maxRange     = 128             // bytes of a Range header that is looked at
	stallTime    = time.Minute     // for which a reader may take nothing at all
	recheckEvery = 2 * time.Second // while an answer lasts: may it still
	minSpan      = 256 << 10       // bytes that a reader is sent before its pace is looked at again
	maxSpan      = 4 << 20         // the same for a reader who takes each span within quickSpan
	quickSpan    = 100 * time.Millisecond
)

// serveMedia answers with the bytes of an item, or the range that was asked for.
func (c *call) serveMedia(m state.Media, how serving) error {
	body, err := c.api.cfg.Blobs.Open(c.r.Context(), m.Content.Blob.Ref)
	if err != nil {
		return fmt.Errorf("open media %s: %w", m.ID, err)
	}
	defer body.Close()
	c.mediaHeaders(m, how)
	r := oneRange(c.r)
	src := &watchedReader{Reader: body}
	dst := &pacedWriter{ResponseWriter: c.w, call: c, allowed: how.allowed}
	defer dst.release()
	http.ServeContent(&problemWriter{ResponseWriter: dst, instance: instanceOf(c.w)}, r, "", m.CreatedAt, src)
	if starts(r) && c.w.status < 300 {
		c.api.metrics.streams.Inc()
	}
	switch {
	case dst.revoked:
		return errAborted
	case src.err != nil:
		c.api.cfg.Logger.Warn("reading media failed", "req", c.w.id, "media", m.ID, "ref", m.Content.Blob.Ref.Short(), "err", src.err)
		return errAborted
	}
	return nil
}

// mediaHeaders sets what keeps a browser from taking the bytes for anything but
// sound or a picture.
func (c *call) mediaHeaders(m state.Media, how serving) {
	h := c.w.Header()
	kind, disposition := m.Content.Type, "inline"
	if !inline[kind] {
		kind, disposition = "application/octet-stream", "attachment"
	}
	if c.query("download") == "1" {
		disposition = "attachment"
	}
	h.Set("Content-Type", kind)
	h.Set("Content-Disposition", contentDisposition(disposition, m.Name))
	h.Set("Content-Security-Policy", "default-src 'none'; media-src 'self'; sandbox")
	h.Set("ETag", `"`+m.Content.Blob.SHA256.String()+`"`)
	h.Set("Cache-Control", "private, no-cache")
	if how.embed {
		h.Set("Cross-Origin-Resource-Policy", "cross-origin")
	}
}

// contentDisposition writes a name so that old and new browsers read it (RFC
// 6266): without anything special for the old, and in UTF-8 (RFC 5987).
func contentDisposition(disposition, name string) string {
	plain := strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' || strings.ContainsRune(`"\%;`, r) {
			return '_'
		}
		return r
	}, name)
	return fmt.Sprintf(`%s; filename="%s"; filename*=UTF-8''%s`, disposition, plain, strings.ReplaceAll(url.QueryEscape(name), "+", "%20"))
}

var rangeHeader = regexp.MustCompile(`^bytes=(\d{0,18})-(\d{0,18})$`)

// oneRange returns the request with a Range header that asks for one range, or
// without any: several ranges, endless headers, the last 0 bytes and what cannot
// be understood get the whole file, as RFC 9110 allows.
func oneRange(r *http.Request) *http.Request {
	text := r.Header.Get("Range")
	if text == "" {
		return r
	}
	parts := rangeHeader.FindStringSubmatch(text)
	if len(text) <= maxRange && len(r.Header.Values("Range")) == 1 && parts != nil && parts[1]+strings.TrimLeft(parts[2], "0") != "" && !reversed(parts[1], parts[2]) {
		return r
	}
	plain := r.Clone(r.Context())
	plain.Header.Del("Range")
	return plain
}

// reversed tells whether a range ends before it begins.
func reversed(from, to string) bool {
	if from == "" || to == "" {
		return false
	}
	from, to = strings.TrimLeft(from, "0"), strings.TrimLeft(to, "0")
	return len(to) < len(from) || len(to) == len(from) && to < from
}

// starts tells whether a request reads an item from its beginning: one of those
// a viewing.
func starts(r *http.Request) bool {
	text := r.Header.Get("Range")
	return r.Method == http.MethodGet && (text == "" || strings.HasPrefix(text, "bytes=0-"))
}

// A spanReader hands out its bytes in spans that the kernel can send, where
// they lie in files: blobs/replica's reader does.
type spanReader interface {
	// Span returns at least the next byte and at most the next n, and moves
	// on behind them. io.EOF where there are none.
	Span(n int64) (io.Reader, int64, error)
}

// watchedReader remembers why reading failed.
type watchedReader struct {
	blobs.Reader
	taken int64 // bytes that Read gave
	err   error
}

func (r *watchedReader) Read(b []byte) (int, error) {
	n, err := r.Reader.Read(b)
	r.taken += int64(n)
	return n, r.watch(err)
}

func (r *watchedReader) watch(err error) error {
	if err != nil && !errors.Is(err, io.EOF) {
		r.err = err
	}
	return err
}

// send writes the next n bytes at most to dst, in one span, and stands behind
// what dst took. Where that breaks off, what is left of the span is read instead:
// that tells a broken disk, for which another node stands in, from a reader who
// is gone. One who is only slow is told by the deadline.
func (r *watchedReader) send(dst io.Writer, n int64) (int64, error) {
	from, ok := r.Reader.(spanReader)
	if !ok {
		return r.copy(dst, n)
	}
	span, n, err := from.Span(n)
	if err != nil {
		return 0, r.watch(err)
	}
	sent, late := io.Copy(dst, span) // which of the two failed is found out below
	if sent == n {
		return sent, nil
	}
	if _, err := r.Seek(sent-n, io.SeekCurrent); err != nil {
		return sent, r.watch(err)
	}
	if errors.Is(late, os.ErrDeadlineExceeded) { // files have no deadline: it is the connection's
		return sent, late
	}
	rest, err := r.copy(dst, n-sent)
	return sent + rest, err
}

// copy is send by way of Read.
func (r *watchedReader) copy(dst io.Writer, n int64) (int64, error) {
	before := r.taken
	sent, err := io.CopyN(dst, r, n)
	if ahead := r.taken - before - sent; ahead > 0 { // read, but not taken by dst
		if _, err := r.Seek(-ahead, io.SeekCurrent); err != nil {
			return sent, r.watch(err)
		}
	}
	return sent, err
}

// pacedWriter gives up on readers that stall, and on those who may not read any
// more: a link that was revoked ends also in the middle.
type pacedWriter struct {
	http.ResponseWriter
	call    *call
	allowed func(*state.View) bool
	revoked bool

	moved, checked time.Time // when the deadline was moved, and when allowed was asked
	span           int64     // bytes that are sent next; 0 before the first
}

var errRevoked = errors.New("may not be read any more")

func (w *pacedWriter) Write(b []byte) (int, error) {
	if err := w.pace(); err != nil {
		return 0, err
	}
	return w.ResponseWriter.Write(b)
}

// ReadFrom implements [io.ReaderFrom]. What [http.ServeContent] copies of an
// item is sent in spans, between which the reader's pace and right are looked at.
func (w *pacedWriter) ReadFrom(src io.Reader) (sent int64, err error) {
	limited, _ := src.(*io.LimitedReader)
	if limited == nil {
		return io.Copy(justWriter{w}, src)
	}
	body, ok := limited.R.(*watchedReader)
	if !ok {
		return io.Copy(justWriter{w}, src)
	}
	for limited.N > 0 {
		if err := w.pace(); err != nil {
			return sent, err
		}
		n, err := w.sendSpan(body, limited.N)
		limited.N -= n
		sent += n
		switch {
		case err == io.EOF:
			return sent, nil // as a copy would end; ServeContent knows the length
		case n > 0 && errors.Is(err, os.ErrDeadlineExceeded):
			w.slow()
		case err != nil:
			return sent, err
		}
	}
	return sent, nil
}

// sendSpan sends at most n bytes: the more, the faster the reader is.
func (w *pacedWriter) sendSpan(body *watchedReader, n int64) (int64, error) {
	began := time.Now()
	w.span = max(w.span, minSpan)
	n, err := body.send(w.ResponseWriter, min(n, w.span))
	if time.Since(began) > quickSpan {
		w.span = minSpan
	} else {
		w.span = min(2*w.span, maxSpan)
	}
	return n, err
}

// slow is for a reader who did not take a span in time, but some of it: one who
// filled its cache, and plays now. It gets small spans, and time for the next.
func (w *pacedWriter) slow() {
	w.span, w.moved = minSpan, time.Time{}
}

// justWriter hides that a writer is more.
type justWriter struct{ io.Writer }

// pace moves the deadline, and returns an error where the reader may not go on.
func (w *pacedWriter) pace() error {
	now := time.Now()
	stall := w.call.api.stall
	if every := stall / 6; now.Sub(w.moved) > every {
		w.moved = now
		http.NewResponseController(w.ResponseWriter).SetWriteDeadline(now.Add(every + stall)) // not on every kind of connection
	}
	if w.checked.IsZero() {
		w.checked = now
	}
	if now.Sub(w.checked) > recheckEvery {
		w.checked = now
		if !w.allowed(w.call.api.cfg.State.View()) {
			w.revoked = true
			return errRevoked
		}
	}
	return nil
}

// release lifts the deadline for the next request of the connection.
func (w *pacedWriter) release() {
	if !w.moved.IsZero() {
		http.NewResponseController(w.ResponseWriter).SetWriteDeadline(time.Time{})
	}
}

// Unwrap lets [http.ResponseController] reach the connection.
func (w *pacedWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
