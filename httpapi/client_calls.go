package httpapi

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// Signup makes an account and signs in.
func (c *Client) Signup(ctx context.Context, username, password string) (Token, error) {
	return c.signIn(ctx, "/auth/signup", credentials{username, password})
}

// Login signs in.
func (c *Client) Login(ctx context.Context, username, password string) (Token, error) {
	return c.signIn(ctx, "/auth/login", credentials{username, password})
}

// Setup makes the first administrator with the one-time token that the node
// printed, and signs in.
func (c *Client) Setup(ctx context.Context, setupToken, username, password string) (Token, error) {
	return c.signIn(ctx, "/auth/setup", map[string]string{"token": setupToken, "username": username, "password": password})
}

func (c *Client) signIn(ctx context.Context, path string, who any) (Token, error) {
	var t Token
	if err := c.call(ctx, http.MethodPost, path, who, &t); err != nil {
		return t, err
	}
	c.setToken(t.AccessToken)
	return t, nil
}

// Logout ends all sessions of the user, everywhere.
func (c *Client) Logout(ctx context.Context) error {
	if err := c.call(ctx, http.MethodPost, "/auth/logout", nil, nil); err != nil {
		return err
	}
	c.setToken("")
	return nil
}

// Me says who is signed in.
func (c *Client) Me(ctx context.Context) (Me, error) { return get[Me](ctx, c, "/auth/me") }

func get[T any](ctx context.Context, c *Client, path string) (T, error) {
	var v T
	err := c.call(ctx, http.MethodGet, path, nil, &v)
	return v, err
}

// MediaQuery chooses a part of the library. The zero query is all of it.
type MediaQuery struct {
	Query  string // words in the name or the tags
	Kind   string // audio or video
	Sort   string // name, created, size, duration; with a - before it the other way round
	Limit  int    // items of one answer; 0: all
	Cursor string // Next of the answer before
}

// Media lists the library, or a part of it.
func (c *Client) Media(ctx context.Context, q MediaQuery) (MediaList, error) {
	v := url.Values{}
	for name, value := range map[string]string{"q": q.Query, "kind": q.Kind, "sort": q.Sort, "cursor": q.Cursor} {
		if value != "" {
			v.Set(name, value)
		}
	}
	if q.Limit > 0 {
		v.Set("limit", strconv.Itoa(q.Limit))
	}
	return get[MediaList](ctx, c, "/media?"+v.Encode())
}

// mediaPath is the path of an item, by its name or id.
func mediaPath(ref string) string { return "/media/" + url.PathEscape(ref) }

// Info returns one item, by its name or id.
func (c *Client) Info(ctx context.Context, ref string) (Media, error) {
	return get[Media](ctx, c, mediaPath(ref)+"/info")
}

// SignURL makes a link that opens one item without credentials, for at most four
// hours; zero minutes are those.
func (c *Client) SignURL(ctx context.Context, ref string, minutes int) (SignedURL, error) {
	path := mediaPath(ref) + "/url"
	if minutes > 0 {
		path += "?minutes=" + strconv.Itoa(minutes)
	}
	var s SignedURL
	err := c.call(ctx, http.MethodPost, path, nil, &s)
	return s, err
}

// Convert queues a conversion.
func (c *Client) Convert(ctx context.Context, ask ConvertRequest) (Converting, error) {
	var answer Converting
	err := c.call(ctx, http.MethodPost, "/convert", ask, &answer)
	return answer, err
}

// ConvertAll queues the same conversion of several files, and returns what
// became of each, in their order. Its error is that no file could be taken.
func (c *Client) ConvertAll(ctx context.Context, files []string, ask ConvertRequest) ([]Queueing, error) {
	ask.InputFile, ask.InputFiles = "", files
	answer, err := c.Convert(ctx, ask)
	return answer.Jobs, err
}

// Jobs lists the user's newest conversions; empty status and limit 0 mean any
// and the default.
func (c *Client) Jobs(ctx context.Context, status string, limit int) ([]Job, error) {
	v := url.Values{}
	if status != "" {
		v.Set("status", status)
	}
	if limit > 0 {
		v.Set("limit", strconv.Itoa(limit))
	}
	list, err := get[struct {
		Jobs []Job `json:"jobs"`
	}](ctx, c, "/jobs?"+v.Encode())
	return list.Jobs, err
}

// Job returns one conversion with its tasks and attempts.
func (c *Client) Job(ctx context.Context, id string) (Job, error) {
	return get[Job](ctx, c, "/jobs/"+url.PathEscape(id))
}

// Cancel stops a conversion that has not ended.
func (c *Client) Cancel(ctx context.Context, id string) error {
	return c.call(ctx, http.MethodDelete, "/jobs/"+url.PathEscape(id), nil, nil)
}

// Retry queues a conversion again that failed or was canceled.
func (c *Client) Retry(ctx context.Context, id string) error {
	return c.call(ctx, http.MethodPost, "/jobs/"+url.PathEscape(id)+"/retry", nil, nil)
}

// SetPriority moves a conversion forward or back in the queue: low, normal, or
// high, which is for administrators.
func (c *Client) SetPriority(ctx context.Context, id, priority string) error {
	return c.call(ctx, http.MethodPatch, "/jobs/"+url.PathEscape(id), JobChange{priority}, nil)
}

// JobLog returns in words what a conversion was to do, what became of it, and
// why.
func (c *Client) JobLog(ctx context.Context, id string) (string, error) {
	res, err := c.send(ctx, ask{method: http.MethodGet, path: "/jobs/" + url.PathEscape(id) + "/log"})
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		return "", fmt.Errorf("read the log of job %s: %w", id, err)
	}
	return string(text), nil
}

