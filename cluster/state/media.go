package state

import (
	"fmt"
	"path"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"malla/blobs"
)

// MediaID names an item of a library.
type MediaID string

// MaxNameLen is the longest name of an item, in bytes.
const MaxNameLen = 255

// A Media is a named audio or video item of a user's library.
type Media struct {
	ID        MediaID   `json:"id"`
	Owner     UserID    `json:"owner"`
	Name      string    `json:"name"`
	Content   Content   `json:"content"`
	CreatedAt time.Time `json:"created_at"`
	Created   uint64    `json:"created"`  // log index
	Modified  uint64    `json:"modified"` // log index of the last change
	From      JobID     `json:"from,omitempty"`

	text string // name and tags in lower case
}

// Content is what the bytes of an item are, as far as the probe told.
type Content struct {
	Blob     blobs.Blob        `json:"blob"`
	Type     string            `json:"type"`     // MIME type, by our own sniffing and probe
	Kind     string            `json:"kind"`     // "audio" or "video"
	Duration float64           `json:"duration"` // seconds
	Streams  []Stream          `json:"streams,omitempty"`
	Tags     map[string]string `json:"tags,omitempty"` // title, artist, ...

	// What a conversion must know, so that no worker asks the file again.
	Container string     `json:"container,omitempty"` // by our own sniffing
	Estimated bool       `json:"estimated,omitempty"` // Duration may be off by some per cent
	BitRate   int64      `json:"bit_rate,omitempty"`  // bits per second of the whole
	Chapters  int        `json:"chapters,omitempty"`
	Index     blobs.Blob `json:"index,omitzero"` // of a film: when its pictures are shown and where they can be cut
}

// A Stream is one track of an item.
type Stream struct {
	Type       string  `json:"type"` // video, audio, subtitle, cover, data
	Codec      string  `json:"codec"`
	Width      int     `json:"width,omitempty"`  // as seen, after rotation
	Height     int     `json:"height,omitempty"` // as seen, after rotation
	FPS        float64 `json:"fps,omitempty"`
	Channels   int     `json:"channels,omitempty"`
	SampleRate int     `json:"sample_rate,omitempty"` // hertz
	BitRate    int64   `json:"bit_rate,omitempty"`    // bits per second
	Language   string  `json:"language,omitempty"`

	Index        int     `json:"index,omitempty"` // number in the file
	Profile      string  `json:"profile,omitempty"`
	PixFmt       string  `json:"pix_fmt,omitempty"`
	Rotation     int     `json:"rotation,omitempty"` // degrees clockwise from stored to seen
	SampleAspect float64 `json:"sample_aspect,omitempty"`
	Interlaced   bool    `json:"interlaced,omitempty"`
	Layout       string  `json:"layout,omitempty"`
	Start        float64 `json:"start,omitempty"`    // seconds
	Duration     float64 `json:"duration,omitempty"` // seconds
	Default      bool    `json:"default,omitempty"`
	Color        string  `json:"color,omitempty"` // range/matrix/transfer/primaries
}

var media = table[Media]{name: "media", indexes: map[string]index[Media]{
	"id":       {true, func(m *Media) string { return key(string(m.ID)) }},
	"name":     {true, func(m *Media) string { return key(string(m.Owner), m.Name) }},
	"created":  {false, func(m *Media) string { return key(string(m.Owner), m.Created) }},
	"modified": {false, func(m *Media) string { return key(string(m.Owner), m.Modified) }},
	"blob":     {false, func(m *Media) string { return key(m.Content.Blob.Ref) }},
}, names: func(m *Media) naming { return m.Content.naming() }, prepare: (*Media).lower}

// AddMedia puts an item into its owner's library and returns its id. Where the
// name is taken, the same bytes give back the item that is there; other bytes
// get the name "stem (2).ext", or with Replace take the item's place, which
// keeps its id and its shares.
type AddMedia struct {
	ID      MediaID   `json:"id"`
	Owner   UserID    `json:"owner"`
	Name    string    `json:"name"`
	Content Content   `json:"content"`
	Replace bool      `json:"replace,omitempty"`
	At      time.Time `json:"at"`
	from    JobID
}

func (c AddMedia) apply(t *tx) (string, error) {
	if err := CheckMediaName(c.Name); err != nil {
		return "", err
	}
	if users.get(t.records, "id", key(string(c.Owner))) == nil {
		return "", Errorf(NotFound, "no such user")
	}
	if c.ID == "" || c.Content.Blob.Ref.IsZero() {
		return "", Errorf(Invalid, "an item needs an id and bytes")
	}
	m := &Media{ID: c.ID, Owner: c.Owner, Name: c.Name, Content: c.Content, CreatedAt: c.At,
		Created: t.index, Modified: t.index, From: c.from}
	for n := 2; ; n++ {
		there := media.get(t.records, "name", key(string(m.Owner), m.Name))
		switch {
		case there == nil:
			media.put(t, m)
			return string(m.ID), nil
		case there.Content.Blob.SHA256 == c.Content.Blob.SHA256:
			return string(there.ID), nil
		case c.Replace:
			m.ID, m.Created = there.ID, there.Created
			media.put(t, m)
			return string(m.ID), nil
		}
		m.Name = numbered(c.Name, n)
	}
}

