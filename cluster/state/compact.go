package state

import (
	"maps"
	"slices"
	"strings"
	"unique"
)

// A compact is what was read from the log or a snapshot, and nobody else has
// seen: of a million records most texts are the same few, so each is kept once.
type compact interface{ intern() }

func intern[S ~string](texts ...*S) {
	for _, s := range texts {
		if *s != "" {
			*s = S(unique.Make(string(*s)).Value())
		}
	}
}

func (c *Content) intern() {
	intern(&c.Type, &c.Kind, &c.Container)
	c.Streams = slices.Clip(slices.Clone(c.Streams)) // the decoder makes room for more
	for i := range c.Streams {
		s := &c.Streams[i]
		intern(&s.Type, &s.Codec, &s.Language, &s.Profile, &s.PixFmt, &s.Layout, &s.Color)
	}
}

func (c *AddMedia) intern() {
	intern(&c.Owner)
	c.Content.intern()
}

func (c *AddJob) intern() {
	intern(&c.Owner)
	intern(&c.Format)
	for i := range c.Tasks {
		intern(&c.Tasks[i].Kind)
		intern(&c.Tasks[i].Class)
	}
}

func (c *AssignTasks) intern() {
	for i := range c.Assignments {
		intern(&c.Assignments[i].Node)
	}
}

func (c *FinishTask) intern() { c.Output.intern() }

func (m *Media) intern() {
	intern(&m.Owner)
	m.Content.intern()
}

func (x *Trashed) intern() { x.Media.intern() }

func (j *Job) intern() {
	intern(&j.Owner)
	intern(&j.Format)
	intern(&j.State)
	intern(&j.Assigned)
	intern(&j.Error)
	j.Input.Content.intern()
}

func (k *Task) intern() {
	intern(&k.Owner)
	intern(&k.Kind)
	intern(&k.State)
	intern(&k.Class)
	intern(&k.Node)
	if k.Output != nil {
		k.Output.intern()
	}
}

// share lets c have the lists of other where they are equal.
func (c *Content) share(other *Content) {
	if slices.Equal(c.Streams, other.Streams) {
		c.Streams = other.Streams
	}
	if maps.Equal(c.Tags, other.Tags) {
		c.Tags = other.Tags
	}
}

// shareInput lets a job have the lists of the item that it reads.
func (j *Job) shareInput(r *records) {
	if m := media.get(r, "id", key(string(j.Input.Media))); m != nil {
		j.Input.Content.share(&m.Content)
	}
}

// lower is what a search looks at.
func (m *Media) lower(*records) {
	lines := append([]string{m.Name}, slices.Sorted(maps.Values(m.Content.Tags))...)
	m.text = strings.ToLower(strings.Join(lines, "\n"))
}

// Matches tells whether the item has all the words, in lower case, in its name
// or its tags.
func (m *Media) Matches(words []string) bool {
	for _, w := range words {
		if !strings.Contains(m.text, w) {
			return false
		}
	}
	return true
}
