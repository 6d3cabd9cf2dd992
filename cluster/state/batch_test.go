package state

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
)

// batches is a story in a mesh whose nodes all know entries that were joined.
func batches(t *testing.T) *story {
	st := begin(t)
	for _, n := range []NodeID{"n1", "n2"} {
		st.ok(RegisterNode{ID: n, Name: "node" + string(n[1:]), Level: batchLevel, At: now})
	}
	st.ok(RaiseLevel{To: batchLevel})
	if !st.s.View().Batches() {
		t.Fatal("no batches")
	}
	return st
}

// join applies commands as one entry. Their request ids are given.
func (st *story) join(requests []string, commands ...Command) []Outcome {
	st.t.Helper()
	var entries [][]byte
	for i, cmd := range commands {
		data, err := Encode(requests[i], cmd)
		if err != nil {
			st.t.Fatal(err)
		}
		entries = append(entries, data)
	}
	st.index++
	data := Join(entries)
	st.log = append(st.log, data)
	outcomes, err := st.s.ApplyAll(st.index, data)
	if err != nil {
		st.t.Fatal(err)
	}
	if len(outcomes) != len(commands) {
		st.t.Fatalf("%d outcomes of %d commands", len(outcomes), len(commands))
	}
	return outcomes
}

// told is what the callers get to hear, in order.
func told(outcomes []Outcome) string {
	var all []string
	for _, o := range outcomes {
		if o.Refusal != nil {
			all = append(all, string(o.Refusal.Kind))
		} else {
			all = append(all, o.ID)
		}
	}
	return strings.Join(all, " ")
}

func signup(id, name string) AddUser {
	return AddUser{ID: UserID(id), Name: name, Password: "phc", At: now}
}

