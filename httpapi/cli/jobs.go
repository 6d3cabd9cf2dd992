package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"malla/httpapi"
)

// ConvertCmd asks for a conversion.
type ConvertCmd struct {
	Remote
	Name   string `arg:"" help:"Name or id of a file in your library."`
	Format string `arg:"" help:"mp3, flac, wav, aac, ogg, m4a, mp4, avi, mkv, webm or mov."`

	Bitrate     string `placeholder:"192k" help:"Of mp3, aac and m4a."`
	Compression *int   `placeholder:"5" help:"Of flac."`
	Quality     *int   `placeholder:"5" help:"Of ogg."`
	VideoCodec  string `placeholder:"CODEC" help:"Of videos."`
	CRF         *int   `name:"crf" placeholder:"23" help:"Of videos: smaller is better and larger."`
	Preset      string `placeholder:"medium" help:"Of videos: slower is smaller."`

	Wait bool `short:"w" help:"Wait until it has ended, showing progress; the exit code tells how."`
}

// Help is shown by --help.
func (ConvertCmd) Help() string {
	return `The output appears in your library as NAME_converted.FORMAT. Ctrl-C while waiting
leaves the conversion running.

    malla convert song.wav mp3 --bitrate 320k
    malla convert film.avi webm --crf 30 --wait && malla get film_converted.webm`
}

// options is the JSON object of the options that were given.
func (c ConvertCmd) options() (json.RawMessage, error) {
	given := map[string]any{}
	for name, value := range map[string]string{"bitrate": c.Bitrate, "video_codec": c.VideoCodec, "preset": c.Preset} {
		if value != "" {
			given[name] = value
		}
	}
	for name, value := range map[string]*int{"compression": c.Compression, "quality": c.Quality, "crf": c.CRF} {
		if value != nil {
			given[name] = *value
		}
	}
	return json.Marshal(given)
}

// Run asks for the conversion, and follows it if told to.
func (c ConvertCmd) Run(env *Env) error {
	s, err := c.signedIn(env)
	if err != nil {
		return err
	}
	options, err := c.options()
	if err != nil {
		return err
	}
	asked, err := s.Convert(env.ctx, httpapi.ConvertRequest{InputFile: c.Name, OutputFormat: c.Format, Options: options})
	if err != nil {
		return err
	}
	if !c.Wait {
		if c.JSON {
			return env.printJSON(asked)
		}
		_, err := fmt.Fprintln(env.Stdout, asked.JobID)
		return err
	}
	job, err := c.follow(env, s, asked.JobID)
	if err != nil {
		if errors.Is(err, context.Canceled) {
			fmt.Fprintf(env.Stderr, "The conversion goes on; malla cancel %s stops it.\n", asked.JobID)
		}
		return err
	}
	if c.JSON {
		if err := env.printJSON(job); err != nil {
			return err
		}
	}
	if job.Status != httpapi.Completed {
		return fmt.Errorf("the conversion failed: %s", plain(job.Error))
	}
	if !c.JSON {
		fmt.Fprintln(env.Stdout, plain(job.OutputFile))
	}
	return nil
}

// follow waits for the job's end with a progress bar.
func (c ConvertCmd) follow(env *Env, s *session, id string) (httpapi.Job, error) {
	bar := env.percentBar(c.Name+" to "+c.Format, c.JSON)
	defer bar.Clear()
	return s.WaitJob(env.ctx, id, func(job httpapi.Job) { bar.Set(int(job.Progress)) })
}

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
		status, took, node, output := j.Status, "", j.WorkerID, j.OutputFile
		if j.Canceled {
			status = "canceled"
		}
		if j.Duration != nil {
			took = strconv.FormatFloat(*j.Duration, 'f', 1, 64) + " s"
		}
		if node == "" {
			node = j.AssignedWorker
		}
		if j.Error != "" {
			output = j.Error
		}
		rows = append(rows, []string{j.ID, j.InputFile, j.OutputFormat, status, fmt.Sprintf("%.0f%%", j.Progress), node, took, output})
	}
	return rows
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
	s, err := c.signedIn(env)
	if err != nil {
		return err
	}
	stopped := []string{}
	var errs []error
	for _, id := range c.Jobs {
		if err := s.Cancel(env.ctx, id); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", plain(id), err))
			continue
		}
		stopped = append(stopped, id)
		if !c.JSON {
			fmt.Fprintf(env.Stdout, "canceled %s\n", plain(id))
		}
	}
	if c.JSON {
		errs = append(errs, env.printJSON(map[string][]string{"canceled": stopped}))
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
