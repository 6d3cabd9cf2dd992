package cluster

import (
	"bytes"
	"math"
	"reflect"
	"strings"
	"testing"

	"malla/cluster/state"
)

const someID = state.NodeID("00112233445566778899aabbccddeeff")

func TestMetaSurvivesTheGossip(t *testing.T) {
	full := meta{
		id: someID, epoch: math.MaxUint64, joined: true, leaving: true, expect: 255, httpPort: 65535, peerPort: 7947,
		host: strings.Repeat("h", maxHost), name: strings.Repeat("n", maxName), zone: strings.Repeat("z", maxZone), version: strings.Repeat("v", maxText),
		generation: math.MaxUint64,
	}
	for name, m := range map[string]meta{"empty": {id: someID}, "with everything as long as it may be": full} {
		if err := m.check(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		data := m.encode()
		if len(data) >= 512 {
			t.Errorf("%s: %d bytes, memberlist panics beyond 512", name, len(data))
		}
		got, err := decodeMeta(string(someID), data)
		if err != nil || got != m {
			t.Errorf("%s: came back as %+v, %v", name, got, err)
		}
		if got, err := decodeMeta(string(someID), append(data, 1, 2, 3)); err != nil || got != m {
			t.Errorf("%s: what a newer version adds disturbs: %v", name, err)
		}
		for i := range data {
			if _, err := decodeMeta(string(someID), data[:i]); err == nil {
				t.Errorf("%s: cut off after %d bytes it is read all the same", name, i)
			}
		}
	}
	full.zone += "z"
	if err := full.check(); err == nil || !strings.Contains(err.Error(), "zone") {
		t.Errorf("a zone too long: %v", err)
	}
	if _, err := decodeMeta("someone", meta{}.encode()); err == nil {
		t.Error("took a name that is no id")
	}
}

func TestReportSurvivesTheGossip(t *testing.T) {
	r := report{id: someID, epoch: 1 << 60, seq: 7, load: Load{
		CPU: 51.0 / 255, MemoryUsed: 3 << 30, MemoryTotal: 16 << 30, DiskFree: 5 << 40, DiskTotal: 9 << 40,
		NetRx: 1000 * kibi, NetTx: 7 * kibi, ClockOff: true, LogLow: true, LogHalted: true, Work: Work{Tasks: 3, Slots: 8, Full: true, Broken: true, GivenUp: true, Encoders: 0b1011, Damaged: 3, Emptied: true, Stored: 3 << 40, Left: 1000, LeftBytes: 8000 * mebi, Rate: 60 * mebi},
	}}
	data := r.encode()
	if len(data) > 72 {
		t.Errorf("%d bytes: large broadcasts starve behind those of the membership", len(data))
	}
	got, ok := decodeReport(data)
	if !ok || !reflect.DeepEqual(got, r) {
		t.Errorf("came back as %+v", got)
	}
	if got, ok := decodeReport(append(data, 9)); !ok || got != r {
		t.Error("what a newer version adds disturbs")
	}
	// Older versions end sooner; anywhere else the end is damage.
	old, end := r, len(data)
	ends := map[int]report{end: r}
	for _, f := range []struct {
		bytes int
		to    *uint64
	}{{1, &old.load.Rate}, {2, &old.load.Left}, {2, &old.load.LeftBytes}, {4, &old.load.Stored}, {1, &old.load.Damaged}, {1, &old.load.Encoders}} {
		*f.to = 0
		end -= f.bytes
		ends[end] = old
	}
	for i := range len(data) + 1 {
		want, fine := ends[i]
		if got, ok := decodeReport(data[:i]); ok != fine || ok && got != want {
			t.Errorf("cut off after %d bytes: %+v, %v", i, got, ok)
		}
	}
	r.load.Encoders = math.MaxUint64
	data = r.encode()
	if got, ok := decodeReport(data); !ok || got != r || len(data) > 80 {
		t.Errorf("with every encoder: %+v, %d bytes", got, len(data))
	}
	if _, ok := decodeReport(data[:len(data)-11]); ok {
		t.Error("read half of the encoders")
	}
}

func TestReplayedReportsAreNoNews(t *testing.T) {
	tab := newTable()
	now := func(epoch uint64, seq uint32) bool {
		return tab.report(report{id: someID, epoch: epoch, seq: seq, load: Load{CPU: float64(seq)}})
	}
	if now(1, 1) {
		t.Error("believed a stranger")
	}
	tab.alive(someID, meta{id: someID, epoch: 1}, "127.0.0.1:1")
	if !now(1, 1) || !now(1, 3) {
		t.Error("did not believe a node")
	}
	if now(1, 3) || now(1, 2) {
		t.Error("believed a report twice, or an older one")
	}
	tab.alive(someID, meta{id: someID, epoch: 2}, "127.0.0.1:1") // it was started again
	if now(1, 4) {
		t.Error("believed a report of an earlier run")
	}
	if !now(2, 1) {
		t.Error("did not believe the first report of a new run")
	}
}

func TestWhatOthersShouldHearOf(t *testing.T) {
	base := Load{CPU: 0.5, MemoryUsed: 50, MemoryTotal: 100, DiskFree: 500, DiskTotal: 1000, NetRx: 10 * mebi}
	base.Stored, base.LeftBytes, base.Rate = 5*mebi, 5*mebi, 5*mebi
	for name, tc := range map[string]struct {
		change func(*Load)
		want   bool
	}{
		"nothing":             {func(*Load) {}, false},
		"a little CPU":        {func(l *Load) { l.CPU += 0.04 }, false},
		"much CPU":            {func(l *Load) { l.CPU += 0.06 }, true},
		"some memory":         {func(l *Load) { l.MemoryUsed += 3 }, true},
		"a little disk":       {func(l *Load) { l.DiskFree -= 9 }, false},
		"some disk":           {func(l *Load) { l.DiskFree -= 11 }, true},
		"a new task":          {func(l *Load) { l.Tasks++ }, true},
		"another encoder":     {func(l *Load) { l.Encoders |= 4 }, true},
		"a full disk":         {func(l *Load) { l.Full = true }, true},
		"a log short of room": {func(l *Load) { l.LogLow = true }, true},
		"a log not written":   {func(l *Load) { l.LogHalted = true }, true},
		"a little network":    {func(l *Load) { l.NetRx += mebi }, false},
		"twice the network":   {func(l *Load) { l.NetRx *= 2 }, true},
		"a few bytes kept":    {func(l *Load) { l.Stored += 1000 }, false},
		"a few bytes less":    {func(l *Load) { l.LeftBytes, l.Rate = l.LeftBytes-1000, l.Rate-1000 }, false},
		"many bytes kept":     {func(l *Load) { l.Stored += mebi }, true},
		"nothing is left":     {func(l *Load) { l.LeftBytes = 0 }, true},
		"another rate":        {func(l *Load) { l.Rate += mebi }, true},
		"a few bytes sent":    {func(l *Load) { l.NetTx += 1000 }, false},
	} {
		next := base
		tc.change(&next)
		if differs(base, next) != tc.want {
			t.Errorf("%s: want %v", name, tc.want)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(meta{name: "a", zone: "b", version: "c", host: "d"}.encode())
	f.Add(report{id: someID, epoch: 1, seq: 1, load: Load{CPU: 1, MemoryTotal: 1 << 40, Work: Work{Encoders: 1 << 63}}}.encode())
	f.Fuzz(func(t *testing.T, data []byte) {
		if m, err := decodeMeta(string(someID), data); err == nil {
			if again, err := decodeMeta(string(someID), m.encode()); err != nil || again != m {
				t.Errorf("%+v came back as %+v, %v", m, again, err)
			}
		}
		if r, ok := decodeReport(data); ok {
			if again := r.encode(); !bytes.Equal(again, data[:min(len(data), len(again))]) {
				if r2, ok := decodeReport(again); !ok || r2 != r { // varints have longer forms
					t.Errorf("%+v came back as %+v", r, r2)
				}
			}
		}
		delegate{&gossip{id: someID, table: newTable()}}.MergeRemoteState(data, true)
	})
}
