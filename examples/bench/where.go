package main

import (
	"fmt"
	"slices"
	"time"

	"malla/httpapi"
)

// spent is the processor time of all the tasks of a job, in seconds.
func spent(job httpapi.Job) float64 {
	sum := 0.0
	for _, t := range job.Tasks {
		sum += t.CPU
	}
	return sum
}

// where tells on what the last job spent its time, or nil where it was one task.
func (d *duel) where(format string) []string {
	var parts []httpapi.Task // the segments: what is beside them runs in a lane of its own
	var assembly httpapi.Task
	for _, t := range d.last.Tasks {
		switch {
		case t.Kind == "assembly":
			assembly = t
		case t.Kind == "segment" && t.State == "finished":
			parts = append(parts, t)
		}
	}
	if assembly.ID == "" || len(parts) == 0 {
		return nil
	}
	first, last := parts[0].AssignedAt, parts[0].FinishedAt
	busy, cpu := 0.0, 0.0
	for _, t := range parts {
		busy += t.FinishedAt.Sub(t.AssignedAt).Seconds()
		if t.AssignedAt.Before(first) {
			first = t.AssignedAt
		}
		if t.FinishedAt.After(last) {
			last = t.FinishedAt
		}
		cpu += t.CPU
	}
	slots := lanes(parts)
	return []string{
		format, fmt.Sprint(len(parts)), seconds(cpu / float64(len(parts))), millis(first.Sub(d.asked)),
		fmt.Sprintf("%.0f %% of %d", 100*busy/(float64(slots)*last.Sub(first).Seconds()), slots), millis(longestGap(parts)),
		millis(assembly.FinishedAt.Sub(assembly.AssignedAt)), millis(d.last.CompletedAt.Sub(assembly.FinishedAt)),
	}
}

func millis(d time.Duration) string { return fmt.Sprintf("%d ms", d.Milliseconds()) }

// lanes is how many tasks ran at once at most.
func lanes(tasks []httpapi.Task) int {
	most := 0
	for _, t := range tasks {
		n := 0
		for _, o := range tasks {
			if !o.AssignedAt.After(t.AssignedAt) && o.FinishedAt.After(t.AssignedAt) {
				n++
			}
		}
		most = max(most, n)
	}
	return most
}

// longestGap is the longest time from the end of a task to the next beginning of
// one, while there was one to begin.
func longestGap(tasks []httpapi.Task) time.Duration {
	var begins []time.Time
	for _, t := range tasks {
		begins = append(begins, t.AssignedAt)
	}
	slices.SortFunc(begins, time.Time.Compare)
	longest := time.Duration(0)
	for _, t := range tasks {
		i, _ := slices.BinarySearchFunc(begins, t.FinishedAt, time.Time.Compare)
		if i < len(begins) {
			longest = max(longest, begins[i].Sub(t.FinishedAt))
		}
	}
	return longest
}
