package cluster

import (
	"slices"

	"github.com/hashicorp/memberlist"

	"malla/cluster/transport"
)

// gossipKeys are the keys of the gossip: of the secret in use, and of the others
// that are accepted.
func gossipKeys(secrets *transport.Keyring) (*memberlist.Keyring, error) {
	keys := &memberlist.Keyring{}
	return keys, setGossipKeys(keys, secrets)
}

// setGossipKeys changes the keys while they are in use.
func setGossipKeys(ring *memberlist.Keyring, secrets *transport.Keyring) error {
	var wanted [][]byte
	for _, s := range secrets.Accepted() {
		wanted = append(wanted, s.Derive("gossip", 32))
	}
	isWanted := func(key []byte) bool {
		return slices.ContainsFunc(wanted, func(w []byte) bool { return string(w) == string(key) })
	}
	// From the back: memberlist moves the keys behind one that is removed while
	// it decrypts with them. What is not wanted any more always stands behind
	// what is.
	for _, key := range slices.Backward(ring.GetKeys()) {
		if !isWanted(key) {
			if err := ring.RemoveKey(key); err != nil {
				return err
			}
		}
	}
	for _, key := range wanted {
		if err := ring.AddKey(key); err != nil {
			return err
		}
	}
	return ring.UseKey(wanted[0])
}
