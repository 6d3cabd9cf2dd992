package mesh

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"
)

// process is one running program. The goroutine that started it waits for it.
type process struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended and was waited for
	err  error         // how it ended; read after done
}

// start runs the program with its output appended to the log.
func start(program string, args, env []string, log string) (*process, error) {
	out, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(program, args...)
	cmd.Env, cmd.Stdout, cmd.Stderr = env, out, out
	cmd.SysProcAttr = attributes()
	p := &process{cmd: cmd, done: make(chan struct{})}
	started := make(chan error, 1)
	go func() {
		defer close(p.done)
		defer out.Close()
		// Linux ends the child when the thread that started it ends, so this
		// one stays for as long as the child lives.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			p.err = cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	return p, nil
}

func (p *process) exited() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// kill ends the process at once and returns when it is gone.
func (p *process) kill() {
	p.cmd.Process.Kill() // an error says that it has ended already
	<-p.done
}

// terminate asks the process to end, and kills it when it takes too long.
func (p *process) terminate(patience time.Duration) error {
	if p.exited() {
		return nil
	}
	p.cmd.Process.Signal(syscall.SIGTERM) // an error says that it has ended already
	select {
	case <-p.done:
	case <-time.After(patience):
		p.kill()
		return fmt.Errorf("still ran %s after SIGTERM, killed", patience)
	}
	if p.err != nil {
		return fmt.Errorf("ended with %w", p.err)
	}
	return nil
}