// mediaOf returns the owner's item with that id.
func (t *tx) mediaOf(owner UserID, id MediaID) (*Media, error) {
	m := media.get(t.records, "id", key(string(id)))
	if m == nil || m.Owner != owner {
		return nil, Errorf(NotFound, "no such file")
	}
	return m, nil
}

// numbered makes "song (2).mp3" of "song.mp3", cut to the longest name allowed.
func numbered(name string, n int) string {
	ext := path.Ext(name)
	if ext == name {
		ext = ""
	}
	stem, tail := strings.TrimSuffix(name, ext), fmt.Sprintf(" (%d)%s", n, ext)
	return cut(stem, MaxNameLen-len(tail)) + tail
}

// cut shortens text to at most n bytes, at a whole character.
func cut(text string, n int) string {
	if len(text) <= n {
		return text
	}
	n = max(n, 0)
	for n > 0 && !utf8.RuneStart(text[n]) {
		n--
	}
	return text[:n]
}

// CheckMediaName returns why a name cannot be an item's, or nil.
func CheckMediaName(name string) error {
	switch {
	case name == "" || name == "." || name == "..":
		return InvalidField("name", "must not be empty")
	case len(name) > MaxNameLen:
		return InvalidField("name", "is %d bytes long: at most %d are allowed", len(name), MaxNameLen)
	case !utf8.ValidString(name):
		return InvalidField("name", "must be UTF-8 text")
	case strings.ContainsRune(name, '/'):
		return InvalidField("name", "must not contain a slash")
	case strings.ContainsFunc(name, unicode.IsControl):
		return InvalidField("name", "must not contain control characters")
	}
	return nil
}

// Media returns the item with that id.
func (v *View) Media(id MediaID) (Media, bool) {
	return deref(media.get(v.records, "id", key(string(id))))
}

// MediaByName returns the owner's item of exactly that name.
func (v *View) MediaByName(owner UserID, name string) (Media, bool) {
	return deref(media.get(v.records, "name", key(string(owner), name)))
}

// MediaOf yields the owner's items in the order of their names' bytes.
func (v *View) MediaOf(owner UserID) func(yield func(*Media) bool) {
	return media.each(v.records, "name", key(string(owner)))
}

// MediaSince yields the owner's items that changed after index, oldest change first.
func (v *View) MediaSince(owner UserID, index uint64) func(yield func(*Media) bool) {
	return media.from(v.records, "modified", key(string(owner)), key(string(owner), index+1))
}

// Blobs yields every blob that some record names: what must be kept. A blob
// may come more than once.
func (v *View) Blobs() func(yield func(blobs.Ref) bool) {
	return func(yield func(blobs.Ref) bool) {
		for m := range media.each(v.records, "id", "") {
			if !m.Content.yieldRefs(yield) {
				return
			}
		}
		if !v.trashedBlobs(yield) {
			return
		}
		for _, s := range []JobState{Queued, Running} {
			for j := range jobs.each(v.records, "state", key(string(s))) {
				if !j.Input.Content.yieldRefs(yield) {
					return
				}
			}
		}
		for t := range tasks.each(v.records, "output", "") {
			if !t.Output.yieldRefs(yield) {
				return
			}
		}
	}
}

// BlobsChanged is the index of the last entry of the log after which Blobs may
// have yielded other blobs than before it.
func (v *View) BlobsChanged() uint64 { return v.records.named }

// naming is the blobs that a content names.
func (c *Content) naming() naming { return naming{c.Blob.Ref, c.Index.Ref} }

// yieldRefs yields the blobs that a content names.
func (c *Content) yieldRefs(yield func(blobs.Ref) bool) bool {
	return yield(c.Blob.Ref) && (c.Index.Ref.IsZero() || yield(c.Index.Ref))
}

// SetIndex notes the index of a film, made after it was imported; the first one
// stays. An item that has other bytes by now is Stale.
type SetIndex struct {
	ID    MediaID    `json:"id"`
	Blob  blobs.Ref  `json:"blob"`
	Index blobs.Blob `json:"index"`
}

func (c SetIndex) apply(t *tx) (string, error) {
	old := media.get(t.records, "id", key(string(c.ID)))
	if old == nil || old.Content.Blob.Ref != c.Blob {
		return "", Errorf(Stale, "the file was removed or replaced")
	}
	if !old.Content.Index.Ref.IsZero() {
		return string(old.ID), nil // jobs may have been planned on it
	}
	m := *old
	m.Content.Index = c.Index
	media.put(t, &m)
	return string(m.ID), nil
}

// collect reads a sequence to its end, so that the table may be changed while
// its records are looked at.
func collect[T any](seq func(func(*T) bool)) []*T {
	var all []*T
	for rec := range seq {
		all = append(all, rec)
	}
	return all
}
