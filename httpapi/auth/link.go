package auth

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/url"
	"regexp"
	"strconv"
	"time"

	"malla/cluster/state"
)

// NewShareToken makes the secret part of a public link: 32 characters that need
// no escaping in a URL, 192 random bits.
func NewShareToken() string {
	b := make([]byte, 24)
	rand.Read(b) // never fails (crypto/rand)
	return base64.RawURLEncoding.EncodeToString(b)
}

var shareToken = regexp.MustCompile(`^[A-Za-z0-9_-]{32}$`)

// ShareOf is the id under which the state knows a token, and whether the text
// can be a token at all.
func ShareOf(token string) (state.ShareID, bool) {
	if !shareToken.MatchString(token) {
		return "", false
	}
	sum := sha256.Sum256([]byte(token))
	return state.ShareID(hex.EncodeToString(sum[:])), true
}

// MaxLinkTime is how long a signed link may be good for: a long film is played
// by many requests for its ranges, which all carry the link.
const MaxLinkTime = 4 * time.Hour

// Links signs and checks links to one item, for media elements on pages of
// other origins, which can send neither a header nor our cookie. A link ends by
// its time, with the item, and with its owner's sessions.
type Links struct {
	tokenKeys func() [][]byte
	now       func() time.Time
}

// NewLinks returns the links whose keys are derived from the keys of tokens, as
// [NewSessions] takes them.
func NewLinks(tokenKeys func() [][]byte, now func() time.Time) *Links {
	return &Links{tokenKeys: tokenKeys, now: now}
}

const (
	linkExpiry    = "e" // Unix time in seconds
	linkSignature = "s"
)

// Linked tells whether the query carries a signed link, good or bad.
func Linked(q url.Values) bool { return q.Has(linkSignature) }

// Sign returns the query that opens the item for that long.
func (l *Links) Sign(owner state.User, item state.MediaID, ttl time.Duration) (query string, expires time.Time) {
	expires = l.now().Add(min(ttl, MaxLinkTime)).Truncate(time.Second)
	at := strconv.FormatInt(expires.Unix(), 10)
	return url.Values{linkExpiry: {at}, linkSignature: {signature(l.tokenKeys()[0], owner, item, at)}}.Encode(), expires
}

// Opens returns the item with that id if the query's link is good for it, and
// else a Denied refusal, which says no more about an item than that.
func (l *Links) Opens(view *state.View, item state.MediaID, q url.Values) (state.Media, error) {
	refused := state.Errorf(state.Denied, "this link is wrong or has expired: ask for a new one")
	expires, err := strconv.ParseInt(q.Get(linkExpiry), 10, 64)
	if err != nil || l.now().Unix() > expires {
		return state.Media{}, refused
	}
	m, ok := view.Media(item)
	if !ok {
		return state.Media{}, refused
	}
	owner, ok := view.User(m.Owner)
	if !ok {
		return state.Media{}, refused
	}
	for _, key := range l.tokenKeys() {
		if SameText(q.Get(linkSignature), signature(key, owner, item, q.Get(linkExpiry))) {
			return m, nil
		}
	}
	return state.Media{}, refused
}

func signature(tokenKey []byte, owner state.User, item state.MediaID, expires string) string {
	key, err := hkdf.Key(sha256.New, tokenKey, nil, "malla/v1 media links", sha256.Size)
	if err != nil {
		panic(fmt.Sprintf("derive the key of links: %v", err)) // only for a key of over 8160 bytes
	}
	mac := hmac.New(sha256.New, key)
	fmt.Fprintf(mac, "%s\n%d\n%s\n%s", owner.ID, owner.Session, item, expires)
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// SameText compares two secrets in a time that tells nothing about them.
func SameText(a, b string) bool {
	x, y := sha256.Sum256([]byte(a)), sha256.Sum256([]byte(b))
	return subtle.ConstantTimeCompare(x[:], y[:]) == 1
}
