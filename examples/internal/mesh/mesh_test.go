package mesh

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// The test binary plays the node when it is called as one.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "serve" {
		serve()
	}
	os.Exit(m.Run())
}

func serve() {
	flags := flag.NewFlagSet("serve", flag.ExitOnError)
	addr := flags.String("http", "", "")
	data := flags.String("data", "", "")
	name, gossip, join := flags.String("name", "", ""), flags.String("gossip", "", ""), flags.String("join", "", "")
	for _, name := range []string{"peer", "advertise", "bootstrap-expect"} {
		flags.String(name, "", "")
	}
	broken := flags.Bool("broken", false, "")
	flags.Parse(os.Args[2:])
	fmt.Println("starts", len(os.Getenv("MALLA_SECRET")))
	if *broken {
		os.Exit(3)
	}
	if err := os.MkdirAll(*data, 0o700); err != nil {
		os.Exit(1)
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	go func() {
		<-stop
		fmt.Println("asked to end")
		os.Exit(0)
	}()
	heard := &voices{at: map[string]time.Time{}}
	go heard.run(*name, *gossip, strings.Split(*join, ","))
	http.Handle("/heard", heard)
	asked := 0
	http.HandleFunc("/ready", func(w http.ResponseWriter, r *http.Request) {
		if asked++; asked < 3 {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	http.HandleFunc("/workers/stats", func(w http.ResponseWriter, r *http.Request) {
		asked++
		fmt.Fprintf(w, `{"strength": {"voters": %d}}`, min(2, asked/4))
	})
	http.ListenAndServe(*addr, nil)
	os.Exit(1)
}

// voices is a gossip of names: when each was heard last.
type voices struct {
	mu sync.Mutex // guards the field below
	at map[string]time.Time
}

func (v *voices) run(name, listen string, others []string) {
	conn, err := net.ListenPacket("udp", listen)
	if err != nil {
		os.Exit(1)
	}
	go func() {
		for range time.Tick(10 * time.Millisecond) {
			for _, other := range others {
				if addr, err := net.ResolveUDPAddr("udp", other); err == nil {
					conn.WriteTo([]byte(name), addr)
				}
			}
		}
	}()
	said := make([]byte, 100)
	for {
		n, _, err := conn.ReadFrom(said)
		if err != nil {
			os.Exit(1)
		}
		v.mu.Lock()
		v.at[string(said[:n])] = time.Now()
		v.mu.Unlock()
	}
}

// ServeHTTP lists who was heard a moment ago.
func (v *voices) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for name, at := range v.at {
		if time.Since(at) < 200*time.Millisecond {
			fmt.Fprintln(w, name)
		}
	}
}

func TestMesh(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	dir := filepath.Join(t.TempDir(), "mesh")
	m, err := Start(ctx, Config{Program: os.Args[0], Nodes: 2, Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if m.Len() != 2 || m.Name(1) != "node2" || m.URL(0) == m.URL(1) || !m.Running(0) {
		t.Fatalf("%d nodes, %q, %q, %q", m.Len(), m.Name(1), m.URL(0), m.URL(1))
	}
	url := m.URL(0)
	if err := m.Kill(0); err != nil || m.Running(0) {
		t.Fatalf("after Kill: %v, running %v", err, m.Running(0))
	}
	if err := m.Kill(0); err != nil {
		t.Fatalf("a second Kill: %v", err)
	}
	if err := m.Restart(0); err != nil {
		t.Fatal(err)
	}
	if err := m.Ready(ctx, 0); err != nil || m.URL(0) != url {
		t.Fatalf("after Restart: %v at %s, was %s", err, m.URL(0), url)
	}
	log, err := os.ReadFile(m.LogFile(0))
	if err != nil || strings.Count(string(log), "starts 64") != 2 {
		t.Fatalf("log of both lives: %q, %v", log, err)
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	if m.Running(0) || m.Running(1) {
		t.Error("a node runs after Close")
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the directory after Close: %v", err)
	}
}

func TestNodeThatEndsAtOnce(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "mesh")
	_, err := Start(t.Context(), Config{Program: os.Args[0], Nodes: 1, Dir: dir, Flags: []string{"--broken"}})
	if err == nil || !strings.Contains(err.Error(), "node1 ended while it started") {
		t.Fatalf("%v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "node1.log")); err != nil {
		t.Errorf("the log is gone: %v", err)
	}
}
