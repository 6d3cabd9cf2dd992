// Package cli holds the commands that make the malla program its own client:
// log in, put and get files, convert, share, and look at the mesh.
//
// The main program embeds [Commands] into its kong command line, gives the
// parser [Options], runs what was chosen with [NewEnv], and ends with what
// [Report] says.
//
// Commands print for people on a terminal, and one JSON document (or one a line,
// where they go on) with --json. What is not the answer goes to the standard error.
package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/alecthomas/kong"
	"golang.org/x/term"

	"malla/httpapi"
)

// Commands are all client commands.
type Commands struct {
	Login    LoginCmd    `cmd:"" group:"client" help:"Log in to a mesh, or make an account there."`
	Logout   LogoutCmd   `cmd:"" group:"client" help:"End the session and forget it."`
	Put      PutCmd      `cmd:"" group:"client" help:"Upload files and folders."`
	Get      GetCmd      `cmd:"" group:"client" help:"Download files."`
	Ls       LsCmd       `cmd:"" group:"client" help:"List your library."`
	Rm       RmCmd       `cmd:"" group:"client" help:"Delete files from your library."`
	Trash    TrashCmd    `cmd:"" group:"client" help:"List what you deleted, restore it, or delete it for good."`
	Convert  ConvertCmd  `cmd:"" group:"client" help:"Convert files to another format, or for a purpose."`
	Jobs     JobsCmd     `cmd:"" group:"client" help:"List your conversions."`
	Job      JobCmd      `cmd:"" group:"client" help:"Show one conversion with its pieces."`
	Log      LogCmd      `cmd:"" group:"client" help:"Print what a conversion did, and why."`
	Cancel   CancelCmd   `cmd:"" group:"client" help:"Stop conversions."`
	Retry    RetryCmd    `cmd:"" group:"client" help:"Try conversions again that failed or were canceled."`
	Priority PriorityCmd `cmd:"" group:"client" help:"Move a conversion forward or back in the queue."`
	Share    ShareCmd    `cmd:"" group:"client" help:"Make a public link that expires."`
	Nodes    NodesCmd    `cmd:"" group:"client" help:"List the nodes of the mesh."`
	Status   StatusCmd   `cmd:"" group:"client" help:"Show how the mesh and your jobs are."`
	Backup   BackupCmd   `cmd:"" group:"client" help:"Save the mesh's state, and its files, in one file (administrators)."`
	Health   HealthCmd   `cmd:"" group:"client" help:"Tell by the exit code whether a node can serve (for health checks)."`
}

// Env is where the commands run.
type Env struct {
	Stdin          io.Reader // questions are asked only where it is a terminal
	Stdout, Stderr io.Writer
	ConfigDir      string // of config.json; "": malla in the user's configuration directory

	ctx context.Context // the commands stop when it ends
}

// NewEnv is the environment of this process.
func NewEnv(ctx context.Context) *Env {
	return &Env{Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, ctx: ctx}
}

// Options make a parser's help and its exit codes those of the commands.
func Options() []kong.Option {
	return []kong.Option{
		kong.ExplicitGroups([]kong.Group{{Key: "client", Title: "Client commands:"}}),
		kong.Exit(func(code int) {
			if code != exitDone {
				code = exitUsage // the parser ends the program for nothing else
			}
			os.Exit(code)
		}),
	}
}

// Remote is what commands that talk to a server have in common.
type Remote struct {
	Server string `short:"s" placeholder:"URL" env:"MALLA_SERVER" help:"Any node of the mesh; the one of the last login unless given."`
	JSON   bool   `name:"json" help:"Print the answer as JSON."`

	Consistency httpapi.Consistency `default:"session" enum:"stale,session,strong" env:"MALLA_CONSISTENCY" help:"How new the answer must be: stale (at once), session (with what this command has done) or strong (with all that any node has confirmed)."`
}

// errNoServer is told to who never logged in.
var errNoServer = usage("no server is known yet: run malla login --server URL, or set MALLA_SERVER")

// session is the server that a command talks to, as whom.
type session struct {
	*httpapi.Client
	server  string
	account account // zero where nobody logged in
	config  *config
}

