package upload

import (
	"io"
	"time"
)

// keep adds the lines of r to the record that this node keeps for another one;
// from line 0 on they replace it. With errBehind it returns how many are here.
func (s *Store) keep(id string, t token, from int, r io.Reader) (*upload, int, error) {
	if _, err := s.get(id); err != nil && from > 0 {
		return nil, 0, errBehind
	}
	u := s.fileOf(id)
	defer u.file.Unlock()
	defer s.removeEmpty(u)
	u.mu.Lock()
	st := &u.state
	lines, promised, same := st.lines, st.promised, t == st.taken.token
	u.mu.Unlock()
	switch {
	case t.compare(promised) < 0:
		return u, lines, ErrMoved
	case from > 0 && !same:
		return u, 0, errBehind
	case from > 0 && from != lines:
		return u, lines, errBehind
	case from == 0 && same && lines > 0:
		return u, lines, errBehind // the answer to these was lost, or they were overtaken
	case from > 0:
		return u, lines, s.keepMore(u, r)
	}
	return u, 0, s.replace(u, t, r)
}

// fileOf locks the file of the id's upload, of which nothing may be known here
// yet; the caller unlocks it.
func (s *Store) fileOf(id string) *upload {
	for {
		u := s.getOrAdd(id)
		u.file.Lock()
		if s.knows(u) {
			return u
		}
		u.file.Unlock() // dropped meanwhile: what is written would belong to nobody
	}
}

// keepMore appends lines of who goes on with the upload; u.file is held.
func (s *Store) keepMore(u *upload, r io.Reader) error {
	var lines []byte
	var entries []entry
	var ends []int64
	err := readAllLines(io.LimitReader(r, maxBatch*maxLine), func(line []byte, e entry) error {
		if e.local() || e.Create != nil || e.Take != nil {
			return errBadEntry
		}
		ends = append(ends, int64(len(lines)))
		lines, entries = append(lines, line...), append(entries, e)
		return nil
	})
	if err != nil {
		return err
	}
	if len(entries) == 0 {
		return errBadEntry
	}
	at, err := appendLines(s.journal(u.id), lines)
	if err != nil {
		return err
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	for i, e := range entries {
		u.state.apply(e, at+ends[i], s.cfg.Expire)
	}
	return nil
}

// replace makes the lines of r, which must end with the token, the whole record;
// u.file is held. From then on this node does not go on with the upload.
func (s *Store) replace(u *upload, t token, r io.Reader) error {
	var st state
	err := writeJournal(s.journal(u.id), func(w io.Writer) error {
		at := int64(0)
		err := readAllLines(r, func(line []byte, e entry) error {
			if e.local() || (at == 0) != (e.Create != nil) {
				return errBadEntry
			}
			st.apply(e, at, s.cfg.Expire)
			at += int64(len(line))
			_, err := w.Write(line)
			return err
		})
		if err == nil && st.taken.token != t {
			err = errBadEntry
		}
		return err
	})
	if err != nil {
		return err
	}
	u.mu.Lock()
	u.state, u.mine = st, false
	u.mu.Unlock()
	return nil
}

// readAllLines is readJournal where anything but whole lines is an error.
func readAllLines(r io.Reader, each func(line []byte, e entry) error) error {
	count := &counter{r: r}
	whole, err := readJournal(count, each)
	if err != nil {
		return err
	}
	if whole != count.n {
		return errBadEntry
	}
	return nil
}

type counter struct {
	r io.Reader
	n int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

// promise makes this node refuse steps of smaller tokens from now on, durably,
// and returns what it knows. ErrMoved where it has promised as much before.
func (s *Store) promise(u *upload, t token) (claim, error) {
	u.file.Lock()
	defer u.file.Unlock()
	c := s.claim(u)
	switch {
	case c.Lines == 0, !s.knows(u):
		return c, ErrNotFound
	case t.compare(c.Promised) <= 0:
		return c, ErrMoved
	}
	line, err := entry{At: time.Now(), Promise: &t}.encode()
	if err != nil {
		return claim{}, err
	}
	at, err := appendLines(s.journal(u.id), line)
	if err != nil {
		return claim{}, err
	}
	u.mu.Lock()
	u.state.apply(entry{Promise: &t}, at, s.cfg.Expire)
	u.mine = false
	u.mu.Unlock()
	return s.claim(u), nil
}
