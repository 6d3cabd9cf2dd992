package state

// A note is a record of a table that came in with this level.
type note struct {
	Name string `json:"name"`
}

var notes = table[note]{name: "notes", indexes: map[string]index[note]{
	"id": {true, func(n *note) string { return key(n.Name) }},
}}

// AddNote is a command that came in with this level.
type AddNote struct {
	Name string `json:"name"`
}

func (AddNote) level() int { return Level }

func (c AddNote) apply(t *tx) (string, error) {
	notes.put(t, &note{c.Name})
	return c.Name, nil
}

// level is the level of the field Motto, where it is used.
func (c AddUser) level() int {
	if c.Motto != "" {
		return Level
	}
	return 1
}
