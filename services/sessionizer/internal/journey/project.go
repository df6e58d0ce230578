package journey

import "container/heap"

// project is one tenant's share of a partition: its rules, its watermark and its timers.
type project struct {
	name    string
	number  uint16
	program *program

	seen    bool  // an event was applied
	latest  int64 // occurred_at of the latest event applied
	arrived int64 // the clock at the last arrival
	reached int64 // how far the watermark had come when the last event arrived: it never goes back

	closing wheel // by the time at which a session may close
	folding wheel // by the time at which kept events may become past
	wake    int64 // the clock at which the earliest of both is due
	place   int   // in the partition's heap

	reported bool // its watermark goes into the next frame
}

// foldingPause is how much longer than they must kept events stay, so that they go in larger numbers.
const foldingPause = 600_000 // ms

// watermark is the project's watermark when the partition's clock stands at now: the latest event less the slack, and the time
// that has passed since the last arrival; never past the clock, never back. Without an event there is none.
func (p *project) watermark(now int64) (int64, bool) {
	if !p.seen {
		return 0, false
	}
	base := min(p.latest-p.program.slack, p.arrived)
	return min(max(p.reached, base+now-p.arrived), now), true
}

// arrive notes an event. It is called before the event is judged: the watermark it is judged by does not know it yet.
func (p *project) arrive(now int64) {
	if w, ok := p.watermark(now); ok {
		p.reached = w
	}
	p.arrived = now
	p.reported = true
}

// keep is how long after its time an event may still change what was concluded.
func (p *project) keep() int64 { return p.program.lateness + p.program.gap }

// closes says whether the watermark w closes a session: it has passed the end plus the gap.
func (p *project) closes(endedAt, w int64) bool { return endedAt+p.program.gap < w }

// reschedule puts the project where its next timer belongs in the heap.
func (p *Partition) reschedule(pr *project) {
	wake := forever
	if at := min(pr.closing.first(), pr.folding.first()); at != forever && pr.seen {
		// The watermark passes this time at that clock, if no event comes before.
		wake = at - min(pr.latest-pr.program.slack, pr.arrived) + pr.arrived + 1
		if pr.reached > at {
			wake = pr.arrived
		}
	}
	if wake != pr.wake {
		pr.wake = wake
		heap.Fix(&p.waking, pr.place)
	}
}
