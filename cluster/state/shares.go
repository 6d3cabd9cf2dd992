package state

import "time"

// ShareID is the hash of a share's token, in hex. The token itself is known
// only to whoever has the link: the state, its snapshots and its backups do not
// let anybody in.
type ShareID string

// MaxShareTime is how long a link may live at the most.
const MaxShareTime = 7 * 24 * time.Hour

// A Share is a public link to one item.
type Share struct {
	ID        ShareID   `json:"id"`
	Owner     UserID    `json:"owner"`
	Media     MediaID   `json:"media"`
	CreatedAt time.Time `json:"created_at"`
	ExpiresAt time.Time `json:"expires_at"`
}

var shares = table[Share]{name: "shares", indexes: map[string]index[Share]{
	"id":      {true, func(s *Share) string { return key(string(s.ID)) }},
	"media":   {false, func(s *Share) string { return key(string(s.Media)) }},
	"owner":   {false, func(s *Share) string { return key(string(s.Owner)) }},
	"expires": {false, func(s *Share) string { return key(uint64(s.ExpiresAt.Unix())) }},
}}

// AddShare makes a public link to the owner's item, for one minute to
// MaxShareTime.
type AddShare struct {
	ID    ShareID       `json:"id"`
	Owner UserID        `json:"owner"`
	Media MediaID       `json:"media"`
	For   time.Duration `json:"for"`
	At    time.Time     `json:"at"`
}

func (c AddShare) apply(t *tx) (string, error) {
	if _, err := t.mediaOf(c.Owner, c.Media); err != nil {
		return "", err
	}
	if c.For < time.Minute || c.For > MaxShareTime {
		return "", InvalidField("minutes", "must be from 1 to %d", int(MaxShareTime.Minutes()))
	}
	shares.put(t, &Share{ID: c.ID, Owner: c.Owner, Media: c.Media, CreatedAt: c.At, ExpiresAt: c.At.Add(c.For)})
	return string(c.ID), nil
}

// RemoveShare ends a link at once.
type RemoveShare struct {
	ID    ShareID `json:"id"`
	Owner UserID  `json:"owner"`
}

func (c RemoveShare) apply(t *tx) (string, error) {
	s := shares.get(t.records, "id", key(string(c.ID)))
	if s == nil || s.Owner != c.Owner {
		return "", Errorf(NotFound, "no such share")
	}
	shares.drop(t, s)
	return string(s.ID), nil
}

// Share returns the share and its item, if it is there and has not expired.
func (v *View) Share(id ShareID, now time.Time) (Share, Media, bool) {
	s := shares.get(v.records, "id", key(string(id)))
	if s == nil || !now.Before(s.ExpiresAt) {
		return Share{}, Media{}, false
	}
	m := media.get(v.records, "id", key(string(s.Media)))
	if m == nil {
		return Share{}, Media{}, false
	}
	return *s, *m, true
}

// SharesOf yields the owner's shares, expired ones too.
func (v *View) SharesOf(owner UserID) func(yield func(*Share) bool) {
	return shares.each(v.records, "owner", key(string(owner)))
}
