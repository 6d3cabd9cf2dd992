package auth

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"unicode/utf8"

	"golang.org/x/crypto/argon2"
	"golang.org/x/text/unicode/norm"

	"malla/cluster/state"
)

// A password has from MinPassword to MaxPassword characters.
const (
	MinPassword = 8
	MaxPassword = 256
)

// A Cost is what one argon2id hash takes (RFC 9106).
type Cost struct {
	Memory uint32 // KiB
	Passes uint32
	Lanes  uint8
}

// DefaultCost is the smallest that OWASP advises: 19 MiB, two passes, about 35 ms.
var DefaultCost = Cost{Memory: 19456, Passes: 2, Lanes: 1}

const (
	saltLen = 16
	hashLen = 32
	// Limits of what a stored hash may ask for, so that a damaged one cannot
	// take the node down.
	maxMemory = 1 << 20
	maxPasses = 16
)

// Passwords hashes and checks passwords. At most one hash a core is computed at
// a time, and a bounded number waits: hashing is made to be expensive, and a
// flood of sign-ins must not take what streaming and converting need.
type Passwords struct {
	cost  Cost
	slots chan struct{} // one a hash under way
	queue chan struct{} // one a hash under way or waiting
	dummy string        // checked where there is no user, so that nobody learns that from the time
}

// NewPasswords returns a hasher; the zero cost is the default.
func NewPasswords(cost Cost) (*Passwords, error) {
	if cost == (Cost{}) {
		cost = DefaultCost
	}
	if cost.Memory < 8 || cost.Memory > maxMemory || cost.Passes < 1 || cost.Passes > maxPasses || cost.Lanes < 1 {
		return nil, fmt.Errorf("impossible cost of a password hash: %+v", cost)
	}
	n := runtime.NumCPU()
	p := &Passwords{cost: cost, slots: make(chan struct{}, n), queue: make(chan struct{}, n+32)}
	p.dummy = p.encode(make([]byte, saltLen), make([]byte, hashLen))
	return p, nil
}

// CheckPassword returns why a text cannot be a password, or nil.
func CheckPassword(password string) error {
	switch n := utf8.RuneCountInString(password); {
	case n < MinPassword:
		return state.InvalidField("password", "must have at least %d characters", MinPassword)
	case n > MaxPassword:
		return state.InvalidField("password", "must have at most %d characters", MaxPassword)
	}
	return nil
}

// Hash returns the PHC string of a password. It is a Busy refusal where too
// many are waiting already, and Invalid where CheckPassword says so.
func (p *Passwords) Hash(ctx context.Context, password string) (string, error) {
	if err := CheckPassword(password); err != nil {
		return "", err
	}
	leave, err := p.enter(ctx)
	if err != nil {
		return "", err
	}
	defer leave()
	salt := make([]byte, saltLen)
	rand.Read(salt) // never fails (crypto/rand)
	return p.encode(salt, derive(password, salt, p.cost, hashLen)), nil
}

// Check tells whether the password is the one of the PHC string. An empty
// string belongs to no user: it takes as long as a wrong password and is never
// right.
func (p *Passwords) Check(ctx context.Context, phc, password string) (bool, error) {
	if CheckPassword(password) != nil {
		return false, nil // it was never accepted, so it is nobody's
	}
	known := phc != ""
	if !known {
		phc = p.dummy
	}
	cost, salt, want, err := decode(phc)
	if err != nil {
		return false, err
	}
	leave, err := p.enter(ctx)
	if err != nil {
		return false, err
	}
	defer leave()
	got := derive(password, salt, cost, uint32(len(want)))
	return subtle.ConstantTimeCompare(got, want) == 1 && known, nil
}

// enter waits for a slot, and returns how to leave it.
func (p *Passwords) enter(ctx context.Context) (leave func(), err error) {
	select {
	case p.queue <- struct{}{}:
	default:
		return nil, state.Errorf(state.Busy, "too many people sign in right now: try again in a moment")
	}
	select {
	case p.slots <- struct{}{}:
		return func() { <-p.slots; <-p.queue }, nil
	case <-ctx.Done():
		<-p.queue
		return nil, ctx.Err()
	}
}

// derive hashes the password in Unicode's form NFC: the same text typed on
// another machine is the same password.
func derive(password string, salt []byte, c Cost, n uint32) []byte {
	return argon2.IDKey([]byte(norm.NFC.String(password)), salt, c.Passes, c.Memory, c.Lanes, n)
}

var phc64 = base64.RawStdEncoding.Strict()

// encode writes the PHC string (the format of the Password Hashing Competition).
func (p *Passwords) encode(salt, hash []byte) string {
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s",
		argon2.Version, p.cost.Memory, p.cost.Passes, p.cost.Lanes, phc64.EncodeToString(salt), phc64.EncodeToString(hash))
}

var errBadHash = errors.New("stored password hash cannot be read")

// decode reads what encode wrote.
func decode(phc string) (c Cost, salt, hash []byte, err error) {
	parts := strings.Split(phc, "$")
	if len(parts) != 6 || parts[0] != "" || parts[1] != "argon2id" || parts[2] != fmt.Sprintf("v=%d", argon2.Version) {
		return c, nil, nil, errBadHash
	}
	if n, err := fmt.Sscanf(parts[3], "m=%d,t=%d,p=%d", &c.Memory, &c.Passes, &c.Lanes); err != nil || n != 3 {
		return c, nil, nil, errBadHash
	}
	if c.Memory > maxMemory || c.Passes < 1 || c.Passes > maxPasses || c.Lanes < 1 {
		return c, nil, nil, errBadHash
	}
	if salt, err = phc64.DecodeString(parts[4]); err != nil || len(salt) < 8 {
		return c, nil, nil, errBadHash
	}
	if hash, err = phc64.DecodeString(parts[5]); err != nil || len(hash) < 16 || len(hash) > 64 {
		return c, nil, nil, errBadHash
	}
	return c, salt, hash, nil
}
