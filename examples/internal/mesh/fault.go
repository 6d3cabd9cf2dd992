package mesh

import "fmt"

// PID is the number of the node's process, 0 while it does not run.
func (m *Mesh) PID(i int) int {
	n := m.nodes[i]
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.proc == nil || n.proc.exited() {
		return 0
	}
	return n.proc.cmd.Process.Pid
}

// Pause halts the node and its children, as a machine that is suspended. A node
// that does not run is left alone.
func (m *Mesh) Pause(i int) {
	if pid := m.PID(i); pid != 0 {
		stop(pid)
	}
}

// Continue lets a paused node go on.
func (m *Mesh) Continue(i int) {
	if pid := m.PID(i); pid != 0 {
		resume(pid)
	}
}

// Partition cuts the node off from the others and from us: nothing it sends
// arrives, nothing arrives at it, and nobody is told. The mesh must be one of
// nodes that stand [Config.Apart].
func (m *Mesh) Partition(i int) error {
	if m.network == nil {
		return fmt.Errorf("cut off %s: %w", m.Name(i), ErrTogether)
	}
	return m.network.cut(i)
}

// Cut has everything be lost that nodes of the first group send to nodes of the
// second, and nobody is told. Clients reach them all. The mesh must be one of
// nodes that stand [Config.Apart].
func (m *Mesh) Cut(from, to []int) error {
	if m.network == nil {
		return fmt.Errorf("cut nodes apart: %w", ErrTogether)
	}
	for _, a := range from {
		for _, b := range to {
			if err := m.network.lose(a, b); err != nil {
				return err
			}
		}
	}
	return nil
}

// Mend ends all that Cut did.
func (m *Mesh) Mend() error {
	if m.network == nil {
		return fmt.Errorf("mend the network: %w", ErrTogether)
	}
	return m.network.find()
}

// Heal ends a partition.
func (m *Mesh) Heal(i int) error {
	if m.network == nil {
		return fmt.Errorf("heal %s: %w", m.Name(i), ErrTogether)
	}
	return m.network.heal(i)
}
