package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"malla/httpapi"
)

// JobsCmd lists conversions.
type JobsCmd struct {
	Remote
	Status string `enum:"pending,processing,completed,failed," default:"" help:"Only jobs that are pending, processing, completed or failed."`
	Limit  int    `default:"20" help:"How many, 1 to 200."`
	Watch  bool   `short:"w" help:"Go on showing them until Ctrl-C; with --json a line for every change."`
}

// Help is shown by --help.
func (JobsCmd) Help() string {
	return `Your conversions, the newest first.

    malla jobs
    malla jobs --watch --status processing
    malla jobs --watch --json | jq .status`
}

// Run prints the list once or until interrupted.
func (c JobsCmd) Run(env *Env) error {
	s, err := c.signedIn(env)
	if err != nil {
		return err
	}
	if c.Limit < 1 || c.Limit > 200 {
		return usage("--limit %d: want 1 to 200", c.Limit)
	}
	if c.Watch {
		return c.watch(env, s)
	}
	jobs, err := s.Jobs(env.ctx, c.Status, c.Limit)
	if err != nil {
		return err
	}
	if c.JSON {
		return env.printJSON(jobs)
	}
	if len(jobs) == 0 {
		fmt.Fprintln(env.Stderr, "No jobs.")
		return nil
	}
	return table(env.Stdout, jobRows(jobs))
}

func jobRows(jobs []httpapi.Job) [][]string {
	rows := [][]string{{"JOB", "FILE", "TO", "STATUS", "DONE", "NODE", "TOOK", "OUTPUT"}}
	for _, j := range jobs {
		took, node, output := "", j.WorkerID, j.OutputFile
		if j.Duration != nil {
			took = spent(*j.Duration)
		}
		if node == "" {
			node = j.AssignedWorker
		}
		if j.Error != "" {
			output = j.Error
		}
		if !j.Ended() {
			output = strings.Join(how(j), ", ")
		}
		rows = append(rows, []string{j.ID, j.InputFile, j.OutputFormat, statusText(j), fmt.Sprintf("%.0f%%", j.Progress), node, took, output})
	}
	return rows
}

// statusText is the status of a job, in a word.
func statusText(j httpapi.Job) string {
	if j.Canceled {
		return "canceled"
	}
	return j.Status
}

// spent is a span of time in seconds.
func spent(seconds float64) string {
	if seconds <= 0 {
		return ""
	}
	return strconv.FormatFloat(seconds, 'f', 1, 64) + " s"
}

// watchEvery is how often a watched list is read again.
const watchEvery = time.Second

// watch shows the list whenever it changed. An interrupt is how it is meant to
// end; a server that does not answer for a while is not.
func (c JobsCmd) watch(env *Env, s *session) error {
	shown := map[string]string{} // job -> its JSON
	redraw := interactive(env.Stdout) && !c.JSON
	for first := true; ; first = false {
		jobs, err := s.Jobs(env.ctx, c.Status, c.Limit)
		if env.ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		changed, err := news(jobs, shown)
		if err != nil {
			return err
		}
		if first || len(changed) > 0 {
			if err := c.show(env, jobs, changed, redraw); err != nil {
				return err
			}
		}
		if !pause(env.ctx, watchEvery) {
			return nil
		}
	}
}

// news returns the jobs that are not as they were shown, oldest first, and
// remembers how they are now.
func news(jobs []httpapi.Job, shown map[string]string) ([]httpapi.Job, error) {
	var changed []httpapi.Job
	for i := len(jobs) - 1; i >= 0; i-- {
		text, err := json.Marshal(jobs[i])
		if err != nil {
			return nil, err
		}
		if shown[jobs[i].ID] != string(text) {
			shown[jobs[i].ID] = string(text)
			changed = append(changed, jobs[i])
		}
	}
	return changed, nil
}

// show prints what changed, or on a terminal the whole list in its place.
func (c JobsCmd) show(env *Env, all, changed []httpapi.Job, redraw bool) error {
	switch {
	case c.JSON:
		for _, j := range changed {
			if err := env.printJSON(j); err != nil {
				return err
			}
		}
		return nil
	case redraw:
		fmt.Fprint(env.Stdout, "\x1b[H\x1b[2J") // to the top, and clear
		return table(env.Stdout, jobRows(all))
	}
	return table(env.Stdout, jobRows(changed)[1:])
}

// CancelCmd stops conversions.
type CancelCmd struct {
	Remote
	Jobs []string `arg:"" help:"Ids of jobs, as malla jobs shows them."`
}

// Help is shown by --help.
func (CancelCmd) Help() string {
	return `    malla cancel 4KZ7QJ
    malla jobs --status pending --json | jq -r '.[].job_id' | xargs malla cancel`
}

// Run stops them, all that can be even if one cannot.
func (c CancelCmd) Run(env *Env) error {
	return c.eachJob(env, c.Jobs, "canceled", (*httpapi.Client).Cancel)
}

// RetryCmd queues conversions again.
type RetryCmd struct {
	Remote
	Jobs []string `arg:"" help:"Ids of jobs that failed or were canceled."`
}

// Help is shown by --help.
func (RetryCmd) Help() string {
	return `Tries conversions again that failed or were canceled. What a failed one had
finished is kept.

    malla retry 4KZ7QJ
    malla jobs --status failed --json | jq -r '.[].job_id' | xargs malla retry`
}

// Run queues them, all that can be even if one cannot.
func (c RetryCmd) Run(env *Env) error {
	return c.eachJob(env, c.Jobs, "retried", (*httpapi.Client).Retry)
}

// PriorityCmd moves a conversion in the queue.
type PriorityCmd struct {
	Remote
	Job      string `arg:"" help:"Id of a job that has not ended."`
	Priority string `arg:"" enum:"low,normal,high" help:"low, normal, or high (administrators)."`
}

// Help is shown by --help.
func (PriorityCmd) Help() string {
	return `What has a higher priority begins first; what runs is not stopped for it.

    malla priority 4KZ7QJ low`
}

// Run moves it.
func (c PriorityCmd) Run(env *Env) error {
	s, err := c.signedIn(env)
	if err != nil {
		return err
	}
	if err := s.SetPriority(env.ctx, c.Job, c.Priority); err != nil {
		return err
	}
	if c.JSON {
		return env.printJSON(map[string]string{"job_id": c.Job, "priority": c.Priority})
	}
	_, err = fmt.Fprintf(env.Stdout, "%s has priority %s\n", plain(c.Job), c.Priority)
	return err
}

// eachJob does something to jobs, to all that it can be done to even if it fails
// for one, and says to which it did.
func (r Remote) eachJob(env *Env, ids []string, done string, do func(*httpapi.Client, context.Context, string) error) error {
	s, err := r.signedIn(env)
	if err != nil {
		return err
	}
	worked := []string{}
	var errs []error
	for _, id := range ids {
		if err := do(s.Client, env.ctx, id); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", plain(id), err))
			continue
		}
		worked = append(worked, id)
		if !r.JSON {
			fmt.Fprintf(env.Stdout, "%s %s\n", done, plain(id))
		}
	}
	if r.JSON {
		errs = append(errs, env.printJSON(map[string][]string{done: worked}))
	}
	return errors.Join(errs...)
}

// pause waits, and tells whether the context still runs.
func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}
