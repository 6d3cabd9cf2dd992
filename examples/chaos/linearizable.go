package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"malla/examples/internal/footage"
	"malla/examples/internal/mesh"
	"malla/httpapi"
)

const (
	clientsPerNode = 2  // that play
	crowd          = 12 // clients at each node whose reads wait for it when it goes on after a halt
)

// linearizable has clients at every node change and read accounts, jobs and
// shares while nodes are killed, stopped, cut off and restarted, and then looks
// whether what they were told can be explained by one order of all operations,
// each at one moment between its request and its answer.
func linearizable(ctx context.Context, s settings) (err error) {
	program, err := filepath.Abs(s.program)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "malla-chaos-")
	if err != nil {
		return err
	}
	defer func() {
		if s.keep || err != nil && ctx.Err() == nil {
			fmt.Println("data, logs and pictures:", dir)
			return
		}
		err = errors.Join(err, os.RemoveAll(dir))
	}()
	apart := mesh.CanStandApart()
	if apart != nil {
		fmt.Println("no partitions:", apart)
	}
	fmt.Printf("%d nodes, %d clients, %s reads, for %d s, seed %d\n", s.nodes, s.nodes*clientsPerNode, s.reads, s.seconds, s.seed)
	starting, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	m, err := mesh.Start(starting, mesh.Config{
		Program: program, Nodes: s.nodes, Dir: filepath.Join(dir, "mesh"), Apart: apart == nil,
		Flags: []string{"--slots", "0", "--reserve", "64MB"},
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.Stop()) }()
	st, err := newStage(ctx, m, dir, s.seed)
	if err != nil {
		return err
	}
	if err := st.play(ctx, m, s, apart == nil); err != nil {
		return err
	}
	checked, err := st.history.judge(filepath.Join(dir, "histories"))
	st.history.show()
	fmt.Printf("\nchecked: %d operations on %d things\n", checked, len(st.history.all()))
	if err != nil {
		return err
	}
	fmt.Println("one order explains what was told about each thing")
	return nil
}

// newStage signs an account up that has a file to share and to convert.
func newStage(ctx context.Context, m *mesh.Mesh, dir string, seed uint64) (*stage, error) {
	c := &httpapi.Client{Base: m.URL(0)}
	signed, err := c.Signup(ctx, "stage", secret)
	if err != nil {
		return nil, fmt.Errorf("sign up: %w", err)
	}
	data := footage.Noise(seed, 100_000)
	item, err := c.UploadFile(ctx, httpapi.File{Name: "noise.wav", Body: strings.NewReader(string(data)), Size: int64(len(data))})
	if err != nil {
		return nil, fmt.Errorf("upload: %w", err)
	}
	return &stage{history: newHistory(), token: signed.AccessToken, file: item.ID, seed: seed}, nil
}

// play lets the clients play for the time while faults befall the nodes, and
// returns when all nodes are ready again and every client has read once more.
func (s *stage) play(ctx context.Context, m *mesh.Mesh, set settings, apart bool) error {
	playing, stop := context.WithTimeout(ctx, time.Duration(set.seconds)*time.Second)
	defer stop()
	var players []*player
	for i := range m.Len() * clientsPerNode {
		r := rand.New(rand.NewPCG(set.seed, uint64(i+1)))
		players = append(players, s.player(m.URL(i%m.Len()), httpapi.Consistency(set.reads), r))
	}
	s.crowds = nil
	for i := range m.Len() {
		var c []*player
		for n := range crowd {
			c = append(c, s.player(m.URL(i), httpapi.Consistency(set.reads), rand.New(rand.NewPCG(set.seed, uint64(1000*(i+1)+n)))))
		}
		s.crowds = append(s.crowds, c)
	}
	var all sync.WaitGroup
	calm, end := context.WithCancel(ctx) // ends after the faults do
	defer end()
	for _, p := range players {
		all.Go(func() { p.run(calm) })
	}
	err := s.disturb(playing, ctx, m, rand.New(rand.NewPCG(set.seed, 0)), apart)
	pause(ctx, time.Second)
	end()
	all.Wait()
	return errors.Join(err, ctx.Err())
}

