package cli

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/schollz/progressbar/v3"

	"malla/httpapi"
)

// PutCmd uploads files.
type PutCmd struct {
	Remote
	Paths    []string `arg:"" name:"path" help:"Files, and folders with all media below them."`
	Parallel int      `short:"p" default:"3" help:"How many files are on their way at once, at most 16."`
}

// Help is shown by --help.
func (PutCmd) Help() string {
	return `What is in your library already, byte for byte, is not sent again. What was cut
off goes on where it stopped: run the same command once more. Where the node that
takes a file dies, it goes on at another one, with the last few megabytes again.
Files of 8 MiB and more that were not finished are remembered in uploads.json
beside the login; the nodes keep what came for 24 hours after its last byte. A
name that other bytes have already gets a number: song (2).mp3.

    malla put song.flac film.mkv
    malla put ~/Music --parallel 4`
}

// A result is what became of one file.
type result struct {
	Path    string `json:"path"`
	Name    string `json:"name,omitempty"` // in the library
	ID      string `json:"id,omitempty"`
	Skipped bool   `json:"skipped,omitempty"` // it was there already
	Error   string `json:"error,omitempty"`

	err error
}

// largeFile is the size in bytes from which on it is worth remembering where an
// upload can be gone on with: less is sent again sooner than asked for.
const largeFile = 8 << 20

// Run uploads all that can be, even if one cannot.
func (c PutCmd) Run(env *Env) error {
	s, err := c.signedIn(env)
	if err != nil {
		return err
	}
	if c.Parallel < 1 || c.Parallel > 16 {
		return usage("--parallel %d: want 1 to 16", c.Parallel)
	}
	s.Others = s.known(env.ctx)
	files, passed, err := find(c.Paths)
	if err != nil {
		return err
	}
	if passed > 0 {
		fmt.Fprintf(env.Stderr, "%d files in folders are no media by their name and stay here\n", passed)
	}
	there, err := s.Media(env.ctx, httpapi.MediaQuery{})
	if err != nil {
		return err
	}
	p := &putting{env: env, session: s, quiet: c.JSON, there: map[int64][]httpapi.Media{}, uploads: &uploads{file: filepath.Join(s.config.dir, "uploads.json")}}
	for _, m := range there.Items {
		p.there[m.Size] = append(p.there[m.Size], m)
	}
	var total int64
	for _, f := range files {
		total += f.size
	}
	p.total = fmt.Sprintf("%d files", len(files))
	p.bar = env.bytesBar(total, p.total, c.JSON)
	results := p.all(files, c.Parallel)
	p.bar.Clear()
	return c.tell(env, results)
}

// tell prints what became of the files, and returns what went wrong.
func (c PutCmd) tell(env *Env, results []result) error {
	var errs []error
	for i, r := range results {
		if r.err != nil {
			results[i].Error = r.err.Error()
			errs = append(errs, fmt.Errorf("%s: %w", r.Path, r.err))
		}
	}
	if c.JSON {
		if err := env.printJSON(results); err != nil {
			return err
		}
	}
	return errors.Join(errs...)
}

// putting is one run of the command.
type putting struct {
	env     *Env
	session *session
	quiet   bool
	there   map[int64][]httpapi.Media // size -> items of the library
	uploads *uploads

	mu    sync.Mutex // guards what is printed
	bar   *progressbar.ProgressBar
	total string // what the bar says of all files
	under []*onItsWay
}

// onItsWay is a file that is being sent.
type onItsWay struct {
	name       string
	sent, size int64
}

// begin and end say which files the bar speaks of.
func (p *putting) begin(f *onItsWay) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.under = append(p.under, f)
	p.describe()
}

func (p *putting) end(f *onItsWay) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.under = slices.DeleteFunc(p.under, func(o *onItsWay) bool { return o == f })
	p.describe()
}

// describe tells how far each file is; p.mu is held.
func (p *putting) describe() {
	text := p.total
	for _, f := range p.under {
		name := []rune(plain(f.name))
		if len(name) > 24 {
			name = append(name[:23], '…')
		}
		text += fmt.Sprintf(" · %s %d%%", string(name), 100*f.sent/max(1, f.size))
	}
	p.bar.Describe(text)
}

