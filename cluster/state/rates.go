package state

// A Rate is what the mesh has learned about one class of work from the tasks
// that it finished: so much processor time and memory a task of that class takes.
// A class is a text of the converter's: an encoder and what changes its speed.
type Rate struct {
	Class   string `json:"class"`
	CPU     int64  `json:"cpu"`     // picoseconds of processor time a unit of work
	Memory  int64  `json:"memory"`  // bytes at the most, falling slowly
	Samples int64  `json:"samples"` // tasks it was learned from
}

var rates = table[Rate]{name: "rates", indexes: map[string]index[Rate]{
	"id": {true, func(r *Rate) string { return key(r.Class) }},
}}

// remembered is how many tasks the mean of a rate reaches back over.
const remembered = 8

// learn takes a finished task into the rate of its class. Whole numbers only:
// every node must come to the same.
func (t *tx) learn(class string, u Usage) {
	if class == "" || u.Units <= 0 || u.CPU <= 0 || u.CPU > 1<<53 {
		return // nothing measured, or more than the arithmetic below bears
	}
	next := Rate{Class: class, CPU: min(u.CPU*1000/u.Units, 1<<58), Memory: u.Memory, Samples: 1}
	if old := rates.get(t.records, "id", key(class)); old != nil {
		weight := min(old.Samples, remembered-1)
		next.CPU = (old.CPU*weight + next.CPU) / (weight + 1)
		next.Memory = max(u.Memory, old.Memory-old.Memory/64)
		next.Samples = old.Samples + 1
	}
	rates.put(t, &next)
}

// Rate returns what was learned about a class of work.
func (v *View) Rate(class string) (Rate, bool) { return deref(rates.get(v.records, "id", key(class))) }
