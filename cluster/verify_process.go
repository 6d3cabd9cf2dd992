package cluster

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
)

// Exit codes of a process that checks a log.
const (
	exitSound     = 0
	exitCrash     = 2 // of a Go program, by a panic or a fault
	exitDamaged   = 3
	exitUnchecked = 4
)

// CheckLogIn returns a [CheckLog] that lets another process do it: command,
// which is given the directory as its last argument, calls [ReportLog] and ends
// with the code that it returns.
func CheckLogIn(command ...string) func(dir string) (aside []string, err error) {
	return func(dir string) ([]string, error) {
		var out, text bytes.Buffer
		cmd := exec.Command(command[0], append(command[1:], dir)...)
		cmd.Stdout, cmd.Stderr = &out, &text
		err := cmd.Run()
		said := strings.TrimSpace(text.String())
		var exit *exec.ExitError
		switch {
		case err == nil:
			return strings.FieldsFunc(out.String(), func(r rune) bool { return r == '\n' }), nil
		case !errors.As(err, &exit):
			return nil, fmt.Errorf("check the log: %w", err)
		case exit.ExitCode() == exitDamaged:
			return nil, reported(said)
		case exit.ExitCode() == exitCrash:
			first, _, _ := strings.Cut(said, "\n")
			return nil, damaged(LogFile(dir), "reading it fails: "+first)
		case exit.ExitCode() == exitUnchecked:
			return nil, errors.New(said)
		}
		return nil, fmt.Errorf("check the log: %w: %s", err, said)
	}
}

// reported is an ErrLogDamaged in the words of the other process.
type reported string

func (r reported) Error() string        { return string(r) }
func (r reported) Is(target error) bool { return target == ErrLogDamaged }

// ReportLog calls [CheckLog] for another process, whose [CheckLogIn] reads what
// it writes and the exit code.
func ReportLog(dir string, out, text io.Writer) (exitCode int) {
	aside, err := CheckLog(dir)
	for _, path := range aside {
		fmt.Fprintln(out, path)
	}
	switch {
	case errors.Is(err, ErrLogDamaged):
		fmt.Fprintln(text, err)
		return exitDamaged
	case err != nil:
		fmt.Fprintln(text, err)
		return exitUnchecked
	}
	return exitSound
}
