package auth

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"malla/cluster/state"
)

const (
	// SessionTime is how long a session token is good for.
	SessionTime = 7 * 24 * time.Hour
	// MaxTokenLen is the longest token that is looked at, in bytes.
	MaxTokenLen = 8 << 10

	audience = "api"
	leeway   = 30 * time.Second
)

// A Session is what a token says, checked.
type Session struct {
	ID      string    // of this token, not of the user; "" where there is none
	Expires time.Time // when it ends by itself
	Cookie  bool      // it came by cookie: the origin of changes must be checked
}

// Sessions makes and reads session tokens: JSON web tokens (RFC 7519), signed
// with HMAC-SHA256 and with nothing else. Their middle part is plain base64 of
// JSON with `sub`, the user's name, which pages may show.
type Sessions struct {
	keys   func() [][]byte
	issuer string
	now    func() time.Time
	parser *jwt.Parser
}

// NewSessions returns the sessions of the mesh with that id. The keys, of at
// least 32 bytes each, are asked for at each use: the first signs, all are
// accepted.
func NewSessions(keys func() [][]byte, meshID string, now func() time.Time) (*Sessions, error) {
	for _, key := range keys() {
		if len(key) < 32 {
			return nil, fmt.Errorf("token key has %d bytes: at least 32 are needed", len(key))
		}
	}
	s := &Sessions{keys: keys, issuer: "malla:" + meshID, now: now}
	s.parser = jwt.NewParser(
		jwt.WithValidMethods([]string{jwt.SigningMethodHS256.Alg()}),
		jwt.WithIssuer(s.issuer), jwt.WithAudience(audience),
		jwt.WithExpirationRequired(), jwt.WithNotBeforeRequired(), jwt.WithIssuedAt(),
		jwt.WithLeeway(leeway), jwt.WithTimeFunc(now), jwt.WithStrictDecoding(),
	)
	return s, nil
}

type claims struct {
	jwt.RegisteredClaims
	User    state.UserID `json:"uid"`
	Session uint64       `json:"ses"`
}

// Issue makes a token for the user, which ends after SessionTime.
func (s *Sessions) Issue(u state.User) (string, error) {
	id := make([]byte, 8)
	rand.Read(id) // never fails (crypto/rand)
	now := s.now()
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, claims{
		RegisteredClaims: jwt.RegisteredClaims{
			Issuer: s.issuer, Audience: jwt.ClaimStrings{audience}, Subject: u.Name, ID: hex.EncodeToString(id),
			IssuedAt: jwt.NewNumericDate(now), NotBefore: jwt.NewNumericDate(now), ExpiresAt: jwt.NewNumericDate(now.Add(SessionTime)),
		},
		User: u.ID, Session: u.Session,
	}).SignedString(s.keys()[0])
	if err != nil {
		return "", fmt.Errorf("sign a token: %w", err)
	}
	return token, nil
}

// Check returns whose token it is. Everything but a good one is [ErrSignIn].
func (s *Sessions) Check(view *state.View, token string) (state.User, Session, error) {
	if token == "" || len(token) > MaxTokenLen {
		return state.User{}, Session{}, ErrSignIn
	}
	var c claims
	if _, err := s.parser.ParseWithClaims(token, &c, s.keyFor); err != nil {
		return state.User{}, Session{}, ErrSignIn
	}
	u, ok := view.User(c.User)
	if !ok || u.Session != c.Session || c.ID == "" || c.IssuedAt == nil {
		return state.User{}, Session{}, ErrSignIn
	}
	return u, Session{ID: c.ID, Expires: c.ExpiresAt.Time}, nil
}

// keyFor returns the keys that may have signed a token. It refuses tokens whose header says more than ours do (keys, critical
// extensions), before any signature is computed.
func (s *Sessions) keyFor(t *jwt.Token) (any, error) {
	for name := range t.Header {
		if name != "alg" && name != "typ" {
			return nil, fmt.Errorf("unexpected header %q", name)
		}
	}
	var set jwt.VerificationKeySet
	for _, key := range s.keys() {
		set.Keys = append(set.Keys, key)
	}
	return set, nil
}

// Ended tells whether a session that was good when its request began has ended
// since: by its time, by a sign-out, or with its user.
func (s *Sessions) Ended(view *state.View, u state.User, session Session) bool {
	now, ok := view.User(u.ID)
	return !ok || now.Session != u.Session || s.now().After(session.Expires.Add(leeway))
}

// Bearer returns the token of the Authorization header, and whether there is
// such a header at all: a bad one is not made good by a cookie.
func Bearer(r *http.Request) (token string, given bool) {
	h := r.Header.Get("Authorization")
	scheme, token, _ := strings.Cut(h, " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return "", h != ""
	}
	return strings.TrimSpace(token), true
}
