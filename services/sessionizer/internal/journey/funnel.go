package journey

import (
	"slices"

	"github.com/waymark-analytics/waymark/pkg/rules"
)

// A reach is when a required step was first reached over all chains: the event's place and time, and the start of that chain.
type reach struct {
	place     int
	at, start int64
}

// reached returns one reach for each required step, from the first on, that any chain reached. REQUIRES: events in order.
func (f *funnelProgram) reached(events []*kept) []reach {
	if f.hold < 0 {
		return f.walk(events, 0)
	}
	var values []text
	for _, e := range events {
		if f.hold < len(e.holds) && e.holds[f.hold] != 0 && !slices.Contains(values, e.holds[f.hold]) {
			values = append(values, e.holds[f.hold])
		}
	}
	var best []reach
	for _, v := range values {
		for k, r := range f.walk(events, v) {
			if k == len(best) {
				best = append(best, r)
			} else if r.before(best[k]) {
				best[k] = r
			}
		}
	}
	return best
}

func (r reach) before(o reach) bool {
	if r.place != o.place {
		return r.place < o.place
	}
	return r.start < o.start
}

// walk looks at the chains of one value held constant; 0 is no value.
func (f *funnelProgram) walk(events []*kept, value text) []reach {
	hit := func(k int, e *kept) bool {
		return f.steps[f.required[k]].match(e) && (value == 0 || f.hold < len(e.holds) && e.holds[f.hold] == value)
	}
	switch f.mode {
	case rules.Strict:
		return f.strict(events, hit)
	case rules.Any:
		return f.anyOrder(events, hit)
	}
	return f.ordered(events, hit)
}

// ordered keeps for each step the latest start of a chain that has come so far, as windowFunnel does.
func (f *funnelProgram) ordered(events []*kept, hit func(int, *kept) bool) []reach {
	n := len(f.required)
	chain := make([]int64, n)
	for k := range chain {
		chain[k] = -forever
	}
	first := make([]reach, n)
	levels := 0
	for place, e := range events {
		step := false
		for k := n - 1; k >= 0; k-- { // from the back: one event is never two steps of a chain
			if !hit(k, e) {
				continue
			}
			step = true
			start := e.at
			if k > 0 {
				start = chain[k-1]
			}
			if start == -forever || e.at-start > f.window {
				continue
			}
			chain[k] = start
			if k == levels {
				first[k] = reach{place, e.at, start}
				levels++
			}
		}
		if step {
			continue
		}
		for _, x := range f.exclude {
			if x.when.match(e) {
				for k := x.from; k < x.to; k++ {
					chain[k] = -forever
				}
			}
		}
	}
	return first[:levels]
}

// strict wants step k+1 at the very next event after step k.
func (f *funnelProgram) strict(events []*kept, hit func(int, *kept) bool) []reach {
	var first []reach
	for s, start := range events {
		for k := range f.required {
			if s+k >= len(events) || !hit(k, events[s+k]) || events[s+k].at-start.at > f.window {
				break
			}
			r := reach{s + k, events[s+k].at, start.at}
			if k == len(first) {
				first = append(first, r)
			} else if r.before(first[k]) {
				first[k] = r
			}
		}
	}
	return first
}

// anyOrder counts how many different steps lie inside one window: the window that ends at an event and begins as early as it
// may holds the most.
func (f *funnelProgram) anyOrder(events []*kept, hit func(int, *kept) bool) []reach {
	last := make([]int, len(f.required)) // place of each step's latest match, from 1
	var first []reach
	s := 0
	for place, e := range events {
		for e.at-events[s].at > f.window {
			s++
		}
		n := 0
		for k := range last {
			if hit(k, e) {
				last[k] = place + 1
			}
			if last[k] > s {
				n++
			}
		}
		for len(first) < n {
			first = append(first, reach{place, e.at, events[s].at})
		}
	}
	return first
}

// optional returns, for each optional step that counts, its index and time: it matches after the required step before it was
// first reached, before the one after it was, and inside the window of the chain that reached the one before.
func (f *funnelProgram) optional(events []*kept, levels []reach) (steps []uint32, at []int64) {
	k := -1
	for i := range f.steps {
		if slices.Contains(f.required, i) {
			k++
			continue
		}
		if k >= len(levels) {
			break
		}
		end := len(events)
		if k+1 < len(levels) {
			end = levels[k+1].place
		}
		for _, e := range events[levels[k].place+1 : max(end, levels[k].place+1)] {
			if f.steps[i].match(e) && e.at-levels[k].start <= f.window {
				steps, at = append(steps, uint32(i)), append(at, e.at)
				break
			}
		}
	}
	return steps, at
}
