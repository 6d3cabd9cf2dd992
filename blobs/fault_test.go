package blobs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
	"testing"
)

func TestErrorsOfTheDiskGetAName(t *testing.T) {
	path := func(err error) error { return &os.PathError{Op: "write", Path: "x", Err: err} }
	for _, c := range []struct {
		name   string
		err    error
		want   error // nil: none of ours
		folder error // what OfFolder says
	}{
		{"no space", path(syscall.ENOSPC), ErrFull, ErrFull},
		{"a quota", fmt.Errorf("put: %w", path(syscall.EDQUOT)), ErrFull, ErrFull},
		{"read-only", path(syscall.EROFS), ErrBroken, ErrBroken},
		{"an I/O error", syscall.EIO, ErrBroken, ErrBroken},
		{"named already", fmt.Errorf("%w: x", ErrFull), ErrFull, ErrFull},
		{"not there", path(syscall.ENOENT), nil, ErrBroken},
		{"not allowed", path(fs.ErrPermission), nil, nil},
		{"another error", errors.New("x"), nil, nil},
		{"none", nil, nil, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			for what, pair := range map[string][2]error{"OfDisk": {OfDisk(c.err), c.want}, "OfFolder": {OfFolder(c.err), c.folder}} {
				got, want := pair[0], pair[1]
				if !errors.Is(got, c.err) {
					t.Errorf("%s lost the cause: %v", what, got)
				}
				if want != nil && !errors.Is(got, want) || TakesNone(got) != (want != nil) {
					t.Errorf("%s = %v, want %v", what, got, want)
				}
			}
		})
	}
}
