package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"malla/httpapi"
)

const (
	thingLife    = 12 * time.Second // after which clients turn to other accounts and jobs: histories of one thing stay short
	thingsAtOnce = 3                // of each kind
	tokensKept   = 4                // newest of an account, good or not
)

// A stage is what all clients play with: a few accounts and jobs, and the shares
// of one file. Its methods may be called by many at once.
type stage struct {
	history *history
	token   string // of the account that has the file, the jobs and the shares
	file    string
	seed    uint64
	crowds  [][]*player // node -> clients that read at once when told to

	mu     sync.Mutex // guards the fields below
	people []*person
	jobs   []prop
	shares []string // newest that were told
	named  int      // accounts that were thought of
}

// prop is a thing that is played with for some time.
type prop struct {
	name string
	born time.Time
}

func (p prop) old() bool { return time.Since(p.born) > thingLife }

// person is an account.
type person struct {
	prop
	there  bool // somebody was told that it is
	tokens []token
}

type token struct {
	text    string
	session uint64
}

// person returns one of the accounts, or makes a new one up: whether it is there,
// and a token, if any is known.
func (s *stage) person(r *rand.Rand) (name string, there bool, t token) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := r.IntN(thingsAtOnce)
	for len(s.people) <= i {
		s.people = append(s.people, &person{}) // nobody yet
	}
	p := s.people[i]
	if p.name == "" || p.old() {
		s.named++
		p = &person{prop: prop{fmt.Sprintf("actor-%d-%d", s.seed, s.named), time.Now()}}
		s.people[i] = p
	}
	if n := len(p.tokens); n > 0 {
		t = p.tokens[n-1-min(int(r.ExpFloat64()), n-1)] // mostly the newest
	}
	return p.name, p.there, t
}

// met notes that the account is there, and a token of it, if there is one.
func (s *stage) met(name string, t token) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.people {
		if p.name != name {
			continue
		}
		p.there = true
		if t.text != "" {
			p.tokens = append(p.tokens, t)
			p.tokens = p.tokens[max(0, len(p.tokens)-tokensKept):]
		}
	}
}

// job returns one of the jobs, unless a new one is due.
func (s *stage) job(r *rand.Rand) (id string, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.jobs) < thingsAtOnce {
		return "", false
	}
	i := r.IntN(len(s.jobs))
	if id = s.jobs[i].name; s.jobs[i].old() {
		s.jobs = append(s.jobs[:i], s.jobs[i+1:]...)
	}
	return id, true
}

func (s *stage) addJob(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.jobs = append(s.jobs, prop{id, time.Now()})
}

// share returns one of the shares that were told last.
func (s *stage) share(r *rand.Rand) (id string, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.shares) == 0 {
		return "", false
	}
	return s.shares[r.IntN(len(s.shares))], true
}

func (s *stage) setShares(ids []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.shares = ids
}

// A player is a client of one node, and of no other.
type player struct {
	*stage
	number int // in the history
	url    string
	reads  httpapi.Consistency
	http   *http.Client
	mine   *httpapi.Client // for changes, of the account that has the file
	r      *rand.Rand
}

func (s *stage) player(url string, reads httpapi.Consistency, r *rand.Rand) *player {
	transport := &http.Transport{DialContext: (&net.Dialer{Timeout: time.Second}).DialContext}
	c := &http.Client{Transport: transport}
	return &player{
		stage: s, number: s.history.client(), url: url, reads: reads, http: c, r: r,
		mine: &httpapi.Client{Base: url, Token: s.token, HTTP: c},
	}
}

// reader is a client for reads, with that token.
func (p *player) reader(token string) *httpapi.Client {
	return &httpapi.Client{Base: p.url, Token: token, HTTP: p.http, Consistency: p.reads}
}

// run plays until the context ends.
func (p *player) run(ctx context.Context) {
	defer p.http.CloseIdleConnections()
	for ctx.Err() == nil {
		p.act(ctx)
		pause(ctx, time.Duration(10+p.r.IntN(40))*time.Millisecond)
	}
}

func (p *player) act(ctx context.Context) {
	switch n := p.r.IntN(100); {
	case n < 50:
		p.actOnPerson(ctx, n)
	case n < 75:
		p.actOnJob(ctx, n-50)
	case n < 90:
		p.listShares(ctx)
	case n < 95:
		p.addShare(ctx)
	default:
		p.removeShare(ctx)
	}
}

// try asks about a thing and writes down what came of it. told is that of an
// answer; only a change, which is no mere read, can have an unknown fate.
func (p *player) try(ctx context.Context, thing string, a ask, changes bool, do func(context.Context) (told, error)) {
	wait := 2 * time.Second
	if changes {
		wait = []time.Duration{time.Second, 3 * time.Second, 7 * time.Second}[p.r.IntN(3)]
	}
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	call := p.history.now()
	t, err := do(ctx)
	switch end := fateOf(err); {
	case err == nil:
		p.history.add(p.number, thing, a, call, t)
	case end == refused:
		p.history.add(p.number, thing, a, call, told{fate: refused})
	case end == unknown && changes:
		p.history.add(p.number, thing, a, call, told{fate: unknown})
		p.number = p.history.client()
	default:
		p.history.dropped(a.verb)
	}
}

// nothing is the fate of what was certainly not done, and says nothing.
const nothing fate = -1

// fateOf is what an error says of a change.
func fateOf(err error) fate {
	var problem *httpapi.Problem
	var op *net.OpError
	switch {
	case err == nil:
		return done
	case errors.As(err, &problem):
		switch {
		case problem.Status == http.StatusConflict:
			return refused
		case problem.Status < 500, problem.Status == http.StatusServiceUnavailable && !problem.Uncertain():
			return nothing
		}
	case errors.As(err, &op) && op.Op == "dial":
		return nothing
	}
	return unknown
}

