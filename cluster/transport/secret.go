package transport

import (
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
)

// salt is part of every derived key: another protocol that is given the same
// secret gets other keys.
const salt = "malla/v1"

// A Secret is what all nodes of a mesh share and nobody else has. Everything
// secret of the mesh is derived from it, so it is worth as much as all of
// them: it is kept in a file that its owner alone can read, and it never
// prints itself.
type Secret [32]byte

// ParseSecret reads 64 hex digits. The error never repeats the text.
func ParseSecret(text string) (Secret, error) {
	var s Secret
	if len(text) != hex.EncodedLen(len(s)) {
		return Secret{}, fmt.Errorf("a secret is %d hex digits, not %d characters", hex.EncodedLen(len(s)), len(text))
	}
	if _, err := hex.Decode(s[:], []byte(text)); err != nil {
		return Secret{}, errors.New("a secret is hex digits only")
	}
	if s == (Secret{}) {
		return Secret{}, errors.New("a secret is not all zeros")
	}
	return s, nil
}

// Generate returns a new secret from the system's random source.
func Generate() Secret {
	var s Secret
	rand.Read(s[:]) // never fails: it ends the program instead
	return s
}

// Hex returns the 64 digits that ParseSecret reads, for the secret's file.
func (s Secret) Hex() string { return hex.EncodeToString(s[:]) }

// Derive returns n bytes for one purpose, such as "gossip" or "token". The
// same secret and purpose always give the same bytes, and the bytes of one
// purpose tell nothing about those of another.
func (s Secret) Derive(purpose string, n int) []byte {
	key, err := hkdf.Key(sha256.New, s[:], []byte(salt), purpose, n)
	if err != nil {
		panic(fmt.Sprintf("derive %d bytes for %q: %v", n, purpose, err)) // only when n is over 8160
	}
	return key
}

// MeshID names the mesh in public: 16 hex digits that tell nothing about the
// secret.
func (s Secret) MeshID() string { return hex.EncodeToString(s.Derive("mesh-id", 8)) }

// Format prints the public name of the mesh in place of the secret, whatever
// the verb.
func (s Secret) Format(f fmt.State, _ rune) { io.WriteString(f, "secret of mesh "+s.MeshID()) }

// LogValue keeps the secret out of logs.
func (s Secret) LogValue() slog.Value { return slog.StringValue(fmt.Sprint(s)) }

// LoadSecretFile reads the secret in a file. It refuses a file that others
// than its owner can read: whoever read it has the mesh.
func LoadSecretFile(path string) (Secret, error) {
	f, err := os.Open(path)
	if err != nil {
		return Secret{}, fmt.Errorf("open the mesh secret: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return Secret{}, fmt.Errorf("open the mesh secret: %w", err)
	}
	if !info.Mode().IsRegular() {
		return Secret{}, fmt.Errorf("the mesh secret %s is not a file", path)
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return Secret{}, fmt.Errorf("others can read the mesh secret %s (mode %04o): run chmod 600 %s", path, mode, path)
	}
	text, err := io.ReadAll(io.LimitReader(f, 1024))
	if err != nil {
		return Secret{}, fmt.Errorf("read the mesh secret: %w", err)
	}
	s, err := ParseSecret(strings.TrimSpace(string(text)))
	if err != nil {
		return Secret{}, fmt.Errorf("mesh secret in %s: %w", path, err)
	}
	return s, nil
}

// LoadOrCreateSecret is LoadSecretFile, but makes a new secret, in a file
// that its owner alone can read, where there is none. The file is on disk
// before the secret is returned.
func LoadOrCreateSecret(path string) (Secret, error) {
	s, err := LoadSecretFile(path)
	if !errors.Is(err, os.ErrNotExist) {
		return s, err
	}
	s = Generate()
	dir := filepath.Dir(path)
	tmp, err := os.CreateTemp(dir, ".secret-*") // made with mode 0600
	if err != nil {
		return Secret{}, fmt.Errorf("make the mesh secret: %w", err)
	}
	defer os.Remove(tmp.Name()) // gone already once renamed
	_, err = tmp.WriteString(s.Hex() + "\n")
	err = errors.Join(err, tmp.Sync(), tmp.Close())
	if err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err == nil {
		err = syncDir(dir)
	}
	if err != nil {
		return Secret{}, fmt.Errorf("make the mesh secret: %w", err)
	}
	return s, nil
}

// syncDir makes the names in a directory survive a power cut.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
