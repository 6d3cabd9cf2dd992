package httpapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Client calls the API of a mesh: any node of it, and where that one cannot be
// reached the next. It remembers the newest state that it has seen, so that what
// it did on one node is there on the next.
//
// A refusal is a *[Problem]; where no node answered, the error is that of the
// network. Set the fields before the first call; the methods may then be called
// by many at once.
type Client struct {
	Base   string       // of a node: http://host:port
	Others []string     // further nodes of the same mesh
	Token  string       // bearer; Login, Signup and Setup set it
	HTTP   *http.Client // nil: one without a time-out, since uploads take their time

	Consistency Consistency // of all calls; "": Session

	mu     sync.Mutex // guards the fields below, and Token
	index  uint64     // newest X-Malla-Index seen
	chosen int        // which node answered last: 0 is Base, then Others
}

// At returns a client of another node of the same mesh, for the same user, that
// finds there whatever this one has seen.
func (c *Client) At(base string) *Client {
	c.mu.Lock()
	defer c.mu.Unlock()
	return &Client{Base: base, Token: c.Token, HTTP: c.HTTP, Consistency: c.Consistency, index: c.index}
}

var defaultHTTP = &http.Client{Transport: &http.Transport{
	Proxy:                 http.ProxyFromEnvironment,
	DialContext:           (&net.Dialer{Timeout: 5 * time.Second, KeepAlive: 15 * time.Second}).DialContext,
	TLSHandshakeTimeout:   5 * time.Second,
	MaxIdleConnsPerHost:   16,
	IdleConnTimeout:       30 * time.Second,
	ExpectContinueTimeout: time.Second,
}}

// ask is one request, to whichever node takes it.
type ask struct {
	method string
	path   string // escaped, with the query
	header http.Header
	body   []byte    // may be sent again
	stream io.Reader // in the place of body; sent once
	size   int64     // of stream; negative: not known
}

// send asks the nodes in turn. What only reads goes on to the next node after
// any failure of the network and after 503; what changes something only where
// the node cannot have got it, or said that it has not done it.
func (c *Client) send(ctx context.Context, a ask) (*http.Response, error) {
	nodes, first := c.nodes()
	reads := a.method == http.MethodGet || a.method == http.MethodHead
	var failed error
	for i := range nodes {
		at := (first + i) % len(nodes)
		sent := &countingReader{src: a.stream}
		res, err := c.sendTo(ctx, nodes[at], a, sent)
		switch {
		case err != nil && ctx.Err() != nil:
			return nil, ctx.Err()
		case err != nil:
			if failed = err; !reads && (!unsent(err) || sent.n > 0) {
				return nil, err
			}
			continue
		case res.StatusCode >= 400:
			c.sawIndex(res)
			p := readProblem(res)
			again := p.Status == http.StatusServiceUnavailable && sent.n == 0 && (reads || !p.Uncertain())
			if failed = p; !again {
				return nil, p
			}
			continue
		}
		c.saw(res, at)
		return res, nil
	}
	return nil, failed
}

// sendTo asks one node.
func (c *Client) sendTo(ctx context.Context, base string, a ask, sent *countingReader) (*http.Response, error) {
	var body io.Reader
	switch {
	case a.stream != nil:
		body = sent
	case a.body != nil:
		body = bytes.NewReader(a.body)
	}
	req, err := http.NewRequestWithContext(ctx, a.method, base+c.Consistency.with(a.path), body)
	if err != nil {
		return nil, err
	}
	if a.stream != nil {
		req.ContentLength = a.size
		if a.size > 1<<20 {
			req.Header.Set("Expect", "100-continue") // a refusal comes before the bytes go
		}
	}
	for name, values := range a.header {
		req.Header[name] = values
	}
	token, index := c.credentials()
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	if index > 0 {
		req.Header.Set(indexHeader, strconv.FormatUint(index, 10))
	}
	client := c.HTTP
	if client == nil {
		client = defaultHTTP
	}
	return client.Do(req)
}

// unsent tells whether a request certainly did not reach a node.
func unsent(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}

