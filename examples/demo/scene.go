package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"text/tabwriter"
	"time"

	"github.com/dustin/go-humanize"

	"malla/examples/internal/footage"
	"malla/examples/internal/mesh"
	"malla/httpapi"
)

// scene is what happens on the mesh: everything is asked of the first node, and
// everything is looked at on the third.
type scene struct {
	mesh    *mesh.Mesh
	dir     string
	seconds float64 // length of the song and the film

	user, password string
	first, third   *httpapi.Client
}

// conversion is one row of the table.
type conversion struct {
	input  string
	format string
	id     string

	job   httpapi.Job
	facts footage.Facts
	wrong error // what is wrong with the output
}

func (s *scene) play(ctx context.Context) error {
	if err := s.signUp(ctx); err != nil {
		return err
	}
	song, film := filepath.Join(s.dir, "song.flac"), filepath.Join(s.dir, "film.mp4")
	if err := footage.Song(ctx, song, s.seconds, 1); err != nil {
		return err
	}
	if err := footage.Film(ctx, film, s.seconds, 1); err != nil {
		return err
	}
	for _, path := range []string{song, film} {
		if err := s.upload(ctx, path); err != nil {
			return err
		}
	}
	all, err := s.convert(ctx)
	if err != nil {
		return err
	}
	s.check(ctx, all)
	show(all)
	failed := 0
	for _, c := range all {
		if c.wrong != nil {
			failed++
		}
	}
	if err := s.share(ctx, all[len(all)-1].job.OutputFile); err != nil {
		return err
	}
	if failed > 0 {
		return fmt.Errorf("%d of %d conversions are wrong", failed, len(all))
	}
	say("all %d conversions are right", len(all))
	return nil
}

func (s *scene) signUp(ctx context.Context) error {
	s.user, s.password = "demo", rand.Text()[:12]
	s.first = &httpapi.Client{Base: s.mesh.URL(0)}
	token, err := s.first.Signup(ctx, s.user, s.password)
	if err != nil {
		return fmt.Errorf("sign up on %s: %w", s.mesh.Name(0), err)
	}
	s.third = &httpapi.Client{Base: s.mesh.URL(2), Token: token.AccessToken}
	say("signed up as %s on %s", s.user, s.mesh.Name(0))
	return nil
}

// upload sends the file to the first node and reads it back from the third.
func (s *scene) upload(ctx context.Context, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	sum := sha256.New()
	size, err := io.Copy(sum, f)
	if err != nil {
		return err
	}
	began := time.Now()
	m, err := s.first.UploadFile(ctx, httpapi.File{Name: filepath.Base(path), Body: f, Size: size})
	if err != nil {
		return fmt.Errorf("upload %s: %w", filepath.Base(path), err)
	}
	say("uploaded %s (%s) to %s in %.2f s", m.Name, humanize.Bytes(uint64(m.Size)), s.mesh.Name(0), time.Since(began).Seconds())
	got, err := s.sumOnThird(ctx, m.ID)
	if err != nil {
		return fmt.Errorf("read %s on %s: %w", m.Name, s.mesh.Name(2), err)
	}
	if want := hex.EncodeToString(sum.Sum(nil)); got != want {
		return fmt.Errorf("%s on %s has the SHA-256 %s, want %s", m.Name, s.mesh.Name(2), got, want)
	}
	say("  read back from %s: the same SHA-256", s.mesh.Name(2))
	return nil
}

// sumOnThird reads an item from the third node, which may need a moment to
// learn what was agreed on through the first.
func (s *scene) sumOnThird(ctx context.Context, id string) (string, error) {
	sum := sha256.New()
	err := soon(ctx, func() error {
		sum.Reset()
		_, err := s.third.Download(ctx, id, sum, 0, nil)
		return err
	})
	return hex.EncodeToString(sum.Sum(nil)), err
}

