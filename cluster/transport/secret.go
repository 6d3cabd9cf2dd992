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
//
// The public name of the mesh is derived from its first secret. A later one
// carries the name with it, since the mesh goes on under it.
type Secret struct {
	key  [32]byte
	mesh string // 16 hex digits; "" for a first secret
}

// ParseSecret reads 64 hex digits, or the name of the mesh (16 hex digits), a
// dash and 64 hex digits. The error never repeats the text.
func ParseSecret(text string) (Secret, error) {
	var s Secret
	mesh, digits, rotated := strings.Cut(text, "-")
	if !rotated {
		mesh, digits = "", text
	}
	if len(digits) != hex.EncodedLen(len(s.key)) {
		return Secret{}, fmt.Errorf("a secret is %d hex digits, not %d characters", hex.EncodedLen(len(s.key)), len(digits))
	}
	if _, err := hex.Decode(s.key[:], []byte(digits)); err != nil {
		return Secret{}, errors.New("a secret is hex digits only")
	}
	if s.key == [32]byte{} {
		return Secret{}, errors.New("a secret is not all zeros")
	}
	if !rotated {
		return s, nil
	}
	name, err := hex.DecodeString(mesh)
	if err != nil || len(name) != meshIDSize {
		return Secret{}, fmt.Errorf("before the dash of a secret stand %d hex digits, the name of the mesh", 2*meshIDSize)
	}
	if mesh = hex.EncodeToString(name); mesh != s.MeshID() {
		s.mesh = mesh
	}
	return s, nil
}

// Generate returns a new secret, for a new mesh, from the system's random
// source.
func Generate() Secret {
	var s Secret
	rand.Read(s.key[:]) // never fails: it ends the program instead
	return s
}

// Successor returns a new secret for the same mesh. It cannot be found from s.
func (s Secret) Successor() Secret {
	next := Generate()
	next.mesh = s.MeshID()
	return next
}

// Text returns what ParseSecret reads, for the secret's file.
func (s Secret) Text() string {
	digits := hex.EncodeToString(s.key[:])
	if s.mesh == "" {
		return digits
	}
	return s.mesh + "-" + digits
}

// Fingerprint tells two secrets apart in public: 16 hex digits that tell
// nothing about the secret.
func (s Secret) Fingerprint() string { return hex.EncodeToString(s.Derive("fingerprint", 8)) }

// TokenKey signs the tokens of users.
func (s Secret) TokenKey() []byte { return s.Derive("token", 32) }

// Derive returns n bytes for one purpose, such as "gossip" or "token". The
// same secret and purpose always give the same bytes, and the bytes of one
// purpose tell nothing about those of another.
func (s Secret) Derive(purpose string, n int) []byte {
	key, err := hkdf.Key(sha256.New, s.key[:], []byte(salt), purpose, n)
	if err != nil {
		panic(fmt.Sprintf("derive %d bytes for %q: %v", n, purpose, err)) // only when n is over 8160
	}
	return key
}

// meshIDSize is the size of a mesh's public name in bytes.
const meshIDSize = 8

// MeshID names the mesh in public: 16 hex digits that tell nothing about the
// secret.
func (s Secret) MeshID() string {
	if s.mesh != "" {
		return s.mesh
	}
	return hex.EncodeToString(s.Derive("mesh-id", meshIDSize))
}

// Format prints the public name of the mesh in place of the secret, whatever
// the verb.
func (s Secret) Format(f fmt.State, _ rune) { io.WriteString(f, "secret of mesh "+s.MeshID()) }

// LogValue keeps the secret out of logs.
func (s Secret) LogValue() slog.Value { return slog.StringValue(fmt.Sprint(s)) }

// LoadSecretFile reads the secret in a file. It refuses a file that others
// than its owner can read: whoever read it has the mesh.
func LoadSecretFile(path string) (Secret, error) {
	text, err := readSecretFile(path, "the mesh secret")
	if err != nil {
		return Secret{}, err
	}
	s, err := ParseSecret(strings.TrimSpace(text))
	if err != nil {
		return Secret{}, fmt.Errorf("mesh secret in %s: %w", path, err)
	}
	return s, nil
}

// readSecretFile reads a file, called what, that only its owner can read.
func readSecretFile(path, what string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("open %s: %w", what, err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", fmt.Errorf("open %s: %w", what, err)
	}
	if !info.Mode().IsRegular() {
		return "", fmt.Errorf("%s %s is not a file", what, path)
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return "", fmt.Errorf("others can read %s %s (mode %04o): run chmod 600 %s", what, path, mode, path)
	}
	text, err := io.ReadAll(io.LimitReader(f, 64<<10))
	if err != nil {
		return "", fmt.Errorf("read %s: %w", what, err)
	}
	return string(text), nil
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
	if err := writeSecretFile(path, s.Text()+"\n"); err != nil {
		return Secret{}, fmt.Errorf("make the mesh secret: %w", err)
	}
	return s, nil
}

// writeSecretFile replaces a file, which its owner alone can read. It is on
// disk when the call returns.
func writeSecretFile(path, text string) error {
	dir := filepath.Dir(path)
	tmp, err := os.CreateTemp(dir, ".secret-*") // made with mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name()) // gone already once renamed
	_, err = tmp.WriteString(text)
	err = errors.Join(err, tmp.Sync(), tmp.Close())
	if err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err == nil {
		err = syncDir(dir)
	}
	return err
}

// syncDir makes the names in a directory survive a power cut.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
