package main

import (
	"fmt"
	"io"
	"math"
	"os"
	"runtime"
	"slices"
	"strings"
)

// report prints what was measured, and counts the limits that were missed.
type report struct {
	to     io.Writer
	missed int
}

// machine says where it was measured: a machine that does other things makes
// figures worse.
func (r *report) machine() {
	load, _ := os.ReadFile("/proc/loadavg") // only Linux has it
	fmt.Fprintf(r.to, "# malla bench\n\n%d cores, %s/%s, load average before the run: %s\n",
		runtime.NumCPU(), runtime.GOOS, runtime.GOARCH, strings.Join(strings.Fields(string(load))[:min(3, len(strings.Fields(string(load))))], " "))
}

// title begins a table of that name.
func (r *report) title(format string, args ...any) {
	fmt.Fprintf(r.to, "\n## "+format+"\n\n", args...)
}

// table prints rows in columns that are as wide as their widest cell.
func (r *report) table(rows [][]string) {
	width := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			width[i] = max(width[i], len([]rune(cell)))
		}
	}
	line := func(row []string) {
		for i, cell := range row {
			fmt.Fprintf(r.to, "| %s%s ", cell, strings.Repeat(" ", width[i]-len([]rune(cell))))
		}
		fmt.Fprintln(r.to, "|")
	}
	line(rows[0])
	rule := make([]string, len(width))
	for i, w := range width {
		rule[i] = strings.Repeat("-", w)
	}
	line(rule)
	for _, row := range rows[1:] {
		line(row)
	}
}

// atMost is the verdict on what must not be larger.
func (r *report) atMost(got, limit float64) string {
	if got <= limit {
		return "ok"
	}
	r.missed++
	return "over"
}

// atLeast is the verdict on what must not be smaller.
func (r *report) atLeast(got, limit float64) string {
	if got >= limit {
		return "ok"
	}
	r.missed++
	return "under"
}

// histogram prints how many of all, in seconds, took how long, in steps of so many.
func (r *report) histogram(of []float64, step float64) {
	counts := make([]int, int(quantile(of, 1)/step)+1)
	for _, s := range of {
		counts[int(s/step)]++
	}
	fmt.Fprintln(r.to)
	for i, n := range counts {
		fmt.Fprintf(r.to, "    %5.2f to %5.2f s %4d %s\n", float64(i)*step, float64(i+1)*step, n, strings.Repeat("#", n))
	}
}

func seconds(s float64) string { return fmt.Sprintf("%.2f s", s) }
func ratio(x float64) string   { return fmt.Sprintf("%.2f", x) }

// median is the middle one, or the mean of the two that are.
func median(of []float64) float64 {
	return (quantile(of, 0.5) + quantile(of, 0.5000001)) / 2
}

// quantile is the value that the share p of all does not exceed.
func quantile(of []float64, p float64) float64 {
	if len(of) == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(of))
	return sorted[min(len(sorted)-1, max(0, int(math.Ceil(p*float64(len(sorted))))-1))]
}
