package replica

import "slices"

// Spares tells whether a node can be forgotten as far as this disk goes: the last
// look found nothing missing on it though that node did not count, and all
// manifests could be read.
func (r *Replica) Spares(node string) bool {
	p := r.repair
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.whole && !slices.Contains(p.counted, node)
}

// tellWhole notes what Spares answers: what a look at this disk found for those
// members. What a round fetches the look of the next one finds.
func (p *repair) tellWhole(m members) {
	missing := 0
	for _, b := range p.buckets {
		missing += len(b.missing)
	}
	var counted []string
	for i, n := range m.nodes {
		if m.counting[i] {
			counted = append(counted, n.ID)
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.whole, p.counted = missing == 0 && p.names.unread == 0 && !p.names.untried, counted
}
