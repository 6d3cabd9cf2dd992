package transport

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"
)

// Names in a node's data directory.
const (
	SecretFile  = "secret"       // the secret in use, for people and for nodes that join
	keyringFile = "secrets.json" // what a Keyring keeps
)

// A Keyring is the secrets that a node holds: the one in use, and beside it,
// while the mesh replaces its secret, the next or the previous one. Each change
// is on disk before it counts. Its methods may be called at the same time.
type Keyring struct {
	dir string
	mu  sync.Mutex // guards the field below
	kept
}

// kept is what stands in the file.
type kept struct {
	current, next, previous Secret // the zero value: there is none
	tokens                  []TokenKey
	retired                 []string // fingerprints of what was in use before
}

// A TokenKey is what is left of a secret that was replaced: tokens of users that
// were signed with it are good for a while.
type TokenKey struct {
	Secret string    `json:"secret"` // its fingerprint
	Key    []byte    `json:"key"`
	Until  time.Time `json:"until"`
}

type keptFile struct {
	Current  string     `json:"current"`
	Next     string     `json:"next,omitempty"`
	Previous string     `json:"previous,omitempty"`
	Tokens   []TokenKey `json:"tokens,omitempty"`
	Retired  []string   `json:"retired,omitempty"`
}

// OpenKeyring returns the keyring kept in dir, for a node that was given a
// secret. Where none is kept the secret given is all there is. A secret that
// the mesh has replaced since does not count: outdated tells so. One that the
// keyring does not know is used in place of what it keeps, and kept itself once
// the node found its mesh with it and calls Drop: the mesh replaced the secret
// while the node was away.
func OpenKeyring(dir string, given Secret) (k *Keyring, outdated bool, err error) {
	k = &Keyring{dir: dir, kept: kept{current: given}}
	path := filepath.Join(dir, keyringFile)
	text, err := readSecretFile(path, "the mesh secrets")
	if errors.Is(err, os.ErrNotExist) {
		return k, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	on, err := decodeKept(text)
	if err != nil {
		return nil, false, fmt.Errorf("the file %s is damaged (%w): move it away, and give this node the mesh's secret with --secret-file", path, err)
	}
	k.kept = on
	switch {
	case given == on.current:
	case given == on.next: // it stands in other nodes' files only once they use it
		return k, false, k.Switch(given.Fingerprint())
	case given == on.previous || slices.Contains(on.retired, given.Fingerprint()):
		return k, true, k.save(on) // had the node ended between its two files, this makes them agree
	default:
		k.previous, k.current = on.current, given
	}
	return k, false, nil
}

func decodeKept(text string) (kept, error) {
	var f keptFile
	if err := json.Unmarshal([]byte(text), &f); err != nil {
		return kept{}, errors.New("not JSON")
	}
	on := kept{tokens: f.Tokens, retired: f.Retired}
	for _, s := range []struct {
		text string
		to   *Secret
	}{{f.Current, &on.current}, {f.Next, &on.next}, {f.Previous, &on.previous}} {
		if s.text == "" {
			continue
		}
		var err error
		if *s.to, err = ParseSecret(s.text); err != nil {
			return kept{}, err
		}
	}
	if on.current == (Secret{}) {
		return kept{}, errors.New("no current secret")
	}
	return on, nil
}

// save writes on and makes it count. The lock is held.
func (k *Keyring) save(on kept) error {
	f := keptFile{Current: on.current.Text(), Tokens: on.tokens, Retired: on.retired}
	if on.next != (Secret{}) {
		f.Next = on.next.Text()
	}
	if on.previous != (Secret{}) {
		f.Previous = on.previous.Text()
	}
	text, err := json.MarshalIndent(f, "", "\t")
	if err != nil {
		return err
	}
	err = writeSecretFile(filepath.Join(k.dir, keyringFile), string(text)+"\n")
	if err == nil {
		err = writeSecretFile(filepath.Join(k.dir, SecretFile), on.current.Text()+"\n")
	}
	if err != nil {
		return fmt.Errorf("keep the mesh secrets: %w", err)
	}
	k.kept = on
	return nil
}

// Format prints the public name of the mesh in place of the secrets.
func (k *Keyring) Format(f fmt.State, _ rune) { io.WriteString(f, "secrets of mesh "+k.MeshID()) }

// Current is the secret in use.
func (k *Keyring) Current() Secret {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.current
}

// MeshID names the mesh in public. It never changes.
func (k *Keyring) MeshID() string { return k.Current().MeshID() }

// Accepted are the secrets whose keys are accepted from others, the one in use
// first.
func (k *Keyring) Accepted() []Secret {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.accepted()
}

func (k *Keyring) accepted() []Secret {
	all := []Secret{k.current}
	for _, s := range []Secret{k.next, k.previous} {
		if s != (Secret{}) {
			all = append(all, s)
		}
	}
	return all
}

// Next is the secret that comes next, if there is one.
func (k *Keyring) Next() (Secret, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.next, k.next != Secret{}
}

// Previous is the secret that was in use before and is still accepted, if there
// is one.
func (k *Keyring) Previous() (Secret, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.previous, k.previous != Secret{}
}

// Find returns the accepted secret with that fingerprint.
func (k *Keyring) Find(fingerprint string) (Secret, bool) {
	for _, s := range k.Accepted() {
		if s.Fingerprint() == fingerprint {
			return s, true
		}
	}
	return Secret{}, false
}

// TokenKeys returns the keys of users' tokens: the first signs, all are
// accepted.
func (k *Keyring) TokenKeys() [][]byte {
	k.mu.Lock()
	defer k.mu.Unlock()
	var keys [][]byte
	for _, s := range k.accepted() {
		keys = append(keys, s.TokenKey())
	}
	for _, t := range k.tokens {
		if time.Now().Before(t.Until) {
			keys = append(keys, t.Key)
		}
	}
	return keys
}

// Prepare keeps a secret as the one that comes next, and accepts it from now
// on. Another one that was to come next is forgotten.
func (k *Keyring) Prepare(next Secret) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	on := k.kept
	on.next = next
	return k.save(on)
}

