package ffmpeg

import "cmp"

// Niceness is how far a child stays behind everything that keeps the mesh
// alive, as Unix counts it. The zero Niceness is the default of what is made.
type Niceness int

// The defaults: a song is soon done and should not wait for films.
const (
	FilmNiceness Niceness = 10
	SongNiceness Niceness = 5
)

func (n Niceness) orDefault() Niceness { return cmp.Or(n, FilmNiceness) }

// niceness is that of the children of a conversion.
func (p Params) niceness() Niceness {
	if f, err := Lookup(p.Format); err == nil && f.Kind == Audio {
		return cmp.Or(p.Priority, SongNiceness)
	}
	return p.Priority.orDefault()
}
