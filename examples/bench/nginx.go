package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// errNoNginx tells that there is none on this machine.
var errNoNginx = errors.New("nginx is not installed: `apt-get install nginx-light` puts it there, and nothing needs to be configured")

// A nginx is a running web server of its own.
type nginx struct {
	cmd *exec.Cmd
	url string
}

// startNginx serves the folder on a free port, with a private configuration
// that switches on what makes nginx fast.
func startNginx(ctx context.Context, dir, folder string) (*nginx, error) {
	program, err := exec.LookPath("nginx")
	if err != nil {
		if program, err = exec.LookPath("/usr/sbin/nginx"); err != nil {
			return nil, errNoNginx
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	addr := l.Addr().String()
	l.Close()
	own := filepath.Join(dir, "nginx")
	if err := os.MkdirAll(own, 0o700); err != nil {
		return nil, err
	}
	user := ""
	if os.Geteuid() == 0 {
		user = "user root;" // else its workers could not read the folder
	}
	config := fmt.Sprintf(`%s daemon off; worker_processes auto; pid %s/pid; error_log %[2]s/log;
events { worker_connections 256; }
http {
	access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000; default_type audio/wav;
	client_body_temp_path %[2]s/body; proxy_temp_path %[2]s/proxy; fastcgi_temp_path %[2]s/fastcgi; uwsgi_temp_path %[2]s/uwsgi; scgi_temp_path %[2]s/scgi;
	server { listen %s; root %s; }
}
`, user, own, addr, folder)
	path := filepath.Join(own, "conf")
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		return nil, err
	}
	cmd := exec.Command(program, "-p", own, "-c", path, "-e", filepath.Join(own, "log"))
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C goes to us, and we end it
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	n := &nginx{cmd: cmd, url: "http://" + addr}
	if err := n.ready(ctx); err != nil {
		return nil, errors.Join(err, n.stop())
	}
	return n, nil
}

// ready waits until it answers.
func (n *nginx) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for {
		res, err := http.Get(n.url)
		if err == nil {
			res.Body.Close()
			return nil
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("nginx does not answer: %w", err)
		}
	}
}

// pids are its processes.
func (n *nginx) pids() []int { return groupOf(n.cmd.Process.Pid) }

// stop ends it with all its workers.
func (n *nginx) stop() error {
	if err := n.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	return n.cmd.Wait()
}
