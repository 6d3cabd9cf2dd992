package httpapi

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// Event is one server-sent event: job, queue, media, trash, node,
// stats, ready or reset.
type Event struct {
	ID   string // where to resume after it; that of an earlier one where it has none
	Name string
	Data json.RawMessage
}

// Job is the job of a job event.
func (e Event) Job() (Job, error) { return eventData[Job](e) }

// Media is the item of a media event, and whether it was deleted: it has its id
// and its name alone then.
func (e Event) Media() (m Media, deleted bool, err error) {
	data, err := eventData[struct {
		Media
		Deleted bool `json:"deleted"`
	}](e)
	return data.Media, data.Deleted, err
}

func eventData[T any](e Event) (T, error) {
	var v T
	if err := json.Unmarshal(e.Data, &v); err != nil {
		return v, fmt.Errorf("read a %s event: %w", e.Name, err)
	}
	return v, nil
}

// Events calls each with what happens, from the event after lastID on, or from
// now where that is empty. Where the connection ends it goes on with the next
// node and misses nothing. It returns the error of each or of ctx, or when no
// node answers any more.
func (c *Client) Events(ctx context.Context, lastID string, each func(Event) error) error {
	var tries patience
	for {
		stopped, err := c.readEvents(ctx, lastID, func(e Event) error {
			tries.failures, lastID = 0, e.ID
			return each(e)
		})
		if stopped {
			return err
		}
		if err == nil {
			err = io.ErrUnexpectedEOF // the node is going down
		}
		if err := tries.wait(ctx, err); err != nil {
			return err
		}
	}
}

// readEvents reads one connection to its end. It returns whether each stopped it.
func (c *Client) readEvents(ctx context.Context, lastID string, each func(Event) error) (bool, error) {
	header := http.Header{"Accept": {"text/event-stream"}}
	if lastID != "" {
		header.Set("Last-Event-ID", lastID)
	}
	res, err := c.send(ctx, ask{method: http.MethodGet, path: "/events", header: header})
	if err != nil {
		return false, err
	}
	defer res.Body.Close()
	lines := bufio.NewScanner(res.Body)
	lines.Buffer(nil, 4<<20)
	e := Event{ID: lastID}
	for lines.Scan() {
		field, value, _ := strings.Cut(lines.Text(), ":")
		value = strings.TrimPrefix(value, " ")
		switch field {
		case "id":
			e.ID = value
		case "event":
			e.Name = value
		case "data":
			e.Data = json.RawMessage(value)
		case "":
			if lines.Text() != "" || e.Name == "" {
				continue // a comment, or the end of nothing
			}
			if err := each(e); err != nil {
				return true, err
			}
			e.Name, e.Data = "", nil
		}
	}
	if ctx.Err() != nil {
		return true, ctx.Err()
	}
	if err := lines.Err(); err != nil && !errors.Is(err, bufio.ErrTooLong) {
		return false, fmt.Errorf("%w: %w", io.ErrUnexpectedEOF, err)
	}
	return false, nil
}