// all uploads the files, several at once, and returns what became of each, in
// their order. After an interrupt the rest is not begun.
func (p *putting) all(files []local, parallel int) []result {
	results := make([]result, len(files))
	next := make(chan int)
	var workers sync.WaitGroup
	for range parallel {
		workers.Go(func() {
			for i := range next {
				results[i] = p.one(files[i])
				p.say(results[i])
			}
		})
	}
	for i := range files {
		next <- i
	}
	close(next)
	workers.Wait()
	return results
}

// say prints a line about a file, above the bar.
func (p *putting) say(r result) {
	if p.quiet || r.err != nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.bar.Clear()
	switch {
	case r.Skipped:
		fmt.Fprintf(p.env.Stdout, "is there already: %s\n", plain(r.Name))
	case r.Name != filepath.Base(r.Path):
		fmt.Fprintf(p.env.Stdout, "%s is now %s\n", plain(r.Path), plain(r.Name))
	default:
		fmt.Fprintf(p.env.Stdout, "%s\n", plain(r.Name))
	}
}

// advance moves the bar, and what it says of the file.
func (p *putting) advance(f *onItsWay, sent int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	bytes := sent - f.sent
	f.sent = sent
	p.describe()
	p.bar.Add64(bytes)
}

// moved tells that a file goes on at another node.
func (p *putting) moved(name, node string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.bar.Clear()
	fmt.Fprintf(p.env.Stderr, "malla: %s goes on at %s\n", plain(name), plain(node))
}

// one uploads a file unless its bytes are there.
func (p *putting) one(f local) result {
	r := result{Path: f.path}
	if r.err = p.env.ctx.Err(); r.err != nil {
		return r
	}
	m, there, err := p.find(f)
	switch {
	case err != nil:
		r.err = err
	case there:
		r.Skipped = true
		p.advance(&onItsWay{name: f.path, size: f.size}, f.size)
	default:
		m, r.err = p.send(f)
	}
	r.Name, r.ID = m.Name, m.ID
	return r
}

// find looks for the file's bytes in the library. It reads the file only where
// something of its size is there.
func (p *putting) find(f local) (httpapi.Media, bool, error) {
	same := p.there[f.size]
	if len(same) == 0 {
		return httpapi.Media{}, false, nil
	}
	sum, err := hashFile(p.env.ctx, f.path)
	if err != nil {
		return httpapi.Media{}, false, err
	}
	for _, m := range same {
		if m.SHA256 == sum {
			return m, true, nil
		}
	}
	return httpapi.Media{}, false, nil
}

// send uploads the file, from where an earlier run stopped if it is a large one.
func (p *putting) send(f local) (httpapi.Media, error) {
	file, err := os.Open(f.path)
	if err != nil {
		return httpapi.Media{}, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return httpapi.Media{}, err
	}
	way := &onItsWay{name: filepath.Base(f.path), size: info.Size()}
	p.begin(way)
	defer p.end(way)
	up := httpapi.File{
		Name: way.name, Body: file, Size: info.Size(),
		Progress: func(sent int64) { p.advance(way, sent) },
		Moved:    func(node string) { p.moved(way.name, node) },
	}
	if info.Size() < largeFile {
		return p.session.UploadFile(p.env.ctx, up)
	}
	path, err := filepath.Abs(f.path)
	if err != nil {
		return httpapi.Media{}, err
	}
	key := fmt.Sprintf("%s %s %d %d", p.session.server, path, info.Size(), info.ModTime().UnixNano())
	up.Location = p.uploads.location(key)
	up.Started = func(location string) { p.note(key, location) }
	m, err := p.session.UploadFile(p.env.ctx, up)
	if err == nil {
		p.note(key, "")
	}
	return m, err
}

// note remembers where an upload goes on; without it the file is only sent anew.
func (p *putting) note(key, location string) {
	if err := p.uploads.remember(key, location); err != nil {
		fmt.Fprintf(p.env.Stderr, "malla: this upload could not be resumed later: %v\n", err)
	}
}

// hashFile is the SHA-256 of the file's bytes, in hex.
func hashFile(ctx context.Context, path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, readerUntil(ctx, f)); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// readerUntil reads r until the context ends.
func readerUntil(ctx context.Context, r io.Reader) io.Reader {
	return readerFunc(func(b []byte) (int, error) {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		return r.Read(b)
	})
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(b []byte) (int, error) { return f(b) }