// status is that of a refusal, and whether it is one.
func status(err error) int {
	var problem *httpapi.Problem
	if errors.As(err, &problem) {
		return problem.Status
	}
	return 0
}

const secret = "correct horse"

func (p *player) actOnPerson(ctx context.Context, n int) {
	name, there, t := p.person(p.r)
	thing := "user " + name
	switch {
	case !there:
		p.try(ctx, thing, ask{verb: "sign up"}, true, func(ctx context.Context) (told, error) {
			_, err := (&httpapi.Client{Base: p.url, HTTP: p.http}).Signup(ctx, name, secret)
			if end := fateOf(err); end == done || end == refused {
				p.met(name, token{})
			}
			return told{}, err // the token may be newer than the account
		})
	case t.text == "" || n < 6:
		p.try(ctx, thing, ask{verb: "log in"}, false, func(ctx context.Context) (told, error) {
			got, err := p.reader("").Login(ctx, name, secret)
			if status(err) == http.StatusBadRequest {
				return told{fate: refused}, nil
			}
			if err != nil {
				return told{}, err
			}
			session, err := sessionOf(got.AccessToken)
			p.met(name, token{got.AccessToken, session})
			return told{session: session}, err
		})
	case n < 11:
		p.try(ctx, thing, ask{verb: "log out"}, true, func(ctx context.Context) (told, error) {
			return told{}, (&httpapi.Client{Base: p.url, HTTP: p.http, Token: t.text}).Logout(ctx)
		})
	default:
		p.show(ctx, thing, t)
	}
}

// show finds out whether a session is good.
func (p *player) show(ctx context.Context, thing string, t token) {
	p.try(ctx, thing, ask{verb: "show", session: t.session}, false, func(ctx context.Context) (told, error) {
		_, err := p.reader(t.text).Me(ctx)
		if status(err) == http.StatusUnauthorized {
			return told{}, nil
		}
		return told{holds: err == nil}, err
	})
}

// look reads one thing.
func (p *player) look(ctx context.Context) {
	name, _, t := p.person(p.r)
	id, known := p.job(p.r)
	switch n := p.r.IntN(3); {
	case n == 0 && t.text != "":
		p.show(ctx, "user "+name, t)
	case n == 1 && known:
		p.readJob(ctx, "job "+id, id)
	default:
		p.listShares(ctx)
	}
}

// sessionOf reads which session a token is of. Its middle part is plain JSON.
func sessionOf(token string) (uint64, error) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return 0, fmt.Errorf("a token of %d parts", len(parts))
	}
	text, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return 0, err
	}
	var says struct {
		Session uint64 `json:"ses"`
	}
	err = json.Unmarshal(text, &says)
	return says.Session, err
}

func (p *player) actOnJob(ctx context.Context, n int) {
	id, ok := p.job(p.r)
	if !ok {
		asked, err := p.mine.Convert(ctx, httpapi.ConvertRequest{InputFile: p.file, OutputFormat: "mp3"})
		if err == nil {
			p.addJob(asked.JobID)
		}
		return
	}
	thing := "job " + id
	switch {
	case n < 4:
		p.cancel(ctx, thing, id)
	case n < 8:
		p.try(ctx, thing, ask{verb: "retry"}, true, func(ctx context.Context) (told, error) { return told{}, p.mine.Retry(ctx, id) })
	case n < 12:
		to := []string{"low", "normal"}[p.r.IntN(2)]
		p.try(ctx, thing, ask{verb: "set", priority: to}, true, func(ctx context.Context) (told, error) { return told{}, p.mine.SetPriority(ctx, id, to) })
	default:
		p.readJob(ctx, thing, id)
	}
}

func (p *player) cancel(ctx context.Context, thing, id string) {
	p.try(ctx, thing, ask{verb: "cancel"}, true, func(ctx context.Context) (told, error) { return told{}, p.mine.Cancel(ctx, id) })
}

func (p *player) readJob(ctx context.Context, thing, id string) {
	p.try(ctx, thing, ask{verb: "read job"}, false, func(ctx context.Context) (told, error) {
		job, err := p.reader(p.token).Job(ctx, id)
		if status(err) == http.StatusNotFound {
			return told{priority: "no such job"}, nil // which fits no state: it was there before
		}
		return told{holds: job.Canceled, priority: job.Priority}, err
	})
}

func (p *player) listShares(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	call := p.history.now()
	all, err := p.reader(p.token).Shares(ctx)
	if err != nil {
		p.history.dropped("list shares")
		return
	}
	ids := []string{}
	for _, s := range all {
		ids = append(ids, s.ID)
	}
	p.history.listed(p.number, call, ids)
	p.setShares(ids)
}

func (p *player) addShare(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	call := p.history.now()
	made, err := p.mine.Share(ctx, p.file, 60)
	switch fateOf(err) {
	case done:
		p.history.add(p.number, "share "+made.ID, ask{verb: "add share"}, call, told{})
	case unknown:
		p.history.addUnnamed(call)
		p.number = p.history.client()
	default:
		p.history.dropped("add share")
	}
}

func (p *player) removeShare(ctx context.Context) {
	id, ok := p.share(p.r)
	if !ok {
		return
	}
	p.try(ctx, "share "+id, ask{verb: "remove share"}, true, func(ctx context.Context) (told, error) {
		err := p.mine.Unshare(ctx, id)
		if status(err) == http.StatusNotFound {
			return told{fate: refused}, nil // by the log: nothing is looked up before
		}
		return told{}, err
	})
}
