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

	closing wheel // by the second at which a session may close
	folding wheel // by the minute at which kept events may become past
	wake    int64 // the clock at which the earliest of both is due
	place   int   // in the partition's heap

	reported bool // its watermark goes into the next frame
}

const ( // ms
	closingBucket = 1000
	foldingBucket = 60_000
	foldingPause  = 600_000
)

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

// closes says whether the watermark w closes a session: it has passed the end plus the gap, to the second.
func (p *project) closes(endedAt, w int64) bool {
	return int64(bucketAfter(endedAt+p.program.gap, closingBucket))*closingBucket <= w
}

// due is the earliest event time at which a timer waits.
func (p *project) due() (at int64, ok bool) {
	at = forever
	if b, any := p.closing.first(); any {
		at, ok = int64(b)*closingBucket, true
	}
	if b, any := p.folding.first(); any {
		at, ok = min(at, int64(b)*foldingBucket), true
	}
	return at, ok
}

// reschedule puts the project where its next timer belongs in the heap.
func (p *Partition) reschedule(pr *project) {
	wake := forever
	if at, ok := pr.due(); ok && pr.seen {
		// The watermark passes a bucket's time at this clock, if no event comes before.
		wake = at - min(pr.latest-pr.program.slack, pr.arrived) + pr.arrived
		if pr.reached >= at {
			wake = pr.arrived
		}
	}
	if wake != pr.wake {
		pr.wake = wake
		heap.Fix(&p.waking, pr.place)
	}
}

func bucketAfter(at, width int64) uint32 {
	return uint32(max(at, 0)/width + 1) // the whole bucket lies behind `at`: whoever takes it out has passed every time in it
}