// Forget drops the secret that was to come next.
func (k *Keyring) Forget() error { return k.Prepare(Secret{}) }

// Switch makes the next secret, which has that fingerprint, the one in use. The
// one that was in use is accepted until Drop. Where it is in use already
// nothing happens.
func (k *Keyring) Switch(fingerprint string) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case k.current.Fingerprint() == fingerprint:
		return nil
	case k.next == (Secret{}) || k.next.Fingerprint() != fingerprint:
		return errors.New("this node does not hold the mesh's next secret")
	}
	on := k.kept
	on.previous, on.current, on.next = on.current, on.next, Secret{}
	return k.save(on)
}

// Drop forgets the previous secret. Of it and of earlier ones the keys of users'
// tokens are kept that keep names: fingerprint of the secret -> until when. It
// changes nothing the second time.
func (k *Keyring) Drop(keep map[string]time.Time) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	on := k.kept
	on.tokens = nil
	for _, t := range k.tokens {
		if _, ok := keep[t.Secret]; ok {
			on.tokens = append(on.tokens, t)
		}
	}
	if old := on.previous; old != (Secret{}) {
		name := old.Fingerprint()
		if until, ok := keep[name]; ok {
			on.tokens = append(on.tokens, TokenKey{name, old.TokenKey(), until})
		}
		on.retired = append(slices.Clone(on.retired), name)
		on.previous = Secret{}
	} else if len(on.tokens) == len(k.tokens) {
		return nil
	}
	return k.save(on)
}

// KeptTokens are the keys of users' tokens that Drop kept.
func (k *Keyring) KeptTokens() []TokenKey {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Clone(k.tokens)
}

// KeepTokens adds keys that another node kept, for a node that came later.
func (k *Keyring) KeepTokens(keys []TokenKey) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	on := k.kept
	on.tokens = slices.Concat(k.tokens, keys)
	return k.save(on)
}