// nodes lists where to ask, and which is asked first.
func (c *Client) nodes() ([]string, int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	nodes := []string{strings.TrimRight(c.Base, "/")}
	for _, other := range c.Others {
		nodes = append(nodes, strings.TrimRight(other, "/"))
	}
	return nodes, c.chosen % len(nodes)
}

func (c *Client) credentials() (token string, index uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.Token, c.index
}

func (c *Client) setToken(token string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.Token = token
}

// saw remembers which node answered, and how new its answer was.
func (c *Client) saw(res *http.Response, at int) {
	c.sawIndex(res)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.chosen = at
}

func (c *Client) sawIndex(res *http.Response) {
	index, err := strconv.ParseUint(res.Header.Get(indexHeader), 10, 64)
	if err != nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.index = max(c.index, index)
}

// readProblem reads a refusal to its end. What is none of ours (a proxy's) is
// made one.
func readProblem(res *http.Response) *Problem {
	defer res.Body.Close()
	text, err := io.ReadAll(io.LimitReader(res.Body, maxJSON))
	p := &Problem{}
	kind, _, _ := mime.ParseMediaType(res.Header.Get("Content-Type"))
	if err != nil || !strings.HasSuffix(kind, "json") || json.Unmarshal(text, p) != nil || p.Detail == "" {
		p = statusProblem(res.StatusCode, "the server answered %s", res.Status)
	}
	p.Status = res.StatusCode
	if seconds, err := strconv.Atoi(res.Header.Get("Retry-After")); err == nil {
		p.RetryAfter = time.Duration(seconds) * time.Second
	}
	return p
}

// call asks, with in as JSON unless it is nil, and reads the answer into out
// unless that is nil.
func (c *Client) call(ctx context.Context, method, path string, in, out any) error {
	a := ask{method: method, path: path, header: http.Header{"Accept": {"application/json"}}}
	if in != nil {
		body, err := json.Marshal(in)
		if err != nil {
			return fmt.Errorf("write the request: %w", err)
		}
		a.body = body
		a.header.Set("Content-Type", "application/json")
	}
	res, err := c.send(ctx, a)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if out == nil {
		io.Copy(io.Discard, io.LimitReader(res.Body, maxJSON)) // so that the connection is used again
		return nil
	}
	if err := json.NewDecoder(res.Body).Decode(out); err != nil {
		return fmt.Errorf("%s %s: read the answer: %w", method, path, err)
	}
	return nil
}

// Transient tells whether an error is one of those that pass by themselves: a
// node that is gone, a mesh that cannot agree, too much at once.
func Transient(err error) bool {
	var p *Problem
	if errors.As(err, &p) {
		switch p.Status {
		case http.StatusServiceUnavailable, http.StatusTooManyRequests, http.StatusBadGateway, http.StatusGatewayTimeout, http.StatusLocked:
			return true
		}
		return false
	}
	var network *url.Error
	return err != nil && !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) &&
		(errors.As(err, &network) || errors.Is(err, io.ErrUnexpectedEOF))
}

// patience waits longer after each failure in a row, as long as the server said
// or up to eight seconds, and gives up after some.
type patience struct {
	failures int
	most     int // 0: mostFailures
}

const mostFailures = 6

// wait returns nil when it is time to try again, and err when it is not worth it.
func (p *patience) wait(ctx context.Context, err error) error {
	most := p.most
	if most == 0 {
		most = mostFailures
	}
	if p.failures++; p.failures >= most || !Transient(err) {
		return err
	}
	wait := min(125*time.Millisecond<<p.failures, 8*time.Second)
	var told *Problem
	if errors.As(err, &told) && told.RetryAfter > 0 {
		wait = min(told.RetryAfter, 8*time.Second)
	}
	if !pause(ctx.Done(), wait) {
		return ctx.Err()
	}
	return nil
}

// countingReader counts what was read, and tells.
type countingReader struct {
	src  io.Reader
	n    int64
	tell func(n int64) // nil: nobody
}

func (r *countingReader) Read(b []byte) (int, error) {
	n, err := r.src.Read(b)
	r.n += int64(n)
	if n > 0 && r.tell != nil {
		r.tell(r.n)
	}
	return n, err
}
