// Package auth says who makes a request, and what they may.
//
// It knows passwords, session tokens, signed links and public links; what is
// agreed about users it reads from a [state.View]. It never writes an answer:
// package httpapi does.
//
// # Invariants
//
//   - A token is worth nothing without the state: the user must be there and
//     the session number must be the user's, on every request.
//   - Tokens of one purpose never pass for another: audiences and derived keys
//     are distinct.
//   - No password, token or key is ever logged or put into an error.
package auth

import (
	"errors"

	"malla/cluster/state"
)

// ErrSignIn tells that a request needs a user and has none: there were no
// credentials, or they are worth nothing (any more).
var ErrSignIn = errors.New("sign in first")

// A Right is what a route asks of its caller.
type Right int

const (
	// Unset is no right at all: a route that names none is refused to everybody.
	Unset Right = iota
	// Anyone may call: signed in or not.
	Anyone
	// User is any user. What is not theirs does not exist for them.
	User
	// Link is a user, or whoever holds a signed link to what is asked for.
	Link
	// Scraper is whoever holds the token for metrics, or anyone where there is none.
	Scraper
	// Admin is an administrator.
	Admin
)

// String is the name of the right, for tables and logs.
func (r Right) String() string {
	switch r {
	case Anyone:
		return "anyone"
	case User:
		return "user"
	case Link:
		return "link"
	case Scraper:
		return "scraper"
	case Admin:
		return "admin"
	}
	return "unset"
}

// A Caller is who makes a request.
type Caller struct {
	User    state.User // the zero User where nobody is signed in
	Session Session    // how they are signed in
	Linked  bool       // the request carries a signed link, which the handler checks against its item
	Scraper bool       // the request carries the token for metrics, or none is asked for
}

// Known tells whether somebody is signed in.
func (c Caller) Known() bool { return c.User.ID != "" }

// May returns why the caller may not use a route that asks for that right: nil,
// [ErrSignIn] or a Denied refusal.
func May(c Caller, r Right) error {
	switch {
	case r == Anyone:
		return nil
	case r == Link && c.Linked:
		return nil
	case r == Scraper && c.Scraper:
		return nil
	case r == Scraper:
		return state.Errorf(state.Denied, "this address asks for the bearer token that --metrics-token names")
	case r == Unset:
		return state.Errorf(state.Denied, "you may not do that")
	case !c.Known():
		return ErrSignIn
	case r == Admin && c.User.Role != state.Admin:
		return state.Errorf(state.Denied, "only an administrator may do that")
	}
	return nil
}
