package httpapi

import (
	"bytes"
	"strings"

	"malla/cluster/state"
)

const (
	maxBatch       = 500       // files of one request
	maxConvertJSON = 512 << 10 // bytes of such a request
)

// priorities: name on the wire -> priority.
var priorities = map[string]state.Priority{"": state.Normal, "low": state.Low, "normal": state.Normal, "high": state.High}

// priorityName is the name of a priority on the wire.
func priorityName(p state.Priority) string {
	switch {
	case p < state.Normal:
		return "low"
	case p > state.Normal:
		return "high"
	}
	return "normal"
}

// priority is the priority of that name, if the caller may ask for it.
func (c *call) priority(name string) (state.Priority, error) {
	p, known := priorities[strings.ToLower(strings.TrimSpace(name))]
	if !known {
		return 0, state.InvalidField("priority", "must be low, normal or high")
	}
	if p > state.Normal && c.caller.User.Role != state.Admin {
		return 0, &state.Error{Kind: state.Denied, Field: "priority", Msg: "only administrators may put a job before those of everybody: use low or normal"}
	}
	return p, nil
}

// convert queues a conversion of the caller's item, or of several.
func (c *call) convert() error {
	var ask ConvertRequest
	if err := c.receiveLong(&ask, maxConvertJSON); err != nil {
		return err
	}
	conversion, err := c.conversion(ask)
	if err != nil {
		return err
	}
	if len(ask.InputFiles) > 0 {
		return c.convertAll(ask.InputFiles, conversion)
	}
	job, err := c.convertOne(ask.InputFile, conversion)
	if err != nil {
		return err
	}
	return c.send(c.converting(job))
}

// conversion is what is asked for, as far as it can be told without the file.
func (c *call) conversion(ask ConvertRequest) (state.Conversion, error) {
	none := state.Conversion{}
	switch {
	case ask.InputFile != "" && ask.InputFiles != nil:
		return none, state.InvalidField("input_files", "does not go together with input_file: name one file or several")
	case len(ask.InputFiles) > maxBatch:
		return none, state.InvalidField("input_files", "has %d names: %d are taken at once", len(ask.InputFiles), maxBatch)
	case ask.InputFile == "" && ask.InputFiles != nil && len(ask.InputFiles) == 0:
		return none, state.InvalidField("input_files", "is empty: name files of your library")
	case ask.InputFile == "" && ask.InputFiles == nil:
		return none, state.InvalidField("input_file", "is missing: name a file of your library")
	case ask.OutputFormat == "" && ask.Purpose == "":
		return none, state.InvalidField("output_format", "is missing: name a format, or a purpose")
	}
	options := bytes.TrimSpace(ask.Options)
	if bytes.Equal(options, []byte("null")) {
		options = nil
	}
	if len(options) > 0 && options[0] != '{' {
		return none, state.InvalidField("options", "must be an object")
	}
	p, err := c.priority(ask.Priority)
	if err != nil {
		return none, err
	}
	format := strings.ToLower(strings.TrimSpace(ask.OutputFormat))
	purpose := strings.ToLower(strings.TrimSpace(ask.Purpose))
	return state.Conversion{Purpose: purpose, Format: format, Options: options, Priority: p}, nil
}

func (c *call) convertOne(file string, conversion state.Conversion) (state.Job, error) {
	m, err := c.find(file)
	if err != nil {
		return state.Job{}, err
	}
	job, index, err := c.api.cfg.Library.Convert(c.r.Context(), m, conversion)
	if err != nil {
		return state.Job{}, err
	}
	c.agreed(index)
	c.api.metrics.jobs.Inc()
	return job, nil
}

func (c *call) converting(job state.Job) Converting {
	answer := Converting{OK: true, JobID: string(job.ID)}
	if job.Assigned != "" {
		answer.AssignedWorker = new(nodeName(c.view, job.Assigned))
	}
	return answer
}

// convertAll queues a conversion of each file that can be converted. Where none
// can, it is refused as the first one was.
func (c *call) convertAll(files []string, conversion state.Conversion) error {
	var answer Converting
	var refused, stopped error // of the first file; what keeps the mesh from taking any more
	var list []Queueing
	for _, file := range files {
		var job state.Job
		err := stopped
		if err == nil {
			job, err = c.convertOne(file, conversion)
		}
		if err != nil {
			p := problemOf(err)
			if refused == nil {
				refused = err
			}
			if p.Status >= 500 || c.r.Context().Err() != nil {
				stopped = err // it is not the file's fault: the next one would wait as long for it
			}
			list = append(list, Queueing{InputFile: file, Error: p.Detail})
			continue
		}
		if !answer.OK {
			answer = c.converting(job)
		}
		list = append(list, Queueing{InputFile: file, JobID: string(job.ID)})
	}
	if !answer.OK {
		return refused
	}
	answer.Jobs = list
	return c.send(answer)
}
