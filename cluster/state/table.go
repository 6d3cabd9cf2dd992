package state

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/hashicorp/go-memdb"
)

// table is the schema of one kind of record: how it is found.
type table[T any] struct {
	name    string
	indexes map[string]index[T]
}

// index is a way to find records of type T: the key of each, in the order of
// its bytes. A record without a key does not stand in the index.
type index[T any] struct {
	unique bool
	key    func(*T) []byte
}

// FromObject implements [memdb.SingleIndexer].
func (x index[T]) FromObject(obj any) (bool, []byte, error) {
	rec, ok := obj.(*T)
	if !ok {
		return false, nil, fmt.Errorf("index over %T got %T", rec, obj)
	}
	k := x.key(rec)
	return k != nil, k, nil
}

// FromArgs implements [memdb.Indexer]: the only argument is the whole key.
func (x index[T]) FromArgs(args ...any) ([]byte, error) {
	k, ok := args[0].([]byte)
	if !ok || len(args) != 1 {
		return nil, fmt.Errorf("index takes one key, got %v", args)
	}
	return k, nil
}

// PrefixFromArgs implements [memdb.PrefixIndexer].
func (x index[T]) PrefixFromArgs(args ...any) ([]byte, error) { return x.FromArgs(args...) }

func (tb table[T]) schema() *memdb.TableSchema {
	s := &memdb.TableSchema{Name: tb.name, Indexes: map[string]*memdb.IndexSchema{}}
	for name, x := range tb.indexes {
		s.Indexes[name] = &memdb.IndexSchema{Name: name, Unique: x.unique, AllowMissing: name != "id", Indexer: x}
	}
	return s
}

// key joins parts into bytes that sort as the parts do. Strings end with a zero
// byte, so that no key is the beginning of another one.
func key(parts ...any) []byte {
	var k []byte
	for _, p := range parts {
		switch p := p.(type) {
		case uint64:
			k = binary.BigEndian.AppendUint64(k, p)
		case string:
			k = append(append(k, p...), 0)
		default:
			panic(fmt.Sprintf("key part of type %T", p)) // a fault in this package, found by any test
		}
	}
	return k
}

// get returns the record with exactly that key, or nil.
func (tb table[T]) get(txn *memdb.Txn, index string, k []byte) *T {
	obj, err := txn.First(tb.name, index, k)
	if err != nil {
		panic(err) // only a wrong table or index name does that
	}
	rec, _ := obj.(*T)
	return rec
}

// each yields the records whose key begins with prefix, in order.
func (tb table[T]) each(txn *memdb.Txn, index string, prefix []byte) func(yield func(*T) bool) {
	return walk[T](txn.Get, tb.name, index, prefix)
}

// eachBackward is each, from the end.
func (tb table[T]) eachBackward(txn *memdb.Txn, index string, prefix []byte) func(yield func(*T) bool) {
	return walk[T](txn.GetReverse, tb.name, index, prefix)
}

// from yields the records whose key is at least k, in order, while it begins
// with prefix.
func (tb table[T]) from(txn *memdb.Txn, index string, prefix, k []byte) func(yield func(*T) bool) {
	x := tb.indexes[index]
	return func(yield func(*T) bool) {
		it, err := txn.LowerBound(tb.name, index, k)
		if err != nil {
			panic(err)
		}
		for obj := it.Next(); obj != nil; obj = it.Next() {
			rec := obj.(*T)
			if !bytes.HasPrefix(x.key(rec), prefix) || !yield(rec) {
				return
			}
		}
	}
}

func walk[T any](find func(string, string, ...any) (memdb.ResultIterator, error), table, index string, prefix []byte) func(yield func(*T) bool) {
	return func(yield func(*T) bool) {
		it, err := find(table, index+"_prefix", prefix)
		if err != nil {
			panic(err)
		}
		for obj := it.Next(); obj != nil; obj = it.Next() {
			if !yield(obj.(*T)) {
				return
			}
		}
	}
}

// put writes rec in the place of the one with the same id.
func (tb table[T]) put(t *tx, rec *T) {
	if err := t.Insert(tb.name, rec); err != nil {
		panic(err)
	}
}

// drop removes rec.
func (tb table[T]) drop(t *tx, rec *T) {
	if err := t.Delete(tb.name, rec); err != nil {
		panic(err)
	}
}

// tx is one command being applied.
type tx struct {
	*memdb.Txn
	index uint64 // of its log entry
}

// view is the state as the command sees it.
func (t *tx) view() *View { return &View{txn: t.Txn, index: t.index} }

func newDB() *memdb.MemDB {
	schema := &memdb.DBSchema{Tables: map[string]*memdb.TableSchema{}}
	for _, tb := range slices.Concat(tables...) {
		s := tb.schema()
		schema.Tables[s.Name] = s
	}
	db, err := memdb.NewMemDB(schema)
	if err != nil {
		panic(err) // the schema is a constant of this package
	}
	return db
}
