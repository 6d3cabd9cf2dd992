package httpapi

import (
	"context"
	"net/http"
	"time"
)

// RotateSecret makes the mesh replace its secret; [Client.WaitRotated] waits for
// its end. It is for administrators.
func (c *Client) RotateSecret(ctx context.Context, ask RotateRequest) (SecretStatus, error) {
	var s SecretStatus
	return s, c.call(ctx, http.MethodPost, "/cluster/secret/rotate", ask, &s)
}

// Secret tells how far the mesh is in replacing its secret. It is for
// administrators.
func (c *Client) Secret(ctx context.Context) (SecretStatus, error) {
	return get[SecretStatus](ctx, c, "/cluster/secret")
}

// WaitRotated returns when the mesh is not replacing its secret, or not any more.
// Each time it looks it calls seen, which may be nil. Nodes that die do not end
// the waiting; ctx does.
func (c *Client) WaitRotated(ctx context.Context, seen func(SecretStatus)) (SecretStatus, error) {
	for {
		s, err := c.Secret(ctx)
		switch {
		case err == nil:
			if seen != nil {
				seen(s)
			}
			if s.Phase == "settled" {
				return s, nil
			}
		case !Transient(err):
			return s, err
		}
		if !pause(ctx.Done(), time.Second) {
			return s, ctx.Err()
		}
	}
}
