package upload

import (
	"os"
	"slices"
	"time"

	"malla/blobs"
)

// A state is what the journal says.
type state struct {
	created   created
	at        time.Time // when it was created
	expires   time.Time
	taken     taken    // who goes on with it
	former    []string // who kept the record before, and does not now
	promised  token    // steps of smaller ones are refused
	inherited int      // how many of the chunks another node took
	lines     int      // steps that other nodes have to know
	last      int64    // where in the file the last of them begins
	chunks    []blobs.Ref
	size      int64  // of everything in chunks
	whole     []byte // state of the hash of everything in chunks
	part      partOnDisk
	blob      blobs.Blob
	finished  bool
	named     Named
}

// keepNamed is for how long a client can ask what became of its upload.
const keepNamed = time.Hour

// apply takes the step whose line begins at that place of the file.
func (st *state) apply(e entry, at int64, expire time.Duration) {
	if e.Promise != nil {
		st.promised = *e.Promise // says nothing of the client
		return
	}
	st.expires = e.At.Add(expire)
	if !e.local() {
		st.lines, st.last = st.lines+1, at
	}
	switch {
	case e.Create != nil:
		st.created, st.at, st.taken = *e.Create, e.At, e.Create.Take
	case e.Take != nil:
		if e.Take.Node != st.taken.Node {
			st.inherited = len(st.chunks)
		}
		st.former = slices.DeleteFunc(append(st.former, st.taken.Keepers...), func(id string) bool { return slices.Contains(e.Take.Keepers, id) })
		slices.Sort(st.former)
		st.former = slices.Compact(st.former)
		st.taken = *e.Take
	case e.Length != nil:
		st.created.Size = *e.Length
	case e.Chunk != nil:
		st.addChunk(spreadChunk{e.Chunk.Ref, e.Chunk.Len, e.Chunk.Whole})
	case e.Part != nil:
		st.part = *e.Part
	case e.Done != nil:
		st.blob, st.finished = *e.Done, true
	case e.Named != nil:
		st.named = *e.Named
		st.expires = e.At.Add(min(expire, keepNamed))
	}
	if st.taken.compare(st.promised) > 0 {
		st.promised = st.taken.token
	}
}

func (st *state) addChunk(sc spreadChunk) {
	st.chunks, st.whole = append(st.chunks, sc.ref), sc.whole
	st.size += sc.len
	st.part = partOnDisk{}
}

func (st *state) info(id string) Info {
	i := Info{
		ID: id, Owner: st.created.Owner, Size: st.created.Size, Meta: st.created.Meta,
		Created: st.at, Expires: st.expires, Finished: st.finished, Blob: st.blob, Named: st.named,
		Concat: st.created.Concat, Parts: st.created.Parts, Offset: st.size + st.part.Len,
	}
	if st.finished {
		i.Offset = st.blob.Size
	}
	return i
}

// readState reads a journal from its file, and how many of its bytes are whole.
func (s *Store) readState(path string) (st state, whole, size int64, err error) {
	f, err := os.Open(path)
	if err != nil {
		return st, 0, 0, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return st, 0, 0, err
	}
	at := int64(0)
	whole, err = readJournal(f, func(line []byte, e entry) error {
		if (at == 0) != (e.Create != nil) {
			return errBadEntry
		}
		st.apply(e, at, s.cfg.Expire)
		at += int64(len(line))
		return nil
	})
	if err == nil && whole == 0 {
		err = errBadEntry
	}
	return st, whole, info.Size(), err
}
