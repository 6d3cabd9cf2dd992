package transport

import (
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strings"
)

// LoadOrCreateKey returns the private key of the node whose key is in that
// file, 64 hex digits; where there is none it draws one. Unlike everything
// that is derived from the secret, which all nodes can compute, it tells one
// node of a mesh from the others.
func LoadOrCreateKey(path string) (ed25519.PrivateKey, error) {
	text, err := readSecretFile(path, "this node's key")
	if errors.Is(err, os.ErrNotExist) {
		_, key, err := ed25519.GenerateKey(nil) // from crypto/rand
		if err != nil {
			return nil, fmt.Errorf("make this node's key: %w", err)
		}
		if err := writeSecretFile(path, hex.EncodeToString(key.Seed())+"\n"); err != nil {
			return nil, fmt.Errorf("make this node's key: %w", err)
		}
		return key, nil
	}
	if err != nil {
		return nil, err
	}
	seed, err := hex.DecodeString(strings.TrimSpace(text))
	if err != nil || len(seed) != ed25519.SeedSize {
		return nil, fmt.Errorf("the file %s is damaged: want %d hex digits", path, 2*ed25519.SeedSize)
	}
	return ed25519.NewKeyFromSeed(seed), nil
}
