package state

import (
	"regexp"
	"strings"
	"time"
)

// UserID names a user for ever; the name may change one day.
type UserID string

// A Role is what a user may do beyond their own things.
type Role string

const (
	Member Role = "user"
	Admin  Role = "admin"
)

// A User is an account.
type User struct {
	ID        UserID    `json:"id"`
	Name      string    `json:"name"`
	Password  string    `json:"password"` // PHC string of argon2id, never the password
	Role      Role      `json:"role"`
	Session   uint64    `json:"session"` // tokens carry it; raising it ends them all
	CreatedAt time.Time `json:"created_at"`
}

var users = table[User]{name: "users", indexes: map[string]index[User]{
	"id":   {true, func(u *User) string { return key(string(u.ID)) }},
	"name": {true, func(u *User) string { return key(strings.ToLower(u.Name)) }},
	"role": {false, func(u *User) string { return key(string(u.Role)) }},
}}

var userName = regexp.MustCompile(`^[a-zA-Z0-9_.-]{3,32}$`)

// AddUser makes an account. It is refused as Invalid for a bad name, and as
// Conflict where the name is taken in any mixture of upper and lower case.
type AddUser struct {
	ID       UserID    `json:"id"`
	Name     string    `json:"name"`
	Password string    `json:"password"` // PHC string
	At       time.Time `json:"at"`
}

func (c AddUser) apply(t *tx) (string, error) { return c.add(t, Member) }

func (c AddUser) add(t *tx, role Role) (string, error) {
	if err := CheckUserName(c.Name); err != nil {
		return "", err
	}
	if c.ID == "" || c.Password == "" {
		return "", Errorf(Invalid, "a user needs an id and a password")
	}
	if users.get(t.records, "name", key(strings.ToLower(c.Name))) != nil {
		return "", Errorf(Conflict, "the name %q is taken: choose another", c.Name)
	}
	users.put(t, &User{ID: c.ID, Name: c.Name, Password: c.Password, Role: role, Session: t.index, CreatedAt: c.At})
	return string(c.ID), nil
}

// CheckUserName returns why a name cannot be a user's, or nil.
func CheckUserName(name string) error {
	if !userName.MatchString(name) {
		return InvalidField("username", "must be 3 to 32 letters, digits, dots, dashes or underscores")
	}
	return nil
}

// AddFirstAdmin makes the first administrator. It is refused as Conflict once
// there is one, so the one-time link works once on the whole mesh.
type AddFirstAdmin struct {
	AddUser
}

func (c AddFirstAdmin) apply(t *tx) (string, error) {
	for range users.each(t.records, "role", key(string(Admin))) {
		return "", Errorf(Conflict, "the mesh has an administrator already")
	}
	return c.add(t, Admin)
}

// EndSessions makes every token of the user worthless, on every node.
type EndSessions struct {
	User UserID `json:"user"`
}

func (c EndSessions) apply(t *tx) (string, error) {
	old := users.get(t.records, "id", key(string(c.User)))
	if old == nil {
		return "", Errorf(NotFound, "no such user")
	}
	u := *old
	u.Session = t.index
	users.put(t, &u)
	return string(u.ID), nil
}

// User returns the user with that id.
func (v *View) User(id UserID) (User, bool) {
	return deref(users.get(v.records, "id", key(string(id))))
}

// Users yields all users, by id.
func (v *View) Users() func(yield func(*User) bool) { return users.each(v.records, "id", "") }

// UserByName returns the user with exactly that name, upper and lower case
// told apart.
func (v *View) UserByName(name string) (User, bool) {
	u, ok := deref(users.get(v.records, "name", key(strings.ToLower(name))))
	if !ok || u.Name != name {
		return User{}, false
	}
	return u, true
}

// HasAdmin tells whether the mesh has an administrator.
func (v *View) HasAdmin() bool {
	for range users.each(v.records, "role", key(string(Admin))) {
		return true
	}
	return false
}

// deref copies a record out of the tables.
func deref[T any](rec *T) (T, bool) {
	if rec == nil {
		var zero T
		return zero, false
	}
	return *rec, true
}
