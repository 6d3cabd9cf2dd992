package httpapi

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"time"

	"malla/cluster/state"
	"malla/httpapi/auth"
)

// find returns the caller's item of that name or id. What is another's does not
// exist.
func (c *call) find(ref string) (state.Media, error) {
	if m, ok := c.view.MediaByName(c.user(), ref); ok {
		return m, nil
	}
	if m, ok := c.view.Media(state.MediaID(ref)); ok && m.Owner == c.user() {
		return m, nil
	}
	return state.Media{}, state.Errorf(state.NotFound, "there is no file of that name or id in your library")
}

// mediaOf is an item as it goes over the wire.
func mediaOf(m *state.Media) Media {
	item := Media{
		ID: string(m.ID), Name: m.Name, Kind: m.Content.Kind, Type: m.Content.Type, Size: m.Content.Blob.Size, SHA256: m.Content.Blob.SHA256.String(),
		Duration: m.Content.Duration, Streams: []Stream{}, Tags: m.Content.Tags, CreatedAt: wireTime(m.CreatedAt), JobID: string(m.From),
	}
	for _, s := range m.Content.Streams {
		item.Streams = append(item.Streams, Stream{
			Type: s.Type, Codec: s.Codec, Width: s.Width, Height: s.Height, FPS: s.FPS,
			Channels: s.Channels, SampleRate: s.SampleRate, BitRate: s.BitRate, Language: s.Language,
		})
	}
	if item.Tags == nil {
		item.Tags = map[string]string{}
	}
	return item
}

const maxPage = 1000 // items of one part of a list

// limit is how many items of a list are wanted at once; 0: all.
func (c *call) limit() (int, error) {
	text := c.query("limit")
	if text == "" {
		return 0, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		return 0, state.InvalidField("limit", "must be a number")
	}
	return min(max(n, 1), maxPage), nil
}

// listMedia answers with the whole library, or with a part of it that ?q=,
// ?kind=, ?sort=, ?limit= and ?cursor= choose.
func (c *call) listMedia() error {
	q := c.r.URL.Query()
	order, ok := mediaOrders[q.Get("sort")]
	if !ok {
		return state.InvalidField("sort", "must be one of name, created, size, duration, with a - before it for the other way round")
	}
	limit, err := c.limit()
	if err != nil {
		return err
	}
	words := strings.Fields(strings.ToLower(q.Get("q")))
	var found []*state.Media
	for m := range c.view.MediaOf(c.user()) {
		if kind := q.Get("kind"); (kind == "" || kind == m.Content.Kind) && m.Matches(words) {
			found = append(found, m)
		}
	}
	slices.SortFunc(found, order)
	if text := q.Get("cursor"); text != "" {
		after, err := readCursor(text)
		if err != nil {
			return err
		}
		first, _ := slices.BinarySearchFunc(found, after, func(m, after *state.Media) int {
			return cmp.Or(order(m, after), -1) // the item itself was in the part before
		})
		found = found[first:]
	}
	next := ""
	if limit > 0 && len(found) > limit {
		found = found[:limit]
		next = writeCursor(found[limit-1])
	}
	return c.sendMedia(found, next)
}

type mediaOrder = func(a, b *state.Media) int

func byName(a, b *state.Media) int { return cmp.Compare(a.Name, b.Name) }

func byCreated(a, b *state.Media) int {
	return cmp.Or(a.CreatedAt.Compare(b.CreatedAt), byName(a, b))
}

func bySize(a, b *state.Media) int {
	return cmp.Or(cmp.Compare(a.Content.Blob.Size, b.Content.Blob.Size), byName(a, b))
}

func byDuration(a, b *state.Media) int {
	return cmp.Or(cmp.Compare(a.Content.Duration, b.Content.Duration), byName(a, b))
}

func backward(order mediaOrder) mediaOrder {
	return func(a, b *state.Media) int { return order(b, a) }
}

// mediaOrders: value of ?sort= -> order of the list.
var mediaOrders = map[string]mediaOrder{
	"": byName, "name": byName, "-name": backward(byName),
	"created": byCreated, "-created": backward(byCreated),
	"size": bySize, "-size": backward(bySize),
	"duration": byDuration, "-duration": backward(byDuration),
}

// cursor is where a list goes on: the last item that was told, as far as the
// orders look at it. The item itself may be gone by then.
type cursor struct {
	Name     string    `json:"n"`
	Created  time.Time `json:"c"`
	Size     int64     `json:"s"`
	Duration float64   `json:"d"`
}

func writeCursor(m *state.Media) string {
	text, err := json.Marshal(cursor{m.Name, m.CreatedAt, m.Content.Blob.Size, m.Content.Duration})
	if err != nil {
		return "" // a duration that is no number: the list ends here
	}
	return base64.RawURLEncoding.EncodeToString(text)
}

func readCursor(text string) (*state.Media, error) {
	bad := state.InvalidField("cursor", "must be the next of an earlier answer")
	raw, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		return nil, bad
	}
	var k cursor
	if json.Unmarshal(raw, &k) != nil {
		return nil, bad
	}
	m := &state.Media{Name: k.Name, CreatedAt: k.Created}
	m.Content.Blob.Size, m.Content.Duration = k.Size, k.Duration
	return m, nil
}

func (c *call) mediaInfo() error {
	m, err := c.find(c.param("ref"))
	if err != nil {
		return err
	}
	return c.send(mediaOf(&m))
}

// readMedia serves an item to its owner, or to whoever has a signed link to it.
func (c *call) readMedia() error {
	if c.caller.Linked {
		return c.readLinked()
	}
	m, err := c.find(c.param("ref"))
	if err != nil {
		return err
	}
	u, session := c.caller.User, c.caller.Session
	return c.serveMedia(m, serving{allowed: func(view *state.View) bool {
		now, ok := view.Media(m.ID)
		return ok && now.Owner == u.ID && !c.api.sessions.Ended(view, u, session)
	}})
}

func (c *call) readLinked() error {
	id, q := state.MediaID(c.param("ref")), c.r.URL.Query()
	m, err := c.api.links.Opens(c.view, id, q)
	if err != nil {
		return err
	}
	return c.serveMedia(m, serving{embed: true, allowed: func(view *state.View) bool {
		_, err := c.api.links.Opens(view, id, q)
		return err == nil
	}})
}

// signMedia makes a link that opens one item without credentials, for ?minutes=
// (240 at most, which is also the default: a film is played by many requests).
func (c *call) signMedia() error {
	m, err := c.find(c.param("ref"))
	if err != nil {
		return err
	}
	ttl := auth.MaxLinkTime
	if text := c.query("minutes"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > int(auth.MaxLinkTime.Minutes()) {
			return state.InvalidField("minutes", "must be from 1 to %d", int(auth.MaxLinkTime.Minutes()))
		}
		ttl = time.Duration(n) * time.Minute
	}
	query, expires := c.api.links.Sign(c.caller.User, m.ID, ttl)
	return c.send(SignedURL{URL: "/media/" + string(m.ID) + "?" + query, ExpiresIn: int(ttl.Minutes()), ExpiresAt: wireTime(expires)})
}
