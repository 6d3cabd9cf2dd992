package state

import "fmt"

// A Kind says what sort of refusal an [Error] is. The list is closed, and the
// kinds survive the way between nodes.
type Kind string

const (
	Invalid  Kind = "invalid"   // the request is wrong; Field names where
	Denied   Kind = "denied"    // who asks may not
	NotFound Kind = "not_found" // what is named is not there, or not theirs
	Conflict Kind = "conflict"  // it clashes with what is there
	Stale    Kind = "stale"     // it comes from an attempt that was given up on
	NoLeader Kind = "no_leader" // the mesh cannot agree at the moment
	Busy     Kind = "busy"      // too much at once; later it may work
	Full     Kind = "full"      // no room
	NotMedia Kind = "not_media" // the bytes are not audio or video that malla takes
	Internal Kind = "internal"  // a fault of ours
)

// Sentinels for [errors.Is], which compares kinds.
var (
	ErrInvalid  = &Error{Kind: Invalid}
	ErrDenied   = &Error{Kind: Denied}
	ErrNotFound = &Error{Kind: NotFound}
	ErrConflict = &Error{Kind: Conflict}
	ErrStale    = &Error{Kind: Stale}
	ErrNoLeader = &Error{Kind: NoLeader}
	ErrBusy     = &Error{Kind: Busy}
	ErrFull     = &Error{Kind: Full}
	ErrNotMedia = &Error{Kind: NotMedia}
	ErrInternal = &Error{Kind: Internal}
)

// An Error is a refusal whose text is safe to show to people.
type Error struct {
	Kind  Kind   `json:"kind"`
	Field string `json:"field,omitempty"` // of the request, where Kind is Invalid
	Msg   string `json:"msg"`

	Unsure bool `json:"unsure,omitempty"` // with NoLeader: what was asked for may have been done, or may still be
}

// Error returns the text for people.
func (e *Error) Error() string {
	switch {
	case e.Msg == "":
		return string(e.Kind)
	case e.Field != "":
		return e.Field + ": " + e.Msg
	}
	return e.Msg
}

// Is tells whether target is an Error of the same kind.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Kind == e.Kind
}

// Errorf makes an Error of that kind.
func Errorf(kind Kind, format string, args ...any) *Error {
	return &Error{Kind: kind, Msg: fmt.Sprintf(format, args...)}
}

// InvalidField makes an Error that names the field and the cure.
func InvalidField(field, format string, args ...any) *Error {
	return &Error{Kind: Invalid, Field: field, Msg: fmt.Sprintf(format, args...)}
}
