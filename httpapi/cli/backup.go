package cli

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/dustin/go-humanize"

	"malla/blobs"
	"malla/httpapi"
	"malla/httpapi/backup"
)

// BackupCmd saves the mesh.
type BackupCmd struct {
	Remote
	Out       string `short:"o" placeholder:"FILE" help:"File to write; - is the standard output."`
	WithFiles bool   `help:"Save the files, too: all chunks, from whichever nodes have them."`
	Check     string `placeholder:"FILE" help:"Check a backup instead of making one, without a server; - is the standard input."`
}

// Help is shown by --help.
func (BackupCmd) Help() string {
	return `The agreed state of the mesh at one moment, while it runs: accounts, libraries,
trash, conversions, links. With --with-files also every file, as stored, which is
what the mesh keeps once. Any node writes it, for administrators.

The backup is a tar archive that ends with its checksum: one that was cut off is
recognised, here and by --check. FILE appears when the backup is complete, and
your account alone can read it: it has the hashes of passwords, the names and, with
--with-files, the content of everybody's files. Links and sessions are in it only
as hashes that open nothing; the secret of the mesh is not in it: keep that too.
It is not encrypted or compressed:

    malla backup -o monday.tar
    malla backup --with-files -o - | zstd | age -r age1... > monday.tar.zst.age
    malla backup --check monday.tar

Exit codes: 0 all is there; 1 failed, or a chunk is missing that no node could
give: the backup is complete but for that. malla restore --help says how it is
used.`
}

// Run saves or checks.
func (c BackupCmd) Run(env *Env) error {
	switch {
	case (c.Out == "") == (c.Check == ""):
		return usage("give either -o FILE or --check FILE")
	case c.Check != "" && c.WithFiles:
		return usage("--with-files is for making a backup, not for --check")
	case c.Check != "":
		return c.check(env)
	}
	if c.Out == "-" && interactive(env.Stdout) {
		return usage("-o -: a backup is no text: send it into a file or a program")
	}
	s, err := c.signedIn(env)
	if err != nil {
		return err
	}
	if s.Consistency == "" {
		s.Consistency = httpapi.Strong // what anybody was told is in it
	}
	body, err := s.Client.Backup(env.ctx, c.WithFiles)
	if err != nil {
		return err
	}
	defer body.Close()
	if c.Out == "-" {
		return c.read(env, body, env.Stdout)
	}
	return c.save(env, body)
}

// save writes the file under another name until all of it is on disk.
func (c BackupCmd) save(env *Env, body io.Reader) error {
	dir := filepath.Dir(c.Out)
	f, err := os.CreateTemp(dir, "."+filepath.Base(c.Out)+"-*") // made with mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // gone already once renamed
	buf := bufio.NewWriterSize(f, 1<<20)
	err = c.read(env, body, buf)
	if lacks := (*lacking)(nil); err != nil && !errors.As(err, &lacks) {
		return errors.Join(err, f.Close())
	}
	if kept := errors.Join(buf.Flush(), f.Sync(), f.Close()); kept != nil {
		return kept
	}
	if kept := os.Rename(f.Name(), c.Out); kept != nil {
		return kept
	}
	return err
}

func (c BackupCmd) check(env *Env) error {
	if c.Check == "-" {
		return c.read(env, env.Stdin, io.Discard)
	}
	f, err := os.Open(c.Check)
	if err != nil {
		return err
	}
	defer f.Close()
	return c.read(env, f, io.Discard)
}

// lacking tells that the mesh itself lacks chunks.
type lacking struct{ missing []blobs.Ref }

func (l *lacking) Error() string {
	return fmt.Sprintf("the backup is complete but for %d chunks that no node could give, such as %s", len(l.missing), l.missing[0])
}

// read checks a backup on its way to w and says what is in it.
func (c BackupCmd) read(env *Env, from io.Reader, w io.Writer) error {
	p := &saving{env: env, told: time.Now()}
	h, end, err := backup.Read(io.TeeReader(from, w), backup.Visitor{Chunk: func(_ blobs.Ref, size int64, _ io.Reader) error {
		p.chunk(size)
		return nil
	}})
	p.end()
	if err != nil {
		return err
	}
	if c.JSON && c.Out != "-" {
		err = env.printJSON(map[string]any{"header": h, "trailer": end})
	} else {
		what := "no files"
		if h.Files {
			what = fmt.Sprintf("%s chunks with %s", humanize.Comma(end.Chunks), size(end.Bytes))
		}
		_, err = fmt.Fprintf(env.Stderr, "mesh %s at %s, state %d, by malla %s: %s; whole\n", h.Mesh, h.At.Local().Format(time.DateTime), h.Index, h.Version, what)
	}
	if err == nil && len(end.Missing) > 0 {
		err = &lacking{end.Missing}
	}
	return err
}

// saving tells how far a backup is.
type saving struct {
	env    *Env
	chunks int64
	bytes  int64
	told   time.Time
}

func (s *saving) chunk(size int64) {
	s.chunks++
	s.bytes += size
	every, form := 10*time.Second, "%s\n"
	if interactive(s.env.Stderr) {
		every, form = 200*time.Millisecond, "\r\033[K%s"
	}
	if now := time.Now(); now.Sub(s.told) >= every {
		s.told = now
		fmt.Fprintf(s.env.Stderr, form, fmt.Sprintf("%s chunks, %s", humanize.Comma(s.chunks), humanize.Bytes(uint64(s.bytes))))
	}
}

func (s *saving) end() {
	if interactive(s.env.Stderr) {
		fmt.Fprint(s.env.Stderr, "\r\033[K")
	}
}
