package mesh

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func startTwo(t *testing.T, cfg Config) *Mesh {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	cfg.Program, cfg.Nodes, cfg.Dir = os.Args[0], 2, filepath.Join(t.TempDir(), "mesh")
	m, err := Start(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	return m
}

// answers waits until the node answers, or does not.
func answers(t *testing.T, m *Mesh, i int, want bool) {
	t.Helper()
	var err error
	for range 20 {
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		err = m.ask(ctx, i)
		cancel()
		if (err == nil) == want {
			return
		}
	}
	t.Fatalf("%s answers: %v, want %v", m.Name(i), err == nil, want)
}

func TestPausedNodeComesBack(t *testing.T) {
	if len(family(os.Getpid())) == 0 {
		t.Skip("there is no /proc")
	}
	m := startTwo(t, Config{})
	m.Pause(1)
	answers(t, m, 1, false)
	answers(t, m, 0, true)
	m.Continue(1)
	answers(t, m, 1, true)
	m.Pause(1) // and ends in Close all the same
}

func TestNodeIsCutOffAndHealed(t *testing.T) {
	if err := CanStandApart(); err != nil {
		t.Skip(err)
	}
	m := startTwo(t, Config{Apart: true})
	if err := m.Partition(1); err != nil {
		t.Fatal(err)
	}
	answers(t, m, 1, false)
	answers(t, m, 0, true)
	if err := m.Heal(1); err != nil {
		t.Fatal(err)
	}
	answers(t, m, 1, true)
	name := m.network.name
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	left, err := filepath.Glob("/run/netns/" + name + "*")
	if err != nil || len(left) > 0 {
		t.Errorf("left of the network: %v, %v", left, err)
	}
}

func TestNodesThatShareANetworkAreNotCutOff(t *testing.T) {
	m := startTwo(t, Config{})
	if err := errors.Join(m.Partition(0), m.Heal(0), m.Cut([]int{0}, []int{1}), m.Mend()); !errors.Is(err, ErrTogether) {
		t.Error(err)
	}
}

func TestNodesObeyTheirQuota(t *testing.T) {
	if ThrottleKind() != "cgroup quota" {
		t.Skip("no cgroup takes a processor quota here")
	}
	m := startTwo(t, Config{Cores: 0.4})
	groups, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", m.PID(0)))
	if err != nil {
		t.Fatal(err)
	}
	q := m.nodes[0].throttle.(*quota)
	if !strings.Contains(string(groups), "/"+filepath.Base(q.dir)+"\n") {
		t.Errorf("not in %s:\n%s", q.dir, groups)
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(q.dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s after Close: %v", q.dir, err)
	}
}

func TestSignalsHoldANodeToItsShare(t *testing.T) {
	if len(family(os.Getpid())) == 0 {
		t.Skip("there is no /proc")
	}
	m := startTwo(t, Config{})
	d := &dutyCycle{cores: 0.5}
	if err := d.add(m.PID(0)); err != nil {
		t.Fatal(err)
	}
	answers(t, m, 0, true) // which takes next to nothing
	d.cores = 0
	if err := d.add(m.PID(0)); err != nil {
		t.Fatal(err)
	}
	if err := d.close(); err != nil {
		t.Fatal(err)
	}
	answers(t, m, 0, true)
}

func TestOverdrawn(t *testing.T) {
	for what, tc := range map[string]struct {
		passed, used time.Duration
		want         bool
	}{
		"idle":           {time.Second, 0, false},
		"at its share":   {time.Second, 400 * time.Millisecond, false},
		"above it":       {time.Second, 410 * time.Millisecond, true},
		"two cores busy": {50 * time.Millisecond, 100 * time.Millisecond, true},
	} {
		if got := overdrawn(0.4, tc.passed, tc.used); got != tc.want {
			t.Errorf("%s: %v", what, got)
		}
	}
}

func TestParseStat(t *testing.T) {
	got, err := parseStat([]byte("42 (a ) b (c)) S 7 42 42 0 -1 4194560 100 200 0 0 31 9 300 20 30 10 4 0 1 2"))
	want := member{pid: 42, parent: 7, used: 400 * time.Millisecond, reaped: 3200 * time.Millisecond}
	if err != nil || got != want {
		t.Errorf("%+v, %v", got, err)
	}
	for _, text := range []string{"", "1", "x (y) S 1", "1 (y) S a b c d e f g h i j k l m n o"} {
		if _, err := parseStat([]byte(text)); err == nil {
			t.Errorf("%q was read", text)
		}
	}
}

// TestOneWayIsCut has node1 not be heard by node2, which it hears itself.
func TestOneWayIsCut(t *testing.T) {
	if err := CanStandApart(); err != nil {
		t.Skip(err)
	}
	m := startTwo(t, Config{Apart: true})
	hear := func(one, two string) {
		t.Helper()
		for i, want := range []string{one, two} {
			waitFor(t, fmt.Sprintf("%s hears %q", m.Name(i), want), func() bool { return heard(t, m, i) == want })
		}
	}
	hear("node1 node2", "node1 node2")
	if err := m.Cut([]int{0}, []int{1}); err != nil {
		t.Fatal(err)
	}
	hear("node1 node2", "node2")
	if err := m.Mend(); err != nil {
		t.Fatal(err)
	}
	hear("node1 node2", "node1 node2")
	if err := errors.Join(m.Cut([]int{0}, []int{1}), m.Cut([]int{1}, []int{0}), m.Cut([]int{1}, []int{0})); err != nil {
		t.Fatal(err)
	}
	hear("node1", "node2")
	answers(t, m, 0, true)
	answers(t, m, 1, true)
}

// heard is whom the node heard a moment ago, in order.
func heard(t *testing.T, m *Mesh, i int) string {
	t.Helper()
	res, err := http.Get(m.URL(i) + "/heard")
	if err != nil {
		return err.Error()
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		return err.Error()
	}
	names := strings.Fields(string(text))
	slices.Sort(names)
	return strings.Join(names, " ")
}

func waitFor(t *testing.T, what string, holds func() bool) {
	t.Helper()
	timeout := time.After(30 * time.Second)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-tick.C:
		case <-timeout:
			t.Fatal("not so: " + what)
		}
	}
}

func TestAskedToEnd(t *testing.T) {
	m := startTwo(t, Config{})
	if err := errors.Join(m.End(1), m.End(1)); err != nil || m.Running(1) || !m.Running(0) {
		t.Fatalf("after End: %v, running %v and %v", err, m.Running(0), m.Running(1))
	}
	if log, err := os.ReadFile(m.LogFile(1)); err != nil || !strings.Contains(string(log), "asked to end") {
		t.Errorf("it says %q, %v", log, err)
	}
}
