package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"malla/examples/internal/footage"
	"malla/examples/internal/mesh"
	"malla/httpapi"
	"malla/node/nodetest"
)

// build makes the program that nodes run, in dir.
func build(t *testing.T, dir string) (program string) {
	t.Helper()
	program = filepath.Join(dir, "malla")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-buildvcs=false", "-o", program, "malla").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	return program
}

// TestProcessesDieInTurn runs three real processes and kills each kind of node
// with SIGKILL while it matters: the leader, the worker in the middle of a job,
// and the node that took the upload. Nothing acknowledged is lost, each job ends
// once, and the two others take writes within five seconds.
func TestProcessesDieInTurn(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a minute; the whole suite does it")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	dir := t.TempDir()
	program := build(t, dir)
	path := filepath.Join(dir, "film.mp4")
	if err := footage.Film(ctx, path, 5, 1); err != nil {
		t.Fatal(err)
	}
	film, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	m, err := mesh.Start(ctx, mesh.Config{Program: program, Nodes: 3, Dir: filepath.Join(dir, "mesh"), Flags: []string{"--slots", "1", "--reserve", "64MB", "--log-level", "debug"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		m.Stop()
		for i := range m.Len() {
			if log, err := os.ReadFile(m.LogFile(i)); err == nil && t.Failed() {
				t.Logf("log of %s:\n%s", m.Name(i), log[max(0, len(log)-20_000):])
			}
		}
	})
	user := &httpapi.Client{Base: m.URL(0)}
	if _, err := user.Signup(ctx, "ana", "correct horse"); err != nil {
		t.Fatal(err)
	}
	trial := &trial{t: t, ctx: ctx, mesh: m, user: user, film: film}
	for _, victim := range []string{"leader", "worker", "uploader"} {
		trial.kill(victim)
	}
	list, err := user.At(m.URL(1)).Media(ctx, httpapi.MediaQuery{})
	if err != nil {
		t.Fatal(err)
	}
	want := "[leader.mp4 leader_converted.webm uploader.mp4 uploader_converted.webm worker.mp4 worker_converted.webm]"
	if got := fmt.Sprint(list.Objects); got != want {
		t.Errorf("library: %s", got)
	}
}

// trial is one user's view of a mesh whose nodes die.
type trial struct {
	t    *testing.T
	ctx  context.Context
	mesh *mesh.Mesh
	user *httpapi.Client
	film []byte
}

// kill has a job under way, kills the victim, and looks whether anything is missing.
func (tr *trial) kill(victim string) {
	t, m := tr.t, tr.mesh
	leader := tr.leader()
	uploader := (leader + 1) % m.Len()
	c := tr.user.At(m.URL(uploader))
	name := victim + ".mp4"
	// Other bytes each time, so that no conversion is known already.
	film := append(bytes.Clone(tr.film), []byte(victim)...)
	if _, err := c.Upload(tr.ctx, name, bytes.NewReader(film), int64(len(film)), nil); err != nil {
		t.Fatalf("upload %s: %v", name, err)
	}
	asked, err := c.Convert(tr.ctx, httpapi.ConvertRequest{InputFile: name, OutputFormat: "webm"})
	if err != nil {
		t.Fatal(err)
	}
	worker := -1
	nodetest.Eventually(t, "a node works on the job", 60*time.Second, func() error {
		job, err := c.Job(tr.ctx, asked.JobID)
		if err != nil || job.Progress <= 0 || job.Ended() {
			return fmt.Errorf("job: %+v, %v", job, err)
		}
		for i := range m.Len() {
			if m.Name(i) == job.AssignedWorker {
				worker = i
			}
		}
		return nil
	})
	dead := map[string]int{"leader": leader, "worker": worker, "uploader": uploader}[victim]
	t.Logf("%s: leader %d, worker %d, uploader %d", victim, leader, worker, uploader)
	if err := m.Kill(dead); err != nil {
		t.Fatal(err)
	}
	died := time.Now()
	for i := range m.Len() {
		if i == dead {
			continue
		}
		other := c.At(m.URL(i))
		nodetest.Eventually(t, "the survivors take writes", 5*time.Second-time.Since(died), func() error {
			_, err := other.Share(tr.ctx, name, 5)
			return err
		})
		tr.reads(other, name, film)
	}
	survivor := c.At(m.URL((dead + 1) % m.Len()))
	job, err := survivor.WaitJob(tr.ctx, asked.JobID, nil)
	if err != nil || job.Status != httpapi.Completed {
		t.Fatalf("%s: job %+v, %v", victim, job, err)
	}
	if want := map[bool]int{false: 1, true: 2}[dead == worker]; job.Attempt != want {
		t.Errorf("%s: %d attempts, want %d", victim, job.Attempt, want)
	}
	if err := errors.Join(m.Restart(dead), m.Ready(tr.ctx, dead)); err != nil {
		t.Fatal(err)
	}
	tr.reads(c.At(m.URL(dead)), name, film)
}

// reads fails unless the node gives the item's bytes back.
func (tr *trial) reads(c *httpapi.Client, name string, want []byte) {
	tr.t.Helper()
	var got bytes.Buffer
	if _, err := c.Download(tr.ctx, name, &got, 0, nil); err != nil || !bytes.Equal(got.Bytes(), want) {
		tr.t.Errorf("%s from %s: %d bytes of %d, %v", name, c.Base, got.Len(), len(want), err)
	}
}

func (tr *trial) leader() int {
	tr.t.Helper()
	leader := -1
	nodetest.Eventually(tr.t, "a node leads", 10*time.Second, func() error {
		nodes, err := tr.user.At(tr.mesh.URL(0)).Nodes(tr.ctx)
		for _, n := range nodes {
			for i := range tr.mesh.Len() {
				if n.Role == "leader" && n.Name == tr.mesh.Name(i) {
					leader = i
					return nil
				}
			}
		}
		return fmt.Errorf("nodes: %+v, %v", nodes, err)
	})
	return leader
}
