package httpapi

import (
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
// first.
func (c *call) listTrash() error {
	list := TrashList{Items: []Trashed{}, Keep: int64(c.api.cfg.TrashKeep / time.Second)}
	for x := range c.view.TrashOf(c.user()) {
		list.Items = append(list.Items, Trashed{mediaOf(&x.Media), wireTime(x.At), wireTime(x.Goes)})
	}
	return c.send(list)
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

// emptyTrash ends all that is in the caller's trash. It asks for ?confirm=true:
// a program that meant DELETE /trash/{id} and had no id would land here.
func (c *call) emptyTrash() error {
	if c.query("confirm") != "true" {
		return state.InvalidField("confirm", "must be true: this deletes all that is in the trash for good")
	}
	gone := Emptied{OK: true}
	for range c.view.TrashOf(c.user()) {
		gone.Deleted++
	}
	if _, err := c.propose(state.EmptyTrash{Owner: c.user(), Index: c.view.Index()}); err != nil {
		return err
	}
	return c.send(gone)
}
