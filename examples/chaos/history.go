package main

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/anishathalye/porcupine"
)

// A fate is how a request to change something ended.
type fate int

const (
	done    fate = iota
	refused      // by what is agreed: it came to nothing, and says something of the state
	unknown      // it may have been done, or may still be, at any time after it was sent
)

// An ask is a request about one thing, and a told is what came of it. What the
// words mean is written at the thing's model.
type ask struct {
	verb     string
	session  uint64
	priority string
}

type told struct {
	fate     fate
	holds    bool
	session  uint64
	priority string
}

// String is how an operation looks in a picture of a history.
func (a ask) String() string {
	return strings.TrimSpace(fmt.Sprint(a.verb, " ", a.priority, nonzero(a.session)))
}

func (t told) String() string {
	if t.fate != done {
		return map[fate]string{refused: "refused", unknown: "?"}[t.fate]
	}
	return strings.TrimSpace(fmt.Sprint(t.holds, " ", t.priority, nonzero(t.session)))
}

func nonzero(n uint64) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprint(n)
}

// A history is what clients asked about things and were told, and when: thing ->
// operations. Its methods may be called by many at once.
type history struct {
	began time.Time

	mu      sync.Mutex // guards the fields below
	things  map[string][]porcupine.Operation
	lists   []list
	unnamed []int64 // when shares were asked for of which nobody knows the name
	clients int     // numbers that were given to clients
	tally   map[tallied]int
}

// list is the shares that somebody was shown.
type list struct {
	client    int
	call, ret int64
	shares    []string
}

// tallied is one kind of operation with one kind of end.
type tallied struct{ verb, end string }

func newHistory() *history {
	return &history{began: time.Now(), things: map[string][]porcupine.Operation{}, tally: map[tallied]int{}}
}

// now is the time in the history, in nanoseconds.
func (h *history) now() int64 { return int64(time.Since(h.began)) }

// client gives a new number for a client. One whose request has an unknown fate
// goes on as another: the old one is busy for ever.
func (h *history) client() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.clients++
	return h.clients
}

// add writes an operation down that was called then and has ended now.
func (h *history) add(client int, thing string, a ask, call int64, t told) {
	ret := h.now()
	if t.fate == unknown {
		ret = math.MaxInt64
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.things[thing] = append(h.things[thing], porcupine.Operation{ClientId: client, Input: a, Call: call, Output: t, Return: ret})
	h.tally[tallied{a.verb, []string{"done", "refused", "unknown"}[t.fate]}]++
}

// dropped counts what says nothing of any state.
func (h *history) dropped(verb string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.tally[tallied{verb, "no answer"}]++
}

// listed writes down the shares that somebody was shown.
func (h *history) listed(client int, call int64, shares []string) {
	ret := h.now()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.lists = append(h.lists, list{client, call, ret, shares})
	h.tally[tallied{"list shares", "done"}]++
}

// addUnnamed writes down that a share may have been made, at any time after the
// call, of which nobody knows the name.
func (h *history) addUnnamed(call int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.unnamed = append(h.unnamed, call)
	h.tally[tallied{"add share", "unknown"}]++
}

// stale is how long after a share is gone it is looked for in lists. It bounds
// the work: every list is an operation on every share.
const stale = 10 * time.Second

// all is every thing's operations, those of shares with what lists say of each.
func (h *history) all() map[string][]porcupine.Operation {
	h.mu.Lock()
	defer h.mu.Unlock()
	things := map[string][]porcupine.Operation{}
	for name, ops := range h.things {
		things[name] = slices.Clone(ops)
	}
	for _, l := range h.lists {
		for _, id := range l.shares {
			if name := "share " + id; !slices.ContainsFunc(things[name], isAdd) && len(h.unnamed) > 0 {
				// It comes from one of those that nobody knows the name of.
				op := porcupine.Operation{Input: ask{verb: "add share"}, Call: slices.Min(h.unnamed), Output: told{fate: unknown}, Return: math.MaxInt64}
				things[name] = append(things[name], op)
			}
		}
	}
	for name := range things {
		if id, is := strings.CutPrefix(name, "share "); is {
			things[name] = append(things[name], h.seen(id, things[name])...)
		}
	}
	return things
}

func isAdd(op porcupine.Operation) bool { return op.Input.(ask).verb == "add share" }

// seen is what the lists say of one share from when it was asked for until some
// time after it was removed. h.mu is held.
func (h *history) seen(id string, ops []porcupine.Operation) (looks []porcupine.Operation) {
	from, to := int64(math.MaxInt64), int64(math.MaxInt64)
	for _, op := range ops {
		if isAdd(op) {
			from = min(from, op.Call)
		} else if op.Output.(told).fate == done {
			to = min(to, op.Return+int64(stale))
		}
	}
	for _, l := range h.lists {
		holds := slices.Contains(l.shares, id)
		if holds || l.ret >= from && l.call <= to {
			looks = append(looks, porcupine.Operation{ClientId: l.client, Input: ask{verb: "look for share"}, Call: l.call, Output: told{holds: holds}, Return: l.ret})
		}
	}
	return looks
}
