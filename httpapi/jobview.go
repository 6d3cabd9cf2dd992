package httpapi

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"malla/cluster/state"
)

// leastShare is how much of a job must be done before the rest can be guessed.
const leastShare = 0.02

// jobLook shows jobs of one state as they go over the wire.
type jobLook struct {
	view     *state.View
	progress map[state.TaskID]TaskProgress
	places   map[state.JobID]int // in the queue; nil where no job of the look is pending
	now      time.Time
}

// look prepares to show those jobs.
func (a *API) look(ctx context.Context, view *state.View, found []*state.Job) jobLook {
	return jobLook{view, a.progress.of(ctx, view, found), a.queue.of(view, found), a.cfg.Now()}
}

// job is one job, without its tasks.
func (l jobLook) job(j *state.Job) Job {
	wire := Job{
		ID: string(j.ID), InputFile: j.Input.Name, OutputFormat: j.Format, Options: j.Options, Status: statuses[j.State],
		Canceled: j.State == state.Canceled, CreatedAt: wireTime(j.CreatedAt), StartedAt: wireTime(j.StartedAt), CompletedAt: wireTime(j.FinishedAt), Error: j.Error, InputSize: j.Input.Content.Blob.Size,
		Priority: priorityName(j.Priority), Whole: j.Whole, Redone: j.Redone, Reused: j.Reused, Notes: j.Notes,
	}
	if u, ok := l.view.User(j.Owner); ok {
		wire.Owner = u.Name
	}
	if len(wire.Options) == 0 || string(wire.Options) == "null" {
		wire.Options = json.RawMessage("{}")
	}
	if j.Assigned != "" {
		wire.AssignedWorker = nodeName(l.view, j.Assigned)
		wire.WorkerID = wire.AssignedWorker
	}
	s := l.sum(j)
	wire.Attempt, wire.Segments, wire.SegmentsDone = s.attempt, s.segments, s.segmentsDone
	switch j.State {
	case state.Queued:
		wire.QueuePosition = l.places[j.ID]
		wire.Progress = round2(min(99, 100*s.share()))
	case state.Running:
		wire.Progress = round2(min(99, 100*s.share()))
		wire.Speed = round2(s.speed())
		wire.ETA = s.left(l.now.Sub(j.StartedAt).Seconds())
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

// workSum is what the tasks of a job come to.
type workSum struct {
	attempt      int
	segments     int
	segmentsDone int
	work         float64 // expected cost of all
	done         float64 // of what is done
	before       float64 // of what was done before the job was begun again
	film, other  float64 // seconds of media a second
}

// sum adds up the tasks that the job still wants. One whose cost is not known
// counts as 1.
func (l jobLook) sum(j *state.Job) workSum {
	var s workSum
	for k := range l.view.TasksOf(j.ID) {
		s.attempt = max(s.attempt, k.Attempt)
		if k.State == state.Dropped {
			continue
		}
		cost := k.Cost
		if cost <= 0 {
			cost = 1
		}
		s.work += cost
		s.done += cost * taskShare(k, l.progress)
		if k.State == state.Finished && k.FinishedAt.Before(j.StartedAt) {
			s.before += cost
		}
		if k.Kind == state.Segment {
			s.segments++
			if k.State == state.Finished {
				s.segmentsDone++
			}
		}
		s.run(k, l.progress[k.ID].Speed)
	}
	return s
}

// run adds the speed of a task under way. Sound is made many times faster than
// film: added to it, the sum would say nothing.
func (s *workSum) run(k *state.Task, speed float64) {
	switch {
	case k.State != state.Assigned || speed < 0:
	case k.Kind == state.Segment || k.Kind == state.Convert:
		s.film += speed
	default:
		s.other += speed
	}
}

func (s *workSum) share() float64 {
	if s.work == 0 {
		return 0
	}
	return s.done / s.work
}

func (s *workSum) speed() float64 {
	if s.film > 0 {
		return s.film
	}
	return s.other
}

// left is how many seconds the rest takes if it goes on as it did, or nil while
// that cannot be told.
func (s *workSum) left(elapsed float64) *float64 {
	gone := s.done - s.before
	if s.work == 0 || gone <= leastShare*s.work || elapsed <= 0 {
		return nil
	}
	return new(round2(max(0, elapsed*(s.work-s.done)/gone)))
}

// task is one task of a job.
func (l jobLook) task(k *state.Task) Task {
	wire := Task{
		ID: string(k.ID), Seq: k.Seq, Kind: string(k.Kind), State: string(k.State), Attempt: k.Attempt,
		Progress: round2(100 * taskShare(k, l.progress)), AssignedAt: wireTime(k.AssignedAt), FinishedAt: wireTime(k.FinishedAt), Attempts: []Attempt{},
		CPU: round2(float64(k.Usage.CPU) / 1e9), Memory: k.Usage.Memory,
	}
	if k.Node != "" {
		wire.Node = nodeName(l.view, k.Node)
	}
	switch k.State {
	case state.Assigned:
		wire.Speed = round2(max(0, l.progress[k.ID].Speed))
	case state.Finished:
		wire.Took = round2(took(k))
	}
	for _, try := range k.Tries {
		wire.Attempts = append(wire.Attempts, Attempt{try.Number, nodeName(l.view, try.Node), string(try.Cause), try.Reason, wireTime(try.Began), wireTime(try.Ended)})
	}
	return wire
}

// took is how many seconds the attempt took that worked.
func took(k *state.Task) float64 { return max(0, k.FinishedAt.Sub(k.AssignedAt).Seconds()) }

// taskShare is how far a task is, 0 to 1.
func taskShare(k *state.Task, progress map[state.TaskID]TaskProgress) float64 {
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

// placesAge is how old places in the queue may be before they are found again.
const placesAge = time.Second

// queueCache remembers for a moment where jobs stand in the queue, so that many
// readers of a long queue cost one look at it.
type queueCache struct {
	now func() time.Time

	mu     sync.Mutex // guards the fields below
	places map[state.JobID]int
	at     time.Time
}

// of returns the places of the pending ones of those jobs, or nil where there
// are none.
func (q *queueCache) of(view *state.View, found []*state.Job) map[state.JobID]int {
	q.mu.Lock()
	defer q.mu.Unlock()
	fresh := q.now().Sub(q.at) < placesAge
	for _, j := range found {
		if j.State != state.Queued {
			continue
		}
		if _, known := q.places[j.ID]; !known || !fresh {
			q.places, q.at = view.QueuePositions(), q.now()
			return q.places
		}
	}
	return q.places // replaced as a whole, never changed
}