// WaitJob returns the job when it has ended, well or not. Each time it looks it
// calls seen, which may be nil. Nodes that die and meshes that cannot agree for
// a while do not end the waiting; ctx does.
func (c *Client) WaitJob(ctx context.Context, id string, seen func(Job)) (Job, error) {
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, time.Second) {
		job, err := c.Job(ctx, id)
		switch {
		case err != nil && !Transient(err):
			return job, err
		case err == nil && seen != nil:
			seen(job)
		}
		if err == nil && job.Ended() {
			return job, nil
		}
		if !pause(ctx.Done(), wait) {
			return job, ctx.Err()
		}
	}
}

// Share makes a public link to an item, for one minute to seven days.
func (c *Client) Share(ctx context.Context, ref string, minutes int) (Shared, error) {
	var s Shared
	err := c.call(ctx, http.MethodPost, fmt.Sprintf("/share/%s?minutes=%d", url.PathEscape(ref), minutes), nil, &s)
	return s, err
}

// Shares lists the public links that live.
func (c *Client) Shares(ctx context.Context) ([]Share, error) {
	list, err := get[struct {
		Shares []Share `json:"shares"`
	}](ctx, c, "/shares")
	return list.Shares, err
}

// Unshare ends a public link, named by its id.
func (c *Client) Unshare(ctx context.Context, id string) error {
	return c.call(ctx, http.MethodDelete, "/shares/"+url.PathEscape(id), nil, nil)
}

// Nodes lists the nodes of the mesh.
func (c *Client) Nodes(ctx context.Context) ([]NodeStatus, error) {
	nodes, _, err := c.Mesh(ctx)
	return nodes, err
}

// Mesh lists the nodes of the mesh and tells what its agreement bears.
func (c *Client) Mesh(ctx context.Context) ([]NodeStatus, Strength, error) {
	list, err := get[struct {
		Nodes    []NodeStatus `json:"nodes"`
		Strength Strength     `json:"strength"`
	}](ctx, c, "/nodes")
	return list.Nodes, list.Strength, err
}

// DrainNode makes the node, an id or a name, be emptied; [Client.WaitDrained]
// waits for its end. It is for administrators.
func (c *Client) DrainNode(ctx context.Context, node string) error {
	return c.call(ctx, http.MethodPost, "/nodes/"+url.PathEscape(node)+"/drain", nil, nil)
}

// UndrainNode makes the node keep files and run tasks again.
func (c *Client) UndrainNode(ctx context.Context, node string) error {
	return c.call(ctx, http.MethodDelete, "/nodes/"+url.PathEscape(node)+"/drain", nil, nil)
}

// ForgetNode takes the node, an id or a name, out of the mesh for good. Where it
// runs and is not empty, or the others have not copied what it kept, that is
// refused, unless forced: then what only it has is lost. It is for administrators.
func (c *Client) ForgetNode(ctx context.Context, node string, how Forgetting) error {
	path := "/nodes/" + url.PathEscape(node)
	if how == Forced {
		path += "?force=true"
	}
	return c.call(ctx, http.MethodDelete, path, nil, nil)
}

// Forgetting is how a node is forgotten.
type Forgetting int

const (
	Safely Forgetting = iota // not while something would be lost
	Forced
)

// WaitDrained returns when the node, an id or a name, is empty, and an error
// where it is not being emptied any more. Each time it looks it calls seen,
// which may be nil. Nodes that die do not end the waiting; ctx does.
func (c *Client) WaitDrained(ctx context.Context, node string, seen func(NodeStatus)) error {
	for {
		nodes, err := c.Nodes(ctx)
		if err != nil && !Transient(err) {
			return err
		}
		for _, n := range nodes {
			if n.ID != node && n.Name != node {
				continue
			}
			if seen != nil {
				seen(n)
			}
			switch n.Draining {
			case IsEmpty:
				return nil
			case "":
				return fmt.Errorf("node %s is not being emptied any more", n.Name)
			}
		}
		if !pause(ctx.Done(), time.Second) {
			return ctx.Err()
		}
	}
}

// WorkerStats says what the nodes convert.
func (c *Client) WorkerStats(ctx context.Context) (WorkerStats, error) {
	return get[WorkerStats](ctx, c, "/workers/stats")
}

// QueueStats counts the user's jobs.
func (c *Client) QueueStats(ctx context.Context) (QueueStats, error) {
	return get[QueueStats](ctx, c, "/queue/stats")
}

// Formats lists what can be converted to, with the options of each.
func (c *Client) Formats(ctx context.Context) ([]Format, error) {
	list, err := get[formatList](ctx, c, "/formats")
	return list.Formats, err
}

// Purposes lists what conversions can be for.
func (c *Client) Purposes(ctx context.Context) ([]Purpose, error) {
	list, err := get[formatList](ctx, c, "/formats")
	return list.Purposes, err
}

// Version says what answers.
func (c *Client) Version(ctx context.Context) (VersionInfo, error) {
	return get[VersionInfo](ctx, c, "/version")
}

// Health returns nil where a node can serve.
func (c *Client) Health(ctx context.Context) error {
	return c.call(ctx, http.MethodGet, "/health", nil, nil)
}

// Ready returns nil where a node can also take changes.
func (c *Client) Ready(ctx context.Context) error {
	return c.call(ctx, http.MethodGet, "/ready", nil, nil)
}
