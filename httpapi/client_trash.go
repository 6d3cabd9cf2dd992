package httpapi

import (
	"context"
	"net/http"
	"net/url"
)

// Delete takes an item out of the library, into the trash where the mesh keeps
// one: the answer says until when.
func (c *Client) Delete(ctx context.Context, ref string) (Deleted, error) {
	var gone Deleted
	err := c.call(ctx, http.MethodDelete, mediaPath(ref), nil, &gone)
	return gone, err
}

// Trash lists what was deleted and can be restored, the latest first.
func (c *Client) Trash(ctx context.Context) (TrashList, error) {
	return get[TrashList](ctx, c, "/trash")
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

// EmptyTrash deletes all that is in the trash for good, and returns how much
// that was.
func (c *Client) EmptyTrash(ctx context.Context) (int, error) {
	var gone Emptied
	err := c.call(ctx, http.MethodDelete, "/trash?confirm=true", nil, &gone)
	return gone.Deleted, err
}
