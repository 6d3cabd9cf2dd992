package replica

import "time"

// A Status is what the last round of repair saw and what was done since this
// node started.
type Status struct {
	Chunks     int64         // on this disk
	Bytes      int64         // of those
	Missing    int           // copies that this node should have and could not get
	Surplus    int           // copies that other nodes should have instead
	Unnamed    int           // chunks that no blob names any more, older than the grace time
	Incomplete bool          // whether some manifest could not be read
	LastRound  time.Time     // when it began; zero before the first one
	Took       time.Duration // the last round

	Repaired       int64 // missing copies made
	RepairedBytes  int64
	Dropped        int64 // surplus copies deleted
	Collected      int64 // unnamed chunks deleted
	CollectedBytes int64
	Damaged        int64 // copies on this disk that were found damaged
	Healed         int64 // of those, made again

	Scrub ScrubStatus
}

// Status tells how the chunks of this node are.
func (r *Replica) Status() Status {
	r.repair.mu.Lock()
	defer r.repair.mu.Unlock()
	s := r.repair.status
	s.Damaged, s.Healed = r.cfg.Local.Damage()
	s.Scrub = r.scrub.told()
	return s
}

func (p *repair) note(change func(*Status)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change(&p.status)
}
