package main

import (
	"bytes"
	"testing"
	"time"

	"malla/httpapi"
)

func TestQuantiles(t *testing.T) {
	of := []float64{5, 1, 4, 2, 3}
	for p, want := range map[float64]float64{0: 1, 0.2: 1, 0.5: 3, 0.99: 5, 1: 5} {
		if got := quantile(of, p); got != want {
			t.Errorf("%g: %g, want %g", p, got, want)
		}
	}
	for _, tc := range []struct {
		of   []float64
		want float64
	}{{[]float64{7}, 7}, {[]float64{9, 1, 2}, 2}, {[]float64{4, 1, 2, 3}, 2.5}} {
		if got := median(tc.of); got != tc.want {
			t.Errorf("median of %v: %g", tc.of, got)
		}
	}
}

func TestReportCountsWhatIsMissed(t *testing.T) {
	var text bytes.Buffer
	r := &report{to: &text}
	r.title("Times of %d", 2)
	r.table([][]string{{"format", "verdict"}, {"mp4 é", r.atMost(1, 1)}, {"avi", r.atMost(1.2, 1.1)}, {"queue", r.atLeast(0.8, 0.9)}, {"two", r.atLeast(1.9, 1.9)}})
	want := `
## Times of 2

| format | verdict |
| ------ | ------- |
| mp4 é  | ok      |
| avi    | over    |
| queue  | under   |
| two    | ok      |
`
	if text.String() != want || r.missed != 2 {
		t.Errorf("%d missed:\n%s", r.missed, text.String())
	}
}

func TestChoose(t *testing.T) {
	all, err := choose(nil)
	if err != nil || len(all) != 5 {
		t.Errorf("without names: %d parts, %v", len(all), err)
	}
	one, err := choose([]string{"speedup"})
	if err != nil || len(one) != 1 || one[0].name != "speedup" {
		t.Errorf("%v, %v", one, err)
	}
	if _, err := choose([]string{"single", "sped"}); err == nil {
		t.Error("an unknown part was taken")
	}
}

func TestWhereTheTimeGoes(t *testing.T) {
	asked := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	task := func(kind string, from, to int, cpu float64) httpapi.Task {
		at := func(ms int) time.Time { return asked.Add(time.Duration(ms) * time.Millisecond) }
		return httpapi.Task{ID: kind, Kind: kind, State: "finished", AssignedAt: at(from), FinishedAt: at(to), CPU: cpu}
	}
	d := &duel{asked: asked, last: httpapi.Job{CompletedAt: asked.Add(2300 * time.Millisecond), Tasks: []httpapi.Task{
		task("segment", 20, 1020, 0.9), task("segment", 20, 520, 0.5), task("segment", 540, 1020, 0.4), task("audio", 1030, 2020, 0.3), task("assembly", 2030, 2300, 0.1),
	}}}
	got := d.where("mp4")
	want := []string{"mp4", "3", "0.60 s", "20 ms", "99 % of 2", "20 ms", "270 ms", "0 ms"}
	for i := range want {
		if i >= len(got) || got[i] != want[i] {
			t.Fatalf("%q\n%q", got, want)
		}
	}
	d.last.Tasks = d.last.Tasks[:1]
	if cells := d.where("mp4"); cells != nil {
		t.Errorf("a job without an assembly: %q", cells)
	}
}
