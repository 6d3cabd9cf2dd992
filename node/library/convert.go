package library

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"malla/cluster/state"
	"malla/node/ffmpeg"
)

// Convert queues a conversion of the item. A format, an option or an input that
// cannot work is refused now, with the field that is wrong. It returns the job,
// and the index of a state that has it. What the mesh has made already is done
// at once.
func (l *Library) Convert(ctx context.Context, item state.Media, ask state.Conversion) (state.Job, uint64, error) {
	c, err := newConversion(item, ask)
	if err != nil {
		return state.Job{}, 0, refusal(err)
	}
	if c.options.ByHardware() && l.lacks(c.needs) { // else it would wait for ever
		return state.Job{}, 0, state.InvalidField("options.encoder", "no node of this mesh has hardware that encodes this: leave it out")
	}
	if err := l.plan(ctx, &item, c); err != nil {
		return state.Job{}, 0, err
	}
	canonical, err := json.Marshal(c.options)
	if err != nil {
		return state.Job{}, 0, fmt.Errorf("write options: %w", err)
	}
	made, err := l.cfg.Proposer.Propose(ctx, state.AddJob{
		ID: state.JobID(rand.Text()), Owner: item.Owner, Media: item.ID, Priority: ask.Priority, Format: c.format, Options: canonical,
		Recipe: c.recipe, Whole: c.whole, Notes: c.notes, Tasks: c.tasks, Output: state.MediaID(rand.Text()), At: time.Now().UTC(),
	})
	if err != nil {
		return state.Job{}, 0, err
	}
	job, ok := l.cfg.State.View().Job(state.JobID(made.ID))
	if !ok {
		return state.Job{}, 0, state.Errorf(state.NotFound, "the job was removed while it was added")
	}
	return job, made.Index, nil
}

// lacks tells that no node has all of those encoders, as far as nodes tell.
func (l *Library) lacks(needs uint64) bool {
	if l.cfg.Encoders == nil {
		return false
	}
	return !slices.ContainsFunc(l.cfg.Encoders(), func(has uint64) bool { return has == 0 || needs&^has == 0 })
}

// A conversion is what becomes of a wish.
type conversion struct {
	info    ffmpeg.Info
	format  string
	options ffmpeg.Options
	recipe  string
	needs   uint64   // encoders, as bits
	notes   []string // what the output cannot keep
	whole   string   // why the film is not cut
	tasks   []state.NewTask
}

// newConversion reads a wish. What is wrong with it is an error of the package
// ffmpeg's.
func newConversion(item state.Media, ask state.Conversion) (*conversion, error) {
	c := &conversion{info: Recall(item.Content)}
	var err error
	if c.format, c.options, err = ffmpeg.Wish(ask.Purpose, strings.ToLower(ask.Format), ask.Options); err != nil {
		return nil, err
	}
	if err = errors.Join(ffmpeg.CheckFit(c.info, c.format), ffmpeg.CheckOptions(c.info, c.format, c.options)); err != nil {
		return nil, err
	}
	if c.recipe, err = ffmpeg.RecipeOf(c.info, c.format, c.options); err != nil {
		return nil, err
	}
	if c.needs, err = ffmpeg.NeedBits(c.format, c.options); err != nil {
		return nil, err
	}
	c.notes = ffmpeg.Notes(c.info, c.format, c.options)
	return c, nil
}

// plan makes the tasks: one, or segments with what goes beside them. A film that
// cannot be looked at now is converted whole: being slower beats being refused.
func (l *Library) plan(ctx context.Context, item *state.Media, c *conversion) error {
	class := ffmpeg.CostClass(c.format, c.options)
	learned, _ := l.cfg.State.View().Rate(class)
	rate := float64(learned.CPU) / 1000 // nanoseconds a unit
	if c.whole = ffmpeg.StaysWhole(c.info, c.format, c.options, rate); c.whole == "" && c.film() {
		x, err := l.indexOf(ctx, item)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			l.cfg.Logger.Warn("a film is not cut", "media", item.ID, "err", err)
			c.whole = "The film is converted in one piece. Its index could not be made."
		default:
			if l.cut(c, x, class, rate); c.whole == "" {
				return nil
			}
		}
	}
	c.tasks = []state.NewTask{c.task(state.Convert, class, ffmpeg.Cost(c.info, c.format, c.options, rate))}
	return nil
}

// film tells whether the output has a moving picture.
func (c *conversion) film() bool {
	f, err := ffmpeg.Lookup(c.format)
	return err == nil && f.Kind == ffmpeg.Video
}

// cut makes a task of each segment, or says why not.
func (l *Library) cut(c *conversion, x ffmpeg.Index, class string, rate float64) {
	plan, err := ffmpeg.Split(c.info, x, c.format, c.options, rate)
	if err != nil {
		c.whole = err.Error()
		return
	}
	if c.whole = plan.Whole; c.whole != "" {
		return
	}
	// The sound goes first: it is one piece however long.
	rest := c.task(state.Audio, "", plan.RestCost)
	c.tasks = append(c.tasks, rest)
	for _, s := range plan.Segments {
		k := c.task(state.Segment, class, s.Cost)
		k.From, k.To = s.From, s.To
		c.tasks = append(c.tasks, k)
	}
	c.tasks = append(c.tasks, c.task(state.Assembly, "", plan.JoinCost))
}

func (c *conversion) task(kind state.TaskKind, class string, cost float64) state.NewTask {
	return state.NewTask{ID: state.TaskID(rand.Text()), Kind: kind, Cost: cost, Class: class, Needs: c.needs}
}
