package httpapi

import (
	"bytes"
	"encoding/json"
	"path"
	"regexp"
	"strconv"
	"strings"

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

// convert queues a conversion of the caller's item.
func (c *call) convert() error {
	var ask ConvertRequest
	if err := c.receive(&ask); err != nil {
		return err
	}
	if ask.InputFile == "" {
		return state.InvalidField("input_file", "is missing: name a file of your library")
	}
	if ask.OutputFormat == "" {
		return state.InvalidField("output_format", "is missing")
	}
	options := bytes.TrimSpace(ask.Options)
	if bytes.Equal(options, []byte("null")) {
		options = nil
	}
	if len(options) > 0 && options[0] != '{' {
		return state.InvalidField("options", "must be an object")
	}
	m, err := c.find(ask.InputFile)
	if err != nil {
		return err
	}
	job, index, err := c.api.cfg.Library.Convert(c.r.Context(), m, state.Conversion{Format: strings.ToLower(strings.TrimSpace(ask.OutputFormat)), Options: options})
	if err != nil {
		return err
	}
	c.agreed(index)
	c.api.metrics.jobs.Inc()
	answer := Converting{OK: true, JobID: string(job.ID)}
	if job.Assigned != "" {
		answer.AssignedWorker = new(nodeName(c.view, job.Assigned))
	}
	return c.send(answer)
}

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

// jobsOf are jobs as they go over the wire, those under way with their progress.
func (c *call) jobsOf(found []*state.Job) []Job {
	progress := c.api.progress.of(c.r.Context(), c.view, found)
	list := []Job{}
	for _, j := range found {
		list = append(list, jobOf(c.view, j, progress))
	}
	return list
}

// jobOf is one job as it goes over the wire.
func jobOf(view *state.View, j *state.Job, progress map[state.TaskID]TaskProgress) Job {
	wire := Job{
		ID: string(j.ID), InputFile: j.Input.Name, OutputFormat: j.Format, Options: j.Options, Status: statuses[j.State],
		Canceled: j.State == state.Canceled, CreatedAt: wireTime(j.CreatedAt), StartedAt: wireTime(j.StartedAt), CompletedAt: wireTime(j.FinishedAt), Error: j.Error, InputSize: j.Input.Content.Blob.Size,
	}
	if u, ok := view.User(j.Owner); ok {
		wire.Owner = u.Name
	}
	if len(wire.Options) == 0 || string(wire.Options) == "null" {
		wire.Options = json.RawMessage("{}")
	}
	if j.Assigned != "" {
		wire.AssignedWorker = nodeName(view, j.Assigned)
		wire.WorkerID = wire.AssignedWorker
	}
	var whole float64
	tasks := 0
	for k := range view.TasksOf(j.ID) {
		tasks++
		whole += taskProgress(k, progress)
		wire.Attempt = max(wire.Attempt, k.Attempt)
	}
	switch j.State {
	case state.Running:
		wire.Progress = round2(min(99, 100*whole/float64(max(1, tasks))))
	case state.Done:
		wire.Progress = 100
		wire.OutputFile, wire.OutputID, wire.OutputSize = j.OutputName, string(j.Output), j.OutputSize
		wire.Duration = new(round2(max(0, j.FinishedAt.Sub(j.StartedAt).Seconds())))
		wire.SizeReduction = new(0.0)
		if in := float64(j.Input.Content.Blob.Size); in > 0 {
			wire.SizeReduction = new(round2(100 * (in - float64(j.OutputSize)) / in))
		}
	}
	return wire
}

// taskProgress is how far a task is, 0 to 1.
func taskProgress(k *state.Task, progress map[state.TaskID]TaskProgress) float64 {
	if k.State == state.Finished {
		return 1
	}
	return min(1, max(0, progress[k.ID].Fraction))
}

// nodeName is the name of a node, or its id where it was forgotten.
func nodeName(view *state.View, id state.NodeID) string {
	if n, ok := view.Node(id); ok {
		return n.Name
	}
	return string(id)
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
	j.Tasks = nil
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
	progress := c.api.progress.of(c.r.Context(), c.view, []*state.Job{&j})
	wire := jobOf(c.view, &j, progress)
	for k := range c.view.TasksOf(j.ID) {
		wire.Tasks = append(wire.Tasks, taskOf(c.view, k, progress))
	}
	return c.send(wire)
}

// taskOf is a task as it goes over the wire.
func taskOf(view *state.View, k *state.Task, progress map[state.TaskID]TaskProgress) Task {
	wire := Task{
		ID: string(k.ID), Kind: string(k.Kind), State: string(k.State), Attempt: k.Attempt,
		Progress: round2(100 * taskProgress(k, progress)), AssignedAt: wireTime(k.AssignedAt), FinishedAt: wireTime(k.FinishedAt), Attempts: []Attempt{},
	}
	if k.Node != "" {
		wire.Node = nodeName(view, k.Node)
	}
	for _, try := range k.Tries {
		wire.Attempts = append(wire.Attempts, Attempt{try.Number, nodeName(view, try.Node), string(try.Cause), try.Reason, wireTime(try.Began), wireTime(try.Ended)})
	}
	return wire
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

func (c *call) queueStats() error {
	var q QueueStats
	for j := range c.view.JobsOf(c.user()) {
		q.TotalJobs++
		switch statuses[j.State] {
		case Pending:
			q.Stats.Pending++
		case Processing:
			q.Stats.Processing++
		case Completed:
			q.Stats.Completed++
		case Failed:
			q.Stats.Failed++
		}
	}
	q.QueueLength = q.Stats.Pending + q.Stats.Processing
	return c.send(q)
}
