package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"malla/examples/internal/footage"
	"malla/examples/internal/mesh"
)

// entrySize is about what making a link adds to malla's log, in bytes; etcd is
// given keys and values of that size.
const entrySize = 300

// loadResult is what the program in load prints.
type loadResult struct {
	PerSecond float64 `json:"per_second"`
	Median    float64 `json:"median_ms"`
	P99       float64 `json:"p99_ms"`
}

// proposals writes through a follower of three nodes and of three members of
// etcd, in turn, with the same program. A write is a link to an item: a request
// to the API with a token, and one command. Both keep their data on the same disk
// with their default settings.
func proposals(ctx context.Context, s settings, out *report) (err error) {
	etcd, err := exec.LookPath("etcd")
	if err != nil {
		return errors.New("there is no etcd to compare with: install it (Debian: etcd-server)")
	}
	program := filepath.Join(s.dir, "load")
	if text, err := exec.CommandContext(ctx, "go", "build", "-C", "examples/bench/load", "-o", program, ".").CombinedOutput(); err != nil {
		return fmt.Errorf("build examples/bench/load, from the repository's root: %w: %s", err, text)
	}
	nodes, err := startRig(ctx, s, mesh.Config{Nodes: 3})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, nodes.Close()) }()
	if err := nodes.user.put(ctx, "jingle.wav", footage.Jingle(1, 1)); err != nil {
		return err
	}
	if err := nodes.calm(ctx); err != nil {
		return err
	}
	leader, err := nodes.leader(ctx)
	if err != nil {
		return err
	}
	members, err := startEtcd(ctx, etcd, filepath.Join(s.dir, "etcd"))
	if err != nil {
		return err
	}
	defer members.stop()
	follower, err := members.follower(ctx)
	if err != nil {
		return err
	}
	rows := [][]string{{"clients", "malla", "median", "p99", "etcd", "median", "p99", "ratio", "verdict"}}
	for _, clients := range []int{1, 16, 64} {
		var ours, theirs []loadResult
		for range s.runs { // in turn, so that what else the machine does disturbs both
			r, err := load(ctx, program, clients, "-malla", nodes.URL((leader+1)%nodes.Len()), "-token", nodes.user.Token, "-item", "jingle.wav")
			if err != nil {
				return fmt.Errorf("malla: %w", err)
			}
			ours = append(ours, r)
			if r, err = load(ctx, program, clients, "-etcd", follower, "-size", fmt.Sprint(entrySize)); err != nil {
				return fmt.Errorf("etcd: %w", err)
			}
			theirs = append(theirs, r)
		}
		m, e := middle(ours), middle(theirs)
		ms := func(x float64) string { return fmt.Sprintf("%.1f ms", x) }
		rows = append(rows, []string{fmt.Sprint(clients), fmt.Sprintf("%.0f/s", m.PerSecond), ms(m.Median), ms(m.P99),
			fmt.Sprintf("%.0f/s", e.PerSecond), ms(e.Median), ms(e.P99), ratio(m.PerSecond / e.PerSecond), out.atLeast(m.PerSecond, e.PerSecond)})
	}
	out.title("Writes a second through a follower of three, medians of %d runs of 4 s", s.runs)
	out.table(rows)
	return nil
}

func load(ctx context.Context, program string, clients int, args ...string) (r loadResult, err error) {
	cmd := exec.CommandContext(ctx, program, append([]string{"-seconds", "4", "-clients", fmt.Sprint(clients)}, args...)...)
	cmd.Stderr = os.Stderr
	text, err := cmd.Output()
	if err == nil {
		err = json.Unmarshal(text, &r)
	}
	return r, err
}

// middle is the medians of all.
func middle(of []loadResult) loadResult {
	var rate, typical, p99 []float64
	for _, r := range of {
		rate, typical, p99 = append(rate, r.PerSecond), append(typical, r.Median), append(p99, r.P99)
	}
	return loadResult{median(rate), median(typical), median(p99)}
}

// members are three processes of etcd.
type members struct {
	clients []string // HOST:PORT
	running []*exec.Cmd
}

// startEtcd starts three members with their data and logs in a new directory.
func startEtcd(ctx context.Context, program, dir string) (*members, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	ports, err := freeAddrs(6)
	if err != nil {
		return nil, err
	}
	m := &members{clients: ports[:3]}
	var cluster, peers []string
	for i, addr := range ports[3:] {
		peers = append(peers, "http://"+addr)
		cluster = append(cluster, fmt.Sprintf("m%d=http://%s", i, addr))
	}
	for i, peer := range peers {
		log, err := os.Create(filepath.Join(dir, fmt.Sprintf("m%d.log", i)))
		if err != nil {
			m.stop()
			return nil, err
		}
		defer log.Close()
		cmd := exec.CommandContext(ctx, program, "--name", fmt.Sprintf("m%d", i), "--data-dir", filepath.Join(dir, fmt.Sprintf("m%d", i)),
			"--listen-client-urls", "http://"+m.clients[i], "--advertise-client-urls", "http://"+m.clients[i],
			"--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", strings.Join(cluster, ","))
		cmd.Stdout, cmd.Stderr = log, log
		if err := cmd.Start(); err != nil {
			m.stop()
			return nil, err
		}
		m.running = append(m.running, cmd)
	}
	return m, nil
}

// freeAddrs finds ports that are free now. All are held until the last one is
// found, so that they differ.
func freeAddrs(n int) ([]string, error) {
	var found []string
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close()
		found = append(found, l.Addr().String())
	}
	return found, nil
}

func (m *members) stop() {
	for _, cmd := range m.running {
		cmd.Process.Signal(syscall.SIGTERM) // an error says that it has ended already
	}
	for _, cmd := range m.running {
		cmd.Wait() // it ends by the signal
	}
}

// follower waits for a leader, and returns the address of a member that is none.
func (m *members) follower(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		for _, addr := range m.clients {
			leader, id, err := status(ctx, addr)
			if err == nil && leader != "" && leader != "0" && leader != id {
				return addr, nil
			}
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return "", fmt.Errorf("etcd has no leader: %w", ctx.Err())
		}
	}
}

// status asks a member who leads, and who it is.
func status(ctx context.Context, addr string) (leader, id string, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+addr+"/v3/maintenance/status", strings.NewReader("{}"))
	if err != nil {
		return "", "", err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", "", err
	}
	defer res.Body.Close()
	var s struct {
		Header struct {
			Member string `json:"member_id"`
		} `json:"header"`
		Leader string `json:"leader"`
	}
	err = json.NewDecoder(res.Body).Decode(&s)
	return s.Leader, s.Header.Member, err
}
