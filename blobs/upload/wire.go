package upload

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"time"

	"malla/blobs"
)

// Between nodes, only on the link that both sides have proven themselves on:
//
//	GET    /uploads/ID          what this node knows of the upload, as a claim
//	GET    /uploads/ID/record   its journal, without the lines about this disk
//	PUT    /uploads/ID          lines to be added to the record, from line N on; from 0 they replace it
//	POST   /uploads/ID/promise  takes no more steps of smaller tokens; answers with its claim
//	DELETE /uploads/ID          forgets the record
//
// Every request but GET carries the token of who asks. 409 tells, with a claim,
// that a greater one is known; 412, with the number of lines, that others lack.
const (
	uploadsPath = "/uploads/"
	genHeader   = "Malla-Upload-Gen"
	nodeHeader  = "Malla-Upload-Node"
	fromHeader  = "Malla-Upload-From"
	haveHeader  = "Malla-Upload-Have"

	maxClaim  = 1 << 20   // bytes of an answer
	maxRecord = 256 << 20 // bytes of the record of the largest upload, and room
)

// errBehind tells that a keeper has other lines than was thought.
var errBehind = errors.New("the record of the upload ends elsewhere")

// A claim is what a node knows of an upload.
type claim struct {
	Taken    taken `json:"taken"`
	Promised token `json:"promised"`
	Lines    int   `json:"lines"`
	Mine     bool  `json:"mine"` // it goes on with it
	Info     Info  `json:"info"`

	from string // who says so
}

// newer compares what two nodes know. Of those with one token, who goes on with
// the upload knows most, however many lines a keeper had a moment later.
func (c claim) newer(o claim) bool {
	if d := c.Taken.compare(o.Taken.token); d != 0 {
		return d > 0
	}
	if c.Mine != o.Mine {
		return c.Mine
	}
	return c.Lines > o.Lines
}

func (s *Store) claim(u *upload) claim {
	u.mu.Lock()
	defer u.mu.Unlock()
	return claim{
		Taken: u.state.taken, Promised: u.state.promised, Lines: u.state.lines, Mine: u.mine,
		Info: u.state.info(u.id), from: s.cfg.Self,
	}
}

// Handler answers other nodes under /uploads/. It belongs on the mutually
// authenticated link between nodes only.
func (s *Store) Handler() http.Handler {
	mux := http.NewServeMux()
	for pattern, serve := range map[string]func(http.ResponseWriter, *http.Request, string) error{
		"GET " + uploadsPath + "{id}":          s.serveClaim,
		"GET " + uploadsPath + "{id}/record":   s.serveRecord,
		"PUT " + uploadsPath + "{id}":          s.serveLines,
		"POST " + uploadsPath + "{id}/promise": s.servePromise,
		"DELETE " + uploadsPath + "{id}":       s.serveDrop,
	} {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			id := r.PathValue("id")
			if !validID.MatchString(id) {
				http.Error(w, "bad id", http.StatusBadRequest)
				return
			}
			// A peer that is stopped must not hold a lock for ever.
			rc := http.NewResponseController(w)
			_ = rc.SetReadDeadline(time.Now().Add(time.Minute)) // not on every kind of connection
			defer func() { _ = rc.SetReadDeadline(time.Time{}) }()
			s.answer(w, id, serve(w, r, id))
		})
	}
	return mux
}

// answer turns an error into what the other node has to know.
func (s *Store) answer(w http.ResponseWriter, id string, err error) {
	switch {
	case err == nil:
	case errors.Is(err, ErrNotFound):
		http.Error(w, "no such upload", http.StatusNotFound)
	case errors.Is(err, ErrMoved):
		http.Error(w, "a greater token is known", http.StatusConflict)
	case errors.Is(err, errBehind):
		http.Error(w, "other lines are here", http.StatusPreconditionFailed)
	case errors.Is(err, errBadEntry):
		http.Error(w, "not a record", http.StatusBadRequest)
	case errors.Is(blobs.OfDisk(err), blobs.ErrFull):
		http.Error(w, "full", http.StatusInsufficientStorage)
	default:
		s.cfg.Logger.Warn("record of an upload not served", "upload", id, "err", err)
		http.Error(w, "internal error", http.StatusInternalServerError)
	}
}

func (s *Store) serveClaim(w http.ResponseWriter, r *http.Request, id string) error {
	u, err := s.get(id)
	if err != nil {
		return err
	}
	c := s.claim(u)
	if c.Lines == 0 {
		return ErrNotFound // being created, or not resumable
	}
	return json.NewEncoder(w).Encode(c)
}

func (s *Store) serveRecord(w http.ResponseWriter, r *http.Request, id string) error {
	u, err := s.get(id)
	if err != nil {
		return err
	}
	f, err := os.Open(s.journal(id))
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := io.Copy(w, &lineReader{src: bufio.NewReaderSize(f, maxLine), left: s.claim(u).Lines}); err != nil {
		panic(http.ErrAbortHandler) // only a cut connection tells that lines are missing
	}
	return nil
}

