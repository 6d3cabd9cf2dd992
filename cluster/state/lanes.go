package state

// QuickCost is the expected cost in processor seconds up to which a task is
// quick: it is run beside the long ones, so that songs do not wait for films.
const QuickCost = 10

// A Lane is one of the two queues of a node: a task waits only for those of its
// own lane.
type Lane uint64

const (
	LongLane Lane = iota
	QuickLane
)

// Lanes are all of them.
var Lanes = [...]Lane{LongLane, QuickLane}

// Quick tells whether the task is run beside the long ones.
func (k *Task) Quick() bool { return k.Kind != Segment && k.Cost <= QuickCost }

// Lane is where the task is run.
func (k *Task) Lane() Lane {
	if k.Quick() {
		return QuickLane
	}
	return LongLane
}

// waitingKey sorts by priority, then lane, then by the parts: the user, the age
// of the job, and the place of the task in it.
func waitingKey(p Priority, lane Lane, parts ...any) string {
	return key(append([]any{uint64(High - p), uint64(lane)}, parts...)...)
}

// TasksWaiting yields the waiting tasks: by priority, then by lane, then by
// user, then the oldest job first, each in the order of its tasks.
func (v *View) TasksWaiting() func(yield func(*Task) bool) {
	return tasks.each(v.records, "waiting", "")
}

// nearby is how many tasks of a user are stepped over before the walk jumps to
// the next user: a jump costs as much as some dozen steps.
const nearby = 16

// FirstWaiting yields the first waiting task of every user who has one with
// that priority in that lane, without looking at all the others.
func (v *View) FirstWaiting(p Priority, lane Lane) func(yield func(*Task) bool) {
	return func(yield func(*Task) bool) {
		it := tasks.seek(v.records, "waiting", waitingKey(p, lane))
		steps := 0
		var last *Task
		for {
			k := it.next()
			switch {
			case k == nil || k.Priority != p || k.Lane() != lane:
				return
			case last == nil || k.Owner != last.Owner:
				if !yield(k) {
					return
				}
				last, steps = k, 0
			case steps == nearby:
				it, steps = tasks.seek(v.records, "waiting", behind(waitingKey(p, lane, string(k.Owner)))), 0
			default:
				steps++
			}
		}
	}
}

// A Queue walks the waiting tasks of one user, priority and lane: the oldest job
// first, each in the order of its tasks. It costs what is walked, not what
// waits.
type Queue struct {
	records *records
	like    *Task // of whose user, priority and lane they are
	it      *cursor[Task]
}

// QueueOf returns the queue in which a waiting task stands, from the task on.
func (v *View) QueueOf(k *Task) *Queue {
	q := &Queue{records: v.records, like: k}
	q.seek(k.Created, uint64(k.Seq))
	return q
}

func (q *Queue) seek(created, seq uint64) {
	q.it = tasks.seek(q.records, "waiting", waitingKey(q.like.Priority, q.like.Lane(), string(q.like.Owner), created, seq))
}

// Next returns the next task, or nil at the end.
func (q *Queue) Next() *Task {
	k := q.it.next()
	if k == nil || k.Owner != q.like.Owner || k.Priority != q.like.Priority || k.Lane() != q.like.Lane() {
		return nil
	}
	return k
}

// SkipJob passes over what is left of the job of k.
func (q *Queue) SkipJob(k *Task) { q.seek(k.Created+1, 0) }
