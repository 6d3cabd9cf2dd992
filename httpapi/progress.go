package httpapi

import (
	"context"
	"sync"
	"time"

	"malla/cluster/state"
)

const (
	progressAge  = 900 * time.Millisecond // how old a figure may be before it is asked for again
	progressWait = 500 * time.Millisecond // for the nodes to answer
	progressKeep = time.Minute            // then a figure is forgotten
)

// progressCache remembers for a moment how far tasks are, so that many pages
// which look at the same jobs cost the nodes that run them one question.
type progressCache struct {
	source Progress // nil: nobody can tell
	now    func() time.Time
	asking chan struct{} // holds one token while the source is being asked

	mu    sync.Mutex // guards known
	known map[state.TaskID]figure
}

type figure struct {
	value TaskProgress
	at    time.Time
}

func newProgressCache(source Progress, now func() time.Time) *progressCache {
	return &progressCache{source: source, now: now, asking: make(chan struct{}, 1), known: map[state.TaskID]figure{}}
}

// of returns how far the assigned tasks of those jobs are, as far as is known.
func (p *progressCache) of(ctx context.Context, view *state.View, jobs []*state.Job) map[state.TaskID]TaskProgress {
	if p.source == nil {
		return nil
	}
	var running []state.Task
	for _, j := range jobs {
		if j.State != state.Running {
			continue
		}
		for k := range view.TasksOf(j.ID) {
			if k.State == state.Assigned {
				running = append(running, *k)
			}
		}
	}
	if len(running) == 0 {
		return nil
	}
	if stale := p.stale(running); len(stale) > 0 {
		select {
		case p.asking <- struct{}{}:
			p.ask(ctx, stale)
			<-p.asking
		default: // somebody asks already: the figures that are there will do
		}
	}
	return p.values(running)
}

func (p *progressCache) stale(tasks []state.Task) []state.Task {
	p.mu.Lock()
	defer p.mu.Unlock()
	var stale []state.Task
	for _, k := range tasks {
		if p.now().Sub(p.known[k.ID].at) > progressAge {
			stale = append(stale, k)
		}
	}
	return stale
}

func (p *progressCache) ask(ctx context.Context, tasks []state.Task) {
	ctx, cancel := context.WithTimeout(ctx, progressWait)
	defer cancel()
	answers := p.source.Progress(ctx, tasks)
	now := p.now()
	p.mu.Lock()
	defer p.mu.Unlock()
	for id, f := range p.known {
		if now.Sub(f.at) > progressKeep {
			delete(p.known, id)
		}
	}
	for _, k := range tasks {
		value, ok := answers[k.ID]
		if !ok {
			value = p.known[k.ID].value // unknown now: it did not go back
		}
		p.known[k.ID] = figure{value, now}
	}
}

func (p *progressCache) values(tasks []state.Task) map[state.TaskID]TaskProgress {
	p.mu.Lock()
	defer p.mu.Unlock()
	values := map[state.TaskID]TaskProgress{}
	for _, k := range tasks {
		values[k.ID] = p.known[k.ID].value
	}
	return values
}
