package replica

import (
	"testing"
	"time"
)

func TestTheRateIsThatOfTheLastMinute(t *testing.T) {
	const mb = 1_000_000
	start := time.Now()
	var b backlog
	at := func(d time.Duration) (s Status) {
		b.tell(&s, start.Add(d))
		return s
	}
	b.look(1000, 1000*mb, start)
	if s := at(time.Second); s.Left != 1000 || s.LeftBytes != 1000*mb || s.Rate != 0 || s.Estimate != 0 {
		t.Errorf("before anything moved: %+v", s)
	}
	for i := range 300 { // five minutes, a chunk a second
		b.move(mb, start.Add(time.Duration(i)*time.Second))
	}
	near := func(s Status, rate float64) bool { return float64(s.Rate) > 0.9*rate && float64(s.Rate) < 1.1*rate }
	if s := at(300 * time.Second); !near(s, mb) || s.Left != 700 || s.Estimate < 630*time.Second || s.Estimate > 770*time.Second {
		t.Errorf("after five minutes at 1 MB/s: %+v", s)
	}
	if s := at(330 * time.Second); !near(s, mb/2) {
		t.Errorf("half a minute after the last one: %+v", s)
	}
	if s := at(370 * time.Second); s.Rate != 0 || s.Estimate != 0 || s.Left != 700 {
		t.Errorf("a minute after the last one: %+v", s)
	}
	b.look(700, 700*mb, start.Add(time.Hour)) // the next round
	b.move(mb, start.Add(time.Hour))
	if s := at(time.Hour + time.Second); s.Rate > mb/30 || s.Rate == 0 {
		t.Errorf("one chunk after an hour: %+v", s)
	}
	b.look(0, 0, start.Add(2*time.Hour))
	if s := at(2 * time.Hour); s.Left != 0 || s.LeftBytes != 0 || s.Rate != 0 {
		t.Errorf("when nothing is left: %+v", s)
	}
}
