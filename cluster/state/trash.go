package state

import (
	"cmp"
	"math"
	"strconv"
	"time"

	"malla/blobs"
)

// A Trashed is an item that its owner deleted and may still have back. It is in
// no library and opens for nobody; its name is free. Its bytes are kept, and its
// shares, which open nothing meanwhile.
//
// When it goes is settled by the command that deleted it, not by a setting: all
// nodes agree on it, and a promise that was given once does not change.
type Trashed struct {
	Media Media     `json:"media"`
	At    time.Time `json:"at"`
	Goes  time.Time `json:"goes"`  // kept at least until then
	Index uint64    `json:"index"` // log index of the deletion
}

var trash = table[Trashed]{name: "trash", indexes: map[string]index[Trashed]{
	"id":    {true, func(x *Trashed) string { return key(string(x.Media.ID)) }},
	"owner": {false, func(x *Trashed) string { return key(string(x.Media.Owner), x.Index) }},
	"goes":  {false, func(x *Trashed) string { return key(uint64(x.Goes.Unix())) }},
}, names: func(x *Trashed) naming { return x.Media.Content.naming() }}

// MaxTrashKeep is the longest time for which the trash can be asked to keep
// something.
const MaxTrashKeep = 10 * 365 * 24 * time.Hour

// RemoveMedia takes an item out of its library. With a time to keep it goes into
// the trash, where it still is when that is over and a Sweep comes; without, it
// is gone, and its shares with it. Jobs that read it go on: they name the bytes,
// not the item.
type RemoveMedia struct {
	ID    MediaID       `json:"id"`
	Owner UserID        `json:"owner"`
	Keep  time.Duration `json:"keep,omitempty"`
	At    time.Time     `json:"at,omitzero"`
}

func (c RemoveMedia) apply(t *tx) (string, error) {
	m, err := t.mediaOf(c.Owner, c.ID)
	if err != nil {
		return "", err
	}
	gone := &Removal{Owner: m.Owner, Media: m.ID, Name: m.Name, At: t.index}
	if c.Keep > 0 {
		gone.Goes = c.At.Add(min(c.Keep, MaxTrashKeep))
		trash.put(t, &Trashed{Media: *m, At: c.At, Goes: gone.Goes, Index: t.index})
	} else {
		t.dropShares(m.ID)
	}
	media.drop(t, m)
	removals.put(t, gone)
	return string(m.ID), nil
}

func (t *tx) dropShares(id MediaID) {
	for _, s := range collect(shares.each(t.records, "media", key(string(id)))) {
		shares.drop(t, s)
	}
}

func (t *tx) trashedOf(owner UserID, id MediaID) (*Trashed, error) {
	x := trash.get(t.records, "id", key(string(id)))
	if x == nil || x.Media.Owner != owner {
		return nil, Errorf(NotFound, "there is no such file in the trash")
	}
	return x, nil
}

// RestoreMedia puts an item back into the library, with its id, and with those
// of its shares that have not expired. Where its name has been taken meanwhile,
// by whatever bytes, it gets the next free one, as AddMedia gives them.
type RestoreMedia struct {
	ID    MediaID `json:"id"`
	Owner UserID  `json:"owner"`
}

func (c RestoreMedia) apply(t *tx) (string, error) {
	x, err := t.trashedOf(c.Owner, c.ID)
	if err != nil {
		return "", err
	}
	m := x.Media
	m.Modified = t.index
	for n := 2; media.get(t.records, "name", key(string(m.Owner), m.Name)) != nil; n++ {
		m.Name = numbered(x.Media.Name, n)
	}
	trash.drop(t, x)
	media.put(t, &m)
	return string(m.ID), nil
}

// PurgeMedia ends an item in the trash before its time.
type PurgeMedia struct {
	ID    MediaID `json:"id"`
	Owner UserID  `json:"owner"`
}

func (c PurgeMedia) apply(t *tx) (string, error) {
	x, err := t.trashedOf(c.Owner, c.ID)
	if err != nil {
		return "", err
	}
	t.purge(x)
	return string(c.ID), nil
}

// EmptyTrash ends what is in the owner's trash and was deleted up to that log
// index, the oldest first, at most Limit items: what somebody deletes while
// another empties stays. The answer is how many it ended; fewer than Limit, and
// there are no more. An entry without a Limit, as there were before there was
// one, ends them all.
type EmptyTrash struct {
	Owner UserID `json:"owner"`
	Index uint64 `json:"index"`
	Limit int    `json:"limit,omitempty"`
}

func (c EmptyTrash) apply(t *tx) (string, error) {
	limit := cmp.Or(c.Limit, math.MaxInt)
	old := first(limit, trash.each(t.records, "owner", key(string(c.Owner))), func(x *Trashed) bool { return x.Index <= c.Index })
	for _, x := range old {
		t.purge(x)
	}
	return strconv.Itoa(len(old)), nil
}

// purge ends an item in the trash, and its shares.
func (t *tx) purge(x *Trashed) {
	t.dropShares(x.Media.ID)
	trash.drop(t, x)
	removals.put(t, &Removal{Owner: x.Media.Owner, Media: x.Media.ID, Name: x.Media.Name, At: t.index, Purged: true})
}

// A Removal remembers for a while that an item is gone, for those who follow
// the changes.
type Removal struct {
	Owner  UserID    `json:"owner"`
	Media  MediaID   `json:"media"`
	Name   string    `json:"name"`
	At     uint64    `json:"at"`               // log index
	Goes   time.Time `json:"goes,omitzero"`    // it went into the trash, until then
	Purged bool      `json:"purged,omitempty"` // it went from the trash
}

// keepRemovals is how many log entries a Removal outlives.
const keepRemovals = 100_000

var removals = table[Removal]{name: "removals", indexes: map[string]index[Removal]{
	"id":    {true, func(r *Removal) string { return key(r.At, string(r.Media)) }},
	"owner": {false, func(r *Removal) string { return key(string(r.Owner), r.At) }},
}}

// RemovalsSince yields what went from the owner's library or trash after index.
// It knows of removals at most keepRemovals entries old.
func (v *View) RemovalsSince(owner UserID, index uint64) func(yield func(*Removal) bool) {
	return removals.from(v.records, "owner", key(string(owner)), key(string(owner), index+1))
}

// TrashOf yields what is in the owner's trash, the latest deletion first.
func (v *View) TrashOf(owner UserID) func(yield func(*Trashed) bool) {
	return trash.eachBackward(v.records, "owner", key(string(owner)))
}

// over tells whether it has been in the trash for its time.
func (x *Trashed) over(now time.Time) bool { return !x.Goes.After(now) }

// trashedBlobs yields the blobs that the trash keeps.
func (v *View) trashedBlobs(yield func(blobs.Ref) bool) bool {
	for x := range trash.each(v.records, "id", "") {
		if !x.Media.Content.yieldRefs(yield) {
			return false
		}
	}
	return true
}
