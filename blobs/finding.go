package blobs

// A Finding is something about a file of a node's data that a person should
// know, found by a check while no node uses it.
type Finding struct {
	Kind  FindingKind `json:"kind"`
	File  string      `json:"file"`            // relative to what was checked
	Text  string      `json:"text"`            // what about it, for people
	Fixed string      `json:"fixed,omitempty"` // what was done about it; empty: nothing
}

// FindingKind says how bad a finding is.
type FindingKind string

const (
	FoundDamaged  FindingKind = "damaged"     // bytes are not what they were; another node may have them
	FoundHalfMade FindingKind = "half_made"   // left by a process that was ended; a node removes it when it starts
	FoundKept     FindingKind = "quarantined" // moved away as damaged earlier; for a person to look at and delete
	FoundStray    FindingKind = "stray"       // not a node's; ignored by it
	FoundOdd      FindingKind = "odd"         // whole, but not what it looks like
)

// Fix notes what was done about it, or why that did not work.
func (f *Finding) Fix(done string, err error) {
	if err != nil {
		f.Text += "; not " + done + ": " + err.Error()
		return
	}
	f.Fixed = done
}