// open finds the server and, where one logged in to it, the token.
func (r Remote) open(env *Env) (*session, error) {
	dir, err := env.configDir()
	if err != nil {
		return nil, err
	}
	c, err := loadConfig(dir)
	if err != nil {
		return nil, err
	}
	server := r.Server
	if server == "" {
		server = c.Server
	}
	if server == "" {
		return nil, errNoServer
	}
	server, err = checkServer(server)
	if err != nil {
		return nil, err
	}
	known := c.Logins[server]
	return &session{
		Client: &httpapi.Client{Base: server, Token: known.Token, Others: known.Others, Consistency: r.consistency()},
		server: server, account: known, config: c,
	}, nil
}

// consistency is what the calls of the client say: nothing where it is the
// server's default.
func (r Remote) consistency() httpapi.Consistency {
	if r.Consistency == httpapi.Session {
		return ""
	}
	return r.Consistency
}

// signedIn is open for commands that need an account.
func (r Remote) signedIn(env *Env) (*session, error) {
	s, err := r.open(env)
	if err != nil {
		return nil, err
	}
	if s.account.Token == "" {
		return nil, &exitError{exitDenied, fmt.Errorf("you are not logged in to %s: run malla login --server %s", s.server, s.server)}
	}
	return s, nil
}

// checkServer returns the address as we keep it: scheme://host[:port]. One
// typed without a scheme gets http.
func checkServer(server string) (string, error) {
	if !strings.Contains(server, "://") {
		server = "http://" + server
	}
	u, err := url.Parse(server)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" {
		return "", usage("--server %q: want http://HOST:PORT or https://HOST", server)
	}
	return strings.TrimRight(u.Scheme+"://"+u.Host+u.EscapedPath(), "/"), nil
}

func (e *Env) configDir() (string, error) {
	if e.ConfigDir != "" {
		return e.ConfigDir, nil
	}
	dir, err := os.UserConfigDir()
	if err != nil {
		return "", fmt.Errorf("where to remember the login: %w", err)
	}
	return filepath.Join(dir, "malla"), nil
}

// terminal returns the terminal behind the standard input, if there is one.
func (e *Env) terminal() (*os.File, bool) {
	f, ok := e.Stdin.(*os.File)
	return f, ok && term.IsTerminal(int(f.Fd()))
}

// interactive tells whether somebody watches what goes to w.
func interactive(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// printJSON writes one document and a line's end.
func (e *Env) printJSON(v any) error {
	enc := json.NewEncoder(e.Stdout)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// Exit codes, as the README lists them.
const (
	exitDone        = 0
	exitFailed      = 1
	exitUsage       = 2
	exitDenied      = 3
	exitNotFound    = 4
	exitUnavailable = 5
	exitInterrupted = 130
)

// exitError is an error with a code of its own.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string { return e.err.Error() }
func (e *exitError) Unwrap() error { return e.err }

// WithCode makes the program end with that code because of err. An interruption
// keeps its own.
func WithCode(code int, err error) error {
	if errors.Is(err, context.Canceled) {
		return err
	}
	return &exitError{code, err}
}

func usage(format string, args ...any) error {
	return &exitError{exitUsage, fmt.Errorf(format, args...)}
}

// Report says what went wrong, for people, and returns the code to end with.
func Report(stderr io.Writer, err error) int {
	if err == nil {
		return exitDone
	}
	code, text := explain(err)
	for line := range strings.Lines(text) {
		fmt.Fprintf(stderr, "malla: %s\n", plain(strings.TrimRight(line, "\n")))
	}
	return code
}

// explain finds the code of an error and what to tell about it.
func explain(err error) (code int, text string) {
	var own *exitError
	var problem *httpapi.Problem
	var parse *kong.ParseError
	var network *url.Error
	switch {
	case errors.As(err, &own):
		return own.code, err.Error()
	case errors.Is(err, context.Canceled):
		return exitInterrupted, "interrupted"
	case errors.As(err, &parse):
		return exitUsage, err.Error()
	case errors.As(err, &problem):
		return problemCode(problem.Status), err.Error()
	case errors.As(err, &network):
		return exitUnavailable, fmt.Sprintf("no answer from the server: %v", network.Err)
	}
	return exitFailed, err.Error()
}

func problemCode(status int) int {
	switch status {
	case http.StatusUnauthorized, http.StatusForbidden:
		return exitDenied
	case http.StatusNotFound:
		return exitNotFound
	case http.StatusServiceUnavailable, http.StatusBadGateway, http.StatusGatewayTimeout:
		return exitUnavailable
	}
	return exitFailed
}
