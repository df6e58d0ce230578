package shop

import (
	"cmp"
	"container/heap"
	"math"
	"time"
)

// Live is traffic as time passes: people come at a rate and act at their pace. What is due is asked for again and again.
type Live struct {
	Sent *Traffic // what was due so far, in that order: its Truth is the truth of it

	plan    *Traffic
	waiting queue
	next    int64 // when the next person comes
	every   float64
}

// NewLive begins at a time; rate is in events per second. Until and Days of the configuration do not matter.
func NewLive(cfg Config, start time.Time, rate float64) (*Live, error) {
	cfg.Persons, cfg.Days = max(cfg.Persons, 1), max(cfg.Days, 1)
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	l := &Live{Sent: &Traffic{Config: cfg}, plan: &Traffic{Config: cfg}, next: start.UnixMilli()}
	l.every = 1000 * eventsPerVisit(cfg) / rate
	return l, nil
}

// eventsPerVisit is the mean of a sample.
func eventsPerVisit(cfg Config) float64 {
	sample := &Traffic{Config: cfg}
	const visits = 500
	for range visits {
		sample.comes(0)
	}
	return float64(len(sample.Events)) / visits
}

// comes adds a person who comes once.
func (t *Traffic) comes(at int64) {
	r := t.random(t.Persons)
	v := &visitor{t: t, r: r, person: int32(t.Persons), first: len(t.Events), end: math.MaxInt64}
	t.Persons++
	if r.Float64() < t.Config.Bots {
		v.program(at)
		return
	}
	v.home, v.device = pick(r, countries), pick(r, devices)
	v.visit(at)
	v.arrivals()
}

// Due moves what is due at a time from the plan to Sent, and returns the indices there from which on it is new.
func (l *Live) Due(now time.Time) (from, to int) {
	until := now.UnixMilli()
	from = len(l.Sent.Events)
	for l.next <= until {
		before := len(l.plan.Events)
		l.plan.comes(l.next)
		for _, e := range l.plan.Events[before:] {
			heap.Push(&l.waiting, e)
		}
		l.plan.Events = l.plan.Events[:0]
		l.next += max(1, int64(l.every))
	}
	for len(l.waiting) > 0 && l.waiting[0].Arrives <= until {
		l.Sent.Events = append(l.Sent.Events, heap.Pop(&l.waiting).(Event))
	}
	l.Sent.Visits, l.Sent.Persons = l.plan.Visits, l.plan.Persons
	return from, len(l.Sent.Events)
}

// queue is a heap of events by arrival.
type queue []Event

func (q queue) Len() int { return len(q) }
func (q queue) Less(i, j int) bool {
	return cmp.Or(cmp.Compare(q[i].Arrives, q[j].Arrives), cmp.Compare(q[i].Person, q[j].Person), cmp.Compare(q[i].Seq, q[j].Seq)) < 0
}
func (q queue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *queue) Push(x any)   { *q = append(*q, x.(Event)) }

func (q *queue) Pop() any {
	old := *q
	last := old[len(old)-1]
	*q = old[:len(old)-1]
	return last
}
