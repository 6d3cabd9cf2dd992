package replica

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"malla/blobs"
)

const (
	// maxRequests is how many requests of other nodes are worked on at once;
	// each needs a small buffer and at most one file.
	maxRequests = 128
	// maxTransfer is how long another node may take for one request.
	maxTransfer = 5 * time.Minute
)

// Handler answers other nodes under /chunks/. It belongs on the mutually
// authenticated link between nodes only, never on a public address: whoever
// can call it can read every chunk.
func (r *Replica) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+chunksPath+"{ref}", answer(r.serveGet))
	mux.HandleFunc("PUT "+chunksPath+"{ref}", answer(r.servePut))
	for _, q := range []question{keep, offer, discard} {
		mux.HandleFunc("POST "+chunksPath+string(q), answer(func(w http.ResponseWriter, req *http.Request) error {
			return r.serveQuestion(w, req, q)
		}))
	}
	mux.HandleFunc("POST "+chunksPath+"summary", answer(r.serveSummary))
	mux.HandleFunc("POST "+chunksPath+"lacking", answer(r.serveLacking))
	mux.HandleFunc("POST "+chunksPath+"hold", answer(r.serveHold))
	slots := make(chan struct{}, maxRequests)
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		select {
		case slots <- struct{}{}:
			defer func() { <-slots }()
		case <-req.Context().Done():
			return
		case <-time.After(r.cfg.SlowAfter):
			w.Header().Set("Retry-After", "1")
			http.Error(w, "busy", http.StatusServiceUnavailable)
			return
		}
		// Without a deadline a peer that is stopped would keep its slot. Not
		// every connection has one (in tests); then the caller's does.
		rc := http.NewResponseController(w)
		_ = rc.SetReadDeadline(time.Now().Add(maxTransfer))
		_ = rc.SetWriteDeadline(time.Now().Add(maxTransfer))
		mux.ServeHTTP(w, req)
		// The connection goes on to requests that may take longer.
		_ = rc.SetReadDeadline(time.Time{})
		_ = rc.SetWriteDeadline(time.Time{})
	})
}

// answer turns an error into a status without detail: the node that asks needs
// the kind only.
func answer(h func(http.ResponseWriter, *http.Request) error) http.HandlerFunc {
	return func(w http.ResponseWriter, req *http.Request) {
		if err := h(w, req); err != nil {
			status := statusOf(err)
			http.Error(w, http.StatusText(status), status)
		}
	}
}

func (r *Replica) serveGet(w http.ResponseWriter, req *http.Request) error {
	ref, err := blobs.ParseRef(req.PathValue("ref"))
	if err != nil {
		return err
	}
	c, err := r.openHere(req.Context(), ref)
	if err != nil {
		// A damaged copy is none: it lies in quarantine by now.
		return fmt.Errorf("%w: %w", blobs.ErrNotFound, err)
	}
	defer c.Close()
	from := rangeFrom(req.Header.Get("Range"), c.Size())
	if _, err := c.Seek(from, io.SeekStart); err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Length", strconv.FormatInt(c.Size()-from, 10))
	if from > 0 {
		w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, c.Size()-1, c.Size()))
		w.WriteHeader(http.StatusPartialContent)
	}
	_, err = io.Copy(w, fileOf(c))
	if err != nil {
		// The status is sent; only a cut connection tells that bytes miss.
		panic(http.ErrAbortHandler)
	}
	return nil
}

// rangeFrom is where a request to go on begins: "bytes=N-" within the chunk.
// Anything else asks for the whole.
func rangeFrom(header string, size int64) int64 {
	digits, ok := strings.CutPrefix(header, "bytes=")
	digits, open := strings.CutSuffix(digits, "-")
	from, err := strconv.ParseInt(digits, 10, 64)
	if !ok || !open || err != nil || from < 0 || from >= size {
		return 0
	}
	return from
}

func (r *Replica) servePut(w http.ResponseWriter, req *http.Request) error {
	ref, err := blobs.ParseRef(req.PathValue("ref"))
	if err != nil {
		return err
	}
	if req.ContentLength < 0 || req.ContentLength > blobs.ChunkSize {
		return fmt.Errorf("%w: content length %d", blobs.ErrTooLarge, req.ContentLength)
	}
	created, err := r.cfg.Local.PutFor(req.Context(), req.Header.Get(uploadHeader), ref, req.Body)
	if err != nil {
		r.cfg.Logger.Debug("chunk refused", "ref", ref.String(), "err", err)
		return err
	}
	if created {
		w.WriteHeader(http.StatusCreated)
	}
	return nil
}

func (r *Replica) serveQuestion(w http.ResponseWriter, req *http.Request, q question) error {
	refs, err := decodeRefs(req.Body, q.batch())
	if err != nil {
		return err
	}
	yes, err := r.answers(req.Context(), q, req.Header.Get(uploadHeader), refs)
	if err != nil {
		return err
	}
	_, err = w.Write(yes)
	return err
}

func (r *Replica) answers(ctx context.Context, q question, upload string, refs []blobs.Ref) ([]byte, error) {
	out := make([]byte, len(refs))
	for i, ref := range refs {
		out[i] = '0'
		if r.answer(ctx, q, upload, ref) {
			out[i] = '1'
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
	}
	return out, nil
}

// answer says no where it cannot tell: that is always the safe answer.
func (r *Replica) answer(ctx context.Context, q question, upload string, ref blobs.Ref) bool {
	switch q {
	case keep:
		_, err := r.cfg.Local.KeepFor(ctx, upload, ref)
		r.noteDamage(ref, err)
		return err == nil
	case discard:
		gone, err := r.cfg.Local.Discard(ctx, upload, ref)
		return err == nil && gone
	default: // offer
		_, err := r.cfg.Local.Stat(ctx, ref)
		if err != nil {
			r.repair.fetchLater(ref)
		}
		return err == nil
	}
}
