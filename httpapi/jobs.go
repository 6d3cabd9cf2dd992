package httpapi

import (
	"path"
	"regexp"
	"strconv"

	"malla/cluster/state"
)

// statuses: state of a job -> how it is told.
var statuses = map[state.JobState]string{
	state.Queued: Pending, state.Running: Processing, state.Done: Completed, state.Failed: Failed, state.Canceled: Failed,
}

const (
	defaultJobs = 50
	maxJobs     = 200
)

// listJobs answers with the caller's jobs, or, where nobody is signed in, with
// everybody's, masked: how busy the mesh is may be public, whose files are in it
// may not.
func (c *call) listJobs() error {
	limit := defaultJobs
	if text := c.query("limit"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil {
			return state.InvalidField("limit", "must be a number")
		}
		limit = min(max(n, 1), maxJobs)
	}
	all, status := c.view.Jobs(), c.query("status")
	if c.caller.Known() {
		all = c.view.JobsOf(c.user())
	}
	var found []*state.Job
	for j := range all {
		if status != "" && statuses[j.State] != status {
			continue
		}
		if found = append(found, j); len(found) == limit {
			break
		}
	}
	list := struct {
		Jobs []Job `json:"jobs"`
	}{c.jobsOf(found)}
	if !c.caller.Known() {
		for i := range list.Jobs {
			list.Jobs[i] = masked(list.Jobs[i])
		}
	}
	return c.send(list)
}

// jobsOf are jobs as they go over the wire.
func (c *call) jobsOf(found []*state.Job) []Job {
	look := c.api.look(c.r.Context(), c.view, found)
	list := []Job{}
	for _, j := range found {
		list = append(list, look.job(j))
	}
	return list
}

var plainExtension = regexp.MustCompile(`^\.[a-zA-Z0-9]{1,5}$`)

// mask hides a name but for what kind of file it is.
func mask(name string) string {
	if name == "" {
		return ""
	}
	ext := path.Ext(name)
	if !plainExtension.MatchString(ext) {
		ext = ""
	}
	return "•••" + ext
}

// masked is a job as it is shown to who is not signed in.
func masked(j Job) Job {
	j.Owner, j.InputFile, j.OutputFile, j.OutputID = mask(j.Owner), mask(j.InputFile), mask(j.OutputFile), ""
	if j.Owner != "" {
		j.Owner = "•••"
	}
	switch {
	case j.Canceled:
		j.Error = "canceled"
	case j.Error != "":
		j.Error = "the conversion failed"
	}
	j.Tasks, j.Notes, j.Whole, j.Redone, j.Reused = nil, nil, "", "", false // they tell of what is in the file, and who else has it
	return j
}

// findJob returns the caller's job. Another's does not exist.
func (c *call) findJob() (state.Job, error) {
	j, ok := c.view.Job(state.JobID(c.param("id")))
	if !ok || j.Owner != c.user() {
		return state.Job{}, state.Errorf(state.NotFound, "there is no job with that id")
	}
	return j, nil
}

func (c *call) showJob() error {
	j, err := c.findJob()
	if err != nil {
		return err
	}
	look := c.api.look(c.r.Context(), c.view, []*state.Job{&j})
	wire := look.job(&j)
	for k := range c.view.TasksOf(j.ID) {
		wire.Tasks = append(wire.Tasks, look.task(k))
	}
	return c.send(wire)
}

func (c *call) cancelJob() error {
	j, err := c.findJob()
	if err != nil {
		return err
	}
	if _, err := c.propose(state.CancelJob{ID: j.ID, Owner: c.user(), At: c.api.cfg.Now().UTC()}); err != nil {
		return err
	}
	return c.send(done{true})
}

// retryJob queues the caller's job again that failed or was canceled.
func (c *call) retryJob() error {
	j, err := c.findJob()
	if err != nil {
		return err
	}
	if _, err := c.propose(state.RetryJob{ID: j.ID, Owner: c.user(), At: c.api.cfg.Now().UTC()}); err != nil {
		return err
	}
	return c.send(done{true})
}

// changeJob moves the caller's job forward or back in the queue.
func (c *call) changeJob() error {
	var ask JobChange
	if err := c.receive(&ask); err != nil {
		return err
	}
	if ask.Priority == "" {
		return state.InvalidField("priority", "is missing: it must be low, normal or high")
	}
	j, err := c.findJob()
	if err != nil {
		return err
	}
	p, err := c.priority(ask.Priority)
	if err != nil {
		return err
	}
	if _, err := c.propose(state.SetPriority{ID: j.ID, Owner: c.user(), Priority: p}); err != nil {
		return err
	}
	return c.send(done{true})
}

func (c *call) queueStats() error {
	var q QueueStats
	for s, n := range map[state.JobState]*int{
		state.Queued: &q.Stats.Pending, state.Running: &q.Stats.Processing, state.Done: &q.Stats.Completed,
		state.Failed: &q.Stats.Failed, state.Canceled: &q.Stats.Failed,
	} {
		jobs := c.view.CountJobs(c.user(), s)
		q.TotalJobs += jobs
		*n += jobs
	}
	q.QueueLength = q.Stats.Pending + q.Stats.Processing
	return c.send(q)
}
