package mesh

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
)

// ErrTogether tells that the nodes share one network, which cannot be cut.
var ErrTogether = errors.New("the nodes do not stand apart")

// ErrNoNetwork tells that this machine gives us no networks to put nodes into.
var ErrNoNetwork = errors.New("nodes can stand apart only on Linux, as root, with the program ip")

// CanStandApart returns nil where [Config.Apart] works, and else [ErrNoNetwork].
func CanStandApart() error {
	n, err := newNetwork(1)
	if err != nil {
		return err
	}
	return n.close()
}

// network is a network namespace for each node, and a bridge that joins them
// with ours.
type network struct {
	name   string // begins the names of all that it makes
	prefix string // of addresses: "10.1.2."
	nodes  int

	mu     sync.Mutex      // guards the field below
	missed map[[2]int]bool // from, to: what the one sends to the other is lost
}

// newNetwork makes it. After an error nothing of it is left.
func newNetwork(nodes int) (*network, error) {
	_, err := exec.LookPath("ip")
	if os.Geteuid() != 0 || err != nil {
		return nil, ErrNoNetwork
	}
	var id [3]byte
	rand.Read(id[:])
	n := &network{name: "ml" + hex.EncodeToString(id[:]), nodes: nodes, missed: map[[2]int]bool{}}
	if n.prefix, err = freeSubnet(); err != nil {
		return nil, err
	}
	if err := n.build(); err != nil {
		return nil, errors.Join(fmt.Errorf("%w: %w", ErrNoNetwork, err), n.close())
	}
	return n, nil
}

// freeSubnet returns the first three bytes of 256 addresses that no interface
// of this machine has.
func freeSubnet() (string, error) {
	taken, err := net.InterfaceAddrs()
	if err != nil {
		return "", err
	}
	for range 100 {
		var b [2]byte
		rand.Read(b[:])
		prefix := fmt.Sprintf("10.%d.%d.", b[0], b[1])
		free := true
		for _, a := range taken {
			if ours, isNet := a.(*net.IPNet); isNet && ours.Contains(net.ParseIP(prefix+"1")) {
				free = false
			}
		}
		if free {
			return prefix, nil
		}
	}
	return "", errors.New("no free addresses in 10.0.0.0/8")
}

// space is the namespace of a node, and link the end of its cable at the bridge.
func (n *network) space(i int) string { return fmt.Sprintf("%s-%d", n.name, i+1) }
func (n *network) link(i int) string  { return fmt.Sprintf("%sv%d", n.name, i+1) }

func (n *network) host(i int) string { return fmt.Sprintf("%s%d", n.prefix, i+1) }

func (n *network) build() error {
	steps := []string{
		"link add " + n.name + " type bridge",
		"address add " + n.prefix + "254/24 dev " + n.name,
		"link set " + n.name + " up",
	}
	for i := range n.nodes {
		space, link := n.space(i), n.link(i)
		steps = append(steps,
			"netns add "+space,
			"link add "+link+" type veth peer name eth0 netns "+space,
			"link set "+link+" master "+n.name,
			"link set "+link+" up",
			"-n "+space+" link set lo up",
			"-n "+space+" address add "+n.host(i)+"/24 dev eth0",
			"-n "+space+" link set eth0 up",
		)
	}
	for _, step := range steps {
		if err := run("ip", step); err != nil {
			return err
		}
	}
	return nil
}

// command returns what runs the program in the node's namespace. ip becomes the
// program, so the process keeps its number and its parent.
func (n *network) command(i int, program string, args []string) (string, []string) {
	return "ip", append([]string{"netns", "exec", n.space(i), program}, args...)
}

// cut makes the bridge forget about the node. Unlike a cable that is pulled,
// this tells no one.
func (n *network) cut(i int) error { return run("bridge", "link set dev "+n.link(i)+" state 0") }

func (n *network) heal(i int) error { return run("bridge", "link set dev "+n.link(i)+" state 3") }

// lose has what one node sends to the other be lost, in that direction alone. It
// goes to a station that is not there, so that nobody is told.
func (n *network) lose(from, to int) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.missed[[2]int{from, to}] = true
	return run("ip", "-n "+n.space(from)+" neighbour replace "+n.host(to)+" lladdr 02:00:00:00:00:01 dev eth0 nud permanent")
}

// find ends all that lose did.
func (n *network) find() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	var errs []error
	for pair := range n.missed {
		errs = append(errs, run("ip", "-n "+n.space(pair[0])+" neighbour delete "+n.host(pair[1])+" dev eth0"))
	}
	clear(n.missed)
	return errors.Join(errs...)
}

// close removes what was made of it. A namespace goes with its last process.
func (n *network) close() error {
	var errs []error
	for i := range n.nodes {
		if _, err := os.Stat("/run/netns/" + n.space(i)); err == nil {
			errs = append(errs, run("ip", "netns delete "+n.space(i)))
		}
	}
	if _, err := net.InterfaceByName(n.name); err == nil {
		errs = append(errs, run("ip", "link delete "+n.name))
	}
	return errors.Join(errs...)
}

func run(program, args string) error {
	if said, err := exec.Command(program, strings.Fields(args)...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w: %s", program, args, err, strings.TrimSpace(string(said)))
	}
	return nil
}