func (s *Store) serveLines(w http.ResponseWriter, r *http.Request, id string) error {
	t, err := tokenOf(r)
	if err != nil {
		return err
	}
	from, err := strconv.Atoi(r.Header.Get(fromHeader))
	if err != nil || from < 0 {
		return errBadEntry
	}
	u, have, err := s.keep(id, t, from, http.MaxBytesReader(w, r.Body, maxRecord))
	if errors.Is(err, errBehind) {
		w.Header().Set(haveHeader, strconv.Itoa(have))
	}
	if err == nil && u != nil && u.turn.take() {
		s.tidy(u)
		u.turn.give()
	}
	return err
}

func (s *Store) servePromise(w http.ResponseWriter, r *http.Request, id string) error {
	t, err := tokenOf(r)
	if err != nil {
		return err
	}
	u, err := s.get(id)
	if err != nil {
		return err
	}
	c, err := s.promise(u, t)
	if err != nil {
		return err
	}
	return json.NewEncoder(w).Encode(c)
}

func (s *Store) serveDrop(w http.ResponseWriter, r *http.Request, id string) error {
	t, err := tokenOf(r)
	if err != nil {
		return err
	}
	u, err := s.get(id)
	if err != nil {
		return nil // gone already
	}
	c := s.claim(u)
	switch {
	case c.Lines == 0:
		return nil // not what was meant
	case t.compare(c.Promised) < 0:
		return ErrMoved
	}
	return s.drop(u)
}

func tokenOf(r *http.Request) (token, error) {
	gen, err := strconv.ParseUint(r.Header.Get(genHeader), 10, 64)
	node := r.Header.Get(nodeHeader)
	if err != nil || !validID.MatchString(node) {
		return token{}, errBadEntry
	}
	return token{gen, node}, nil
}

// call sends a request to another node; the caller closes the body.
func (s *Store) call(ctx context.Context, node, method, path string, t token, body io.Reader, header ...string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, uploadsPath+path, body)
	if err != nil {
		return nil, err
	}
	req.Header.Set(genHeader, strconv.FormatUint(t.Gen, 10))
	req.Header.Set(nodeHeader, t.Node)
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := s.cfg.Peers.Do(ctx, node, req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode/100 == 2 {
		return resp, nil
	}
	io.Copy(io.Discard, io.LimitReader(resp.Body, 4096)) // so that the connection is used again
	resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusNotFound:
		return nil, ErrNotFound
	case http.StatusConflict:
		return nil, ErrMoved
	case http.StatusPreconditionFailed:
		return resp, errBehind
	}
	return nil, fmt.Errorf("upload record at %s: status %d", node, resp.StatusCode)
}

// asks asks the node for a claim; a promise makes one first.
func (s *Store) asks(ctx context.Context, node, method, path string, t token) (c claim, err error) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Patience)
	defer cancel()
	resp, err := s.call(ctx, node, method, path, t, nil)
	if err != nil {
		return c, err
	}
	defer resp.Body.Close()
	err = json.NewDecoder(io.LimitReader(resp.Body, maxClaim)).Decode(&c)
	c.from = node
	return c, err
}

// forLines is how long so many lines may take to come over.
func (s *Store) forLines(n int) time.Duration {
	return s.cfg.Patience + time.Duration(n)*time.Millisecond
}

// putLines tells the keeper some lines. With errBehind it returns how many the
// keeper has.
func (s *Store) putLines(ctx context.Context, node string, u *upload, b batch) (have int, err error) {
	f, err := os.Open(s.journal(u.id))
	if err != nil {
		return 0, err
	}
	defer f.Close()
	if _, err := f.Seek(b.at, io.SeekStart); err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, s.forLines(b.count))
	defer cancel()
	var body io.Reader = &lineReader{src: bufio.NewReaderSize(f, maxLine), skip: b.skip, left: b.count}
	if b.count <= 16 {
		lines, err := io.ReadAll(body)
		if err != nil {
			return 0, err
		}
		body = bytes.NewReader(lines) // may be sent again on another connection
	}
	resp, err := s.call(ctx, node, http.MethodPut, u.id, b.token, body, fromHeader, strconv.Itoa(b.from))
	if resp == nil {
		return 0, err
	}
	resp.Body.Close()
	if err != nil {
		have, _ = strconv.Atoi(resp.Header.Get(haveHeader))
	}
	return have, err
}

// drops makes the node forget the record.
func (s *Store) drops(ctx context.Context, node, id string, t token) error {
	resp, err := s.call(ctx, node, http.MethodDelete, id, t, nil)
	if err != nil {
		return err
	}
	return resp.Body.Close()
}
