package cli

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"unicode"

	"malla/httpapi"
)

// GetCmd downloads files.
type GetCmd struct {
	Remote
	Names  []string `arg:"" help:"Names or ids of files in your library."`
	Output string   `short:"o" placeholder:"FILE" help:"Where to write it, for one name; - is the standard output."`
	Dir    string   `short:"d" default:"." help:"The folder to write to."`
	Force  bool     `short:"f" help:"Replace what is there."`
}

// Help is shown by --help.
func (GetCmd) Help() string {
	return `What was cut off goes on where it stopped: run the same command once more. Until it
is whole and its SHA-256 is right, the file has another name, ending in .part.

    malla get song.mp3
    malla get --dir ~/Music song.mp3 other.mp3
    malla get film.mkv -o - | ffplay -`
}

// A fetched file, as --json tells it.
type fetched struct {
	Name   string `json:"name"`
	Path   string `json:"path"`
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
}

// Run downloads all that can be, even if one cannot.
func (c GetCmd) Run(env *Env) error {
	s, err := c.signedIn(env)
	if err != nil {
		return err
	}
	if c.Output != "" && len(c.Names) > 1 {
		return usage("--output names one file, but %d are asked for: use --dir", len(c.Names))
	}
	if c.Output == "-" {
		return c.stream(env, s)
	}
	done := []fetched{}
	var errs []error
	for _, name := range c.Names {
		f, err := c.fetch(env, s, name)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", plain(name), err))
			if env.ctx.Err() != nil {
				break
			}
			continue
		}
		done = append(done, f)
	}
	if c.JSON {
		errs = append(errs, env.printJSON(done))
	}
	return errors.Join(errs...)
}

// stream writes one item to the standard output.
func (c GetCmd) stream(env *Env, s *session) error {
	m, err := s.Info(env.ctx, c.Names[0])
	if err != nil {
		return err
	}
	h := sha256.New()
	if _, err := s.Download(env.ctx, m.ID, io.MultiWriter(env.Stdout, h), 0, nil); err != nil {
		return err
	}
	return verify(m, h)
}

// fetch downloads one item into its file.
func (c GetCmd) fetch(env *Env, s *session, name string) (fetched, error) {
	m, err := s.Info(env.ctx, name)
	if err != nil {
		return fetched{}, err
	}
	dst := c.Output
	if dst == "" {
		dst = filepath.Join(c.Dir, localName(m.Name))
	}
	f := fetched{Name: m.Name, Path: dst, Size: m.Size, SHA256: m.SHA256}
	if _, err := os.Lstat(dst); !c.Force && !errors.Is(err, fs.ErrNotExist) {
		if sum, err := hashFile(env.ctx, dst); err != nil || sum != m.SHA256 {
			return f, fmt.Errorf("%s is there already, and is something else: add --force to replace it", dst)
		}
		c.say(env, "is here already: %s\n", dst)
		return f, nil
	}
	if err := c.download(env, s, m, dst); err != nil {
		return f, err
	}
	c.say(env, "%s\n", dst)
	return f, nil
}

func (c GetCmd) say(env *Env, format, path string) {
	if !c.JSON {
		fmt.Fprintf(env.Stdout, format, plain(path))
	}
}

// download writes the item to a file beside dst, going on with one that an
// earlier run left, and renames it once it is whole and right.
func (c GetCmd) download(env *Env, s *session, m httpapi.Media, dst string) error {
	// The hash in the name keeps the beginning of one version from the end of another.
	part := fmt.Sprintf("%s.%.8s.part", dst, m.SHA256)
	f, err := os.OpenFile(part, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	err = c.fill(env, s, m, f)
	err = errors.Join(err, f.Close())
	switch {
	case errors.Is(err, httpapi.ErrChanged), errors.Is(err, errDamaged):
		return errors.Join(err, os.Remove(part))
	case err != nil:
		return err // what came stays, for the next run
	}
	return os.Rename(part, dst)
}

// fill downloads what the file lacks, and verifies the whole.
func (c GetCmd) fill(env *Env, s *session, m httpapi.Media, f *os.File) error {
	h := sha256.New()
	from, err := io.Copy(h, readerUntil(env.ctx, f))
	if err != nil {
		return err
	}
	if from >= m.Size {
		return verify(m, h)
	}
	bar := env.bytesBar(m.Size, m.Name, c.JSON)
	defer bar.Clear()
	if _, err := s.Download(env.ctx, m.ID, io.MultiWriter(f, h), from, func(at, _ int64) { bar.Set64(at) }); err != nil {
		return err
	}
	return verify(m, h)
}

var errDamaged = errors.New("the bytes that came are not those of the file (wrong SHA-256): try again")

// verify compares what came with what the mesh says the item is.
func verify(m httpapi.Media, h hash.Hash) error {
	if m.SHA256 != "" && hex.EncodeToString(h.Sum(nil)) != m.SHA256 {
		return errDamaged
	}
	return nil
}

// localName makes an item's name one for a file of this machine: without
// folders, control characters, or a dot at its beginning, which would hide it.
func localName(name string) string {
	name = strings.Map(func(r rune) rune {
		if strings.ContainsRune(`/\:*?"<>|`, r) || !unicode.IsPrint(r) {
			return '_'
		}
		return r
	}, name)
	if strings.HasPrefix(name, ".") || name == "" {
		name = "_" + strings.TrimLeft(name, ".")
	}
	const longest = 200 // bytes; file systems bear 255, and ours gets an ending while it comes
	if ext := filepath.Ext(name); len(name) > longest && len(ext) < 16 {
		name = strings.ToValidUTF8(name[:longest-len(ext)], "") + ext
	} else if len(name) > longest {
		name = strings.ToValidUTF8(name[:longest], "")
	}
	return name
}
