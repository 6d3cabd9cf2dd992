package httpapi

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
)

// Delete takes an item out of the library, into the trash where the mesh keeps
// one: the answer says until when.
func (c *Client) Delete(ctx context.Context, ref string) (Deleted, error) {
	var gone Deleted
	err := c.call(ctx, http.MethodDelete, mediaPath(ref), nil, &gone)
	return gone, err
}

// TrashQuery chooses a part of the trash. The zero query is all of it.
type TrashQuery struct {
	Limit  int    // items of one answer; 0: all
	Cursor string // Next of the answer before
}

// Trash lists what was deleted and can be restored, the latest first.
func (c *Client) Trash(ctx context.Context, q TrashQuery) (TrashList, error) {
	v := url.Values{}
	if q.Limit > 0 {
		v.Set("limit", strconv.Itoa(q.Limit))
	}
	if q.Cursor != "" {
		v.Set("cursor", q.Cursor)
	}
	return get[TrashList](ctx, c, "/trash?"+v.Encode())
}

// Restore puts an item of the trash back into the library, under its id. Where
// its name is taken it gets another: the answer has it.
func (c *Client) Restore(ctx context.Context, id string) (Restored, error) {
	var back Restored
	err := c.call(ctx, http.MethodPost, "/trash/"+url.PathEscape(id)+"/restore", nil, &back)
	return back, err
}

// Purge deletes an item of the trash for good.
func (c *Client) Purge(ctx context.Context, id string) error {
	return c.call(ctx, http.MethodDelete, "/trash/"+url.PathEscape(id), nil, nil)
}

// EmptyTrash deletes for good all that was in the trash when a list with that
// Index was made, and returns how much that was.
func (c *Client) EmptyTrash(ctx context.Context, index uint64) (int, error) {
	var gone Emptied
	err := c.call(ctx, http.MethodDelete, "/trash?confirm=true&index="+strconv.FormatUint(index, 10), nil, &gone)
	return gone.Deleted, err
}