func TestCommandsOfABatchGoTheirOwnWays(t *testing.T) {
	st := batches(t)
	outcomes := st.join([]string{"a", "b", "c", "b"}, signup("u3", "cleo"), signup("u4", "CLEO"), signup("u5", "dan"), signup("u5", "dan"))
	if got := told(outcomes); got != "u3 conflict u5 u5" && got != "u3 conflict u5 conflict" {
		t.Errorf("told %q", got)
	}
	for _, o := range outcomes {
		if o.Index != st.index {
			t.Errorf("%+v at %d", o, st.index)
		}
	}
	if _, ok := st.s.View().User("u4"); ok || st.s.Index() != st.index {
		t.Error("what was refused is there")
	}
	// Tried again, joined otherwise, behind something new that is refused.
	again := st.join([]string{"x", "c", "a"}, signup("u6", "dan"), signup("u5", "dan"), signup("u3", "cleo"))
	if got := told(again); got != "conflict u5 u3" {
		t.Errorf("tried again: %q", got)
	}
	replayed := New()
	for i, data := range st.log {
		if _, err := replayed.ApplyAll(uint64(i+1), data); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(dump(t, replayed), dump(t, st.s)) {
		t.Error("replayed, the state is another one")
	}
}

// A scribble writes before it is refused.
type scribble struct{ name string }

func (c scribble) apply(t *tx) (string, error) {
	users.put(t, &User{ID: UserID(c.name), Name: c.name})
	return "", Errorf(Conflict, "no")
}

func TestWhatIsRefusedInABatchLeavesNoTrace(t *testing.T) {
	st := batches(t)
	proposed := func(cmd Command, request string) item {
		return item{envelope{Level: 1, Request: request}, cmd}
	}
	after, outcomes, err := carryOut(st.s.View().records, st.index+1, []item{
		proposed(signup("u3", "cleo"), "a"), proposed(scribble{"eve"}, "b"), proposed(signup("u4", "Eve"), "c"), proposed(scribble{"fay"}, "d"), proposed(signup("u5", "Cleo"), "e"),
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := told(outcomes); got != "u3 conflict u4 conflict conflict" {
		t.Errorf("told %q", got)
	}
	var names []string
	for u := range users.each(after, "id", "") {
		names = append(names, u.Name)
	}
	if got := fmt.Sprint(names); got != "[ana bob cleo Eve]" {
		t.Errorf("users are %s", got)
	}
}

func TestABatchWaitsForAllNodes(t *testing.T) {
	st := begin(t)
	if st.s.View().Batches() {
		t.Error("nodes that say nothing know batches")
	}
	before := dump(t, st.s)
	if got := told(st.join([]string{"a", "b"}, signup("u3", "cleo"), signup("u4", "dan"))); got != "busy busy" {
		t.Errorf("told %q", got)
	}
	if !bytes.Equal(before, dump(t, st.s)) {
		t.Error("it left a trace")
	}
}

func TestADamagedBatchIsNotAppliedInPart(t *testing.T) {
	st := batches(t)
	good, _ := Encode("a", signup("u3", "cleo"))
	for name, data := range map[string][]byte{
		"a flipped bit":       flip(Join([][]byte{good, good})),
		"an entry of nothing": Join(nil),
		"not a command":       Join([][]byte{good, frame([]byte(`{"v":1,"cmd":"AddUser","body":7}`))}),
	} {
		before := dump(t, st.s)
		if _, err := st.s.ApplyAll(st.index+1, data); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %v", name, err)
		}
		if !bytes.Equal(before, dump(t, st.s)) || st.s.Index() != st.index {
			t.Errorf("%s: applied in part", name)
		}
	}
	late := Join([][]byte{good, frame([]byte(`{"v":1,"cmd":"Never","body":{}}`))})
	if _, err := st.s.ApplyAll(st.index+1, late); !errors.Is(err, ErrTooOld) || st.s.Index() != st.index {
		t.Errorf("a command that nobody knows: %v", err)
	}
}

func flip(data []byte) []byte {
	data[len(data)/2] ^= 4
	return data
}

// TestAnswersAreKeptByTheirNumber fills the memory of requests with entries of
// many commands.
func TestAnswersAreKeptByTheirNumber(t *testing.T) {
	st := batches(t)
	x := &tx{records: st.s.View().records.next(), index: 10}
	for i := range 50 {
		x.remember(fmt.Sprint("old", i), "") // at 10 to 59
	}
	x.index = 11
	x.remember("next", "") // at 60, though its entry is the 11th
	if r := requests.get(x.records, "id", key("next")); r.Index != 60 || r.entry() != 11 {
		t.Errorf("the next one is at %d, of entry %d", r.Index, r.entry())
	}
	if x.forgot(1) {
		t.Error("nothing is forgotten yet")
	}
	x.index = keepJoined + 40
	for i := range 10 {
		x.remember(fmt.Sprint("new", i), "")
	}
	for id, want := range map[string]bool{"old0": false, "old38": false, "old39": true, "next": true, "new9": true} {
		if _, there := x.answered(id); there != want {
			t.Errorf("%s is remembered: %v, want %v", id, there, want)
		}
	}
	// Some of the tenth entry is forgotten: who proposed before it may have been in it.
	for since, want := range map[uint64]bool{8: true, 9: true, 10: false, 11: false} {
		if x.forgot(since) != want {
			t.Errorf("a request since %d may be forgotten: %v, want %v", since, !want, want)
		}
	}
}

// BenchmarkApplyBatch is a command as one of 64 in an entry.
func BenchmarkApplyBatch(b *testing.B) {
	s := New()
	r := s.View().records.next()
	agreements.put(&tx{records: r}, &agreement{batchLevel})
	s.publish(r, 0)
	data, _ := Encode("", AddUser{ID: "u1", Name: "ana", Password: "phc"})
	s.Apply(1, data)
	index, n := uint64(1), 0
	var entries [][]byte
	for b.Loop() {
		n++
		data, _ := Encode(fmt.Sprint(n), song(fmt.Sprint("m", n), fmt.Sprint(n, ".mp3"), fmt.Sprint(n)))
		if entries = append(entries, data); len(entries) == 64 {
			index++
			outcomes, err := s.ApplyAll(index, Join(entries))
			if err != nil || outcomes[63].Refusal != nil {
				b.Fatal(err, outcomes[63].Refusal)
			}
			entries = entries[:0]
		}
	}
}
