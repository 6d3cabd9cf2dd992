package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"malla/examples/internal/mesh"
	"malla/httpapi"
)

// A rig is a running mesh and a user of it.
type rig struct {
	*mesh.Mesh
	user *user
}

// startRig starts a mesh with its data under dir, and signs up.
func startRig(ctx context.Context, s settings, cfg mesh.Config) (*rig, error) {
	dir, err := os.MkdirTemp(s.dir, "mesh-")
	if err != nil {
		return nil, err
	}
	starting, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	cfg.Program, cfg.Dir = s.program, filepath.Join(dir, "nodes")
	cfg.Flags = append([]string{"--reserve", "64MB"}, cfg.Flags...)
	m, err := mesh.Start(starting, cfg)
	if err != nil {
		return nil, err
	}
	u, err := signUp(ctx, m.URL(0), "ana")
	if err != nil {
		return nil, errors.Join(err, m.Close())
	}
	return &rig{m, u}, nil
}

// A user is who asks, and hears at once when a job has ended.
type user struct {
	*httpapi.Client
}

func signUp(ctx context.Context, url, name string) (*user, error) {
	u := &user{&httpapi.Client{Base: url}}
	if _, err := u.Signup(ctx, name, "a password for a bench"); err != nil {
		return nil, fmt.Errorf("sign up: %w", err)
	}
	return u, nil
}

func (u *user) put(ctx context.Context, name string, data []byte) error {
	_, err := u.UploadFile(ctx, httpapi.File{Name: name, Body: bytes.NewReader(data), Size: int64(len(data))})
	if err != nil {
		return fmt.Errorf("upload %s: %w", name, err)
	}
	return nil
}

func (u *user) putFile(ctx context.Context, path string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return u.put(ctx, filepath.Base(path), data)
}

// afresh are the options of a job that must do the work that is measured: where
// the codecs fit already, malla would copy the streams.
func afresh(film bool) json.RawMessage {
	if film {
		return json.RawMessage(`{"copy":"never"}`)
	}
	return nil
}

// listener hears which jobs end. Polling would add its interval to what is
// measured.
type listener struct {
	ended  chan httpapi.Job
	failed chan error
	stop   func() // returns when nobody listens any more
}

// listen returns when it hears. Whoever calls it calls stop.
func (u *user) listen(ctx context.Context) (*listener, error) {
	ctx, cancel := context.WithCancel(ctx)
	l := &listener{ended: make(chan httpapi.Job, 100), failed: make(chan error, 1)}
	ready, done := make(chan struct{}, 1), make(chan struct{})
	l.stop = func() {
		cancel()
		<-done
	}
	go func() {
		defer close(done)
		l.failed <- u.Events(ctx, "", func(e httpapi.Event) error {
			if e.Name == "ready" {
				select {
				case ready <- struct{}{}:
				default: // it was heard: the connection was made anew
				}
			}
			if e.Name != "job" {
				return nil
			}
			job, err := e.Job()
			if err != nil || !job.Ended() {
				return err
			}
			select {
			case l.ended <- job:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
	}()
	select {
	case <-ready:
		return l, nil
	case err := <-l.failed:
		l.stop()
		return nil, err
	}
}

// wait returns when that job has ended well.
func (l *listener) wait(id string) error {
	for {
		select {
		case err := <-l.failed:
			return fmt.Errorf("wait for job %s: %w", id, err)
		case job := <-l.ended:
			switch {
			case job.ID != id:
			case job.Status != httpapi.Completed:
				return fmt.Errorf("job %s is %s: %s", id, job.Status, job.Error)
			default:
				return nil
			}
		}
	}
}

// convert asks for the job and returns it when it is done, with the time from
// the request on.
func (u *user) convert(ctx context.Context, ask httpapi.ConvertRequest) (httpapi.Job, time.Duration, error) {
	l, err := u.listen(ctx)
	if err != nil {
		return httpapi.Job{}, 0, err
	}
	defer l.stop()
	began := time.Now()
	asked, err := u.Convert(ctx, ask)
	if err != nil {
		return httpapi.Job{}, 0, err
	}
	if err := l.wait(asked.JobID); err != nil {
		return httpapi.Job{}, 0, err
	}
	took := time.Since(began)
	job, err := u.Job(ctx, asked.JobID)
	if err == nil && job.Reused {
		err = errors.New("the mesh had the output already: nothing was measured")
	}
	return job, took, err
}

// firstBytes reads the beginning of an item, as a player does.
func (u *user) firstBytes(ctx context.Context, id string) error {
	content, err := u.Open(ctx, id, 0)
	if err != nil {
		return err
	}
	defer content.Body.Close()
	_, err = content.Body.Read(make([]byte, 64<<10))
	return err
}