// disturb strikes nodes until playing ends. Whatever it did is undone then, and
// all nodes are ready; only ctx cuts that short.
func (s *stage) disturb(playing, ctx context.Context, m *mesh.Mesh, r *rand.Rand, apart bool) error {
	say := func(format string, args ...any) {
		fmt.Printf("%5.1f s  %s\n", time.Since(s.history.began).Seconds(), fmt.Sprintf(format, args...))
	}
	user := &httpapi.Client{Token: s.token, Consistency: httpapi.Stale}
	for pause(playing, time.Duration(300+r.IntN(2000))*time.Millisecond) {
		blows := s.plan(playing, m, user, r, apart)
		for _, b := range blows {
			say("%s", b)
			if b.halts {
				s.look(playing, b.victims)() // so that connections are there
			}
			if err := b.strike(m, b.victims); err != nil {
				return fmt.Errorf("%s: %w", b, err)
			}
			pause(playing, time.Duration(r.IntN(500))*time.Millisecond)
		}
		pause(playing, time.Duration(1000+r.IntN(4000))*time.Millisecond)
		for _, b := range slices.Backward(blows) {
			say("over: %s", b)
			looked := func() {}
			if b.halts {
				looked = s.look(ctx, b.victims)
				pause(ctx, 50*time.Millisecond)
			}
			if err := b.undo(m, b.victims); err != nil {
				return fmt.Errorf("undo: %s: %w", b, err)
			}
			looked()
		}
	}
	ready, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for i := range m.Len() {
		if err := m.Ready(ready, i); err != nil {
			return err
		}
	}
	say("all nodes are ready")
	return nil
}

// look has the crowds of those nodes read, and returns what waits for them. A
// node that goes on after a halt finds their requests before it learns what
// happened meanwhile.
func (s *stage) look(ctx context.Context, nodes []int) (wait func()) {
	var all sync.WaitGroup
	for _, i := range nodes {
		for _, p := range s.crowds[i] {
			all.Go(func() { p.look(ctx) })
		}
	}
	return all.Wait
}

// strikes is a nemesis that befalls some nodes.
type strikes struct {
	nemesis
	victims []int
	names   []string
}

func (b strikes) String() string { return b.name + " " + strings.Join(b.names, ", ") }

// plan picks one strike, or two at once on different nodes. Half of the first
// ones hit the leader. Mostly a minority is hit, sometimes more.
func (s *stage) plan(ctx context.Context, m *mesh.Mesh, user *httpapi.Client, r *rand.Rand, apart bool) []strikes {
	order := r.Perm(m.Len())
	if r.IntN(2) == 0 {
		if i, err := leaderOf(ctx, m, user); err == nil {
			at := slices.Index(order, i)
			order[0], order[at] = order[at], order[0]
		}
	}
	most := (m.Len() - 1) / 2
	if r.IntN(6) == 0 {
		most++ // no quorum for a while
	}
	var all []strikes
	for n := 1 + r.IntN(2); n > 0 && most > 0; n-- {
		kind := nemeses[r.IntN(len(nemeses))]
		if kind.apart && !apart {
			kind = nemeses[r.IntN(len(nemeses)-apartNemeses)]
		}
		count := 1 + r.IntN(most)
		b := strikes{nemesis: kind, victims: slices.Clone(order[:count])}
		for _, i := range b.victims {
			b.names = append(b.names, m.Name(i))
		}
		order, most = order[count:], most-count
		all = append(all, b)
	}
	return all
}

// leaderOf asks every node who leads, and believes the first that answers.
func leaderOf(ctx context.Context, m *mesh.Mesh, user *httpapi.Client) (int, error) {
	err := errNoVictim
	for i := range m.Len() {
		ask, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
		var found int
		found, err = leading(ask, m, user.At(m.URL(i)))
		cancel()
		if err == nil {
			return found, nil
		}
	}
	return 0, err
}

// show prints how the operations ended.
func (h *history) show() {
	h.mu.Lock()
	defer h.mu.Unlock()
	ends := []string{"done", "refused", "unknown", "no answer"}
	w := tabwriter.NewWriter(os.Stdout, 0, 4, 2, ' ', 0)
	fmt.Fprintf(w, "\nOPERATION\t%s\n", strings.ToUpper(strings.Join(ends, "\t")))
	verbs := map[string]bool{}
	for t := range h.tally {
		verbs[t.verb] = true
	}
	for _, verb := range slices.Sorted(maps.Keys(verbs)) {
		fmt.Fprint(w, verb)
		for _, end := range ends {
			fmt.Fprintf(w, "\t%d", h.tally[tallied{verb, end}])
		}
		fmt.Fprintln(w)
	}
	w.Flush()
}
