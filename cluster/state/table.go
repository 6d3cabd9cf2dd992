package state

import (
	"encoding/binary"
	"maps"
	"slices"
	"strings"

	"github.com/tidwall/btree"

	"malla/blobs"
)

// table is the schema of one kind of record: how it is found, and what follows
// from it.
type table[T any] struct {
	name    string
	indexes map[string]index[T]        // one of them is "id"
	counts  map[string]func(*T) string // name -> key under which a record is counted; "" where it is not
	names   func(*T) naming            // what bytes it needs; nil where none
	prepare func(*T, *records)         // completes a record before anybody sees it; may be nil
}

// index is a way to find records of type T: the key of each, in the order of
// its bytes. A record whose key is empty does not stand in the index.
type index[T any] struct {
	unique bool
	key    func(*T) string
}

// naming is the blobs that a record names, so that they are kept.
type naming [2]blobs.Ref

// records are all tables at one index of the log. Once published they never
// change: the next ones share with them what stays the same.
type records struct {
	rows  map[string]any  // name of a table -> its *rows
	own   map[string]bool // tables that no other records share: these may be changed
	named uint64          // index of the last entry that changed which blobs are named
}

// rows are the records of a table, once in each of its indexes.
type rows[T any] struct {
	trees  map[string]*btree.BTreeG[entry[T]]
	counts map[string]*btree.Map[string, int]
}

type entry[T any] struct {
	key string
	rec *T
}

// degree bounds the nodes of the trees: each write copies some of them.
const degree = 16

func newRecords() *records {
	r := &records{rows: map[string]any{}}
	for _, tb := range slices.Concat(tables...) {
		tb.create(r)
	}
	return r
}

// next returns records that may become others without changing r.
func (r *records) next() *records {
	return &records{rows: maps.Clone(r.rows), own: map[string]bool{}, named: r.named}
}

func (tb table[T]) create(r *records) {
	all := &rows[T]{trees: map[string]*btree.BTreeG[entry[T]]{}, counts: map[string]*btree.Map[string, int]{}}
	less := func(a, b entry[T]) bool { return a.key < b.key }
	for name := range tb.indexes {
		all.trees[name] = btree.NewBTreeGOptions(less, btree.Options{Degree: degree, NoLocks: true})
	}
	for name := range tb.counts {
		all.counts[name] = btree.NewMap[string, int](degree)
	}
	r.rows[tb.name] = all
}

func (tb table[T]) rows(r *records) *rows[T] { return r.rows[tb.name].(*rows[T]) }

// writable returns rows that r alone has.
func (tb table[T]) writable(r *records) *rows[T] {
	old := tb.rows(r)
	if r.own[tb.name] {
		return old
	}
	all := &rows[T]{trees: make(map[string]*btree.BTreeG[entry[T]], len(old.trees)), counts: make(map[string]*btree.Map[string, int], len(old.counts))}
	for name, tree := range old.trees {
		all.trees[name] = tree.Copy()
	}
	for name, tree := range old.counts {
		all.counts[name] = tree.Copy()
	}
	r.rows[tb.name], r.own[tb.name] = all, true
	return all
}

// key joins parts into bytes that sort as the parts do. Strings end with a zero
// byte, so that no key is the beginning of another one.
func key(parts ...any) string {
	var room [160]byte
	k := room[:0]
	for _, p := range parts {
		switch p := p.(type) {
		case uint64:
			k = binary.BigEndian.AppendUint64(k, p)
		case string:
			k = append(append(k, p...), 0)
		case blobs.Ref:
			k = append(k, p[:]...)
		default:
			panic("key part of another type") // a fault in this package, found by any test
		}
	}
	return string(k)
}

// keyIn is the key of rec in that index; "" where it does not stand there.
func (tb table[T]) keyIn(name string, rec *T) string {
	x := tb.indexes[name]
	k := x.key(rec)
	if x.unique || k == "" {
		return k
	}
	return k + tb.indexes["id"].key(rec)
}

// get returns the record with exactly that key, or nil; of several the one
// whose id is the first.
func (tb table[T]) get(r *records, index string, k string) *T {
	tree := tb.rows(r).trees[index]
	if tb.indexes[index].unique {
		e, _ := tree.Get(entry[T]{key: k})
		return e.rec
	}
	for rec := range tb.each(r, index, k) {
		return rec
	}
	return nil
}

