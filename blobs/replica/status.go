package replica

import "time"

// A Status is what the last round of repair saw and what was done since this
// node started.
type Status struct {
	Chunks    int64         // on this disk
	Bytes     int64         // of those
	Surplus   int           // copies that other nodes should have instead
	Unnamed   int           // chunks that no blob names any more, older than the grace time
	Unread    int           // manifests that could not be read: nothing is collected meanwhile
	LastRound time.Time     // when it began; zero before the first one
	Took      time.Duration // the last round

	Left      int64         // copies to be made on this disk; where it is emptied, chunks that must still leave it
	LeftBytes int64         // of those
	Rate      int64         // at which that became less in the last minute, bytes a second; 0 where it did not
	Estimate  time.Duration // until nothing is left at that rate; 0 where that cannot be told
	Emptied   bool          // this node is being emptied, and nothing on it is needed any more

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
	r.repair.backlog.tell(&s, time.Now())
	s.Damaged, s.Healed = r.cfg.Local.Damage()
	s.Scrub = r.scrub.told()
	return s
}

// A backlog is how much is left to move, and how fast that became less in the
// last minute.
type backlog struct {
	since time.Time        // when there began to be some; zero: there is none
	left  int64            // bytes to be moved
	count int64            // of the chunks left
	moved [rateParts]int64 // bytes, in the parts of the last minute
	part  int              // the latest of them, counted from since
}

// A minute is looked at in parts: what falls out of it does so a part at a time.
const (
	rateParts = 12
	ratePart  = time.Minute / rateParts
)

// look notes what a look at the disk found to be left.
func (b *backlog) look(count, bytes int64, now time.Time) {
	if b.count, b.left = count, bytes; count == 0 {
		*b = backlog{}
	} else if b.since.IsZero() {
		b.since = now
	}
}

// move notes a chunk that was moved.
func (b *backlog) move(bytes int64, now time.Time) {
	b.left, b.count = max(0, b.left-bytes), max(0, b.count-1)
	if !b.since.IsZero() {
		b.turn(now)
		b.moved[b.part%rateParts] += bytes
	}
}

// turn begins the parts of the minute that have come since the last one.
func (b *backlog) turn(now time.Time) {
	part := int(now.Sub(b.since) / ratePart)
	for i := max(b.part, part-rateParts) + 1; i <= part; i++ {
		b.moved[i%rateParts] = 0
	}
	b.part = max(b.part, part)
}

func (b *backlog) tell(s *Status, now time.Time) {
	s.Left, s.LeftBytes = b.count, b.left
	if b.count == 0 {
		return
	}
	b.turn(now)
	bytes := int64(0)
	for _, n := range b.moved {
		bytes += n
	}
	took := now.Sub(b.since) - time.Duration(max(0, b.part-rateParts+1))*ratePart
	if rate := float64(bytes) / took.Seconds(); bytes > 0 && took > 0 {
		s.Rate, s.Estimate = int64(rate), time.Duration(float64(b.left)/rate*float64(time.Second))
	}
}

// done counts what rounds have moved; who compares it sees whether they do.
func (p *repair) done() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.status.Repaired + p.status.Dropped
}

// sum adds the figures of all buckets up.
func (all *buckets) sum() (s bucket) {
	for _, b := range all {
		if b == nil {
			continue
		}
		s.chunks += b.chunks
		s.bytes += b.bytes
		s.named += b.named
		s.namedBytes += b.namedBytes
		s.missingBytes += b.missingBytes
	}
	return s
}

// tell makes the status say what was just looked at.
func (p *repair) tell(m members, start time.Time) {
	sum := p.buckets.sum()
	missing, surplus := 0, 0
	for _, b := range p.buckets {
		missing += len(b.missing)
		surplus += len(b.surplus)
	}
	p.note(func(s *Status) {
		s.Chunks, s.Bytes = sum.chunks, sum.bytes
		s.Surplus, s.Unnamed, s.Unread = surplus, len(p.unnamed(start)), p.names.unread
		s.LastRound = start
		if m.draining() {
			p.backlog.look(sum.named, sum.namedBytes, start)
		} else {
			p.backlog.look(int64(missing), sum.missingBytes, start)
		}
		s.Emptied = s.Emptied && m.emptying() && sum.named == 0
	})
}

func (p *repair) note(change func(*Status)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change(&p.status)
}
