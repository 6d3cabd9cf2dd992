package state

import (
	"encoding/json"
	"errors"
	"fmt"
)

const (
	batchName  = "Batch"
	batchLevel = 2
)

// Join puts entries that [Encode] wrote into one, which costs the disks and the
// network hardly more than one of them did. [State.Apply] carries the commands
// out in order, each by itself: one may be refused and the next one not. It is
// for a mesh that [View.Batches].
func Join(entries [][]byte) []byte {
	if len(entries) == 1 {
		return entries[0]
	}
	text := fmt.Appendf(nil, `{"v":%d,"cmd":%q,"body":[`, batchLevel, batchName)
	for i, e := range entries {
		if i > 0 {
			text = append(text, ',')
		}
		text = append(text, e[checksumSize:]...)
	}
	return frame(append(text, "]}"...))
}

// Batches tells whether all nodes know entries that were joined.
func (v *View) Batches() bool { return v.Level() >= batchLevel }

// split returns the commands of a joined entry.
func split(body json.RawMessage) ([]item, error) {
	var inner []envelope
	if err := json.Unmarshal(body, &inner); err != nil {
		return nil, err
	}
	if len(inner) == 0 {
		return nil, errors.New("a batch of nothing")
	}
	items := make([]item, len(inner))
	for i, env := range inner {
		cmd, err := env.command()
		if err != nil {
			return nil, err
		}
		env.Level = max(env.Level, batchLevel)
		items[i] = item{env, cmd}
	}
	return items, nil
}

// carryOut applies the commands of the entry at that index. An error means that
// this node cannot go on, and that nothing was applied.
func carryOut(before *records, index uint64, items []item) (*records, []Outcome, error) {
	skip := make([]bool, len(items)) // refused after it had written: it must leave no trace
	outcomes := make([]Outcome, len(items))
	for {
		t := &tx{records: before.next(), index: index}
		switch undo, err := t.carryOut(items, skip, outcomes); {
		case err != nil:
			return nil, nil, err
		case !undo:
			return t.records, outcomes, nil
		}
	}
}

// carryOut applies the commands that are not to be skipped. With undo it found
// another one of those: all is to be begun anew.
func (t *tx) carryOut(items []item, skip []bool, outcomes []Outcome) (undo bool, err error) {
	for i, it := range items {
		if skip[i] {
			continue
		}
		before := t.writes
		id, err := t.one(it)
		var refusal *Error
		switch {
		case errors.As(err, &refusal):
			skip[i] = t.writes > before
		case err != nil:
			return false, err
		}
		outcomes[i] = Outcome{Result{Index: t.index, ID: id}, refusal}
		if skip[i] {
			return true, nil
		}
	}
	return false, nil
}

// one applies a command, unless its request was answered before.
func (t *tx) one(it item) (id string, err error) {
	if view := t.view(); it.Level > view.Level() {
		return "", view.early(it.Level)
	}
	if it.cmd == nil {
		return "", fmt.Errorf("command %q: %w", it.Name, ErrTooOld)
	}
	if id, done := t.answered(it.Request); done {
		return id, nil
	}
	if it.Since > 0 && t.forgot(it.Since) {
		return "", &Error{Kind: Busy, Msg: "so much was written meanwhile that nobody remembers this request", Unsure: true}
	}
	if id, err = it.cmd.apply(t); err != nil {
		return "", err
	}
	t.remember(it.Request, id)
	return id, nil
}
