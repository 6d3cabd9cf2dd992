package cli

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"golang.org/x/term"

	"malla/httpapi"
)

// LoginCmd logs in and remembers the server and the token.
type LoginCmd struct {
	Remote
	User          string `arg:"" optional:"" help:"Your name there; asked for when left out."`
	Signup        bool   `help:"Make the account first."`
	PasswordStdin bool   `help:"Read the password from the standard input instead of asking."`
}

// Help is shown by --help.
func (LoginCmd) Help() string {
	return `The password is asked for without showing it, and is never an argument, where
other users of the machine could see it. The session lasts a week; server and
token are kept in your configuration directory, readable by you alone.

    malla login alice --server http://localhost:8000
    malla login bob --signup --server https://media.example.org
    malla login robot --password-stdin < password-file`
}

// Run logs in.
func (c LoginCmd) Run(env *Env) error {
	s, err := c.open(env)
	if err != nil {
		return err
	}
	in := &questions{env: env, lines: bufio.NewReader(env.Stdin)}
	if c.User == "" {
		if c.User, err = in.line("User: "); err != nil {
			return err
		}
	}
	password, err := in.password(c.PasswordStdin, c.Signup)
	if err != nil {
		return err
	}
	token, err := c.authenticate(env.ctx, s, password)
	if err != nil {
		return err
	}
	s.config.Server = s.server
	s.config.Logins[s.server] = account{User: c.User, Token: token.AccessToken, Others: s.others(env.ctx)}
	if err := s.config.save(); err != nil {
		return fmt.Errorf("remember the login: %w", err)
	}
	if c.JSON {
		return env.printJSON(map[string]string{"server": s.server, "user": c.User})
	}
	_, err = fmt.Fprintf(env.Stdout, "Logged in to %s as %s.\n", s.server, c.User)
	return err
}

func (c LoginCmd) authenticate(ctx context.Context, s *session, password string) (httpapi.Token, error) {
	if c.Signup {
		return s.Signup(ctx, c.User, password)
	}
	return s.Login(ctx, c.User, password)
}

// others lists the other nodes of the mesh, to be asked when the server does not
// answer. Where the server is reached safely, others that are not are left out:
// the token would travel in the open. Without the list all works too.
func (s *session) others(ctx context.Context) []string {
	nodes, err := s.Nodes(ctx)
	if err != nil {
		return nil
	}
	scheme, _, _ := strings.Cut(s.server, "://")
	var others []string
	for _, n := range nodes {
		if url, err := checkServer(n.URL); err == nil && !n.Self && strings.HasPrefix(url, scheme+"://") {
			others = append(others, url)
		}
	}
	return others
}

// known are all other nodes that this session knows of: those of today, or where
// nobody tells them those of the login.
func (s *session) known(ctx context.Context) []string {
	all := s.others(ctx)
	for _, old := range s.account.Others {
		if !slices.Contains(all, old) {
			all = append(all, old)
		}
	}
	return all
}

// LogoutCmd ends the user's sessions and forgets the token.
type LogoutCmd struct {
	Remote
}

// Help is shown by --help.
func (LogoutCmd) Help() string {
	return `Ends every session of yours on the mesh, in browsers too, so that a token which
somebody copied is worth nothing any more.`
}

// Run logs out. The token is forgotten even if the server does not answer.
func (c LogoutCmd) Run(env *Env) error {
	s, err := c.signedIn(env)
	if err != nil {
		return err
	}
	ended := s.Logout(env.ctx)
	delete(s.config.Logins, s.server)
	if err := s.config.save(); err != nil {
		return fmt.Errorf("forget the login: %w", err)
	}
	if ended != nil {
		return fmt.Errorf("the token is forgotten here, but the session may live on there: %w", ended)
	}
	if c.JSON {
		return env.printJSON(map[string]string{"server": s.server})
	}
	_, err = fmt.Fprintf(env.Stdout, "Logged out of %s.\n", s.server)
	return err
}

// questions asks people, and reads what programs send instead.
type questions struct {
	env   *Env
	lines *bufio.Reader
}

// line asks for one line.
func (q *questions) line(prompt string) (string, error) {
	if _, ok := q.env.terminal(); ok {
		fmt.Fprint(q.env.Stderr, prompt)
	}
	text, err := q.lines.ReadString('\n')
	if err != nil && (err != io.EOF || text == "") {
		return "", usage("%snothing was typed", strings.ToLower(prompt))
	}
	return strings.TrimRight(text, "\r\n"), nil
}

// password asks without showing what is typed, twice for a new account. Where
// nobody can be asked it must come from the standard input, and that explicitly.
func (q *questions) password(stdin, twice bool) (string, error) {
	if stdin {
		return q.line("password: ")
	}
	tty, ok := q.env.terminal()
	if !ok {
		return "", usage("there is no terminal to ask for the password: use --password-stdin")
	}
	password, err := q.hidden(tty, "Password: ")
	if err != nil || !twice {
		return password, err
	}
	again, err := q.hidden(tty, "Again: ")
	if err == nil && again != password {
		err = usage("the two passwords differ")
	}
	return password, err
}

// hidden reads a line that the terminal does not show. An interrupt gives the
// terminal its echo back before the program ends.
func (q *questions) hidden(tty *os.File, prompt string) (string, error) {
	before, err := term.GetState(int(tty.Fd()))
	if err != nil {
		return "", err
	}
	type typed struct {
		text []byte
		err  error
	}
	done := make(chan typed, 1)
	fmt.Fprint(q.env.Stderr, prompt)
	go func() {
		text, err := term.ReadPassword(int(tty.Fd()))
		done <- typed{text, err}
	}()
	select {
	case t := <-done:
		fmt.Fprintln(q.env.Stderr)
		return string(t.text), t.err
	case <-q.env.ctx.Done():
		term.Restore(int(tty.Fd()), before)
		fmt.Fprintln(q.env.Stderr)
		return "", context.Canceled // the reader ends with the program
	}
}

// confirm asks a question that only "y" or "yes" affirms.
func (q *questions) confirm(question string) (bool, error) {
	if _, ok := q.env.terminal(); !ok {
		return false, usage("there is no terminal to ask on: add --yes to do it without asking")
	}
	text, err := q.line(question + " [y/N] ")
	if err != nil {
		return false, nil
	}
	text = strings.ToLower(strings.TrimSpace(text))
	return text == "y" || text == "yes", nil
}
