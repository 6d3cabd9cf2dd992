package cluster

import (
	"time"

	"github.com/hashicorp/memberlist"
)

// A Network is the kind of net between the nodes: how patient their agreement and their gossip are.
// The zero value is [LAN]. All nodes of a mesh should have the same.
type Network string

const (
	Local Network = "local" // one machine: a crash is known in about four seconds
	LAN   Network = "lan"   // one site: in five, with a hundred nodes in nine
	WAN   Network = "wan"   // between sites, where answers take up to three seconds: in half a minute to a minute
)

// gossipConfig is memberlist's own profile for such a net, but for what was
// measured to be better, and with all waits in proportion where the pause
// between probes is not the profile's.
//
// On one machine and on a LAN the nodes probe more often and more of them must
// agree that a node is dead: it is known sooner, and one node whose processor is
// too busy to hear answers convinces nobody.
func (t Timing) gossipConfig() *memberlist.Config {
	var cfg *memberlist.Config
	switch t.Network {
	case WAN:
		cfg = memberlist.DefaultWANConfig()
	case Local:
		cfg = memberlist.DefaultLANConfig()
		cfg.SuspicionMult = 5
		cfg.ProbeInterval, cfg.ProbeTimeout, cfg.GossipInterval = 500*time.Millisecond, 300*time.Millisecond, 100*time.Millisecond
		cfg.TCPTimeout = 2 * time.Second
	default:
		cfg = memberlist.DefaultLANConfig()
		cfg.SuspicionMult = 5
		cfg.ProbeInterval, cfg.ProbeTimeout = 700*time.Millisecond, 400*time.Millisecond
		cfg.TCPTimeout = 5 * time.Second
	}
	if t.Probe > 0 {
		scale := float64(t.Probe) / float64(cfg.ProbeInterval)
		for _, wait := range []*time.Duration{&cfg.ProbeInterval, &cfg.ProbeTimeout, &cfg.GossipInterval} {
			*wait = time.Duration(float64(*wait) * scale)
		}
	}
	cfg.DeadNodeReclaimTime = 10 * cfg.ProbeInterval // a node that died may come back at another address
	cfg.HandoffQueueDepth = 4096                     // what hundreds say at once must not be dropped
	return cfg
}
