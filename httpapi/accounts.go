package httpapi

import (
	"crypto/rand"
	"io"
	"mime"
	"mime/multipart"
	"net/url"
	"strings"
	"time"

	"malla/cluster/state"
	"malla/httpapi/auth"
)

// credentials is what people type to sign up or in.
type credentials struct {
	Username string `json:"username"`
	Password string `json:"password"`
}

// check refuses what cannot become an account.
func (k *credentials) check() error {
	k.Username = strings.TrimSpace(k.Username)
	if err := state.CheckUserName(k.Username); err != nil {
		return err
	}
	return auth.CheckPassword(k.Password)
}

func (c *call) signup() error {
	if !c.api.cfg.SignupOpen {
		return state.Errorf(state.Denied, "sign-up is closed here: the operator of this mesh opens it with --signup open")
	}
	var k credentials
	if err := c.receive(&k); err != nil {
		return err
	}
	if err := k.check(); err != nil {
		return err
	}
	if err := c.notTooFast(c.api.slow.signup, c.network()); err != nil {
		return err
	}
	c.api.slow.signup.Fail(c.network()) // accounts are counted, not mistakes
	add, err := c.newUser(k)
	if err != nil {
		return err
	}
	return c.addUser(add, add.ID)
}

// setup makes the first administrator, for whoever has the one-time token that
// the node printed.
func (c *call) setup() error {
	var body struct {
		Token    string `json:"token"`
		Username string `json:"username"`
		Password string `json:"password"`
	}
	if err := c.receive(&body); err != nil {
		return err
	}
	if c.view.HasAdmin() {
		return state.Errorf(state.Conflict, "the mesh has an administrator already")
	}
	if err := c.notTooFast(c.api.slow.network, c.network()); err != nil {
		return err
	}
	if c.api.cfg.SetupToken == nil || !auth.SameText(body.Token, c.api.cfg.SetupToken()) {
		c.api.slow.network.Fail(c.network())
		return state.Errorf(state.Denied, "this setup link is not the one that the node printed")
	}
	k := credentials{body.Username, body.Password}
	if err := k.check(); err != nil {
		return err
	}
	add, err := c.newUser(k)
	if err != nil {
		return err
	}
	return c.addUser(state.AddFirstAdmin{AddUser: add}, add.ID)
}

// setupOpen tells whether the mesh waits for its first administrator.
func (a *API) setupOpen(view *state.View) bool {
	return a.cfg.SetupToken != nil && !view.HasAdmin()
}

func (c *call) newUser(k credentials) (state.AddUser, error) {
	hash, err := c.api.passwords.Hash(c.r.Context(), k.Password)
	if err != nil {
		return state.AddUser{}, err
	}
	return state.AddUser{ID: state.UserID(rand.Text()), Name: k.Username, Password: hash, At: c.api.cfg.Now().UTC()}, nil
}

// addUser proposes a new user and signs them in.
func (c *call) addUser(cmd state.Command, id state.UserID) error {
	if _, err := c.propose(cmd); err != nil {
		return err
	}
	u, ok := c.view.User(id)
	if !ok {
		return state.Errorf(state.NotFound, "the account was removed while it was made")
	}
	return c.signIn(u)
}

// errWrongPassword has one text for everything that can be wrong about a sign-in.
var errWrongPassword = state.Errorf(state.Invalid, "wrong user name or password")

func (c *call) login() error {
	k, err := c.loginForm()
	if err != nil {
		return err
	}
	name := strings.TrimSpace(k.Username)
	account := shorten(strings.ToLower(name))
	if err := c.notTooFast(c.api.slow.account, account); err != nil {
		return err
	}
	if err := c.notTooFast(c.api.slow.network, c.network()); err != nil {
		return err
	}
	u, ok := c.view.UserByName(name)
	if !ok {
		u = state.User{} // a twin in another mixture of cases is nobody
	}
	right, err := c.api.passwords.Check(c.r.Context(), u.Password, k.Password)
	if err != nil {
		return err
	}
	if !right {
		c.api.slow.account.Fail(account)
		c.api.slow.network.Fail(c.network())
		return errWrongPassword
	}
	c.api.slow.account.Succeed(account)
	c.api.metrics.logins.Inc()
	return c.signIn(u)
}

// loginForm reads the name and the password from a form, as the OAuth2 password
// grant sends them, or from JSON.
func (c *call) loginForm() (credentials, error) {
	var k credentials
	kind, params, _ := mime.ParseMediaType(c.r.Header.Get("Content-Type"))
	var form url.Values
	switch kind {
	case "application/x-www-form-urlencoded":
		body, err := c.body(maxJSON)
		if err != nil {
			return k, err
		}
		if form, err = url.ParseQuery(string(body)); err != nil {
			return k, state.Errorf(state.Invalid, "the form cannot be read")
		}
	case "multipart/form-data":
		body, err := c.body(maxJSON)
		if err != nil {
			return k, err
		}
		if form, err = smallForm(string(body), params["boundary"]); err != nil {
			return k, err
		}
	default:
		if err := c.receive(&k); err != nil {
			return k, err
		}
		form = url.Values{"username": {k.Username}, "password": {k.Password}}
	}
	for _, field := range []string{"username", "password"} {
		if form.Get(field) == "" {
			return k, state.InvalidField(field, "is missing")
		}
	}
	return credentials{form.Get("username"), form.Get("password")}, nil
}

// smallForm reads the fields of a multipart form that is in memory already.
func smallForm(body, boundary string) (url.Values, error) {
	bad := state.Errorf(state.Invalid, "the form cannot be read")
	if boundary == "" {
		return nil, bad
	}
	form := url.Values{}
	parts := multipart.NewReader(strings.NewReader(body), boundary)
	for range 16 {
		part, err := parts.NextPart()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, bad
		}
		value, err := io.ReadAll(part)
		if err != nil {
			return nil, bad
		}
		form.Add(part.FormName(), string(value))
	}
	return form, nil
}

// logout ends every session of the user, on every node and every machine.
func (c *call) logout() error {
	c.api.cookies.Clear(c.w, c.r)
	if _, err := c.propose(state.EndSessions{User: c.user()}); err != nil {
		return err
	}
	return c.send(done{true})
}

func (c *call) me() error {
	return c.send(Me{Username: c.caller.User.Name, Role: string(c.caller.User.Role)})
}

// signIn answers with a token for the user, and puts it into a cookie too unless
// the request came from a page of another origin, which must not be able to sign
// anybody in here without their knowing.
func (c *call) signIn(u state.User) error {
	token, err := c.api.sessions.Issue(u)
	if err != nil {
		return err
	}
	if c.api.origin.Check(c.r) == nil {
		c.api.cookies.Set(c.w, c.r, token)
	}
	return c.send(Token{OK: true, AccessToken: token, TokenType: "bearer"})
}

func (c *call) setCookie(u state.User) error {
	token, err := c.api.sessions.Issue(u)
	if err != nil {
		return err
	}
	c.api.cookies.Set(c.w, c.r, token)
	return nil
}

// network is where the request comes from, for throttles.
func (c *call) network() string { return auth.Network(c.r.RemoteAddr) }

// notTooFast refuses whoever has to wait.
func (c *call) notTooFast(t *auth.Throttle, key string) error {
	wait := t.Wait(key)
	if wait <= 0 {
		return nil
	}
	p := problemOf(state.Errorf(state.Busy, "too many tries: wait %s", wait.Round(time.Second)+time.Second))
	p.RetryAfter = wait
	return p
}
