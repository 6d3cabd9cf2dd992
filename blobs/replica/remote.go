package replica

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"malla/blobs"
)

// A remote calls other nodes' Handler.
type remote struct {
	do    func(ctx context.Context, node string, req *http.Request) (*http.Response, error)
	stall time.Duration
}

var errStalled = errors.New("nothing moved for too long")

// watch returns a context that ends when kick was not called for d. Stop frees
// it.
func watch(ctx context.Context, d time.Duration) (_ context.Context, kick, stop func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	timer := time.AfterFunc(d, func() { cancel(errStalled) })
	kick = func() { timer.Reset(d) }
	stop = func() {
		timer.Stop()
		cancel(nil)
	}
	return ctx, kick, stop
}

// A kicked calls kick and counts whenever bytes move.
type kicked struct {
	io.Reader
	kick func()
	n    int64
}

func (k *kicked) Read(p []byte) (int, error) {
	n, err := k.Reader.Read(p)
	k.n += int64(n)
	if n > 0 {
		k.kick()
	}
	return n, err
}

func (k *kicked) Close() error { return nil }

// get calls use with the chunk's bytes from that offset on as they arrive from
// the node, and the size of the whole chunk, or -1. The bytes are not verified.
// It gives up when nothing arrives for as long as patience.
func (p remote) get(ctx context.Context, patience time.Duration, node string, ref blobs.Ref, from int64, use func(body *kicked, size int64) error) error {
	ctx, kick, stop := watch(ctx, patience)
	defer stop()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, chunksPath+ref.String(), nil)
	if err != nil {
		return err
	}
	if from > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", from))
	}
	resp, err := p.send(ctx, node, req)
	if err != nil {
		return fmt.Errorf("fetch %s from %s: %w", ref.Short(), node, err)
	}
	defer resp.Body.Close()
	body, size := &kicked{Reader: resp.Body, kick: kick}, resp.ContentLength
	switch {
	case from == 0:
	case resp.StatusCode == http.StatusPartialContent:
		if !strings.HasPrefix(resp.Header.Get("Content-Range"), fmt.Sprintf("bytes %d-", from)) {
			return fmt.Errorf("fetch %s from %s: asked for byte %d, got %q", ref.Short(), node, from, resp.Header.Get("Content-Range"))
		}
		if size >= 0 {
			size += from
		}
	default: // an older version sends the whole
		if _, err := io.CopyN(io.Discard, body, from); err != nil {
			return fmt.Errorf("fetch %s from %s: %w", ref.Short(), node, cause(ctx, err))
		}
	}
	if err := use(body, size); err != nil {
		return fmt.Errorf("fetch %s from %s: %w", ref.Short(), node, cause(ctx, err))
	}
	return nil
}

// put sends the chunk to the node, which has it durably when put returns nil.
func (p remote) put(ctx context.Context, node, upload string, ref blobs.Ref, c blobs.Chunk) error {
	ctx, kick, stop := watch(ctx, p.stall)
	defer stop()
	body := func() (io.ReadCloser, error) {
		return &kicked{Reader: io.NewSectionReader(c, 0, c.Size()), kick: kick}, nil
	}
	first, _ := body()
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, chunksPath+ref.String(), first)
	if err != nil {
		return err
	}
	req.ContentLength = c.Size()
	if req.ContentLength == 0 {
		req.Body = http.NoBody // else the length counts as unknown
	}
	req.GetBody = body // lets the link try again on another connection
	req.Header.Set(uploadHeader, upload)
	resp, err := p.send(ctx, node, req)
	if err != nil {
		return fmt.Errorf("put %s to %s: %w", ref.Short(), node, err)
	}
	return resp.Body.Close()
}

// ask asks the node about all refs, in batches, and calls each with the
// answers of a batch.
func (p remote) ask(ctx context.Context, node string, q question, upload string, refs []blobs.Ref, each func(ref blobs.Ref, yes bool)) error {
	for len(refs) > 0 {
		n := min(len(refs), q.batch())
		if err := p.askBatch(ctx, node, q, upload, refs[:n], each); err != nil {
			return fmt.Errorf("ask %s to %s %d chunks: %w", node, q, n, err)
		}
		refs = refs[n:]
	}
	return nil
}

func (p remote) askBatch(ctx context.Context, node string, q question, upload string, refs []blobs.Ref, each func(ref blobs.Ref, yes bool)) error {
	// Nothing moves while the other node reads its disk to answer.
	ctx, _, stop := watch(ctx, 2*p.stall)
	defer stop()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, chunksPath+string(q), bytes.NewReader(encodeRefs(refs)))
	if err != nil {
		return err
	}
	req.Header.Set(uploadHeader, upload)
	resp, err := p.send(ctx, node, req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	answers, err := io.ReadAll(io.LimitReader(resp.Body, int64(len(refs))+1))
	if err != nil {
		return cause(ctx, err)
	}
	if len(answers) != len(refs) {
		return fmt.Errorf("%d answers to %d questions", len(answers), len(refs))
	}
	for i, ref := range refs {
		each(ref, answers[i] == '1')
	}
	return nil
}

// send returns the answer, whose body the caller closes, or the error that its
// status means.
func (p remote) send(ctx context.Context, node string, req *http.Request) (*http.Response, error) {
	resp, err := p.do(ctx, node, req)
	if err != nil {
		return nil, cause(ctx, err)
	}
	if resp.StatusCode/100 == 2 {
		return resp, nil
	}
	// Read to the end, so that the connection can be used again.
	io.Copy(io.Discard, io.LimitReader(resp.Body, 4096))
	return nil, errors.Join(errorOf(resp.StatusCode), resp.Body.Close())
}

// cause names a stall, which as an error looks like any ended context.
func cause(ctx context.Context, err error) error {
	if errors.Is(context.Cause(ctx), errStalled) {
		return errStalled
	}
	return err
}
