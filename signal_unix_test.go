//go:build unix

package main

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The test binary plays the program where it is told to.
func TestMain(m *testing.M) {
	if os.Getenv("MALLA_TEST_MAIN") != "" {
		main()
	}
	os.Exit(m.Run())
}

// A process is a node that this test started.
type process struct {
	*exec.Cmd
	addr string // host:port of its API
	log  string // file of what it logged
}

// serve starts a node by itself and waits until it is ready.
func serve(t *testing.T, flags ...string) process {
	t.Helper()
	dir := t.TempDir()
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd := exec.Command(os.Args[0], append([]string{"serve", "--data", filepath.Join(dir, "data"), "--advertise", "127.0.0.1",
		"--http", "127.0.0.1:0", "--gossip", "127.0.0.1:0", "--peer", "127.0.0.1:0", "--reserve", "64MB"}, flags...)...)
	cmd.Env = append(os.Environ(), "MALLA_TEST_MAIN=1")
	cmd.Stderr = log
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill() })
	kill := time.AfterFunc(time.Minute, func() { cmd.Process.Kill() })
	defer kill.Stop()
	ready := regexp.MustCompile(`malla is ready: +http://(\S+)`)
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if found := ready.FindStringSubmatch(lines.Text()); found != nil {
			go func() {
				for lines.Scan() { // it must not wait for somebody to read
				}
			}()
			return process{cmd, found[1], log.Name()}
		}
	}
	text, _ := os.ReadFile(log.Name())
	t.Fatalf("it did not become ready: %s", text)
	return process{}
}

// end waits for the end of the process, sending the signal again and again
// where it is to be sent.
func (p process) end(t *testing.T, again syscall.Signal) syscall.WaitStatus {
	t.Helper()
	ended := make(chan struct{})
	go func() { p.Wait(); close(ended) }()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for timeout := time.After(time.Minute); ; {
		select {
		case <-ended:
			return p.ProcessState.Sys().(syscall.WaitStatus)
		case <-tick.C:
			if again != 0 && p.said("stopping") {
				p.Process.Signal(again)
			}
		case <-timeout:
			t.Fatal("it does not end")
		}
	}
}

func (p process) said(words string) bool {
	text, err := os.ReadFile(p.log)
	return err == nil && bytes.Contains(text, []byte(words))
}

// hold begins a request that does not end by itself, so that stopping takes a
// while.
func (p process) hold(t *testing.T) {
	t.Helper()
	_, port, _ := strings.Cut(p.addr, ":")
	conn, err := net.Dial("tcp", "127.0.0.1:"+port)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	fmt.Fprintf(conn, "POST /auth/signup HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 100\r\nExpect: 100-continue\r\n\r\n")
	answer := make([]byte, 16)
	if _, err := conn.Read(answer); err != nil || !bytes.Contains(answer, []byte("100")) {
		t.Fatalf("the request is not under way: %q, %v", answer, err)
	}
}

// TestASecondSignalIsImmediate: the first one lets requests come to their end,
// the second one waits for nothing.
func TestASecondSignalIsImmediate(t *testing.T) {
	t.Parallel()
	p := serve(t)
	p.hold(t)
	p.Process.Signal(syscall.SIGINT)
	if s := p.end(t, syscall.SIGINT); !s.Signaled() || s.Signal() != syscall.SIGINT {
		t.Errorf("it ended in order, with code %d", s.ExitStatus())
	}
}

func TestASignalEndsItInOrder(t *testing.T) {
	t.Parallel()
	p := serve(t)
	p.Process.Signal(syscall.SIGTERM)
	if s := p.end(t, 0); s.ExitStatus() != 0 {
		text, _ := os.ReadFile(p.log)
		t.Errorf("exit code %d: %s", s.ExitStatus(), text)
	}
}

// TestTheLastNodeDoesNotLeave: with --leave-on-stop it says why it stays a
// member.
func TestTheLastNodeDoesNotLeave(t *testing.T) {
	t.Parallel()
	p := serve(t, "--leave-on-stop")
	p.Process.Signal(syscall.SIGTERM)
	if s := p.end(t, 0); s.ExitStatus() != 1 || !p.said("stays a member") {
		text, _ := os.ReadFile(p.log)
		t.Errorf("exit code %d: %s", s.ExitStatus(), text)
	}
}
