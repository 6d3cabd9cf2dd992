package disk

import (
	"errors"
	"io/fs"
	"os"
	"time"
)

// Stamp is when a chunk whose ref begins with that byte last came or went, by
// the clock of the file system, and zero where none ever did. Who has listed
// them since then need not list them again. That a chunk is kept does not show.
func (s *Store) Stamp(first byte) (time.Time, error) {
	info, err := os.Stat(s.prefix(first))
	if errors.Is(err, fs.ErrNotExist) {
		return time.Time{}, s.fault(s.gone())
	}
	if err != nil {
		return time.Time{}, s.fault(err)
	}
	return info.ModTime(), nil
}