// soon repeats what is not there yet for up to five seconds.
func soon(ctx context.Context, try func() error) error {
	for began := time.Now(); ; {
		err := try()
		var p *httpapi.Problem
		if !errors.As(err, &p) || p.Status != http.StatusNotFound || time.Since(began) > 5*time.Second {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// convert asks the first node for everything that fits, and waits on the third
// until all have ended.
func (s *scene) convert(ctx context.Context) ([]conversion, error) {
	var all []conversion
	for _, format := range footage.Formats {
		if !footage.HasPictures(format) {
			all = append(all, conversion{input: "song.flac", format: format})
		}
	}
	for _, format := range footage.Formats {
		all = append(all, conversion{input: "film.mp4", format: format})
	}
	for i, c := range all {
		asked, err := s.first.Convert(ctx, httpapi.ConvertRequest{InputFile: c.input, OutputFormat: c.format})
		if err != nil {
			return nil, fmt.Errorf("convert %s to %s: %w", c.input, c.format, err)
		}
		all[i].id = asked.JobID
	}
	say("asked %s for %d conversions; waiting on %s", s.mesh.Name(0), len(all), s.mesh.Name(2))
	began := time.Now()
	for i, c := range all {
		err := soon(ctx, func() (err error) {
			all[i].job, err = s.third.WaitJob(ctx, c.id, nil)
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("wait for %s to %s: %w", c.input, c.format, err)
		}
	}
	say("all ended after %.1f s\n", time.Since(began).Seconds())
	return all, nil
}

// check fetches every output from the third node and looks at it with ffprobe.
func (s *scene) check(ctx context.Context, all []conversion) {
	for i := range all {
		c := &all[i]
		c.wrong = func() error {
			if c.job.Status != httpapi.Completed {
				return fmt.Errorf("%s: %s", c.job.Status, c.job.Error)
			}
			path := filepath.Join(s.dir, c.id+"."+c.format)
			if err := s.fetch(ctx, c.job.OutputID, path); err != nil {
				return err
			}
			defer os.Remove(path)
			var err error
			if c.facts, err = footage.Probe(ctx, path); err != nil {
				return err
			}
			return c.facts.Check(c.format, s.seconds)
		}()
	}
}

func (s *scene) fetch(ctx context.Context, id, path string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	_, err = s.third.Download(ctx, id, f, 0, nil)
	return errors.Join(err, f.Close())
}

// show prints the table of all conversions.
func show(all []conversion) {
	w := tabwriter.NewWriter(os.Stdout, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, "INPUT\tTO\tNODE\tTOOK\tSIZE\tHOLDS\tLASTS\tCHECK")
	for _, c := range all {
		took, check := 0.0, "ok"
		if c.job.Duration != nil {
			took = *c.job.Duration
		}
		if c.wrong != nil {
			check = c.wrong.Error()
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%.1f s\t%s\t%s\t%.3f s\t%s\n", c.input, c.format, c.job.WorkerID, took,
			humanize.Bytes(uint64(c.job.OutputSize)), c.facts.Codecs(), c.facts.Seconds, check)
	}
	w.Flush()
	fmt.Println()
}

// share makes a link on the first node and opens it on the third, as nobody.
func (s *scene) share(ctx context.Context, name string) error {
	shared, err := s.first.Share(ctx, name, 60)
	if err != nil {
		return fmt.Errorf("share %s: %w", name, err)
	}
	link, err := url.Parse(shared.URL)
	if err != nil {
		return err
	}
	third := s.mesh.URL(2) + link.EscapedPath()
	var got int64
	err = soon(ctx, func() error {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, third, nil)
		if err != nil {
			return err
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			return err
		}
		defer res.Body.Close()
		if res.StatusCode != http.StatusOK {
			return &httpapi.Problem{Status: res.StatusCode, Detail: res.Status}
		}
		got, err = io.Copy(io.Discard, res.Body)
		return err
	})
	if err != nil {
		return fmt.Errorf("open the share on %s: %w", s.mesh.Name(2), err)
	}
	m, err := s.first.Info(ctx, name)
	if err != nil {
		return err
	}
	if got != m.Size {
		return fmt.Errorf("the share gave %d bytes of %s, want %d", got, name, m.Size)
	}
	say("shared %s: %s\n  opened without an account on %s, all %s of it", name, shared.URL, s.mesh.Name(2), humanize.Bytes(uint64(got)))
	return nil
}
