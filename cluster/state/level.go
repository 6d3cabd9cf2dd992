package state

import (
	"errors"
	"fmt"
	"strings"
)

// Level is the newest level that this version of malla knows. Whoever adds a
// command, a field or a table raises it: see the package's Levels.
const Level = 2

// ErrTooOld tells that the mesh has agreed on a level that this version of
// malla does not know: it must be upgraded.
var ErrTooOld = errors.New("this version of malla is too old for its mesh: upgrade this node")

// leveled is a command, or a use of one, that came in after the first level.
type leveled interface{ level() int }

// levelOf is the level at which cmd, with the fields that it uses, came in.
func levelOf(cmd Command) int {
	if c, later := cmd.(leveled); later {
		return c.level()
	}
	return 1
}

// agreement is what the mesh agreed on about itself. There is one, or none
// while it is at the first level.
type agreement struct {
	Level int `json:"level"`
}

var agreements = table[agreement]{name: "agreements", indexes: map[string]index[agreement]{
	"id": {true, func(*agreement) string { return key("mesh") }},
}}

// RaiseLevel lets the mesh use what came in up to that level. It is Busy while
// the record of some node does not say that it knows as much.
type RaiseLevel struct {
	To int `json:"to"`
}

func (c RaiseLevel) apply(t *tx) (string, error) {
	if c.To <= t.view().Level() {
		return "", nil // it was proposed twice
	}
	if behind := t.view().behind(c.To); behind != "" {
		return "", Errorf(Busy, "level %d waits until all nodes are upgraded: %s", c.To, behind)
	}
	if c.To > Level {
		return "", fmt.Errorf("the mesh goes on to level %d, and this node knows level %d: %w", c.To, Level, ErrTooOld)
	}
	agreements.put(t, &agreement{c.To})
	return "", nil
}

// Level is the level that the mesh has agreed on: what came in later is refused
// as Busy.
func (v *View) Level() int {
	if a := agreements.get(v.records, "id", key("mesh")); a != nil {
		return a.Level
	}
	return 1
}

// CommonLevel is the newest level that every node of the mesh knows, this one
// included.
func (v *View) CommonLevel() int {
	common := Level
	for n := range nodes.each(v.records, "id", "") {
		common = min(common, n.knows())
	}
	return common
}

// behind names nodes that do not know that level, with their versions, or "".
func (v *View) behind(level int) string {
	var names []string
	for n := range nodes.each(v.records, "name", "") {
		if n.knows() < level {
			names = append(names, fmt.Sprintf("%s runs %s", n.Name, n.Version))
		}
	}
	if len(names) > 3 {
		names = append(names[:3], fmt.Sprintf("and %d more", len(names)-3))
	}
	return strings.Join(names, ", ")
}

// early refuses a command that came in at that level, before the mesh agreed on
// it.
func (v *View) early(level int) *Error {
	if behind := v.behind(level); behind != "" {
		return Errorf(Busy, "that works once all nodes are upgraded: %s", behind)
	}
	return Errorf(Busy, "the nodes are about to agree on their new version: try again in a moment")
}
