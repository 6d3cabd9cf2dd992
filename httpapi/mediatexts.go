package httpapi

import (
	"encoding/json"
	"sync"

	"malla/cluster/state"
)

// mediaTexts remembers items as they go over the wire: a list of ten thousand
// takes ten times as long to encode as to copy.
type mediaTexts struct {
	mu    sync.Mutex              // guards the fields below
	young map[*state.Media][]byte // record, which never changes -> its JSON
	old   map[*state.Media][]byte // the young ones before them
	size  int                     // bytes of the young ones
}

// maxTexts is how many bytes the young ones have at most, and the old ones.
const maxTexts = 32 << 20

// of returns the JSON of those items, which must not be changed.
func (t *mediaTexts) of(found []*state.Media) ([][]byte, error) {
	texts := make([][]byte, len(found))
	t.mu.Lock()
	for i, m := range found {
		texts[i] = t.young[m]
		if old := t.old[m]; texts[i] == nil && old != nil {
			texts[i] = old
			t.keep(m, old)
		}
	}
	t.mu.Unlock()
	for i, m := range found {
		if texts[i] != nil {
			continue
		}
		var err error
		if texts[i], err = json.Marshal(mediaOf(m)); err != nil {
			return nil, err
		}
		t.mu.Lock()
		t.keep(m, texts[i])
		t.mu.Unlock()
	}
	return texts, nil
}

// keep remembers one more, and forgets the old ones where that is too much.
// t.mu is held.
func (t *mediaTexts) keep(m *state.Media, text []byte) {
	if t.size += len(text); t.size > maxTexts || t.young == nil {
		t.old, t.young, t.size = t.young, map[*state.Media][]byte{}, len(text)
	}
	t.young[m] = text
}

// sendMedia answers with a [MediaList] of those items.
func (c *call) sendMedia(found []*state.Media, next string) error {
	names := make([]string, len(found))
	for i, m := range found {
		names[i] = m.Name
	}
	objects, err := json.Marshal(names)
	if err != nil {
		return err
	}
	items, err := c.api.texts.of(found)
	if err != nil {
		return err
	}
	// Not by encoding/json: it would look at every byte of the items again.
	room := bodies.Get().(*[]byte)
	defer bodies.Put(room)
	body := append((*room)[:0], `{"objects":`...)
	body = append(append(body, objects...), `,"items":[`...)
	for i, item := range items {
		if i > 0 {
			body = append(body, ',')
		}
		body = append(body, item...)
	}
	body = append(body, ']')
	if next != "" {
		body = append(append(append(body, `,"next":"`...), next...), '"') // base64
	}
	body = append(body, "}\n"...)
	*room = body
	c.sendText(body)
	return nil
}

// bodies are answers that were sent: megabytes for each list would keep the
// garbage collector busy.
var bodies = sync.Pool{New: func() any { return new([]byte) }}