// each yields the records whose key begins with prefix, in order.
func (tb table[T]) each(r *records, index string, prefix string) func(yield func(*T) bool) {
	return tb.from(r, index, prefix, prefix)
}

// from yields the records whose key is at least k, in order, while it begins
// with prefix.
func (tb table[T]) from(r *records, index string, prefix, k string) func(yield func(*T) bool) {
	return func(yield func(*T) bool) {
		tb.rows(r).trees[index].Ascend(entry[T]{key: k}, func(e entry[T]) bool {
			return strings.HasPrefix(e.key, prefix) && yield(e.rec)
		})
	}
}

// eachBackward is each, from the end.
func (tb table[T]) eachBackward(r *records, index string, prefix string) func(yield func(*T) bool) {
	return func(yield func(*T) bool) {
		tree := tb.rows(r).trees[index]
		step := func(e entry[T]) bool { return strings.HasPrefix(e.key, prefix) && yield(e.rec) }
		if prefix == "" {
			tree.Reverse(step)
			return
		}
		tree.Descend(entry[T]{key: behind(prefix)}, step)
	}
}

// behind is the first key that does not begin with prefix, after those that do.
// No record has it: prefixes end with the zero byte of a string.
func behind(prefix string) string { return prefix[:len(prefix)-1] + "\x01" }

// A cursor walks an index as far as somebody asks.
type cursor[T any] struct {
	it btree.IterG[entry[T]]
	at string // where it begins; empty once it has
}

// seek returns a cursor before the first record whose key is at least k.
func (tb table[T]) seek(r *records, index string, k string) *cursor[T] {
	return &cursor[T]{tb.rows(r).trees[index].Iter(), k}
}

// next returns the next record, or nil at the end.
func (c *cursor[T]) next() *T {
	var there bool
	if c.at != "" {
		there = c.it.Seek(entry[T]{key: c.at})
		c.at = ""
	} else {
		there = c.it.Next()
	}
	if !there {
		return nil
	}
	return c.it.Item().rec
}

// count is how many records are counted under that key.
func (tb table[T]) count(r *records, name string, k string) int {
	n, _ := tb.rows(r).counts[name].Get(k)
	return n
}

// put writes rec in the place of the one with the same id.
func (tb table[T]) put(t *tx, rec *T) {
	t.writes++
	tb.change(t.records, t.index, tb.get(t.records, "id", tb.keyIn("id", rec)), rec)
}

// drop removes rec.
func (tb table[T]) drop(t *tx, rec *T) {
	t.writes++
	// What is in the table may be a later version of it.
	tb.change(t.records, t.index, tb.get(t.records, "id", tb.keyIn("id", rec)), nil)
}

// change puts rec in the place of old, of which either may be nil.
func (tb table[T]) change(r *records, index uint64, old, rec *T) {
	if rec != nil && tb.prepare != nil {
		tb.prepare(rec, r)
	}
	all := tb.writable(r)
	for name, tree := range all.trees {
		from, to := "", ""
		if old != nil {
			from = tb.keyIn(name, old)
		}
		if rec != nil {
			to = tb.keyIn(name, rec)
		}
		if from != "" && from != to {
			tree.Delete(entry[T]{key: from})
		}
		if to != "" {
			tree.Set(entry[T]{to, rec})
		}
	}
	for name, by := range tb.counts {
		if old != nil {
			add(all.counts[name], by(old), -1)
		}
		if rec != nil {
			add(all.counts[name], by(rec), 1)
		}
	}
	if tb.names != nil && tb.naming(old) != tb.naming(rec) {
		r.named = index
	}
}

func (tb table[T]) naming(rec *T) naming {
	if rec == nil {
		return naming{}
	}
	return tb.names(rec)
}

func add(counts *btree.Map[string, int], k string, n int) {
	if k == "" {
		return
	}
	before, _ := counts.Get(k)
	if before+n == 0 {
		counts.Delete(k)
		return
	}
	counts.Set(k, before+n)
}

// tx is an entry being applied, command after command.
type tx struct {
	*records
	index  uint64 // of the log entry
	writes int    // so far
}

// view is the state as the command sees it.
func (t *tx) view() *View { return &View{records: t.records, index: t.index} }
