package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"malla/examples/internal/mesh"
	"malla/httpapi"
	"malla/node/nodetest"
)

// TestLinearizable is `chaos linearizable` for some seconds on three real
// processes, and then the proof that it can fail: reads without the read index,
// at a leader that was stopped while the others elected one of themselves.
func TestLinearizable(t *testing.T) {
	if testing.Short() {
		t.Skip("takes half a minute; the whole suite does it")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	dir := t.TempDir()
	program := build(t, dir)
	apart := mesh.CanStandApart() == nil
	m, err := mesh.Start(ctx, mesh.Config{
		Program: program, Nodes: 3, Dir: filepath.Join(dir, "mesh"), Apart: apart, Flags: []string{"--slots", "0", "--reserve", "64MB", "--log-level", "debug"},
	})
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
	seed := rand.Uint64N(1_000_000)
	t.Logf("seed %d, partitions: %v", seed, apart)
	s, err := newStage(ctx, m, dir, seed)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.play(ctx, m, settings{seconds: 8, seed: seed, reads: string(httpapi.Strong)}, apart); err != nil {
		t.Fatal(err)
	}
	pictures := os.TempDir() // they stay for a look
	checked, err := s.history.judge(filepath.Join(pictures, fmt.Sprint("malla-histories-", seed)))
	if err != nil {
		t.Errorf("after %d operations: %v", checked, err)
	}
	if checked < 100 {
		t.Errorf("only %d operations were checked", checked)
	}
	t.Logf("%d operations", checked)
	s.deposed(ctx, t, m)
}

// deposed stops the leader, changes something through the node that is elected
// then, lets the old leader go on alone, and reads there. Only the read index
// keeps it from telling what is old.
func (s *stage) deposed(ctx context.Context, t *testing.T, m *mesh.Mesh) {
	user := &httpapi.Client{Base: m.URL(0), Token: s.token}
	old := -1
	nodetest.Eventually(t, "a node leads", 20*time.Second, func() (err error) {
		old, err = leaderOf(ctx, m, user)
		return err
	})
	rest := others(m, []int{old})
	before := s.player(m.URL(old), httpapi.Strong, rand.New(rand.NewPCG(s.seed, 1)))
	asked, err := before.mine.Convert(ctx, httpapi.ConvertRequest{InputFile: s.file, OutputFormat: "mp3"})
	if err != nil {
		t.Fatal(err)
	}
	s.history = newHistory()
	thing := "job " + asked.JobID
	m.Pause(old)
	after := s.player(m.URL(rest[0]), httpapi.Strong, rand.New(rand.NewPCG(s.seed, 2)))
	nodetest.Eventually(t, "the others take a change", 30*time.Second, func() error {
		after.cancel(ctx, thing, asked.JobID)
		for _, op := range s.history.all()[thing] {
			if op.Output.(told).fate != unknown {
				return nil
			}
		}
		return errors.New("not yet")
	})
	for _, i := range rest { // else they would tell it at once
		if err := m.Kill(i); err != nil {
			t.Fatal(err)
		}
	}
	m.Continue(old)

	_, err = before.reader(s.token).Job(ctx, asked.JobID)
	if status(err) != http.StatusServiceUnavailable || !strings.Contains(err.Error(), "strong") {
		t.Errorf("a strong read at a leader that was replaced: %v", err)
	}
	if _, err := s.history.judge(t.TempDir()); err != nil {
		t.Errorf("without that read: %v", err)
	}
	before.reads = httpapi.Stale
	before.readJob(ctx, thing, asked.JobID)
	if _, err := s.history.judge(t.TempDir()); !errors.Is(err, errViolation) {
		t.Errorf("a read without the read index is taken for a right one: %v, %v", err, s.history.all())
	}
	for _, i := range rest {
		if err := m.Restart(i); err != nil {
			t.Fatal(err)
		}
	}
	nodetest.Eventually(t, "a strong read is answered again, without help", time.Minute, func() error {
		before.reads = httpapi.Strong
		job, err := before.reader(s.token).Job(ctx, asked.JobID)
		if err == nil && !job.Canceled {
			t.Error("and tells what is old")
		}
		return err
	})
}

// TestModels: short histories, each operation after the last.
func TestModels(t *testing.T) {
	did, not, maybe := told{}, told{fate: refused}, told{fate: unknown}
	shows := func(holds bool, priority string, session uint64) told {
		return told{holds: holds, priority: priority, session: session}
	}
	type step struct {
		ask  ask
		told told
	}
	for _, row := range []struct {
		what, kind string
		steps      []step
		right      bool
	}{
		{"a name is taken once", "user", []step{{ask{verb: "sign up"}, did}, {ask{verb: "sign up"}, not}}, true},
		{"a name is taken twice", "user", []step{{ask{verb: "sign up"}, did}, {ask{verb: "sign up"}, did}}, false},
		{"nobody has the name that is taken", "user", []step{{ask{verb: "sign up"}, not}}, false},
		{"perhaps somebody has", "user", []step{{ask{verb: "sign up"}, maybe}, {ask{verb: "sign up"}, not}}, true},
		{"perhaps nobody has", "user", []step{{ask{verb: "sign up"}, maybe}, {ask{verb: "sign up"}, did}}, true},
		{"a session ends", "user", []step{{ask{verb: "sign up"}, did}, {ask{verb: "log in"}, shows(false, "", 7)}, {ask{verb: "log out"}, did}, {ask{verb: "show", session: 7}, shows(false, "", 0)}, {ask{verb: "log in"}, shows(false, "", 9)}}, true},
		{"an ended session is good", "user", []step{{ask{verb: "sign up"}, did}, {ask{verb: "log in"}, shows(false, "", 7)}, {ask{verb: "log out"}, did}, {ask{verb: "show", session: 7}, shows(true, "", 0)}}, false},
		{"a session that may have ended is good, then not", "user", []step{{ask{verb: "sign up"}, did}, {ask{verb: "log in"}, shows(false, "", 7)}, {ask{verb: "log out"}, maybe}, {ask{verb: "show", session: 7}, shows(true, "", 0)}, {ask{verb: "show", session: 7}, shows(false, "", 0)}}, true},
		{"and good again", "user", []step{{ask{verb: "sign up"}, did}, {ask{verb: "log in"}, shows(false, "", 7)}, {ask{verb: "log out"}, maybe}, {ask{verb: "show", session: 7}, shows(false, "", 0)}, {ask{verb: "show", session: 7}, shows(true, "", 0)}}, false},
		{"a good session is refused", "user", []step{{ask{verb: "sign up"}, did}, {ask{verb: "log in"}, shows(false, "", 7)}, {ask{verb: "show", session: 7}, shows(false, "", 0)}}, false},
		{"a job is canceled and tried again", "job", []step{{ask{verb: "cancel"}, did}, {ask{verb: "cancel"}, not}, {ask{verb: "read job"}, shows(true, "normal", 0)}, {ask{verb: "retry"}, did}, {ask{verb: "set", priority: "low"}, did}, {ask{verb: "read job"}, shows(false, "low", 0)}}, true},
		{"what was canceled is canceled", "job", []step{{ask{verb: "cancel"}, did}, {ask{verb: "cancel"}, did}}, false},
		{"an old priority", "job", []step{{ask{verb: "set", priority: "low"}, did}, {ask{verb: "read job"}, shows(false, "normal", 0)}}, false},
		{"a retry of what was not canceled is refused", "job", []step{{ask{verb: "retry"}, not}, {ask{verb: "set"}, not}}, false},
		{"a share comes and goes", "share", []step{{ask{verb: "look for share"}, shows(false, "", 0)}, {ask{verb: "add share"}, did}, {ask{verb: "look for share"}, shows(true, "", 0)}, {ask{verb: "remove share"}, did}, {ask{verb: "remove share"}, not}, {ask{verb: "look for share"}, shows(false, "", 0)}}, true},
		{"a share comes back", "share", []step{{ask{verb: "add share"}, did}, {ask{verb: "remove share"}, did}, {ask{verb: "look for share"}, shows(true, "", 0)}}, false},
		{"a share is lost", "share", []step{{ask{verb: "add share"}, did}, {ask{verb: "look for share"}, shows(false, "", 0)}}, false},
	} {
		h := newHistory()
		for _, s := range row.steps {
			h.add(h.client(), row.kind+" x", s.ask, h.now(), s.told)
		}
		if _, err := h.judge(t.TempDir()); (err == nil) != row.right || err != nil && !errors.Is(err, errViolation) {
			t.Errorf("%s: %v", row.what, err)
		}
	}
}

// TestListsOfShares: what lists say of a share is part of its history, also of
// one that nobody was told the name of.
func TestListsOfShares(t *testing.T) {
	h := newHistory()
	h.add(1, "share a", ask{verb: "add share"}, h.now(), told{})
	h.listed(1, h.now(), []string{"a"})
	h.addUnnamed(h.now())
	h.listed(1, h.now(), []string{"a", "b"})
	if _, err := h.judge(t.TempDir()); err != nil {
		t.Error(err)
	}
	looks := func(thing string) (n int) {
		for _, op := range h.all()[thing] {
			if op.Input.(ask).verb == "look for share" {
				n++
			}
		}
		return n
	}
	if looks("share a") != 2 || looks("share b") != 1 {
		t.Errorf("%d and %d looks", looks("share a"), looks("share b"))
	}
	h.listed(1, h.now(), []string{"a"})
	if _, err := h.judge(t.TempDir()); !errors.Is(err, errViolation) || !strings.Contains(err.Error(), "share b") {
		t.Errorf("b was there and is not any more: %v", err)
	}
}
