package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/anishathalye/porcupine"
)

// userState is an account: whether it is there, and which session is good. A
// session is a number that grows; whoever ends one does not learn the next.
type userState struct {
	there   bool
	session uint64 // the newest that was seen
	moved   bool   // the good one is newer than that
}

// next is the state with that session as the good one, if it can be.
func (s userState) next(session uint64) (userState, bool) {
	return userState{there: true, session: session}, s.there && (s.moved && session > s.session || !s.moved && session == s.session)
}

// step is what may happen to an account:
//
//	sign up    done: it was not there; refused: it was
//	log in     done: told.session was the good one; refused: it was not there
//	log out    done: from now on a newer one is
//	show       holds: ask.session was the good one, or not
func (s userState) step(a ask, t told) (userState, bool) {
	fresh := userState{there: true, session: s.session, moved: true}
	switch {
	case a.verb == "sign up" && t.fate == refused:
		return s, s.there
	case a.verb == "sign up" && (t.fate == done || !s.there):
		return fresh, !s.there
	case a.verb == "log in" && t.fate == refused:
		return s, !s.there
	case a.verb == "log in":
		return s.next(t.session)
	case a.verb == "log out" && s.there:
		return fresh, true
	case a.verb == "show" && t.holds:
		return s.next(a.session)
	case a.verb == "show":
		return s, !s.there || s.moved || a.session != s.session
	}
	return s, t.fate == unknown
}

// jobState is a job that waits for ever, since no node has room for it.
type jobState struct {
	canceled bool
	priority string
}

// step is what may happen to a job:
//
//	cancel, retry, set    done: it was not canceled, was, was not; refused: the other way round
//	read job              holds: it was canceled, or not; told.priority was its priority
func (s jobState) step(a ask, t told) (jobState, bool) {
	if a.verb == "read job" {
		return s, t == told{holds: s.canceled, priority: s.priority}
	}
	fits := s.canceled == (a.verb == "retry")
	switch {
	case t.fate == refused:
		return s, !fits
	case !fits:
		return s, t.fate == unknown
	case a.verb == "set":
		s.priority = a.priority
	default:
		s.canceled = !s.canceled
	}
	return s, true
}

// shareState is whether a share is there.
type shareState bool

// step is what may happen to a share, which is made once:
//
//	add share, remove share    done: it was not there, it was; refused: the other way round
//	look for share             holds: it was there, or not
func (s shareState) step(a ask, t told) (shareState, bool) {
	if a.verb == "look for share" {
		return s, t.holds == bool(s)
	}
	fits := bool(s) == (a.verb == "remove share")
	switch {
	case t.fate == refused:
		return s, !fits
	case !fits:
		return s, t.fate == unknown
	}
	return !s, true
}

// model makes porcupine's of ours.
func model[S comparable](init S, step func(S, ask, told) (S, bool)) porcupine.Model {
	return porcupine.Model{
		Init: func() any { return init },
		Step: func(s, in, out any) (bool, any) {
			next, legal := step(s.(S), in.(ask), out.(told))
			return legal, next
		},
		DescribeOperation: func(in, out any) string { return fmt.Sprint(in, " -> ", out) },
		DescribeState:     func(s any) string { return fmt.Sprintf("%+v", s) },
	}
}

// models: first word of a thing's name -> its model.
var models = map[string]porcupine.Model{
	"user":  model(userState{}, userState.step),
	"job":   model(jobState{priority: "normal"}, jobState.step),
	"share": model(shareState(false), shareState.step),
}

// checkTime bounds the search for an order of one thing's operations.
const checkTime = 2 * time.Minute

var errViolation = errors.New("no order of the operations explains what was told")

// judge looks for an order of each thing's operations, each at one moment
// between its request and its answer, that explains all that was told. Where
// there is none the error is an errViolation, and dir has a picture of each such
// history.
func (h *history) judge(dir string) (checked int, err error) {
	things := h.all()
	var (
		mu    sync.Mutex
		wrong []error
		room  = make(chan struct{}, runtime.NumCPU())
		all   sync.WaitGroup
	)
	for thing, ops := range things {
		checked += len(ops)
		all.Go(func() {
			room <- struct{}{}
			defer func() { <-room }()
			kind, _, _ := strings.Cut(thing, " ")
			result, info := porcupine.CheckOperationsVerbose(models[kind], ops, checkTime)
			if result == porcupine.Ok {
				return
			}
			mu.Lock()
			defer mu.Unlock()
			if result == porcupine.Unknown {
				wrong = append(wrong, fmt.Errorf("%s: no verdict on %d operations within %v", thing, len(ops), checkTime))
				return
			}
			picture := filepath.Join(dir, strings.ReplaceAll(thing, " ", "-")+".html")
			err := errors.Join(os.MkdirAll(dir, 0o700), porcupine.VisualizePath(models[kind], info, picture))
			wrong = append(wrong, errors.Join(fmt.Errorf("%s, %d operations: %w; see %s", thing, len(ops), errViolation, picture), err))
		})
	}
	all.Wait()
	slices.SortFunc(wrong, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return checked, errors.Join(wrong...)
}
