package httpapi

import (
	"fmt"
	"math"
	"strconv"
	"time"

	"malla/cluster/state"
)

// deleteMedia moves an item into the trash, or ends it where nothing is kept.
func (c *call) deleteMedia() error {
	m, err := c.find(c.param("ref"))
	if err != nil {
		return err
	}
	now, keep := c.api.cfg.Now().UTC(), c.api.cfg.TrashKeep
	if _, err := c.propose(state.RemoveMedia{ID: m.ID, Owner: c.user(), Keep: keep, At: now}); err != nil {
		return err
	}
	c.api.metrics.deletes.Inc()
	gone := Deleted{OK: true, ID: string(m.ID), Name: m.Name}
	if keep > 0 {
		gone.GoesAt = wireTime(now.Add(keep))
	}
	return c.send(gone)
}

// listTrash answers with all that is in the caller's trash, the latest deletion
// first, or with the part of it that ?limit= and ?cursor= choose. A cursor is
// the log index of the deletion that was told last.
func (c *call) listTrash() error {
	limit, err := c.limit()
	if err != nil {
		return err
	}
	before, err := c.index("cursor", "must be the next of an earlier answer")
	if err != nil {
		return err
	}
	list := TrashList{Items: []Trashed{}, Index: c.view.Index(), Keep: int64(c.api.cfg.TrashKeep / time.Second)}
	last := uint64(0)
	for x := range c.view.TrashOf(c.user()) {
		list.Total++
		switch {
		case x.Index >= before: // in a part before
		case limit > 0 && len(list.Items) == limit:
			list.Next = strconv.FormatUint(last, 10)
		default:
			list.Items = append(list.Items, Trashed{mediaOf(&x.Media), wireTime(x.At), wireTime(x.Goes)})
			last = x.Index
		}
	}
	return c.send(list)
}

// index reads a log index of the query; without one it is the highest there can be.
func (c *call) index(name, wrong string) (uint64, error) {
	text := c.query(name)
	if text == "" {
		return math.MaxUint64, nil
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return 0, state.InvalidField(name, "%s", wrong)
	}
	return n, nil
}

// restoreMedia puts an item back into the library; the answer has the name that
// it got there.
func (c *call) restoreMedia() error {
	id := state.MediaID(c.param("id"))
	if _, err := c.propose(state.RestoreMedia{ID: id, Owner: c.user()}); err != nil {
		return err
	}
	m, ok := c.view.Media(id)
	if !ok {
		return state.Errorf(state.NotFound, "the file was deleted while it was restored")
	}
	return c.send(Restored{OK: true, Name: m.Name, ID: string(m.ID), Item: mediaOf(&m)})
}

// purgeMedia ends an item in the trash before its time.
func (c *call) purgeMedia() error {
	if _, err := c.propose(state.PurgeMedia{ID: state.MediaID(c.param("id")), Owner: c.user()}); err != nil {
		return err
	}
	return c.send(done{true})
}

// emptyBatch is how many items one log entry ends: while it is applied, no node
// does anything else.
const emptyBatch = 1000

// emptyTrash ends all that is in the caller's trash, or with ?index= what was
// there when a list with that index was made: what is deleted while a person
// looks at the question stays. It asks for ?confirm=true: a program that meant
// DELETE /trash/{id} and had no id would land here.
func (c *call) emptyTrash() error {
	if c.query("confirm") != "true" {
		return state.InvalidField("confirm", "must be true: this deletes all that is in the trash for good")
	}
	index, err := c.index("index", "must be the index of a list of the trash")
	if err != nil {
		return err
	}
	command := state.EmptyTrash{Owner: c.user(), Index: min(index, c.view.Index()), Limit: emptyBatch}
	gone := Emptied{OK: true}
	for {
		done, err := c.propose(command)
		if err != nil {
			return err
		}
		n, err := strconv.Atoi(done.ID)
		if err != nil {
			return fmt.Errorf("empty the trash: the answer was %q: %w", done.ID, err)
		}
		gone.Deleted += n
		if n < emptyBatch {
			return c.send(gone)
		}
	}
}
