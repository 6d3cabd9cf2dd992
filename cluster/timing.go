package cluster

import "time"

// netWaits are the agreement's waits in a net.
type netWaits struct{ raft, commit time.Duration }

// networks: a leader that is killed is replaced after one to two times raft,
// and a node whose disk or processor stops for half of it, where it leads, or
// for all of it, where it follows, costs an election.
var networks = map[Network]netWaits{
	Local: {300 * time.Millisecond, 50 * time.Millisecond},
	LAN:   {500 * time.Millisecond, 50 * time.Millisecond},
	WAN:   {3 * time.Second, 200 * time.Millisecond},
}

// Known tells whether there is such a network.
func (n Network) Known() bool {
	_, known := networks[n]
	return known
}

// fill gives the waits that depend on the network their defaults.
func (t *Timing) fill() {
	def(&t.Network, LAN)
	w := networks[t.Network]
	def(&t.Raft, w.raft)
	def(&t.Commit, w.commit)
	def(&t.Probe, t.gossipConfig().ProbeInterval)
}
